"""The gateway's web side over a real port, with real tasks in a store and everybody else in memory.

Tasks are moved by hand: what the engine would record is recorded here and published.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from tale.config import Settings
from tale.errors import DaemonError, ServiceUnavailable
from tale.models.pool_stats import ModelStatus, PoolStatus, Switching
from tale.models.trend import Ended, Hour, Trend
from tale.models.usage import NaiveSum, UsageLine, UsageReport
from tale.paths import Paths
from tale.servers.guard import Guard
from tale.servers.overview import Overviews, Pace
from tale.servers.overview_facts import SupervisorReport
from tale.servers.overview_tasks import TaskLooks
from tale.servers.task_shapes import shown_of, view_of
from tale.servers.web_api import Actions, WebApi
from tale.servers.web_door import WebDoor
from tale.servers.web_page import WebPage
from tale.servers.web_sessions import OneTimeKeys, Sessions
from tale.storage.database import Database
from tale.tasks.judging import kind_of
from tale.tasks.leave import Answer, Asked
from tale.tasks.plan_text import write_plan_text
from tale.tasks.progress import ProgressHub
from tale.tasks.store import NewTask, TaskStore, utc_now
from tale.tasks.task import StepResult, Subtask, Task, TokensSpent
from tale.tasks.task_rows import Change
from tale.tasks.watching import Watching
from tale.wire.checkpoint_contracts import (
    CheckpointList,
    CheckpointRequest,
    CheckpointView,
    RestoreReply,
)
from tale.wire.contracts import ShowRequest, TaskRequest, TaskView, VerdictRequest

TOKEN: Final = "token-of-the-web"
QUICK: Final = Pace(0.05, 0.05, 0.05, 0.05, 0.05, memory=0.05, told=0.02)


def server(name: str, **more: object) -> dict[str, object]:
    """Describe a server as the supervisor does."""
    facts: dict[str, object] = {
        "name": name,
        "service": name.rpartition("-")[0] or name,
        "state": "ready",
        "pid": 4000 + len(name),
        "url": f"http://127.0.0.1/{name}",
        "restarts": 0,
        "starts": 1,
        "uptime": 4000.0,
        "rss": 90 << 20,
        "cpu": 1.5,
        "last_exit": None,
        "foreign": False,
        "crash_looping": False,
        "tail": [],
        "fds": 20,
        "threads": 5,
        "growth": 0.0,
        "history": [{"at": 5.0 * n, "cpu": 1.0 + n % 3, "rss": 90 << 20} for n in range(30)],
        "exits": [],
    }
    return {**facts, **more}


def model(name: str, role: Any, pid: int, memory: int, **more: Any) -> ModelStatus:
    """Describe a model as the pool does."""
    facts: dict[str, Any] = {
        "role": role,
        "name": name,
        "backend": "embedded",
        "state": "ready",
        "detail": "",
        "resident": True,
        "memory_bytes": memory,
        "pid": pid,
        "starts": 1,
        "context": 8192,
        "slots": 2,
        "load_seconds": 1.4,
        "ttft_cold_ms": 4100.0,
        "ttft_warm_ms": 270.0,
        "tokens_per_second": 38.2,
        "requests": 131,
        "fallbacks": 0,
        "recoveries": 0,
        "last_error": "",
        "in_flight": 0,
        "waiting": 0,
    }
    return ModelStatus(**{**facts, **more})


UX, TASK = "Qwen2.5-Coder-0.5B-Instruct", "Qwen2.5-Coder-1.5B-Instruct"


def trend(now: float) -> Trend:
    """A busy hour: the small model answers often, the large one works in between."""
    ended = [
        Ended(
            number=n + 1,
            at=now - 3500 + 35 * n,
            model=TASK if n % 5 in (2, 3) else UX,
            ttft_ms=(900 if n % 5 in (2, 3) else 260) * (1 + 0.4 * math.sin(n)),
            speed=(19 if n % 5 in (2, 3) else 38) + 2 * math.sin(n * 1.7),
        )
        for n in range(100)
    ]
    hour = now // 3600 * 3600
    hours = [
        Hour(hour - 3600 * n, 20 + n, 9000 + 800 * n, 6000, 2000 + 100 * n, 24000 + 1900 * n)
        for n in range(9, -1, -1)
    ]
    return Trend(tuple(ended), tuple(hours))


class MemorySources:
    """The daemon as a test wants it."""

    def __init__(self) -> None:
        names = ("models", "fork-server", "gateway", "execution-1", "execution-2", "ux")
        self.servers = [server(name) for name in names]
        self.servers += [
            server("model-ux", pid=11, rss=620 << 20, cpu=0.4),
            server("model-task", pid=12, rss=1400 << 20, cpu=88.0),
        ]
        self.models: tuple[ModelStatus, ...] = (
            model(UX, "ux", 11, 620 << 20, slots=4),
            model(TASK, "task", 12, 1400 << 20, tokens_per_second=19.4, in_flight=1),
        )
        self.known = Trend()
        self.gone: set[str] = set()
        self.restarted: list[str] = []
        self.looks = 0

    async def supervisor(self) -> SupervisorReport:
        self.looks += 1
        self._here("supervisor")
        return SupervisorReport.model_validate(
            {"pid": 1, "started": "2026-11-27T05:00:00Z", "servers": self.servers}
        )

    async def pool(self) -> PoolStatus:
        self._here("pool")
        switching = (
            Switching("ux", 262.0, 281.0, 5500.0),
            Switching("task", 610.0, 640.0, 9800.0),
        )
        return PoolStatus(self.models, switching, 3 << 30, 1 << 30)

    async def usage(self) -> UsageReport:
        self._here("usage")
        ux = UsageLine(UX, "ux", "chat", 80, 1, 61_000, 48_000, 13_000, 9_000)
        task = UsageLine(TASK, "task", "code", 51, 0, 88_000, 41_000, 47_000, 21_000)
        total = UsageLine("", None, "", 131, 1, 149_000, 89_000, 60_000, 30_000)
        return UsageReport(
            None, (task, ux), total, 68_000, NaiveSum(402_000, 44_000, 190_000), 0.6, 0.642
        )

    async def trend(self, after: int) -> Trend:
        self._here("trend")
        ended = tuple(one for one in self.known.ended if one.number > after)
        return Trend(ended, self.known.hours)

    async def wire(self, url: str) -> Mapping[str, Any]:
        if not url.endswith("gateway"):
            return {}
        called = [f"execution-{n}" for n in (1, 2)]
        return {"instances": [{"name": n, "breaker": "closed", "in_flight": 1} for n in called]}

    async def restart(self, name: str) -> None:
        if name not in [one["name"] for one in self.servers]:
            raise DaemonError(f"There is no server {name!r}.")
        self.restarted.append(name)

    def _here(self, name: str) -> None:
        if name in self.gone:
            raise ServiceUnavailable(f"the {name} is not there")


class World:
    """What a test has in its hands."""

    def __init__(
        self,
        home: Path,
        *,
        store: TaskStore,
        hub: ProgressHub,
        watching: Watching,
        overviews: Overviews,
        sources: MemorySources,
    ) -> None:
        self.home = home
        self.store = store
        self.hub = hub
        self.watching = watching
        self.overviews = overviews
        self.sources = sources
        self.keys = OneTimeKeys(time.monotonic)
        self.sessions = Sessions(TOKEN, time.time)
        self.restored: list[int] = []
        self.url = ""
        self.port = 0

    def tell(self, change: Change | Task) -> str:
        """Publish what was recorded; gives the task's id."""
        if isinstance(change, Task):
            return change.id
        self.hub.publish(change.event)
        return change.task.id

    async def task(self, text: str, *parts: Subtask, started: bool = True) -> str:
        """Record a task, and let it run."""
        identity = self.tell(await self.store.add(NewTask(text, subtasks=parts)))
        if started:
            self.tell(await self.store.start(identity, "task", "it writes a program"))
        return identity

    async def note(self, task: str, kind: str, **data: object) -> None:
        """Record that something happens to a task."""
        self.tell(await self.store.note(task, kind, data))

    async def ask(self, task: str, asked: Asked) -> None:
        """Let a task ask its user."""
        found = await self.store.ask(task, asked, None)
        assert isinstance(found, Change)
        self.tell(found)

    async def finish(self, task: str, answer: str, *files: str) -> None:
        """Let a task be done."""
        spent = TokensSpent(2100, 380, 900)
        result = StepResult(answer, TASK, "task", files, spent, holds=True, check="pytest -q")
        self.tell(await self.store.finish(task, result))

    def actions(self) -> Actions:
        return {
            "show": (ShowRequest, self._show),
            "pause": (TaskRequest, self._pause),
            "resume": (TaskRequest, self._resume),
            "cancel": (TaskRequest, self._cancel),
            "approve": (VerdictRequest, self._approve),
            "reject": (VerdictRequest, self._reject),
            "checkpoints": (TaskRequest, self._checkpoints),
            "restore": (CheckpointRequest, self._restore),
        }

    async def _show(self, request: ShowRequest, progress: object) -> TaskView:
        task = await self.store.get(request.id)
        return shown_of(task, await self.watching.of(task.id))

    async def _pause(self, request: TaskRequest, progress: object) -> TaskView:
        return await self._view(self.tell(await self.store.pause(request.id)))

    async def _resume(self, request: TaskRequest, progress: object) -> TaskView:
        return await self._view(self.tell(await self.store.resume(request.id)))

    async def _cancel(self, request: TaskRequest, progress: object) -> TaskView:
        return await self._view(self.tell(await self.store.cancel(request.id)))

    async def _approve(self, request: VerdictRequest, progress: object) -> TaskView:
        return await self._answer(request, approved=True)

    async def _reject(self, request: VerdictRequest, progress: object) -> TaskView:
        return await self._answer(request, approved=False)

    async def _answer(self, request: VerdictRequest, *, approved: bool) -> TaskView:
        said = Answer(approved, request.text, request.digest, request.asked)
        return await self._view(self.tell(await self.store.answer(request.id, said)))

    async def _checkpoints(self, request: TaskRequest, progress: object) -> CheckpointList:
        await self.store.get(request.id)
        kept = [
            CheckpointView(
                number=n,
                id=f"c{n}",
                at=utc_now(),
                why=why,
                files=3 * n,
                size=4200 * n,
                stored=900,
                changes=2,
                changed=("app.py", "test_app.py"),
                pinned=False,
                omissions=0,
                left_out=(),
            )
            for n, why in ((1, "before it began"), (2, "after: write the models"))
        ]
        return CheckpointList(task=request.id, checkpoints=tuple(kept))

    async def _restore(self, request: CheckpointRequest, progress: object) -> RestoreReply:
        self.restored.append(request.number)
        return RestoreReply(
            task=await self._view(request.id),
            number=request.number,
            saved=3,
            written=2,
            removed=0,
            kept=(),
            again=(),
            anew=False,
        )

    async def _view(self, identity: str) -> TaskView:
        return view_of(await self.store.get(identity))

    def link(self) -> str:
        """Give a link that logs in."""
        return f"{self.url}/login?key={self.keys.make()}"

    def session(self) -> dict[str, str]:
        """Give the headers with which the page asks."""
        session = self.sessions.begin()
        return {
            "Cookie": f"tale_session={session.cookie}",
            "X-Tale-Seal": session.seal,
            "Origin": self.url,
        }


