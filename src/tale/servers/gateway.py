"""The gateway server: takes tasks, runs them through the engine, tells their progress.

MCP tools `submit`, `show`, `list`, `cancel`, `pause`, `resume`, `approve`, `reject`, and
`/api/events`, one task's events as server-sent events. It alone writes tasks, and a task is
recorded before its id is told. Above: the command line, the ux server, any MCP client. Below:
`tasks.engine` here, the execution servers by way of `servers.steps`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tale.config import NotifySettings
from tale.errors import TaleError
from tale.models.catalog import action_form
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import RemoteWorkers, judge, kind_of
from tale.servers.task_stream import stream_events, write_outlook
from tale.storage.backup import keep_backed_up
from tale.storage.database import Database
from tale.tasks.agent import work
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.dbos_journal import DbosJournal
from tale.tasks.engine import Agent, Engine
from tale.tasks.equip import Equipping
from tale.tasks.leave import Answer, Trust
from tale.tasks.notifier import Channel, Desktop, Notifier, Webhook, http_post
from tale.tasks.plan import check_plan
from tale.tasks.progress import ProgressHub
from tale.tasks.rebuilt import see_to_lost_tasks
from tale.tasks.steady_clock import SteadyClock
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import STEP_SECONDS, Role, Subtask, Task, check_prompt
from tale.tasks.tooling import rules_of
from tale.tasks.watching import Watching
from tale.tasks.workspace import check_workspace
from tale.wire.contracts import (
    APPROVE,
    ASK,
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
    TaskList,
    TaskRequest,
    TaskView,
    UsageView,
    VerdictRequest,
)
from tale.wire.pool import Services

__all__ = ["Gateway", "compose", "main"]

_HEARTBEAT_SECONDS: Final = 15.0


class Gateway:
    """The gateway's tools and routes."""

    def __init__(
        self,
        engine: Engine,
        store: TaskStore,
        hub: ProgressHub,
        *,
        watching: Watching,
        check_folder: Callable[[str], Path],
        heartbeat: float = _HEARTBEAT_SECONDS,
    ) -> None:
        """Make one.

        Args:
            engine: Runs what is submitted.
            store: Is asked for what there is.
            hub: Is listened to for what happens.
            watching: Is asked how far a task is.
            check_folder: Resolves a workspace that a user named, or refuses it.
            heartbeat: Seconds of silence after which an event stream shows that it lives.
        """
        self._engine = engine
        self._store = store
        self._hub = hub
        self._watching = watching
        self._check_folder = check_folder
        self._heartbeat = heartbeat

    def app(self) -> Starlette:
        """Build the application that serves them."""
        app = McpApp(
            "gateway",
            "tale works in the background, on this machine, with local language models. `submit` "
            "a piece of work, then `show` it, with `wait`, until it is done, failed or cancelled. "
            "One that is `waiting` needs its user's word: `approve` or `reject`.",
        )
        app.add(SUBMIT, self.submit)
        app.add(SHOW, self.show)
        app.add(LIST, self.list)
        app.add(CANCEL, self.cancel)
        app.add(PAUSE, self.pause)
        app.add(RESUME, self.resume)
        app.add(APPROVE, self.approve)
        app.add(REJECT, self.reject)
        return app.build([Route("/api/events", self.events)])

    async def submit(self, request: SubmitRequest, progress: Progress) -> TaskView:
        """Record a task and start it."""
        del progress
        text = check_prompt(request.text)
        folder = None
        if request.workspace is not None:
            folder = await anyio.to_thread.run_sync(self._check_folder, request.workspace)
        parts = check_plan(
            [Subtask(one.id, one.title, one.text, one.depends_on) for one in request.subtasks]
        )
        new = NewTask(
            text,
            request.key,
            str(folder) if folder else None,
            request.priority,
            request.session,
            parts,
        )
        return _view(await self._engine.submit(new))

    async def show(self, request: ShowRequest, progress: Progress) -> TaskView:
        """Show one task; with `wait`, once it has ended, asks its user, or the time is over."""
        del progress
        task = await self._store.get(request.id)
        if request.wait and task.state != "waiting":
            with (
                anyio.move_on_after(request.wait),
                self._hub.subscribe(task.id, task.last_event) as events,
            ):
                async for event in events:
                    if event.kind == "approval":
                        break
            task = await self._store.get(request.id)
        shown = write_outlook(await self._watching.of(task.id))
        return _view(task).model_copy(update={"progress": shown})

    async def list(self, request: ListRequest, progress: Progress) -> TaskList:
        """List tasks, newest first."""
        del progress
        tasks = await self._store.newest(state=request.state, limit=request.limit)
        return TaskList(tasks=tuple(map(_view, tasks)))

    async def cancel(self, request: TaskRequest, progress: Progress) -> TaskView:
        """End a task; one that has ended stays as it is."""
        del progress
        return _view(await self._engine.cancel(request.id))

    async def pause(self, request: TaskRequest, progress: Progress) -> TaskView:
        """Let a task rest."""
        del progress
        return _view(await self._engine.pause(request.id))

    async def resume(self, request: TaskRequest, progress: Progress) -> TaskView:
        """Let a paused task go on."""
        del progress
        return _view(await self._engine.resume(request.id))

    async def approve(self, request: VerdictRequest, progress: Progress) -> TaskView:
        """Let a task do what it asks for, or answer its question."""
        del progress
        return _view(await self._engine.answer(request.id, Answer(True, request.text)))

    async def reject(self, request: VerdictRequest, progress: Progress) -> TaskView:
        """Don't let a task do what it asks for."""
        del progress
        return _view(await self._engine.answer(request.id, Answer(False, request.text)))

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


