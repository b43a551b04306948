"""How tasks, memory and servers reach models: a client of the models server's `/v1`.

Who asks names a role or a model, and a deadline; which model answered, and why, stands in the
answer. Loading, recovery and fallback are the models server's business. Below: aiohttp.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio
from aiohttp import ClientResponse, ClientSession
from pydantic import BaseModel, ValidationError

from tale import trace
from tale.errors import (
    ServiceUnavailable,
    TaleError,
)
from tale.models._answers import WHOSE, Answer, Completion, fault_of
from tale.models._chat_stream import request_body
from tale.models._faults import read_error
from tale.models._http import BROKEN, fetch, open_session, read_body, send, transport_fault
from tale.models._patience import Deadline, Missing
from tale.models.backend import ChatRequest, FinishReason, Message, Usage
from tale.models.caller import HeldUp, Purpose
from tale.models.headers import (
    KIND_HEADER,
    OWN_HEADER,
    REPEATABLE_HEADER,
    SESSION_HEADER,
)
from tale.telemetry import get_logger
from tale.wire.peers import PeerSource

__all__ = [
    "Answer",
    "BaseUrl",
    "Completion",
    "ModelClient",
    "models_url",
]

log = get_logger(__name__)

BaseUrl = str | Callable[[], str | Awaitable[str]]
"""The models server's address (scheme, host and port), or how to find it now."""

_OUTCOME_SECONDS: Final = 1.0
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0
_GRACE_SECONDS: Final = 0.3
"""How long the server may be missing without a word: a person notices silence after that."""


def models_url(source: PeerSource) -> Callable[[], Awaitable[str]]:
    """Find the models server among the peers, waiting while it is down."""

    async def find() -> str:
        while not (ready := source.peers.of("models")):
            await source.wait_change()
        return ready[0].url

    return find