async def _task_events(request: Request) -> Response:
    return Response(f"the events of {request.query_params['task']}")


@asynccontextmanager
async def composed(
    home: Path, *, pace: Pace = QUICK, heartbeat: float = 15
) -> AsyncGenerator[tuple[World, Starlette]]:
    """Put it together, without a port."""
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    paths.logs.mkdir(parents=True)
    async with (
        Database.open(paths, Settings()) as database,
        anyio.create_task_group() as tasks,
    ):
        store = TaskStore(database, paths.workspaces)
        hub = ProgressHub(store)
        watching = Watching(store, kind_of=kind_of, lanes=2, now=utc_now)
        hub.listen(watching.take)
        sources = MemorySources()
        overviews = Overviews(
            sources,
            TaskLooks(store, watching),
            address=lambda: "http://127.0.0.1:7433",
            now=utc_now,
            pace=pace,
        )
        hub.listen(overviews.take)
        world = World(
            home, store=store, hub=hub, watching=watching, overviews=overviews, sources=sources
        )
        api = WebApi(
            overviews,
            sources,
            store,
            actions=world.actions(),
            keys=world.keys,
            paths=paths,
            task_events=_task_events,
            background=tasks,
            heartbeat=heartbeat,
        )
        page = WebPage(world.keys, world.sessions)
        tasks.start_soon(overviews.run)
        yield world, Starlette(routes=[*api.routes(), *page.routes()])
        tasks.cancel_scope.cancel()


