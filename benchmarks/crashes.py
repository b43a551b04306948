"""What crashes cost: a task of twelve parts while its processes are killed at random moments.

Real gateway and execution servers, in the place of the supervisor this program, which starts anew
whoever dies. Each run has a seed that says who is killed when. At each blow it is noted which steps
are recorded; what the witness file says after that about one of them was done twice. Beside it what
a recorded step costs, what two hundred tasks at once do, and how soon a task runs again after
everything was killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.crash_parts import OPERATIONS, expected
from benchmarks.installation import Installation
from benchmarks.report import Figure, Report, median, spread
from tale.cli.client import McpClient
from tale.tasks.dbos_journal import DbosJournal
from tale.tasks.durable import Json, Recorder
from tale.wire.contracts import (
    SHOW,
    SUBMIT,
    ShowRequest,
    SubmitRequest,
    SubtaskRequest,
    TaskView,
)
from tale.wire.leash import Hello, Peer, Peers, Ready, decode_child, encode
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

__all__ = ["measure"]

TOKEN: Final = "token-of-the-benchmark"  # noqa: S105 - no secret
_RUNS: Final = int(os.environ.get("TALE_CRASH_RUNS", "200"))
_SEED: Final = int(os.environ.get("TALE_CRASH_SEED", "1"))
_KILLS: Final = (1, 4)
_WITHIN_SECONDS: Final = 1.0
"""A run without a blow takes about two seconds."""
_PARTS: Final = {
    "gateway": "gateway",
    "execution-1": "execution",
    "execution-2": "execution",
}
_PLAN: Final = {
    "a": "",
    **dict.fromkeys("bcde", "a"),
    "f": "bc",
    "g": "de",
    **dict.fromkeys("hij", "fg"),
    "k": "hij",
    "l": "k",
}
_STRIDE: Final = int(os.environ.get("TALE_CRASH_STRIDE", "3"))
_QUICK: Final = 0.004
_USUAL: Final = 0.1
"""Seconds that a quarter of an answer takes: so that blows are dense, and as from a small model."""
_STEPS: Final = 200
_TASKS: Final = 200
_LIMIT_SECONDS: Final = 120.0


def measure(report: Report) -> None:
    """Measure all of it."""
    anyio.run(_steps, report)
    with _nursery() as nursery:
        anyio.run(_many, report, nursery)
        anyio.run(_campaign, report, nursery)
        anyio.run(_boundaries, report, nursery)
    _everything(report)


# -- processes -----------------------------------------------------------------------------------


@contextmanager
def _nursery() -> Generator[socket.socket]:
    """Run a process that forks servers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "benchmarks.crash_parts"]
    with ours, theirs, subprocess.Popen(command, stdin=theirs.fileno()) as process:
        try:
            yield ours
        finally:
            process.kill()


@dataclass
class _Part:
    name: str
    service: str
    pid: int = 0
    starts: int = 0
    peer: Peer | None = None
    line: anyio.abc.SocketStream | None = None


class _Lab:
    """An installation whose processes are started anew whenever they die."""

    def __init__(
        self,
        home: Path,
        nursery: socket.socket,
        tasks: anyio.abc.TaskGroup,
        *,
        pace: float,
        boundary: int,
    ) -> None:
        self.home = home
        self._pace = pace
        self._boundary = boundary
        self.source = FixedPeers()
        self.parts = {name: _Part(name, service) for name, service in _PARTS.items()}
        self._nursery = nursery
        self._tasks = tasks
        self._announcing = anyio.Lock()

    async def start(self) -> None:
        async with anyio.create_task_group() as tasks:
            for part in self.parts.values():
                tasks.start_soon(self._start, part)
        await self._announce()

    async def kill(self, *names: str) -> None:
        for name in names:
            with suppress(ProcessLookupError):
                os.kill(self.parts[name].pid, signal.SIGKILL)

    async def _start(self, part: _Part) -> None:
        ours, theirs = socket.socketpair()
        with (self.home / f"{part.name}.log").open("ab") as log, theirs:
            dies = part.service == "gateway" and not part.starts
            order = f"{part.service} {self.home} {self._pace} {self._boundary if dies else 0}"
            socket.send_fds(self._nursery, [order.encode()], [theirs.fileno(), log.fileno()])
            part.pid = int(self._nursery.recv(64))
        part.starts += 1
        part.line = await anyio.abc.SocketStream.from_socket(ours)
        async with self._announcing:
            await part.line.send(encode(Hello(name=part.name, token=TOKEN)))
        reader = BufferedByteReceiveStream(part.line)
        self._tasks.start_soon(self._watch, part, reader)

    async def _watch(self, part: _Part, reader: BufferedByteReceiveStream) -> None:
        try:
            while True:
                said = decode_child(await reader.receive_until(b"\n", 65536))
                if isinstance(said, Ready):
                    part.peer = Peer(
                        service=part.service,
                        name=part.name,
                        url=said.url,
                        pid=part.pid,
                        starts=part.starts,
                    )
                    await self._announce()
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass
        part.peer = None
        await self._announce()
        await self._start(part)
        await self._announce()

    async def _announce(self) -> None:
        async with self._announcing:
            peers = tuple(part.peer for part in self.parts.values() if part.peer)
            self.source.set(*peers)
            for part in self.parts.values():
                if part.line:
                    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                        await part.line.send(encode(Peers(peers=peers)))