class ModelClient:
    """Asks the models server.

    Args:
        base_url: Its address; `models_url(leash)` follows it when it is started again.
        token: The bearer token of this daemon.
        grace: Seconds that it may be missing before whoever asks is told.
    """

    def __init__(self, base_url: BaseUrl, token: str, *, grace: float = _GRACE_SECONDS) -> None:
        self._base_url = base_url
        self._grace = grace
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def stream(
        self,
        request: ChatRequest,
        target: str = "auto",
        deadline_s: float | None = None,
        *,
        purpose: Purpose | None = None,
        held_up: HeldUp | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Ask, and give the answer as it comes; leaving the block stops the generation.

        With a deadline, a models server that is being started again is waited for.

        Args:
            request: What to generate.
            target: `auto`, `ux`, `task`, or a model's own name.
            deadline_s: Seconds until the caller gives up, waiting included; None waits for ever.
            purpose: What it is for.
            held_up: Told in words, once, if the models server is not there and is waited for.

        Raises:
            DeadlineExceeded: The time ran out.
            ServiceUnavailable: No models server came in time, or there is none and no deadline to
                wait under, or it went away in the middle.
            Unauthorized: It doesn't take our token.
            TaleError: What it reported: `UnknownModel`, `ContextExceeded`, `BackendUnavailable`, …
        """
        deadline = Deadline.after(deadline_s)
        missing = Missing(held_up, self._grace)
        about = _headers_of(purpose or Purpose())
        response = await self._open(request_body(target, request), about, deadline, missing)
        try:
            yield Answer(response, deadline)
        finally:
            response.close()

    async def complete(
        self,
        request: ChatRequest,
        target: str = "auto",
        deadline_s: float | None = None,
        *,
        purpose: Purpose | None = None,
    ) -> Completion:
        """Ask, and give the whole answer. Cancelling stops the generation. See `stream`."""
        text: list[str] = []
        usage = Usage()
        finish: FinishReason = "stop"
        async with self.stream(request, target, deadline_s, purpose=purpose) as answer:
            async for chunk in answer:
                text.append(chunk.text)
                usage = chunk.usage or usage
                finish = chunk.finish or finish
        return Completion("".join(text), answer.model, answer.role, usage, finish, answer.reason)

    async def outcome(self, request: str, *, ok: bool) -> None:
        """Say, once that is known, whether an answer was good; never raises, may be lost."""
        session = self._session = self._session or open_session()
        try:
            with Deadline.after(_OUTCOME_SECONDS).enforced():
                await fetch(
                    session,
                    "POST",
                    f"{await self._find()}/pool/outcome",
                    whose=WHOSE,
                    headers=self._headers,
                    body={"id": request, "ok": ok},
                )
        except TaleError as error:
            log.info("outcome.lost", request=request, reason=error.message)

    async def count_tokens(
        self, texts: Sequence[str], target: str, deadline_s: float
    ) -> Sequence[int]:
        """Count the tokens of each text with a model's own tokenizer.

        Raises:
            ServiceUnavailable: The models server isn't there, or not within the time.
            TaleError: That model can't count.
        """
        body = await self._post("/pool/tokens", {"model": target, "texts": list(texts)}, deadline_s)
        try:
            return _Counts.model_validate_json(body).counts
        except ValidationError as error:
            raise ServiceUnavailable(f"{WHOSE} counted tokens in an unknown way.") from error

    async def compute_ahead(
        self, messages: Sequence[Message], target: str, deadline_s: float
    ) -> bool:
        """Have a prompt's beginning computed while a model has nothing to do.

        Returns:
            Whether all of it is; whoever asks for an answer goes first.

        Raises:
            ServiceUnavailable: The models server isn't there.
            DeadlineExceeded: The time ran out.
        """
        request = request_body(target, ChatRequest(tuple(messages)))
        body = await self._post("/pool/ahead", request, deadline_s)
        try:
            return _Ahead.model_validate_json(body).whole
        except ValidationError as error:
            raise ServiceUnavailable(f"{WHOSE} computed ahead in an unknown way.") from error

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        """Have a request answered while a model has nothing to do.

        Returns:
            The answer; None where somebody who waits for one needed the model meanwhile.

        Raises:
            ServiceUnavailable: The models server isn't there.
            DeadlineExceeded: The time ran out.
            TaleError: The model failed.
        """
        body = await self._post("/pool/spare", request_body(target, request), deadline_s)
        try:
            return _Spare.model_validate_json(body).text
        except ValidationError as error:
            raise ServiceUnavailable(f"{WHOSE} answered in an unknown way.") from error

    async def _post(self, path: str, body: Mapping[str, object], deadline_s: float) -> bytes:
        """Call one of its own paths, once."""
        session = self._session = self._session or open_session()
        with Deadline.after(deadline_s).enforced():
            status, reply = await fetch(
                session,
                "POST",
                f"{await self._find()}{path}",
                whose=WHOSE,
                headers=self._headers,
                body=body,
            )
        if status != 200:
            raise fault_of(read_error(reply), status)
        return reply

    async def _open(
        self,
        body: Mapping[str, object],
        about: Mapping[str, str],
        deadline: Deadline,
        missing: Missing,
    ) -> ClientResponse:
        """Send the request, again and again while nobody is there and time is left."""
        session = self._session = self._session or open_session()
        pause = _FIRST_PAUSE
        with deadline.enforced(missing.late):
            while True:
                try:
                    url = f"{await missing.waiting_for(self._find)}/v1/chat/completions"
                    headers = {
                        **self._headers,
                        **about,
                        **deadline.header(),
                        trace.TRACEPARENT: trace.outgoing(),
                    }
                    response = await send(
                        session,
                        "POST",
                        url,
                        whose=WHOSE,
                        headers=headers,
                        body=body,
                        gone=ServiceUnavailable,
                    )
                    break
                except ServiceUnavailable:
                    if deadline.ends is None:
                        raise
                await missing.waiting_for(partial(anyio.sleep, pause))
                pause = min(2 * pause, _LAST_PAUSE)
            if response.status == 200:
                return response
            try:
                raise fault_of(read_error(await read_body(response)), response.status)
            except BROKEN as error:
                raise transport_fault(error, WHOSE, gone=ServiceUnavailable) from error
            finally:
                response.close()

    async def _find(self) -> str:
        url = self._base_url if isinstance(self._base_url, str) else self._base_url()
        if inspect.isawaitable(url):
            url = await url
        return url.rstrip("/").removesuffix("/v1")


class _Counts(BaseModel):
    counts: tuple[int, ...]


class _Spare(BaseModel):
    text: str | None


class _Ahead(BaseModel):
    whole: bool


def _headers_of(purpose: Purpose) -> dict[str, str]:
    named = {
        KIND_HEADER: purpose.kind,
        SESSION_HEADER: purpose.session,
        OWN_HEADER: "1" if purpose.own else None,
        REPEATABLE_HEADER: "1" if purpose.repeatable else None,
    }
    return {name: value for name, value in named.items() if value}
