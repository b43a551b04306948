"""Answers of the models server, as its client reads them.

Above: `client`. Below: `_chat_stream` for the bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientResponse

from tale.errors import ServiceUnavailable, TaleError, Unauthorized, error_from_code
from tale.models._chat_stream import ChatDecoder
from tale.models._faults import ErrorDetail, model_fault, status_of
from tale.models._http import BROKEN, transport_fault
from tale.models._patience import Deadline
from tale.models.backend import Chunk, FinishReason, Role, Usage
from tale.models.headers import MODEL_HEADER, REASON_HEADER, REQUEST_HEADER, ROLE_HEADER

__all__ = ["WHOSE", "Answer", "Completion", "fault_of"]

WHOSE: Final = "The models server"
"""Who is meant in messages."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes:
        text: What the model said.
        model: The real name of the model that said it.
        role: The role it has; None for an optional model.
        usage: Tokens spent.
        finish: Why the answer ended.
        reason: Why that model was chosen.
    """

    text: str
    model: str
    role: Role | None
    usage: Usage
    finish: FinishReason
    reason: str


class Answer(AsyncIterator[Chunk]):
    """An answer that is being generated: an iterator of its chunks, the last one with `finish`.

    Attributes:
        model: The real name of the model that answers.
        role: The role it has; None for an optional model.
        reason: Why it was chosen.
        request: What the request is called, for `ModelClient.outcome`.
    """

    def __init__(self, response: ClientResponse, deadline: Deadline) -> None:
        self.model = response.headers.get(MODEL_HEADER, "")
        self.role: Role | None = _role(response.headers.get(ROLE_HEADER, ""))
        self.reason = response.headers.get(REASON_HEADER, "")
        self.request = response.headers.get(REQUEST_HEADER, "")
        self._content = response.content
        self._deadline = deadline
        self._decoder = ChatDecoder(WHOSE, lambda detail: fault_of(detail, status_of(detail)))
        self._chunks: deque[Chunk] = deque()

    async def __anext__(self) -> Chunk:
        """Give the next chunk.

        Raises:
            StopAsyncIteration: The answer has ended.
            DeadlineExceeded: The time ran out.
            TaleError: What the models server reported, or the loss of its connection.
        """
        while not self._chunks:
            if self._decoder.done:
                raise StopAsyncIteration
            with self._deadline.enforced():
                try:
                    data = await self._content.readany()
                except BROKEN as error:
                    if self._decoder.generated:
                        raise ServiceUnavailable(
                            f"{WHOSE} went away in the middle of an answer.",
                            hint="It is being brought back: ask again.",
                        ) from error
                    raise transport_fault(error, WHOSE, gone=ServiceUnavailable) from error
            chunks = self._decoder.feed(data) if data else self._decoder.finish()
            self._chunks.extend(
                chunk for chunk in chunks if chunk.text or chunk.tool_calls or chunk.finish
            )
        return self._chunks.popleft()


def _role(name: str) -> Role | None:
    return name if name == "ux" or name == "task" else None  # noqa: PLR1714 - narrows the type


def fault_of(detail: ErrorDetail, status: int) -> TaleError:
    """Rebuild the error that the models server reported."""
    if isinstance(detail.code, str):
        error = error_from_code(detail.code, detail.message, detail.hint or "")
        if error.code == detail.code:
            return error
    if status in {401, 403}:
        return Unauthorized(
            f"{WHOSE} refused the token: {detail.message}.",
            hint="The daemon was started again? Run the command once more.",
        )
    return model_fault(detail, status, WHOSE)
