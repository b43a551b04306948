"""A tale to look at without one: overviews as the gateway would give them, and who stands in.

The source and the actions are the in-memory twins of the dashboard's own; they implement the same
Protocols.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tale.cli.checkpoint_view import Checkpoint
from tale.cli.log_files import Entry
from tale.cli.record import Record
from tale.cli.views import Task
from tale.dashboard.source import Update
from tale.errors import TaleError
from tale.servers.overview_facts import wrong
from tale.tasks.plan_text import write_plan_text
from tale.tasks.task import Subtask
from tale.wire.contracts import TaskView
from tale.wire.overview_contracts import (
    BreakerView,
    DaemonView,
    HistoryView,
    MachineView,
    ModelTokens,
    ModelView,
    Overview,
    ProposedPlan,
    RequestPoint,
    ServerView,
    SwitchingView,
    TokensView,
    TrendPoint,
)
from tale.wire.part_contracts import EtaView, PartView, ProgressView
from tale.wire.verdict import verdict

NOW = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
GIB = 1 << 30
MIB = 1 << 20


def ago(**spent: float) -> datetime:
    return NOW - timedelta(**spent)


def server(name: str, **fields: Any) -> ServerView:
    base: dict[str, Any] = {
        "name": name,
        "service": name.split("-", maxsplit=1)[0],
        "state": "ready",
        "pid": 4200,
        "started": ago(hours=2, minutes=5),
        "cpu": 1.2,
        "rss": 96 * MIB,
        "cpu_trend": (0.5, 1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 1.2),
    }
    return ServerView.model_validate({**base, **fields})


def model(role: Literal["ux", "task"], **fields: Any) -> ModelView:
    small = role == "ux"
    base: dict[str, Any] = {
        "name": "qwen2.5-coder-0.5b" if small else "qwen2.5-coder-1.5b",
        "role": role,
        "backend": "embedded",
        "state": "ready",
        "resident": True,
        "memory_bytes": (641 if small else 1290) * MIB,
        "pid": 4301,
        "starts": 1,
        "context": 8192,
        "slots": 4 if small else 1,
        "load_seconds": 1.9 if small else 4.2,
        "ttft_cold_ms": 812.0 if small else 2900.0,
        "ttft_warm_ms": 91.4 if small else 310.0,
        "tokens_per_second": 38.2 if small else 21.7,
        "requests": 210,
        "switching": SwitchingView(
            same_ms=91.0 if small else 300.0,
            switched_ms=103.0 if small else 318.0,
            reload_ms=2700.0 if small else 7100.0,
        ),
    }
    return ModelView.model_validate({**base, **fields})


def part(identifier: str, title: str, state: str, *depends_on: str, **fields: Any) -> PartView:
    percent = {"done": 100, "running": 40}.get(state, 0)
    base: dict[str, Any] = {"expected": 60.0, "percent": percent, "depends_on": depends_on}
    return PartView.model_validate(
        {"id": identifier, "title": title, "state": state, **base, **fields}
    )


def task(identifier: str, text: str, state: str, **fields: Any) -> TaskView:
    base: dict[str, Any] = {
        "workspace": f"/home/me/.local/share/tale/workspaces/{identifier}",
        "created": ago(minutes=6),
        "last_event": 12,
    }
    if state != "queued":
        base |= {
            "started": ago(minutes=5, seconds=55),
            "role": "task",
            "model": "qwen2.5-coder-1.5b",
        }
    if state in {"done", "failed", "cancelled"}:
        base["finished"] = ago(minutes=3)
    return TaskView.model_validate(
        {"id": identifier, "text": text, "state": state, **base, **fields}
    )


WEB_PARTS = (
    part("schema", "Database schema", "done", elapsed=42.0, check="test -s schema.sql", holds=True),
    part(
        "auth",
        "User authentication",
        "done",
        "schema",
        elapsed=75.0,
        check="3 tests passed",
        holds=True,
    ),
    part("api", "REST API", "running", "schema", elapsed=28.0, expected=90.0),
    part("pages", "Pages and forms", "waiting", "api", expected=80.0),
    part("tests", "Tests of it all", "waiting", "auth", "pages", expected=45.0),
    part("docs", "Deployment notes", "dropped", "api"),
)


PAUSED = ProgressView(state="paused", percent=66)


def running(**fields: Any) -> TaskView:
    progress = ProgressView(
        state="running",
        percent=43,
        elapsed=355.0,
        eta=EtaView(median=240.0, low=120.0, high=430.0),
        speed=21.4,
        tokens=4812,
        doing=("REST API",),
        tool="pytest -q tests/test_api.py",
        parts=WEB_PARTS,
    )
    text = "Build a complete web application with user authentication, database, and API"
    return task("t-7f3a", text, "running", progress=progress, **fields)


PLAN = write_plan_text(
    (
        Subtask("rename", "Rename the module", "Rename it.", writes=("shop/basket.py",)),
        Subtask("imports", "Mend the imports", "Mend them.", ("rename",), check="python -m shop"),
    )
)


def waiting(**fields: Any) -> TaskView:
    progress = ProgressView(
        state="approval",
        percent=8,
        elapsed=12.0,
        question="It planned 2 subtasks, about 2 min. Is that how it should go?",
    )
    shown: dict[str, Any] = {"plan": PLAN, "digest": "d1", "asked": "q1"}
    shown |= {"action": "ApprovePlan", **fields}
    text = "Rename cart to basket in the whole shop"
    return task("t-91c0", text, "waiting", progress=progress, **shown)


PROPOSED = ProposedPlan(
    task="t-91c0",
    digest="d1",
    parts=(
        part("rename", "Rename the module", "waiting", writes=("shop/basket.py",), expected=20.0),
        part("imports", "Mend the imports", "waiting", "rename", acceptance="python -m shop"),
    ),
)


def servers() -> tuple[ServerView, ...]:
    return (
        server("models", cpu=4.0, rss=188 * MIB),
        server("model-ux", cpu=0.4, rss=641 * MIB),
        server("model-task", cpu=186.0, rss=1290 * MIB, cpu_trend=(20.0, 120.0, 190.0, 186.0) * 4),
        server("execution-1", cpu=6.0),
        server("execution-2", cpu=0.3),
        server("gateway", cpu=3.1, rss=142 * MIB),
        server("ux", cpu=0.6, rss=131 * MIB),
    )


def tokens() -> TokensView:
    first = NOW.replace(minute=0).timestamp()
    day = (3, 0, 0, 0, 0, 0, 0, 1, 4, 9, 14, 12, 7, 5, 11, 18, 22, 9, 4, 2, 6, 13, 19, 8)
    return TokensView(
        requests=418,
        failed=2,
        prompt=412_300,
        cached=301_220,
        computed=111_080,
        completion=48_211,
        large_computed=88_120,
        naive_prompt=1_120_400,
        naive_completion=52_000,
        naive_computed=402_000,
        sent_saved=0.61,
        computed_saved=0.78,
        models=(
            ModelTokens(
                model="qwen2.5-coder-1.5b",
                role="task",
                requests=126,
                prompt=208_000,
                cached=151_000,
                computed=57_000,
                completion=31_120,
            ),
            ModelTokens(
                model="qwen2.5-coder-0.5b",
                role="ux",
                requests=292,
                prompt=204_300,
                cached=150_220,
                computed=54_080,
                completion=17_091,
            ),
        ),
        trend=tuple(
            TrendPoint(
                at=first - 3600 * (23 - hour),
                requests=many,
                prompt=many * 900,
                completion=many * 110,
                naive=many * 2600,
            )
            for hour, many in enumerate(day)
            if many
        ),
    )


def history() -> HistoryView:
    speeds = (19.0, 21.5, 22.1, 20.4, 17.2, 21.9, 22.4, 21.7, 20.9, 22.0)
    return HistoryView(
        requests=tuple(
            RequestPoint(
                number=number,
                at=NOW.timestamp() - 60 * (20 - number),
                model="qwen2.5-coder-1.5b" if number % 2 else "qwen2.5-coder-0.5b",
                ttft_ms=310.0,
                speed=speeds[number // 2] * (1 if number % 2 else 1.8),
            )
            for number in range(20)
        )
    )


def overview(**fields: Any) -> Overview:
    """All is well, and nothing was ever asked."""
    base: dict[str, Any] = {
        "at": NOW,
        "daemon": DaemonView(
            version="0.1.0",
            pid=4100,
            started=ago(hours=2, minutes=5),
            address="http://127.0.0.1:7433",
            well=True,
            verdict="All 7 servers are ready and both models are resident.",
        ),
        "machine": MachineView(memory_total=16 * GIB, memory_available=9 * GIB, cores=8, load=2.1),
        "servers": servers(),
        "models": (model("ux"), model("task")),
        "tokens": TokensView(),
    }
    return Overview.model_validate({**base, **fields})


def busy(**fields: Any) -> Overview:
    """Tasks in every state."""
    tasks = (
        running(),
        waiting(),
        task("t-0a11", "Summarise the meeting notes of last week in five points", "queued"),
        task("t-55aa", "Port the scraper to asyncio", "paused", progress=PAUSED),
        task(
            "t-1234",
            "hello world",
            "done",
            answer="Hello there.",
            finished=ago(minutes=5, seconds=53),
        ),
        task(
            "t-8888",
            "Write a complex Python web scraper",
            "done",
            check="4 tests passed",
            holds=True,
            files=("scraper.py", "test_scraper.py"),
            answer="The scraper is in `scraper.py`.",
        ),
        task(
            "t-dead",
            "Convert all videos in ~/Movies",
            "failed",
            error="ffmpeg is not installed here.",
            hint="Install ffmpeg, then `tale resume`.",
        ),
        task("t-c0de", "[red]not markup[/red] \x1b[31mnor\x1b[0m an escape", "cancelled"),
    )
    base: dict[str, Any] = {
        "tasks": tasks,
        "plans": (PROPOSED,),
        "tokens": tokens(),
        "history": history(),
        "models": (model("ux"), model("task", in_flight=1)),
    }
    return overview(**{**base, **fields})


def failing(**fields: Any) -> Overview:
    """A model is recovering, a server keeps failing, and another is not called."""
    found = list(servers())
    found[2] = server(
        "model-task",
        state="starting",
        restarts=3,
        rss=None,
        cpu=None,
        started=ago(seconds=4),
        last_exit="killed by signal 9 (out of memory?)",
    )
    found[3] = server(
        "execution-1",
        state="backoff",
        pid=None,
        started=None,
        rss=None,
        cpu=None,
        restarts=7,
        last_exit="exit code 1 after 0.4 s",
        crash_looping=True,
        tail=("Traceback (most recent call last):", "OSError: [Errno 28] No space left on device"),
        breakers=(BreakerView(caller="gateway", state="open"),),
    )
    troubles = ("The models server doesn't answer.",)
    down = model(
        "task",
        state="recovering",
        memory_bytes=None,
        detail="its process ended; started anew, 43 %",
        recoveries=3,
        fallbacks=5,
    )
    return busy(
        servers=tuple(found),
        models=(model("ux"), down),
        daemon=DaemonView(
            version="0.1.0",
            started=ago(minutes=12),
            well=False,
            verdict=verdict(wrong(found, (model("ux"), down), troubles), len(found), 0)[1],
        ),
        troubles=troubles,
        **fields,
    )


CHECKPOINTS = (
    Checkpoint(1, ago(minutes=5, seconds=50), "before its first effect", 3, 4_100, 0, False),
    Checkpoint(2, ago(minutes=5), "after part schema", 5, 9_800, 2, False),
    Checkpoint(3, ago(minutes=3), "after part auth", 9, 31_400, 4, True),
    Checkpoint(4, ago(seconds=40), "while api is worked on", 10, 40_112, 1, False),
)

LOG = tuple(
    Entry(name, f"2026-11-27T14:{minute:02}:{second:02}.120Z {level} tale.{name} {said}")
    for name, minute, second, level, said in (
        ("gateway", 28, 1, "INFO", "task.submitted task=t-7f3a parts=0"),
        ("execution-1", 28, 2, "INFO", "step.began task=t-7f3a part=plan"),
        ("models", 28, 14, "INFO", "request.done model=qwen2.5-coder-1.5b ttft=0.31"),
        ("gateway", 28, 15, "INFO", "plan.made task=t-7f3a parts=6"),
        ("execution-2", 29, 3, "WARNING", "program.slow line='pytest -q' seconds=21"),
        ("models", 29, 44, "ERROR", "backend.broke model=qwen2.5-coder-1.5b"),
        ("models", 29, 46, "INFO", "backend.recovered model=qwen2.5-coder-1.5b seconds=1.9"),
        ("gateway", 29, 58, "INFO", "checkpoint.taken task=t-7f3a number=4 changed=1 ms=22"),
    )
)


class Script:
    """A source that tells what a test has it tell."""

    def __init__(self, *updates: Update) -> None:
        self._updates: queue.Queue[Update] = queue.Queue()
        for update in updates:
            self.tell(update)

    def tell(self, update: Update) -> None:
        self._updates.put(update)

    def left(self) -> int:
        """How many of them nobody has taken yet."""
        return self._updates.unfinished_tasks

    def updates(self, stop: threading.Event) -> Iterator[Update]:
        while not stop.is_set():
            try:
                update = self._updates.get(timeout=0.05)
            except queue.Empty:
                continue
            yield update
            self._updates.task_done()


class Recorded:
    """Actions that are written down and done to nobody."""

    def __init__(self, checkpoints: Sequence[Checkpoint] = CHECKPOINTS) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fails: TaleError | None = None
        self.hold: threading.Event | None = None
        self.edited: str | None = None
        self.refuses: TaleError | None = None
        self.shown = waiting()
        self._checkpoints = tuple(checkpoints)

    def _note(self, *call: object) -> str:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        return "It is done."

    def show(self, task: str) -> Task:
        self._note("show", task)
        return Task.read(Record(self.shown.model_dump(mode="json")))

    def checkpoints(self, task: str) -> tuple[Checkpoint, ...]:
        del task
        if self.hold is not None:
            self.hold.wait(30)
        return self._checkpoints

    def edit(self, plan: str) -> str | None:
        self._note("edit", plan)
        return self.edited

    def approve(self, task: Task, text: str) -> str:
        said = self._note("approve", task.id, task.asked, task.digest, text)
        if self.refuses is not None:
            raise self.refuses
        return said

    def reject(self, task: Task, text: str) -> str:
        return self._note("reject", task.id, task.asked, task.digest, text)

    def pause(self, task: str) -> str:
        return self._note("pause", task)

    def resume(self, task: str) -> str:
        return self._note("resume", task)

    def cancel(self, task: str) -> str:
        return self._note("cancel", task)

    def restore(self, task: str, number: int, *, pause: bool) -> str:
        return self._note("restore", task, number, pause)

    def restart(self, server: str) -> str:
        return self._note("restart", server)

    def start(self) -> str:
        return self._note("start")


class Written:
    """A log that doesn't grow unless a test says so."""

    def __init__(self, entries: Sequence[Entry] = LOG) -> None:
        self.entries = tuple(entries)

    def latest(self) -> tuple[Entry, ...]:
        return self.entries
