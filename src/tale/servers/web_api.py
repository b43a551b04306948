"""The gateway's plain HTTP for dashboards: the overview, actions, checkpoints, logs.

    GET  /api/overview                     an `Overview`
    GET  /api/events                       the same as it changes; with `?task=ID` one task's events
    GET  /api/tasks/ID                     a task in full, as the tool `show` gives it
    GET  /api/tasks/ID/events?after=N      what happened to it after event N
    GET  /api/tasks/ID/checkpoints         a `CheckpointList`
    POST /api/tasks/ID/ACTION              pause, resume, cancel; approve, reject {text, digest,
                                           asked}; restore {number}
    POST /api/servers/NAME/restart         answered once it is on its way
    GET  /api/logs/NAME?after=PLACE        the end of a log, or what was added to it
    POST /api/login-keys                   a path that logs a browser in, once; bearer token only

Errors are `{"error": {code, message, hint}}`. Who may ask is judged by `guard` and `web_door`.
Above: the dashboards. Below: `overview`, and the tools' own handlers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, cast

import anyio
import anyio.abc
import anyio.to_thread
import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tale.errors import InvalidRequest, TaleError, TaskError
from tale.paths import Paths
from tale.servers.http_body import GONE, Disconnected, read_body
from tale.servers.log_end import log_end
from tale.servers.mcp_app import Handler
from tale.servers.overview import Overviews
from tale.servers.overview_sources import Sources
from tale.servers.overview_stream import stream_overview
from tale.servers.web_sessions import KEY_SECONDS, OneTimeKeys
from tale.tasks.progress import EventSource
from tale.telemetry import get_logger
from tale.wire.contracts import Event, ShowRequest, TaskRequest

__all__ = ["Actions", "WebApi"]

log = get_logger(__name__)

_HEARTBEAT_SECONDS: Final = 15.0
_MOST_EVENTS: Final = 500
_BODY_BYTES: Final = 1 << 20
_RESTART_SECONDS: Final = 120.0

Actions = Mapping[str, tuple[type[TaskRequest], Handler[Any, Any]]]
"""What may be done to a task, by the last word of its path: the request's shape, its handler."""
_Answer = Callable[[Request], Awaitable[Response]]