@asynccontextmanager
async def _lab(
    nursery: socket.socket, *, pace: float, boundary: int = 0
) -> AsyncGenerator[tuple[_Lab, Services]]:
    home = Path(tempfile.mkdtemp(prefix="tale-crash-"))
    # As many parts at a time as a machine with two execution servers has.
    (home / "tale.toml").write_text("[execution]\nreplicas = 4\n[gateway]\nport = 0\n")
    try:
        async with anyio.create_task_group() as tasks:
            lab = _Lab(home, nursery, tasks, pace=pace, boundary=boundary)
            await lab.start()
            async with Services(lab.source, services={"gateway"}, token=TOKEN).open() as services:
                yield lab, services
            tasks.cancel_scope.cancel()
            for part in lab.parts.values():
                with suppress(ProcessLookupError):
                    os.kill(part.pid, signal.SIGKILL)
    finally:
        shutil.rmtree(home, ignore_errors=True)


# -- the campaign --------------------------------------------------------------------------------


@dataclass
class _Verdict:
    """What was wrong in a run."""

    finished: int = 0
    kills: int = 0
    repeated: list[str] = field(default_factory=list[str])
    twice: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    corrupt: list[str] = field(default_factory=list[str])
    cut_off: int = 0
    known: int = 0
    seconds: list[float] = field(default_factory=list[float])


async def _campaign(report: Report, nursery: socket.socket) -> None:
    verdict = _Verdict()
    report.console.print(f"  seeds {_SEED} to {_SEED + _RUNS - 1}")
    for seed in range(_SEED, _SEED + _RUNS):
        before = len(verdict.repeated + verdict.twice + verdict.lost + verdict.corrupt)
        finished = verdict.finished
        await _run(seed, verdict, nursery)
        found = verdict.repeated + verdict.twice + verdict.lost + verdict.corrupt
        if len(found) > before or verdict.finished == finished:
            report.console.print(f"  seed {seed}: {found[before:] or 'did not finish'}")
    report.console.print(
        f"  {verdict.kills} blows in {_RUNS} runs, {verdict.known} steps were recorded before one; "
        f"{verdict.cut_off} commands were cut off and said so; a run took "
        f"{median(verdict.seconds):.1f} s"
    )
    report.add(
        Figure(
            f"tasks that finish though {verdict.kills} times a process or all were killed",
            verdict.finished,
            f"of {_RUNS}",
            "all",
            verdict.finished == _RUNS,
        )
    )
    for what, wrong in (
        ("recorded steps that were made again", verdict.repeated),
        ("effects that were had twice", verdict.twice),
        ("effects that were lost in silence", verdict.lost),
        ("workspaces or event logs that are not as they should be", verdict.corrupt),
    ):
        report.add(Figure(what, len(wrong), "", "none", not wrong))


async def _run(seed: int, verdict: _Verdict, nursery: socket.socket) -> None:
    chance = random.Random(seed)
    begun = time.perf_counter()
    recorded_at: dict[str, int] = {}
    async with _lab(nursery, pace=_QUICK) as (lab, services):
        request = _request(lab, _PLAN)
        task = await services.call(SUBMIT, request, deadline=30)
        with anyio.move_on_after(_LIMIT_SECONDS):
            for _ in range(chance.randint(*_KILLS)):
                await anyio.sleep(chance.uniform(0, _WITHIN_SECONDS))
                target = chance.choice([*_PARTS, "all", "gateway"])
                await lab.kill(*(_PARTS if target == "all" else [target]))
                verdict.kills += 1
                _note_recorded(lab.home, recorded_at)
                while target in {"all", "gateway"} and lab.source.peers.of("gateway"):
                    await lab.source.wait_change()
            shown = await _until_ended(services, task.id)
            verdict.finished += shown.state == "done"
            _judge(seed, lab.home, shown, recorded_at, verdict, plan=_PLAN)
    verdict.seconds.append(time.perf_counter() - begun)


