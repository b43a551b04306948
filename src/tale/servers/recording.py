"""What is seen of one chat completion on its way through, for the ledger.

A handler tells it what happens; at the end it is an `Entry`, and one more for each try that came
to nothing. Whatever takes time (measuring the prompt) is done there, after the last byte of the
answer. Above: `chat_completions`. Below: `models.entry`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tale import spans
from tale.errors import (
    ContextExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ModelError,
    TaleError,
)
from tale.models.ahead import SpareAnswer
from tale.models.answer import Answer, Completion, Try
from tale.models.backend import ChatRequest, Chunk, FinishReason, Message, Role, Usage
from tale.models.decision import Decision
from tale.models.entry import Entry
from tale.models.headers import OWN_HEADER, SESSION_HEADER
from tale.models.pool_policy import estimated_tokens
from tale.servers.openai_shapes import ChatCall

__all__ = ["CLIENT_GONE", "Recording", "own_entry"]

CLIENT_GONE: Final = "client_gone"
"""The error code of a request whose caller went away before the answer's end."""

RoleOf = Callable[[str], "Role | None"]
"""Gives the core role of a model, by its real name."""

_TRY_FAILED: Final = "try_failed"
_LONGEST_SESSION: Final = 200


class Recording:
    """One request, from its headers on.

    Attributes:
        id: The request's id, which is the completion's too.
        call: What is asked, once that is known.
    """

    def __init__(
        self,
        headers: Mapping[bytes, bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begin; `clock` gives monotonic seconds, `wall` Unix time."""
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._headers = headers
        self._clock = clock
        self._at = wall()
        self._begun = clock()
        self.call: ChatCall | None = None
        self._texts: list[str] | None = [] if spans.shows_content() else None
        self._decision: Decision | None = None
        self._role_of: RoleOf = lambda _: None
        self._tries: tuple[Try, ...] = ()
        self._helped: list[Completion] = []
        self._model = ""
        self._role: Role | None = None
        self._fell_back = False
        self._chunks = 0
        self._first: float | None = None
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._error: TaleError | None = None

    def header(self, name: str) -> str | None:
        """Give a header of the request."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def session(self) -> str | None:
        """The conversation or task that the request belongs to."""
        return (self.header(SESSION_HEADER) or "")[:_LONGEST_SESSION] or None

    def decided(self, call: ChatCall, decision: Decision, role_of: RoleOf) -> None:
        """Tell what is asked, of whom, and how to find the role of whoever else may answer."""
        self.call, self._decision, self._role_of = call, decision, role_of
        self._model, self._role = decision.target, decision.role

    def answered_by(self, answer: Answer | Completion) -> None:
        """Tell who answers."""
        self._model, self._role = answer.model, answer.role
        self._tries = answer.tries
        self._fell_back = answer.fell_back

    def saw(self, chunk: Chunk) -> None:
        """Tell of a piece of the answer."""
        if self._texts is not None:
            self._texts.append(chunk.text)
        if chunk.text or chunk.tool_calls:
            self._chunks += 1
            if self._first is None:
                self._first = self._clock() - self._begun
        self._usage = chunk.usage or self._usage
        self._finish = chunk.finish or self._finish

    def ended(self) -> None:
        """Tell that a stream came to its end; some backends end one without a word."""
        self._finish = self._finish or "stop"

    def completed(self, whole: Completion) -> None:
        """Tell of a whole answer."""
        self.answered_by(whole)
        self._usage, self._finish = whole.usage, whole.finish
        if self._texts is not None:
            self._texts.append(whole.text)

    @property
    def text(self) -> str:
        """The answer's text, where spans may have it; else empty."""
        return "".join(self._texts or ())

    def helped(self, whole: Completion) -> None:
        """Tell of an answer that it took to ask: the summary of a part of the prompt."""
        self._helped.append(whole)

    def failed(self, error: TaleError) -> None:
        """Tell how it failed."""
        self._error = error

    def entries(self) -> tuple[Entry, ...]:
        """Sum up, once it has ended: the tries that came to nothing, and the answer.

        Nothing for what no model was asked.
        """
        call, decision = self.call, self._decision
        if call is None or decision is None or isinstance(self._error, InvalidRequest):
            return ()
        messages = call.request.messages
        size = sum(len(message.content.encode(errors="replace")) for message in messages)
        estimated = estimated_tokens(call.request)
        failed = self._error is not None or self._finish is None
        answer = Entry(
            id=self.id,
            at=self._at,
            session=self.session,
            own=self.header(OWN_HEADER) == "1",
            model=self._model,
            role=self._role,
            kind=decision.kind,
            band=decision.band,
            usage=self._usage or self._guessed(estimated),
            said=_new_text(messages),
            prompt_bytes=size,
            estimated=estimated,
            first_token=self._first,
            seconds=self._clock() - self._begun,
            finish=None if failed else self._finish,
            fell_back=self._fell_back,
            error=self._error.code if self._error else CLIENT_GONE if failed else "",
            ok=False if _is_models_fault(self._error) else None,
        )
        tries = (
            _try_of(answer, one, n, self._role_of(one.model))
            for n, one in enumerate(self._tries, 1)
        )
        helped = (_help_of(answer, one, n) for n, one in enumerate(self._helped, 1))
        return (*helped, *tries, answer)

    def _guessed(self, prompt: int) -> Usage:
        """Give what an answer took that broke off, and so told nothing; nothing without a token."""
        return Usage(prompt, self._chunks) if self._chunks else Usage()


def _try_of(answer: Entry, tried: Try, number: int, role: Role | None) -> Entry:
    """Give the entry of a try that came to nothing, which a naive loop wouldn't have made."""
    return replace(
        answer,
        id=f"{answer.id}-{number}",
        own=True,
        model=tried.model,
        role=role,
        usage=tried.usage or Usage(),
        first_token=None,
        finish=None,
        fell_back=False,
        error=_TRY_FAILED,
        ok=False if tried.counts else None,
    )


def _help_of(answer: Entry, whole: Completion, number: int) -> Entry:
    """Give the entry of an answer that it took to ask."""
    return replace(
        answer,
        id=f"{answer.id}-part-{number}",
        own=True,
        model=whole.model,
        role=whole.role,
        kind="summarise",
        usage=whole.usage or Usage(),
        first_token=None,
        finish=whole.finish,
        fell_back=whole.fell_back,
        error="",
        ok=None,
    )


def own_entry(request: ChatRequest, answer: SpareAnswer, at: float, seconds: float) -> Entry:
    """Give the entry of an answer that tale asked for itself, while nobody else asked.

    Args:
        request: What was asked.
        answer: What came.
        at: Unix time at which it was asked for.
        seconds: How long it took, its prompt included.
    """
    size = sum(len(message.content.encode(errors="replace")) for message in request.messages)
    return Entry(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        at=at,
        session=None,
        own=True,
        model=answer.model,
        role=answer.role,
        kind="extract",
        band="easy",
        usage=answer.usage or Usage(),
        said=_new_text(request.messages),
        prompt_bytes=size,
        first_token=None,
        seconds=seconds,
        finish=answer.finish,
        estimated=estimated_tokens(request),
    )


def _new_text(messages: tuple[Message, ...]) -> str:
    """Give what came after the last answer: what the user, or a tool, said."""
    texts: list[str] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        if message.role != "system":
            texts.append(message.content)
    return "\n".join(reversed(texts))


def _is_models_fault(error: TaleError | None) -> bool:
    """Say whether a failure tells something about the model."""
    return isinstance(error, ModelError | DeadlineExceeded) and not isinstance(
        error, ContextExceeded
    )