class WebApi:
    """The routes."""

    def __init__(
        self,
        overviews: Overviews,
        sources: Sources,
        events: EventSource,
        *,
        actions: Actions,
        keys: OneTimeKeys,
        paths: Paths,
        task_events: _Answer,
        background: anyio.abc.TaskGroup,
        heartbeat: float = _HEARTBEAT_SECONDS,
    ) -> None:
        """Make them.

        Args:
            overviews: What is shown.
            sources: Has servers restarted.
            events: Where the stored events of a task are read.
            actions: What may be done to a task; with `show` and `checkpoints`, which only read.
            keys: With which browsers log in.
            paths: Where the logs are.
            task_events: Answers `/api/events` where it is about one task.
            background: Where a restart goes on once it was answered.
            heartbeat: Seconds of silence after which a stream shows that it lives.
        """
        self._overviews = overviews
        self._sources = sources
        self._events = events
        self._actions = actions
        self._keys = keys
        self._paths = paths
        self._task_events = task_events
        self._background = background
        self._heartbeat = heartbeat

    def routes(self) -> list[Route]:
        """Give them."""
        return [
            Route("/api/overview", _answering(self.overview)),
            Route("/api/events", _answering(self.events)),
            Route("/api/tasks/{id}", _answering(self.task)),
            Route("/api/tasks/{id}/events", _answering(self.happened)),
            Route("/api/tasks/{id}/checkpoints", _answering(self.checkpoints)),
            Route("/api/tasks/{id}/{action}", _answering(self.act), methods=["POST"]),
            Route("/api/servers/{name}/restart", _answering(self.restart), methods=["POST"]),
            Route("/api/logs/{name}", _answering(self.logs)),
            Route("/api/login-keys", _answering(self.login_key), methods=["POST"]),
        ]

    async def overview(self, request: Request) -> Response:
        """Give all of it, once."""
        del request
        with self._overviews.watch():
            _, found = await self._overviews.whole()
        return _json(found)

    async def events(self, request: Request) -> Response:
        """Stream it as it changes, or one task's events."""
        if "task" in request.query_params:
            return await self._task_events(request)
        place = request.headers.get("last-event-id", "")
        stream = stream_overview(self._overviews, place, heartbeat=self._heartbeat)
        first = await anext(stream)  # where there are too many readers, this says so
        return StreamingResponse(
            _with_first(first, stream),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def task(self, request: Request) -> Response:
        """Give one task in full."""
        return await self._perform("show", ShowRequest, {"id": request.path_params["id"]})

    async def checkpoints(self, request: Request) -> Response:
        """List a task's checkpoints."""
        return await self._perform("checkpoints", TaskRequest, {"id": request.path_params["id"]})

    async def happened(self, request: Request) -> Response:
        """Give what happened to a task after an event; the latest where that is too much."""
        after = request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > 18:
            raise InvalidRequest(f"after={after!r} is not the number of an event.")
        task = request.path_params["id"]
        events, ended = await self._events.events(task, int(after))
        shown = [
            Event(task=task, seq=one.seq, at=one.at, kind=one.kind, data=dict(one.data))
            for one in events[-_MOST_EVENTS:]
        ]
        listed = [one.model_dump(mode="json") for one in shown]
        return _json({"task": task, "events": listed, "ended": ended})

    async def act(self, request: Request) -> Response:
        """Do something to a task."""
        name = request.path_params["action"]
        if name not in self._actions or name in _ONLY_READ:
            known = ", ".join(sorted(self._actions.keys() - _ONLY_READ))
            raise _NotFound(f"A task can't be told to {name!r}.", hint=f"It can be: {known}.")
        body = await _object_of(request)
        shape, _ = self._actions[name]
        log.info("web.action", action=name, task=request.path_params["id"])
        return await self._perform(name, shape, {**body, "id": request.path_params["id"]})

    async def restart(self, request: Request) -> Response:
        """Have a server restarted; it goes on after the answer, and shows in the overview."""
        name = request.path_params["name"]
        known = [server.name for server in (await self._sources.supervisor()).servers]
        if name not in known:
            raise _NotFound(f"There is no server {name!r}.", hint=f"There are: {', '.join(known)}.")
        log.info("web.restart", server=name)
        self._background.start_soon(self._restart, name)
        return _json({"server": name}, 202)

    async def _restart(self, name: str) -> None:
        with anyio.move_on_after(_RESTART_SECONDS):
            try:
                await self._sources.restart(name)
            except TaleError as error:
                log.warning("web.restart_failed", server=name, reason=error.message)

    async def logs(self, request: Request) -> Response:
        """Give the end of a server's log."""
        name, after = request.path_params["name"], request.query_params.get("after", "")
        names = await anyio.to_thread.run_sync(self._paths.log_names)
        if name not in names:
            raise _NotFound(f"{name!r} has no log.", hint=f"These have: {', '.join(names)}.")
        end = await anyio.to_thread.run_sync(log_end, self._paths.log_of(name), after)
        return _json({"server": name, "lines": list(end.lines), "next": end.place, "cut": end.cut})

    async def login_key(self, request: Request) -> Response:
        """Make a key for a browser."""
        del request
        path = f"/login?key={self._keys.make()}"
        return _json({"path": path, "seconds": KEY_SECONDS}, 201)

    async def _perform(
        self, name: str, shape: type[BaseModel], fields: Mapping[str, object]
    ) -> Response:
        try:
            request = shape.model_validate(fields)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            )
            raise InvalidRequest(f"{name}: {faults}.") from error
        return _json(await self._actions[name][1](request, _nobody))


_ONLY_READ: Final = frozenset({"show", "checkpoints"})


class _NotFound(TaskError):
    """There is no such thing to be done, or to be read."""

    code = "not_found"
    status = 404


async def _nobody(data: Mapping[str, object]) -> None:
    del data


async def _with_first(first: str, rest: AsyncGenerator[str]) -> AsyncGenerator[str]:
    try:
        yield first
        async for line in rest:
            yield line
    finally:
        await rest.aclose()


async def _object_of(request: Request) -> Mapping[str, object]:
    """Read a JSON object; without a body, an empty one.

    A browser sends `application/json` to another origin only with that one's leave (CORS).
    """
    body = await read_body(request.receive, request.headers.get("content-length"), _BODY_BYTES)
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise InvalidRequest("The body has to be application/json.")
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON in UTF-8: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The body has to be a JSON object.")
    return cast("dict[str, object]", found)


def _answering(handler: _Answer) -> _Answer:
    """Turn what a handler raises into an error body."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except TaleError as error:
            told = {"code": error.code, "message": error.message, "hint": error.hint}
            return _json({"error": told}, error.status)
        except Disconnected:
            return Response(status_code=GONE)

    return answer


def _json(value: object, status: int = 200) -> Response:
    body = value.model_dump_json() if isinstance(value, BaseModel) else orjson.dumps(value)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(body, status, headers, media_type="application/json")
