"""A model that is a script: the in-memory twin of every backend, for tests of what stands above.

It ships with tale, because the tests of several parts need it. It answers with what it was asked
(or was told to say), word by word, and fails on command.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Literal

import anyio
import anyio.lowlevel

from tale.errors import BackendFailed, BackendUnavailable
from tale.models.backend import ChatRequest, Chunk, Residency, Usage

__all__ = ["Failure", "InMemoryBackend", "echo"]

Failure = Literal["unavailable", "fail", "stall", "break", "hang_load"]
"""What goes wrong on command.

`unavailable`: nobody there, in `chat` and `load`. `fail`: an error before the first chunk.
`stall`: one word, then silence. `break`: one word, then an error. `hang_load`: loading never ends.
"""


def echo(request: ChatRequest) -> str:
    """Answer with the last message."""
    return request.messages[-1].content if request.messages else ""


class InMemoryBackend:
    """One scripted model.

    Args:
        model: Its name.
        context: Its window; not enforced.
        answers: What it says, one a request; when they are used up, and by default, `answer`.
        answer: Makes an answer from a request.
        memory_bytes: What it claims to take while it is loaded.

    Attributes:
        loads: How often `load` made it resident.
        unloads: How often `unload` was called.
        recoveries: The reasons that `recover` was called with.
        requests: What it was asked, in order.
        running: Answers being generated now.
        cancelled: Answers whose iterator was closed or cancelled before the end.
        waited: Seconds for which it claims to have got no core.
    """

    def __init__(
        self,
        model: str = "memory",
        context: int = 4096,
        *,
        answers: Iterable[str] = (),
        answer: Callable[[ChatRequest], str] = echo,
        memory_bytes: int = 1 << 20,
    ) -> None:
        self._model = model
        self._context = context
        self._answers = list(answers)
        self._answer = answer
        self._memory_bytes = memory_bytes
        self._resident = False
        self._starts = 0
        self._failure: Failure | None = None
        self._failures_left = 0
        self._mended = anyio.Event()
        self.loads = 0
        self.unloads = 0
        self.recoveries: list[str] = []
        self.requests: list[ChatRequest] = []
        self.running = 0
        self.waited = 0.0
        self.cancelled = 0

    @property
    def model(self) -> str:
        """Its name."""
        return self._model

    @property
    def context(self) -> int:
        """Its window."""
        return self._context

    def inject(self, failure: Failure, times: int | None = None) -> None:
        """Have it fail from now on, `times` times or until `mend` or `recover`."""
        self._failure = failure
        self._failures_left = -1 if times is None else times
        self._mended = anyio.Event()

    def mend(self) -> None:
        """Have it work again; what stalls or hangs at this moment goes on."""
        self._failure = None
        self._mended.set()

    def evict(self) -> None:
        """Take it out of memory behind the pool's back, as another program or a crash does."""
        self._resident = False

    async def load(self) -> None:
        """Become resident."""
        match self._fails("hang_load", "unavailable"):
            case "hang_load":
                await self._mended.wait()
            case "unavailable":
                raise self._unavailable()
            case _:
                pass
        await anyio.lowlevel.checkpoint()
        if not self._resident:
            self._resident = True
            self._starts += 1
            self.loads += 1

    async def unload(self) -> None:
        """Go."""
        await anyio.lowlevel.checkpoint()
        self._resident = False
        self.unloads += 1

    async def recover(self, reason: str) -> None:
        """Be mended and loaded anew; only a hanging load is not mended by it."""
        self.recoveries.append(reason)
        if self._failure != "hang_load":
            self.mend()
        self._resident = False
        await self.load()

    async def residency(self) -> Residency:
        """Say whether it is loaded."""
        await anyio.lowlevel.checkpoint()
        if not self._resident:
            return Residency(resident=False, starts=self._starts)
        return Residency(
            resident=True,
            memory_bytes=self._memory_bytes,
            starts=self._starts,
            waited=self.waited,
        )

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Answer word by word; whoever closes the iterator stops it."""
        self.requests.append(request)
        failure = self._fails("unavailable", "fail", "stall", "break")
        await anyio.lowlevel.checkpoint()
        if failure == "unavailable" or not self._resident:
            raise self._unavailable()
        if failure == "fail":
            raise BackendFailed(f"{self._model} was told to fail.")
        text = self._answers.pop(0) if self._answers else self._answer(request)
        words = _words(text)
        most = len(words) if request.max_tokens is None else request.max_tokens
        self.running += 1
        ended = False
        try:
            for word in words[:most]:
                yield Chunk(text=word)
                if failure == "stall":
                    await self._mended.wait()
                elif failure == "break":
                    ended = True
                    raise BackendFailed(f"{self._model} was told to break off.")
                await anyio.lowlevel.checkpoint()
            ended = True
            prompt = sum(len(turn.content.split()) for turn in request.messages)
            yield Chunk(
                finish="length" if most < len(words) else "stop",
                usage=Usage(prompt=prompt, completion=min(most, len(words))),
            )
        finally:
            self.running -= 1
            self.cancelled += not ended

    async def count_tokens(self, text: str) -> int:
        """Count words, as its prompts are counted."""
        await anyio.lowlevel.checkpoint()
        if not self._resident:
            raise self._unavailable()
        return len(text.split())

    def _fails(self, *kinds: Failure) -> Failure | None:
        """Use up one injected failure if it is of these kinds."""
        if self._failure not in kinds or self._failures_left == 0:
            return None
        self._failures_left -= 1
        return self._failure

    def _unavailable(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self._model} is not in memory.")


def _words(text: str) -> list[str]:
    """Cut a text into words that keep the white space before them; joined they are the text."""
    pieces: list[str] = []
    for piece in text.split(" "):
        pieces.append(f" {piece}" if pieces else piece)
    return pieces if text else []