@asynccontextmanager
async def compose(context: ServerContext, *, agent: Agent = work) -> AsyncGenerator[Starlette]:
    """Build the gateway and run its engine."""
    settings, paths = context.settings, context.paths

    def check_folder(given: str) -> Path:
        return check_workspace(given, home=Path.home(), private=(paths.data,))

    async with (
        Database.open(paths, settings) as database,
        Services(
            context.leash,
            services={ASK.service},
            token=context.leash.token,
            metrics=context.metrics,
        ).open() as services,
        anyio.create_task_group() as tasks,
    ):
        clock = SteadyClock()
        store = TaskStore(database, paths.workspaces, now=clock)
        hub = ProgressHub(store)
        models = settings.models
        # One of the ux model's slots stays free for whoever chats.
        lanes: dict[Role, int] = {
            "ux": max(1, models.ux.slots - 1),
            "task": max(models.task.slots, settings.execution.replicas),
        }
        watching = Watching(store, kind_of=kind_of, lanes=lanes["task"], now=clock)
        hub.listen(watching.take)
        notifier = Notifier(
            store,
            _channels(settings.notify),
            told=paths.data / "notified.json",
            wanted=settings.notify.on,
            now=clock,
        )
        hub.listen(notifier.take)
        checkpoints = CheckpointStore(paths.checkpoints)
        keeper = Checkpointing(checkpoints)
        workers = RemoteWorkers(services, context.leash, deadline=STEP_SECONDS)
        external = [name for name, one in settings.mcpServers.items() if not one.disabled]
        engine = Engine(
            store,
            hub,
            DbosJournal(paths.steps, settings.database_url),
            workers,
            agent=agent,
            judge=judge,
            lanes=lanes,
            forms={"ux": action_form(models.ux.name), "task": action_form(models.task.name)},
            keeper=keeper,
            equip=Equipping(workers.listed, external) if external else None,
            trust=Trust(
                settings.tasks.permission,
                rules_of(settings.mcpServers),
                sandboxed=settings.sandbox.kind != "none",
            ),
        )
        if database.file:
            await see_to_lost_tasks(store, checkpoints, database.file, paths.workspaces)
            tasks.start_soon(keep_backed_up, database.file)
        await tasks.start(keeper.run)
        await tasks.start(engine.run)
        tasks.start_soon(notifier.run)
        tasks.start_soon(_close_when, context.stopping, hub)
        yield Gateway(engine, store, hub, watching=watching, check_folder=check_folder).app()
        tasks.cancel_scope.cancel()


def _channels(wanted: NotifySettings) -> list[Channel]:
    channels: list[Channel] = []
    if wanted.desktop:
        channels.append(Desktop())
    if wanted.webhook:
        channels.append(
            Webhook(wanted.webhook, wanted.webhook_secret.get_secret_value(), http_post)
        )
    return channels


async def _close_when(stopping: anyio.Event, hub: ProgressHub) -> None:
    """End the event streams, which would hold the server up; readers go on from where they are."""
    await stopping.wait()
    hub.close()


def main() -> None:
    """Run the gateway server."""
    run_server(compose, port=lambda settings: settings.gateway.port)


def _view(task: Task) -> TaskView:
    usage = task.usage
    return TaskView(
        id=task.id,
        text=task.text,
        state=task.state,
        workspace=task.workspace,
        priority=task.priority,
        session=task.session,
        created=task.created,
        started=task.started,
        finished=task.finished,
        answer=task.answer,
        files=task.files,
        role=task.role,
        model=task.model,
        reason=task.reason,
        usage=UsageView(prompt=usage.prompt, completion=usage.completion, cached=usage.cached),
        error=task.error,
        hint=task.hint,
        last_event=task.last_event,
    )


def _error(status: int, code: str, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)


if __name__ == "__main__":
    main()
