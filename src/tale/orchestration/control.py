"""The control endpoint: one line of JSON in, one out, over loopback.

    {"token", "op": "status"}                            what runs, and how it fares
    {"token", "op": "wait", "service", "timeout"}        the service's url, once it is ready
    {"token", "op": "restart", "server", "timeout"}      `server` (null: all) anew, once ready again
    {"token", "op": "scale", "service", "count"}         so many replicas; once they are ready
    {"token", "op": "reload"}                            read the settings again; says what changed
    {"token", "op": "stop"}                              answered once every server is gone

Answers are `{"ok": …}` or `{"error": {"code", "message", "hint"}}`. It owns no state;
`daemon` does, through `ServerManager`. The other side is `control_client`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Literal, TypeVar

import anyio
import anyio.abc
import orjson
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tale.errors import DeadlineExceeded, TaleError, Unauthorized, WireError
from tale.orchestration import rollout
from tale.orchestration.control_client import Runtime
from tale.orchestration.server_manager import ServerManager
from tale.paths import Paths
from tale.telemetry import get_logger

__all__ = ["ControlServer"]

log = get_logger(__name__)
_T = TypeVar("_T")

_MAX_LINE = 64 << 10
_LINE_SECONDS = 5.0
# Connections that have said nothing yet: anybody on this machine can open them, token or not.
_MOST_MUTE = 64
_REFUSED_SECONDS = 0.1


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True)
    token: str = ""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True)
    op: Literal["status", "wait", "restart", "scale", "reload", "stop"]
    service: str = ""
    server: str | None = None
    count: int = 0
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 60.0


class ControlServer:
    """Answers those who know the token."""

    def __init__(
        self,
        runtime: Runtime,
        paths: Paths,
        manager: ServerManager,
        stop: Callable[[], Awaitable[None]],
        reload: Callable[[], Awaitable[rollout.Changes]],
    ) -> None:
        """Serve nothing yet; `handle` is given each connection.

        Args:
            runtime: Who the daemon is, token included.
            paths: Where the logs are.
            manager: The servers.
            stop: Stops everything; returns once that is done.
            reload: Reads the settings again, and has what they change restarted.
        """
        self._runtime = runtime
        self._paths = paths
        self._manager = manager
        self._stop = stop
        self._reload = reload
        self._active = 0
        self._mute = 0
        self._idle = anyio.Event()

    async def accept(self, listener: anyio.abc.SocketListener, tasks: anyio.abc.TaskGroup) -> None:
        """Answer whoever connects, until cancelled; connections are handled in `tasks`."""
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:  # out of descriptors: some will be given back
                log.error("control.not_accepted", reason=str(error))
                await anyio.sleep(_REFUSED_SECONDS)
                continue
            if self._mute >= _MOST_MUTE:
                await stream.aclose()
            else:
                tasks.start_soon(self.handle, stream)

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        """Answer one connection."""
        self._active += 1
        try:
            async with stream:
                reply = await self._answer(stream)
                await stream.send(orjson.dumps(reply) + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("control.caller_gone")
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def drain(self) -> None:
        """Wait until every answer is on its way; bound the wait by a cancel scope."""
        while self._active:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _answer(self, stream: anyio.abc.SocketStream) -> dict[str, JsonValue]:
        try:
            return {"ok": await self._perform(await self._request(stream))}
        except TaleError as error:
            log.warning("control.refused", code=error.code, reason=error.message)
            return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise
        except Exception as error:  # one caller must not end the supervisor
            log.exception("control.crashed")
            message = f"The daemon failed: {error!r}."
            return {"error": {"code": TaleError.code, "message": message, "hint": ""}}

    async def _request(self, stream: anyio.abc.SocketStream) -> _Request:
        self._mute += 1
        try:
            return await _read_request(stream, self._runtime.token)
        finally:
            self._mute -= 1

    async def _perform(self, request: _Request) -> JsonValue:
        match request.op:
            case "status":
                return self._status()
            case "wait":
                peer = await self._within(request, self._manager.ready(request.service))
                return {"url": peer.url}
            case "restart":
                await self._within(request, rollout.restart(self._manager, request.server))
            case "scale":
                scaled = rollout.scale(self._manager, request.service, request.count)
                await self._within(request, scaled)
            case "reload":
                changes = await self._within(request, self._reload())
                return {name: list(names) for name, names in asdict(changes).items()}
            case "stop":
                log.info("control.stop")
                await self._stop()
        return {}

    async def _within(self, request: _Request, work: Awaitable[_T]) -> _T:
        with anyio.move_on_after(request.timeout):
            return await work
        raise DeadlineExceeded(self._why_late(request), hint="`tale logs NAME` says more.")

    def _why_late(self, request: _Request) -> str:
        name = request.service or request.server
        faults = [
            f"{server.name} is in state {server.state!r}"
            + (f" (last: {server.last_exit})" if server.last_exit else "")
            for server in self._manager.status()
            if server.state != "ready" and name in (None, server.name, server.service)
        ]
        named = "; ".join(faults) or f"there is no server {name!r}"
        return f"Not ready after {request.timeout:g} s: {named}."

    def _status(self) -> JsonValue:
        return {
            "version": self._runtime.version,
            "pid": self._runtime.pid,
            "started": self._runtime.started,
            "servers": [
                {**asdict(server), "log": str(self._paths.log_of(server.name))}
                for server in self._manager.status()
            ],
        }


async def _read_request(stream: anyio.abc.SocketStream, token: str) -> _Request:
    """Read a request; whoever doesn't know the token learns nothing else."""
    try:
        with anyio.fail_after(_LINE_SECONDS):
            line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _MAX_LINE)
        signed = _Signed.model_validate_json(line)
    except (TimeoutError, ValidationError, anyio.DelimiterNotFound):
        raise WireError("The control endpoint takes one line of JSON.") from None
    except (anyio.IncompleteRead, anyio.EndOfStream):
        raise anyio.BrokenResourceError from None
    if not hmac.compare_digest(signed.token.encode(), token.encode()):
        raise Unauthorized(
            "The token is missing or wrong.", hint="It stands in the runtime file of the daemon."
        )
    try:
        return _Request.model_validate_json(line)
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc']}: {fault['msg']}" for fault in error.errors())
        raise WireError(f"The request can't be used: {faults}.") from None