async def _boundaries(report: Report, nursery: socket.socket) -> None:
    """Kill the gateway at one write boundary after another, in a task of two parts."""
    verdict = _Verdict()
    plan = {"a": "", "b": "a"}
    runs = boundary = 0
    died = True
    while died:
        boundary += _STRIDE
        runs += 1
        async with _lab(nursery, pace=0, boundary=boundary) as (lab, services):
            request = _request(lab, plan)
            task = await services.call(SUBMIT, request, deadline=_LIMIT_SECONDS)
            shown = await _until_ended(services, task.id)
            verdict.finished += shown.state == "done"
            _judge(boundary, lab.home, shown, {}, verdict, plan=plan)
            died = lab.parts["gateway"].starts > 1
    wrong = verdict.twice + verdict.lost + verdict.corrupt
    report.console.print(f"  {boundary} write boundaries; {wrong or 'nothing was wrong'}")
    report.add(
        Figure(
            "tasks that come out right though the gateway died at a write boundary",
            verdict.finished - len(wrong),
            f"of {runs}",
            "all",
            verdict.finished == runs and not wrong,
        )
    )


def _request(lab: _Lab, plan: Mapping[str, str]) -> SubmitRequest:
    parts = tuple(
        SubtaskRequest(id=name, text=f"part {name}", depends_on=tuple(needs))
        for name, needs in plan.items()
    )
    work = str(lab.home / "work")
    return SubmitRequest(text="several parts", workspace=work, subtasks=parts, key="once")


async def _until_ended(services: Services, task: str) -> TaskView:
    while (shown := await _shown(services, task)).state not in {"done", "failed"}:
        pass
    return shown


async def _shown(services: Services, task: str) -> TaskView:
    return await services.call(SHOW, ShowRequest(id=task, wait=20), deadline=_LIMIT_SECONDS)


def _note_recorded(home: Path, recorded_at: dict[str, int]) -> None:
    """Note which steps are recorded now, with how much the witness has said until now."""
    if not (home / "steps.db").exists():
        return
    said = len(_witness(home))
    with sqlite3.connect(home / "steps.db", timeout=30) as steps, suppress(sqlite3.Error):
        rows = steps.execute("SELECT workflow_uuid, function_id FROM operation_outputs").fetchall()
        first = min((position for _, position in rows), default=0)
        for workflow, position in rows:
            recorded_at.setdefault(f"{workflow}:{position - first}", said)


def _witness(home: Path) -> list[str]:
    try:
        return (home / "witness").read_text().splitlines()
    except FileNotFoundError:
        return []


def _judge(
    seed: int,
    home: Path,
    task: TaskView,
    recorded_at: Mapping[str, int],
    verdict: _Verdict,
    *,
    plan: Mapping[str, str],
) -> None:
    said = _witness(home)
    verdict.known += len(recorded_at)
    for name, when in recorded_at.items():
        if name in said[when:]:
            verdict.repeated.append(f"{seed}: {name}")
    counted = Counter(said)
    with sqlite3.connect(home / "tale.db", timeout=30) as database:
        answers = dict(database.execute("SELECT id, answer FROM subtasks").fetchall())
        events = database.execute("SELECT seq, kind, data FROM task_events ORDER BY seq").fetchall()
    for part in plan:
        once = f"{task.id}.{part}:{OPERATIONS.index('once')}"
        ok = answers[part].split()[1] == "1"
        verdict.cut_off += not ok
        if counted[once] > 1:
            verdict.twice.append(f"{seed}: {once}")
        if ok and not counted[once]:
            verdict.lost.append(f"{seed}: {once}")
        file = home / "work" / f"{part}.txt"
        if not file.exists() or file.read_text() != expected(f"{task.id}.{part}"):
            verdict.corrupt.append(f"{seed}: {file.name}")
    if [seq for seq, *_ in events] != list(range(1, len(events) + 1)):
        verdict.corrupt.append(f"{seed}: numbers of the events")
    for (kind, data), count in Counter(
        (kind, data) for _, kind, data in events if kind in {"file", "acting"}
    ).items():
        # A file is written, and then edited; the edit of the script names no file.
        if count > 1:
            verdict.corrupt.append(f"{seed}: {kind} {data} was told {count} times")


# -- what it costs -------------------------------------------------------------------------------


