"""What a model looks like to those who ask one: the seam in front of `models.client`.

`ModelClient` fills it in the servers, `ScriptedModels` in tests. Above: `tasks.agent`,
`memory.conversation`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.lowlevel

from tale.errors import TaleError
from tale.models.assess import Kind, assess
from tale.models.backend import ChatRequest, Chunk, FinishReason, Message, Role, Usage

__all__ = ["HeldUp", "ModelAnswer", "ModelCaller", "Purpose", "Script", "ScriptedModels"]

HeldUp = Callable[[str], Awaitable[None]]
"""Told, once and in words, that nobody is there to answer and is waited for; may raise to give
up."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a request is for: what the models server can't see in the request itself.

    Attributes:
        kind: What is asked for; None leaves it to the text of the last user message.
        session: The conversation or task that it belongs to, for the accounts.
        own: Nobody asked for it but tale itself (a summary): one loop with one
            model would not have made it.
        repeatable: The same request may be given the same answer. Never set for a conversation.
    """

    kind: Kind | None = None
    session: str | None = None
    own: bool = False
    repeatable: bool = False


class ModelAnswer(Protocol):
    """An answer that is being generated; the last chunk carries `finish`."""

    @property
    def model(self) -> str:
        """The real name of the model that answers."""
        ...

    @property
    def role(self) -> Role | None:
        """The role it has; None for an optional model."""
        ...

    @property
    def reason(self) -> str:
        """Why it was chosen, in words."""
        ...

    @property
    def request(self) -> str:
        """What the request is called, for `ModelCaller.outcome`."""
        ...

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Give the chunks as they come."""
        ...


class SpareTime(Protocol):
    """Somebody who answers while nobody waits for an answer."""

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        """Have a request answered while a model has nothing to do.

        Returns:
            The answer; None where somebody who waits for one needed the model meanwhile.

        Raises:
            TaleError: Nobody is there, or the model failed.
        """
        ...


class ModelCaller(SpareTime, Protocol):
    """Somebody who can be asked."""

    def stream(
        self,
        request: ChatRequest,
        target: str = "auto",
        deadline_s: float | None = None,
        *,
        purpose: Purpose | None = None,
        held_up: HeldUp | None = None,
    ) -> AbstractAsyncContextManager[ModelAnswer]:
        """Ask; leaving the block stops the generation. Raises `tale.errors.TaleError`s."""
        ...

    async def outcome(self, request: str, *, ok: bool) -> None:
        """Say, once that is known, whether an answer was good; never raises, may be lost."""
        ...

    async def count_tokens(
        self, texts: Sequence[str], target: str, deadline_s: float
    ) -> Sequence[int]:
        """Count the tokens of each text with a model's own tokenizer.

        Raises:
            TaleError: That model can't count, or nobody is there.
        """
        ...

    async def compute_ahead(
        self, messages: Sequence[Message], target: str, deadline_s: float
    ) -> bool:
        """Have a prompt's beginning computed while a model has nothing to do.

        Returns:
            Whether all of it is; whoever asks for an answer goes first.

        Raises:
            TaleError: Nobody is there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Script:
    """One answer as it will be given.

    Attributes:
        pieces: The texts of its chunks.
        error: Raised after the pieces.
        refusal: Raised before anything.
        held_up: What is told before the answer begins, if anything.
        hold: Waited for after the pieces, before the answer goes on.
        finish: Why it ends.
    """

    pieces: Sequence[str] = ()
    error: TaleError | None = None
    refusal: TaleError | None = None
    held_up: str = ""
    hold: anyio.Event | None = None
    finish: FinishReason = "stop"


class ScriptedModels:
    """Answers from a list: the in-memory twin of the models server's client.

    Attributes:
        asked: The requests so far, each with its target.
        purposes: What each of them was for.
        counted: The texts whose tokens were counted.
        ahead: The beginnings that were to be computed.
        spare: What is answered in spare time, in this order; then "" for ever.
        asked_in_spare_time: The requests that were to be answered then.
        busy: How often somebody else needs the model when one is.
        outcomes: What was said of answers, which are called `r-1`, `r-2`, ….
        stopped: How many answers were left before their end.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.asked: list[tuple[str, ChatRequest]] = []
        self.purposes: list[Purpose] = []
        self.counted: list[str] = []
        self.ahead: list[Sequence[Message]] = []
        self.spare: list[str | TaleError] = []
        self.asked_in_spare_time: list[ChatRequest] = []
        self.busy = 0
        self.outcomes: list[tuple[str, bool]] = []
        self.stopped = 0

    @asynccontextmanager
    async def stream(
        self,
        request: ChatRequest,
        target: str = "auto",
        deadline_s: float | None = None,
        *,
        purpose: Purpose | None = None,
        held_up: HeldUp | None = None,
    ) -> AsyncGenerator[_ScriptedAnswer]:
        """Give the next answer of the list."""
        del deadline_s
        self.asked.append((target, request))
        self.purposes.append(purpose or Purpose())
        script = self._scripts.pop(0)
        if script.held_up and held_up:
            await held_up(script.held_up)
        if script.refusal:
            raise script.refusal
        name = f"r-{len(self.asked)}"
        answer = _ScriptedAnswer(script, _role_of(target, request), name)
        try:
            yield answer
        finally:
            self.stopped += not answer.ended

    async def outcome(self, request: str, *, ok: bool) -> None:
        """Take note."""
        self.outcomes.append((request, ok))

    async def count_tokens(
        self, texts: Sequence[str], target: str, deadline_s: float
    ) -> Sequence[int]:
        """Count words: whoever is scripted has no tokenizer."""
        del target, deadline_s
        self.counted.extend(texts)
        return [len(text.split()) for text in texts]

    async def compute_ahead(
        self, messages: Sequence[Message], target: str, deadline_s: float
    ) -> bool:
        """Take note; it is interrupted as often as `busy` says."""
        del target, deadline_s
        await anyio.lowlevel.checkpoint()
        self.ahead.append(messages)
        self.busy -= 1
        return self.busy < 0

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        """Answer from the list; it is interrupted as often as `busy` says."""
        del target, deadline_s
        await anyio.lowlevel.checkpoint()
        self.asked_in_spare_time.append(request)
        self.busy -= 1
        if self.busy >= 0:
            return None
        answer = self.spare.pop(0) if self.spare else ""
        if isinstance(answer, TaleError):
            raise answer
        return answer


class _ScriptedAnswer:
    def __init__(self, script: Script, role: Role, name: str) -> None:
        self._script = script
        self.request = name
        self.model = f"scripted-{role}"
        self.role: Role | None = role
        self.reason = "it is in the script"
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        for piece in self._script.pieces:
            await anyio.lowlevel.checkpoint()
            yield Chunk(piece)
        if self._script.hold:
            await self._script.hold.wait()
        if self._script.error:
            raise self._script.error
        self.ended = True
        yield Chunk(finish=self._script.finish, usage=Usage(20, len(self._script.pieces), 5))


def _role_of(target: str, request: ChatRequest) -> Role:
    if target == "auto":
        return "task" if assess(request.messages[-1].content).work else "ux"
    return "ux" if target == "ux" else "task"