class Port:
    """The same over a port that can be shut and opened again."""

    def __init__(self, app: Starlette, port: int = 0) -> None:
        self._app = app
        self.port = port
        self._server: uvicorn.Server | None = None
        self._over = anyio.Event()

    async def open(self, tasks: anyio.abc.TaskGroup) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        sock.listen()
        self.port = sock.getsockname()[1]
        guarded = Guard(self._app, TOKEN, WebDoor(TOKEN))
        config = uvicorn.Config(
            guarded, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._over = anyio.Event()
        tasks.start_soon(self._run, self._server, sock)
        while not self._server.started:
            await anyio.lowlevel.checkpoint()

    async def _run(self, server: uvicorn.Server, sock: socket.socket) -> None:
        await server.serve([sock])
        self._over.set()

    async def shut(self) -> None:
        """Break every connection and listen no more."""
        if self._server:
            self._server.should_exit = self._server.force_exit = True
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await self._over.wait()


@asynccontextmanager
async def served(home: Path, *, pace: Pace = QUICK) -> AsyncGenerator[tuple[World, Port]]:
    """Put it together over a port."""
    async with composed(home, pace=pace) as (world, app), anyio.create_task_group() as tasks:
        port = Port(app)
        await port.open(tasks)
        world.port = port.port
        world.url = f"http://127.0.0.1:{port.port}"
        yield world, port
        world.overviews.broadcast.close()
        await port.shut()


def parts(*rows: tuple[str, str, Sequence[str]]) -> tuple[Subtask, ...]:
    """Make the parts of a plan."""
    return tuple(
        Subtask(name, title, f"{title}.", tuple(after), kind="code") for name, title, after in rows
    )


PLAN: Final = write_plan_text(
    [
        Subtask(
            "models",
            "Write the models of users and notes",
            "Write models.py with the classes User and Note.",
            kind="code",
            writes=("models.py",),
        ),
        Subtask(
            "api",
            "Write the API on top of them",
            "Write api.py, which serves users and notes.",
            ("models",),
            kind="code",
            writes=("api.py",),
            check="pytest -q",
        ),
        Subtask("pages", "Write the pages", "Write index.html.", ("api",), kind="code"),
    ]
)
