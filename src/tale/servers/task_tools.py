"""The gateway's own tools: submit a task, look at it, have it rest, and answer what it asks.

With `/api/events`, one task's events as server-sent events. Above: `servers.gateway`, which
composes it. Beside: `approving`. Below: `tasks.engine` (runs tasks), `tasks.store` (has them),
`tasks.watching` (how far they are).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tale.errors import TaleError
from tale.prompts import GATEWAY_TOOLS
from tale.servers.approving import Approving
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.task_shapes import shown_of, view_of
from tale.servers.task_stream import stream_events, write_outlook
from tale.tasks.engine import Engine
from tale.tasks.judging import work_kind
from tale.tasks.leave import Answer
from tale.tasks.plan import check_plan
from tale.tasks.progress import ProgressHub
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import Subtask, Task, check_prompt
from tale.tasks.watching import Watching
from tale.wire.contracts import (
    APPROVE,
    CANCEL,
    LIST,
    PAUSE,
    REJECT,
    RESUME,
    SHOW,
    SUBMIT,
    ListRequest,
    ShowRequest,
    SubmitRequest,
    SubtaskRequest,
    TaskList,
    TaskRequest,
    TaskView,
    VerdictRequest,
)

__all__ = ["TaskTools"]

_HEARTBEAT_SECONDS: Final = 15.0
_TELL_SECONDS: Final = 1.0


class TaskTools:
    """The tools and the route."""

    def __init__(
        self,
        engine: Engine,
        store: TaskStore,
        hub: ProgressHub,
        *,
        watching: Watching,
        check_folder: Callable[[str], Path],
        heartbeat: float = _HEARTBEAT_SECONDS,
        further: Sequence[Callable[[McpApp], None]] = (),
    ) -> None:
        """Make one.

        Args:
            engine: Runs what is submitted.
            store: Is asked for what there is.
            hub: Is listened to for what happens.
            watching: Is asked how far a task is.
            check_folder: Resolves a workspace that a user named, or refuses it.
            heartbeat: Seconds of silence after which an event stream shows that it lives.
            further: Add tools that are served beside its own.
        """
        self._engine = engine
        self._store = store
        self._hub = hub
        self._watching = watching
        self._check_folder = check_folder
        self._heartbeat = heartbeat
        self._further = further

    def app(self, routes: Sequence[Route] | None = None) -> Starlette:
        """Build the application that serves them.

        Args:
            routes: Plain HTTP beside the tools; by default `/api/events` of one task.
        """
        app = McpApp(
            "gateway",
            GATEWAY_TOOLS,
        )
        app.add(SUBMIT, self.submit)
        asks = Approving(self._engine, self._hub, self._watching)
        app.add(SHOW, self.show, asks=asks)
        app.add(LIST, self.list)
        app.add(CANCEL, self.cancel)
        app.add(PAUSE, self.pause)
        app.add(RESUME, self.resume)
        app.add(APPROVE, self.approve)
        app.add(REJECT, self.reject)
        for add in self._further:
            add(app)
        return app.build([Route("/api/events", self.events)] if routes is None else routes)

    async def submit(self, request: SubmitRequest, progress: Progress) -> TaskView:
        """Record a task and start it."""
        del progress
        text = check_prompt(request.text)
        folder = None
        if request.workspace is not None:
            folder = await anyio.to_thread.run_sync(self._check_folder, request.workspace)
        parts = check_plan(list(map(_part, request.subtasks)))
        new = NewTask(
            text,
            request.key,
            str(folder) if folder else None,
            request.priority,
            request.session,
            subtasks=parts,
            permission=request.permission,
            approve=request.approve,
            private=request.private,
        )
        return view_of(await self._engine.submit(new))

    async def show(self, request: ShowRequest, progress: Progress) -> TaskView:
        """Show one task; with `wait`, once it has ended, asks its user, or the time is over."""
        task = await self._store.get(request.id)
        if request.wait and task.state != "waiting":
            with anyio.move_on_after(request.wait):
                async with anyio.create_task_group() as telling:
                    telling.start_soon(self._tell, task.id, progress)
                    await self._rested(task)
                    telling.cancel_scope.cancel()
            task = await self._store.get(request.id)
        found = await self._watching.of(task.id)
        return shown_of(task, found, reasoning=request.reasoning)

    async def _rested(self, task: Task) -> None:
        """Wait until a task has ended or asks its user."""
        with self._hub.subscribe(task.id, task.last_event) as events:
            async for event in events:
                if event.kind == "approval":
                    break

    async def _tell(self, identity: str, progress: Progress) -> None:
        """Tell whoever waits how far a task is, until cancelled."""
        told = ""
        while True:
            shown = write_outlook(await self._watching.of(identity))
            if shown.words != told:
                told = shown.words
                await progress({"percent": shown.percent, "words": told})
            await anyio.sleep(_TELL_SECONDS)

    async def list(self, request: ListRequest, progress: Progress) -> TaskList:
        """List tasks, newest first."""
        del progress
        tasks = await self._store.newest(state=request.state, limit=request.limit)
        return TaskList(tasks=tuple(map(view_of, tasks)))

    async def cancel(self, request: TaskRequest, progress: Progress) -> TaskView:
        """End a task; one that has ended stays as it is."""
        del progress
        return view_of(await self._engine.cancel(request.id))

    async def pause(self, request: TaskRequest, progress: Progress) -> TaskView:
        """Let a task rest."""
        del progress
        return view_of(await self._engine.pause(request.id))

    async def resume(self, request: TaskRequest, progress: Progress) -> TaskView:
        """Let a paused task go on."""
        del progress
        return view_of(await self._engine.resume(request.id))

    async def approve(self, request: VerdictRequest, progress: Progress) -> TaskView:
        """Let a task do what it asks for, or answer its question."""
        del progress
        said = Answer(True, request.text, request.digest, request.asked)
        return view_of(await self._engine.answer(request.id, said))

    async def reject(self, request: VerdictRequest, progress: Progress) -> TaskView:
        """Don't let a task do what it asks for."""
        del progress
        said = Answer(False, request.text, request.digest, request.asked)
        return view_of(await self._engine.answer(request.id, said))

    async def events(self, request: Request) -> Response:
        """Stream a task's events after number `after` (or the header Last-Event-ID) to its end.

        With `progress` there is also an event that says how far it is, whenever that has changed.
        """
        task = request.query_params.get("task", "")
        after = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
        if not after.isdecimal():
            message = f"after={after!r} is not the number of an event."
            return _error(400, "bad_arguments", message, "Leave it out to get all of them.")
        try:
            await self._store.get(task)
        except TaleError as error:
            return _error(error.status, error.code, error.message, error.hint)
        with_progress = request.query_params.get("progress", "0") != "0"
        return StreamingResponse(
            stream_events(
                self._hub,
                task,
                int(after),
                heartbeat=self._heartbeat,
                watching=self._watching if with_progress else None,
            ),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )


def _part(request: SubtaskRequest) -> Subtask:
    return Subtask(
        request.id,
        request.title,
        request.text,
        request.depends_on,
        kind=request.kind or work_kind(request.text),
        reads=request.reads,
        writes=request.writes,
        check=request.check,
        size=request.size,
        priority=request.priority,
    )


def _error(status: int, code: str, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)