async def _steps(report: Report) -> None:
    """Time recorded steps, and bare commits of the same size beside them, in turn."""
    folder = Path(tempfile.mkdtemp(prefix="tale-steps-"))
    steps: list[float] = []
    commits: list[float] = []
    try:
        bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
        for setting in ("journal_mode = WAL", "synchronous = FULL"):
            bare.execute(f"PRAGMA {setting}")
        bare.execute("CREATE TABLE steps (id INTEGER PRIMARY KEY, value TEXT)")
        text = "x" * 4000

        async def value() -> Json:
            return text

        async def work(recorder: Recorder) -> None:
            for _ in range(_STEPS):
                begun = time.perf_counter()
                await recorder.step("ask", value)
                between = time.perf_counter()
                bare.execute("INSERT INTO steps (value) VALUES (?)", (text,))
                steps.append(1000 * (between - begun))
                commits.append(1000 * (time.perf_counter() - between))

        journal = DbosJournal(folder / "steps.db")
        async with journal.open():
            await journal.run("t-1", work)
        bare.close()
    finally:
        shutil.rmtree(folder)
    report.add(
        Figure(
            "the engine's own time for a recorded step of 4 kB",
            median(steps),
            "ms",
            "< 5 ms",
            median(steps) < 5,
            "a bare commit in SQLite",
            median(commits),
            len(steps),
            spread(steps),
        )
    )


async def _many(report: Report, nursery: socket.socket) -> None:
    """Queue many tasks at once and let all of them finish."""
    seconds: list[float] = []
    memory: list[int] = []
    async with _lab(nursery, pace=_USUAL) as (lab, services):
        while not lab.source.peers.of("gateway"):
            await lab.source.wait_change()
        process = psutil.Process(lab.parts["gateway"].pid)
        warm = await services.call(SUBMIT, SubmitRequest(text="Write a file"), deadline=60)
        await _shown(services, warm.id)
        before = process.memory_info().rss
        tasks: list[str] = []
        for number in range(_TASKS):
            begun = time.perf_counter()
            request = SubmitRequest(text=f"Write file number {number}")
            tasks.append((await services.call(SUBMIT, request, deadline=60)).id)
            seconds.append(1000 * (time.perf_counter() - begun))
        done = 0
        begun = time.perf_counter()
        for task in tasks:
            shown = await _until_ended(services, task)
            done += shown.state == "done"
            memory.append(process.memory_info().rss)
        took = time.perf_counter() - begun
    p95 = statistics.quantiles(seconds, n=20)[-1]
    grown = (max(memory) - before) / 1e6
    report.console.print(f"  {_TASKS} tasks took {took:.1f} s after the last was queued")
    report.add(
        Figure("tasks queued at once that finish", done, f"of {_TASKS}", "all", done == _TASKS)
    )
    report.add(
        Figure(
            "submit while others are queued and run, p95",
            p95,
            "ms",
            "< 50 ms",
            p95 < 50,
            "median of the same",
            median(seconds),
            len(seconds),
            spread(seconds),
        )
    )
    report.add(
        Figure("the gateway's memory grows meanwhile by", grown, "MB", "< 30 MB", grown < 30)
    )


def _everything(report: Report) -> None:
    """Kill a daemon and all of its processes in the middle of a task, and serve again."""
    seconds: list[float] = []
    serving: list[float] = []
    with Installation.fresh() as installation:
        installation.timed("submit", "hello world")
        for _ in range(3):
            text = "Write a Python module that converts Roman numerals both ways, with tests"
            task = installation.tale("submit", "--no-wait", text).strip()
            _until(installation, task, "running")
            for process in _processes(installation):
                with suppress(psutil.Error):
                    process.kill()
            while _processes(installation):
                time.sleep(0.01)
            begun = time.perf_counter()
            installation.tale("tasks")  # whoever asks first starts the daemon
            serving.append(time.perf_counter() - begun)
            _until(installation, task, "running")
            seconds.append(time.perf_counter() - begun)
            installation.tale("cancel", task)
    report.add(
        Figure(
            "kill -9 of everything → serve → the task runs again",
            median(seconds),
            "s",
            "< 3 s",
            median(seconds) < 3,
            "until the gateway answers",
            median(serving),
            len(seconds),
            spread(seconds),
        )
    )


def _until(installation: Installation, task: str, state: str) -> None:
    token = installation.runtime.token
    gateway = McpClient(installation.url_of("gateway"), token, silence=60)
    while gateway.call("show", {"id": task}).text("state") != state:
        time.sleep(0.01)


def _processes(installation: Installation) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TALE_HOME") == str(installation.home):
                found.append(process)
    return found
