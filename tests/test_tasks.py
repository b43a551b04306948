"""Tasks: what can become one, how it is recorded, watched, run, cancelled and taken up again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.config import Settings
from tale.errors import (
    BackendBroke,
    BackendFailed,
    BackendStalled,
    BackendUnavailable,
    PromptRejected,
    ServiceUnavailable,
    StorageError,
    StorageReadOnly,
    TaleError,
    TaskError,
    TaskNotFound,
)
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.engine import Engine, Queued, pick
from tale.tasks.progress import ProgressHub
from tale.tasks.store import Change, NewTask, TaskStore
from tale.tasks.task import (
    ENDED,
    MAX_PROMPT_BYTES,
    TRANSITIONS,
    Began,
    FileWritten,
    Judgement,
    Noted,
    Report,
    Role,
    State,
    Step,
    StepResult,
    Task,
    TaskEvent,
    TokenSaid,
    TokensSpent,
    check_prompt,
    check_transition,
)

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
RESULT = StepResult("did it", "scripted", "task", ("a.py",), TokensSpent(3, 2, 1))


# -- prompts and states --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("x" * 1_048_576, "1,048,576 bytes; at most 200,000"),
        ("é" * 100_001, "200,002 bytes"),
        ("PK\3\4\0\0", "binary"),
        ("\x7fELF\x01\x02\x03", "binary"),
        ("caf\udce9", "not valid UTF-8: bytes that aren't text at character 4"),
        ("\ud800", "not valid UTF-8"),
    ],
)
def test_what_is_no_text_to_work_on_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(PromptRejected, match=says) as caught:
        check_prompt(text)
    assert caught.value.hint


def test_a_text_that_is_too_large_gets_told_where_to_put_it() -> None:
    with pytest.raises(PromptRejected) as caught:
        check_prompt("x" * (MAX_PROMPT_BYTES + 1))
    assert "file in the workspace" in caught.value.hint


@pytest.mark.parametrize("text", ["x" * (MAX_PROMPT_BYTES - 3), "läuft 🙂", "a\tb\r\nc", "é"])
def test_text_is_taken_as_it_is(text: str) -> None:
    assert check_prompt(f"\n{text}  ") == text


def test_a_little_terminal_colour_in_a_text_is_no_binary_data() -> None:
    assert check_prompt("\x1b[31merror\x1b[0m " + "words " * 50)


@given(st.text(st.characters()))
def test_any_text_is_either_taken_or_refused(text: str) -> None:
    try:
        assert check_prompt(text) == text.strip()
    except PromptRejected as error:
        assert error.message  # noqa: PT017 - both outcomes are right


def test_an_ended_task_goes_nowhere_and_every_other_can_end() -> None:
    assert {"done", "failed", "cancelled"} == ENDED
    for state, following in TRANSITIONS.items():
        assert (state in ENDED) == (not following)
        for after in TRANSITIONS:
            if after in following:
                check_transition("t-1", state, after)
            else:
                with pytest.raises(TaskError, match=f"t-1 is {state}"):
                    check_transition("t-1", state, after)


# -- store ---------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[TaskStore]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield TaskStore(database, paths.workspaces)


async def add(store: TaskStore, text: str = "work", **more: object) -> Task:
    added = await store.add(NewTask(text, **more))  # pyright: ignore[reportArgumentType]
    assert isinstance(added, Change)
    return added.task


async def kinds(store: TaskStore, identity: str) -> list[str]:
    events, _ = await store.events(identity, 0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.kind for event in events]


async def test_a_recorded_task_has_a_folder_of_its_own_and_a_first_event(
    store: TaskStore, tmp_path: Path
) -> None:
    task = await add(store, "say it", priority=3, session="s-1")
    assert task.workspace == str(tmp_path / "workspaces" / task.id)
    assert (task.state, task.priority, task.session) == ("queued", 3, "s-1")
    assert await store.get(task.id) == task
    assert await kinds(store, task.id) == ["queued"]


async def test_ids_sort_by_age_even_where_the_clock_steps_back(tmp_path: Path) -> None:
    hours = iter([3, 2, 2, 5])
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        store = TaskStore(
            database, paths.workspaces, now=lambda: NOON + timedelta(hours=next(hours))
        )
        ids = [(await add(store)).id for _ in range(4)]
        assert ids == sorted(set(ids))
        assert [task.id for task in await store.newest(limit=3)] == ids[:0:-1]


async def test_the_same_key_gives_the_same_task(store: TaskStore) -> None:
    first = await add(store, key="once")
    again = await store.add(NewTask("other", key="once"))
    assert again == first
    assert await kinds(store, first.id) == ["queued"]


async def test_a_result_comes_back_as_it_was_recorded(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "it is work")
    await store.note(task.id, "file", {"path": "a.py", "bytes": 3})
    change = await store.finish(task.id, RESULT)
    found = await store.get(task.id)
    assert found == change.task
    assert (found.state, found.answer, found.files) == ("done", "did it", ("a.py",))
    assert (found.model, found.role, found.reason) == ("scripted", "task", "it is work")
    assert found.usage == TokensSpent(3, 2, 1)
    assert found.started is not None
    assert found.finished is not None
    assert found.last_event == 4
    events, ended = await store.events(task.id, 2)
    assert [event.kind for event in events] == ["file", "done"]
    assert events[1].data == {
        "answer": "did it",
        "model": "scripted",
        "role": "task",
        "files": ["a.py"],
    }
    assert ended


async def test_the_reason_of_who_really_answered_takes_the_place_of_the_expected_one(
    store: TaskStore,
) -> None:
    task = await add(store)
    await store.start(task.id, "task", "it is work")
    change = await store.finish(task.id, StepResult("a", "m", "ux", reason="the other was down"))
    assert (change.task.role, change.task.reason) == ("ux", "the other was down")


async def test_nothing_happens_to_a_task_that_has_ended(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "")
    await store.fail(task.id, "it broke", "mend it")
    before = await store.get(task.id)
    assert (before.error, before.hint) == ("it broke", "mend it")
    for attempt in (
        store.start(task.id, "task", ""),
        store.finish(task.id, RESULT),
        store.requeue(task.id, "why"),
        store.note(task.id, "note", {}),
    ):
        with pytest.raises(TaskError, match=f"{task.id} is failed"):
            await attempt
    assert await store.cancel(task.id) == before
    assert await store.get(task.id) == before
    assert await kinds(store, task.id) == ["queued", "started", "failed"]


async def test_a_task_nobody_knows_is_named(store: TaskStore) -> None:
    for attempt in (
        store.get("t-none"),
        store.cancel("t-none"),
        store.events("t-none", 0),
        store.start("t-none", "ux", ""),
    ):
        with pytest.raises(TaskNotFound, match="t-none"):
            await attempt


async def test_tasks_are_listed_by_state(store: TaskStore) -> None:
    one, two, three = [await add(store) for _ in range(3)]
    await store.start(two.id, "task", "")
    await store.cancel(one.id)
    assert [task.id for task in await store.newest(state="queued", limit=9)] == [three.id]
    assert await store.unfinished() == [two.id, three.id]


async def test_writers_at_once_leave_no_gap_in_the_numbers(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "")
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(store.note, task.id, "note", {"text": str(number)})
    assert await kinds(store, task.id) == ["queued", "started", *["note"] * 20]


async def test_text_that_databases_refuse_does_not_cost_the_result(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "")
    change = await store.finish(task.id, StepResult("a\0b\ud800c", "m", "task"))
    assert change.task.answer == "a�b?c"


# -- progress ------------------------------------------------------------------------------------


class Log:
    """Stored events in memory."""

    def __init__(self, *kinds: str) -> None:
        self.stored = [event(n, kind) for n, kind in enumerate(kinds, start=1)]
        self.reads = 0

    async def events(self, identity: str, after: int) -> tuple[list[TaskEvent], bool]:
        self.reads += 1
        await anyio.lowlevel.checkpoint()
        ended = bool(self.stored) and self.stored[-1].kind in ENDED
        return [one for one in self.stored if one.seq > after], ended

    def record(self, kind: str) -> TaskEvent:
        self.stored.append(event(len(self.stored) + 1, kind))
        return self.stored[-1]


def event(seq: int, kind: str) -> TaskEvent:
    return TaskEvent("t-1", seq, NOON, kind)


async def seen(hub: ProgressHub, after: int = 0) -> list[tuple[int, str]]:
    with hub.subscribe("t-1", after) as events:
        return [(one.seq, one.kind) async for one in events]


async def test_a_late_reader_gets_all_that_was_stored() -> None:
    hub = ProgressHub(Log("queued", "started", "done"))
    assert await seen(hub) == [(1, "queued"), (2, "started"), (3, "done")]
    assert await seen(hub, after=2) == [(3, "done")]


@pytest.mark.parametrize("after", [3, 99])
async def test_a_reader_who_knows_the_end_gets_an_end(after: int) -> None:
    assert await seen(ProgressHub(Log("queued", "started", "done")), after) == []


async def test_a_reader_goes_over_from_the_stored_to_the_live_without_a_seam() -> None:
    log = Log("queued", "started")
    hub = ProgressHub(log)
    with hub.subscribe("t-1") as events:
        hub.publish(log.record("file"))  # stored before the first read, and live
        assert [(await anext(events)).seq for _ in range(3)] == [1, 2, 3]
        hub.publish(event(3, "token"))
        hub.publish(log.record("note"))
        hub.publish(log.record("done"))
        rest = [(one.seq, one.kind) async for one in events]
    assert rest == [(3, "token"), (4, "note"), (5, "done")]
    assert log.reads == 1


async def test_events_that_overtake_each_other_are_given_in_order() -> None:
    log = Log("queued")
    hub = ProgressHub(log)
    with hub.subscribe("t-1") as events:
        assert (await anext(events)).seq == 1
        second, third = log.record("started"), log.record("done")
        hub.publish(third)
        hub.publish(second)
        assert [one.seq async for one in events] == [2, 3]


async def test_a_slow_reader_misses_tokens_but_nothing_that_is_stored() -> None:
    log = Log("queued")
    hub = ProgressHub(log)
    with hub.subscribe("t-1") as events:
        assert (await anext(events)).seq == 1
        hub.publish(log.record("started"))
        for _ in range(3000):
            hub.publish(event(2, "token"))
        hub.publish(log.record("done"))
        got = [one async for one in events]
    assert [one.seq for one in got if one.kind != "token"] == [2, 3]
    assert 0 < len(got) < 3000


async def test_a_reader_that_gave_up_waiting_can_wait_again() -> None:
    log = Log("queued")
    hub = ProgressHub(log)
    with hub.subscribe("t-1") as events:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert (await anext(events)).seq == 1
        with anyio.move_on_after(0):
            await anext(events)
        hub.publish(log.record("done"))
        assert (await anext(events)).seq == 2


async def test_closing_the_hub_ends_every_reader() -> None:
    log = Log("queued")
    hub = ProgressHub(log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(seen, hub)
        await anyio.wait_all_tasks_blocked()
        hub.close()
    assert await seen(hub) == []


@given(st.data())
def test_no_order_of_events_loses_or_repeats_one(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(2, 8)))
    after = data.draw(st.integers(0, 7))

    async def play() -> list[int]:
        log = Log("queued")
        hub = ProgressHub(log)
        with hub.subscribe("t-1", after) as events:
            got = [(await anext(events)).seq] if after == 0 else []
            recorded = {n: log.record("done" if n == 7 else "note") for n in range(2, 8)}
            for number in order:
                hub.publish(recorded[number])
            return got + [one.seq async for one in events]

    assert anyio.run(play) == list(range(after + 1, 8))


# -- engine --------------------------------------------------------------------------------------


class Runner:
    """Steps that do what their task's text says."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.ended: list[str] = []
        self.hold = anyio.Event()
        self.fail: list[Exception] = []

    async def __call__(self, step: Step, report: Report) -> StepResult:
        self.steps.append(step.text)
        try:
            return await self._do(step, report)
        finally:
            self.ended.append(step.text)

    async def _do(self, step: Step, report: Report) -> StepResult:
        await report(Began())
        match step.text.split()[-1]:
            case "hold":
                await self.hold.wait()
            case "fail":
                if self.fail:
                    raise self.fail.pop(0)
            case "deadly":
                for _ in range(9):
                    await report(Began())
                    await anyio.lowlevel.checkpoint()
            case "twice":
                await report(TokenSaid("a"))
                await report(Began())
            case _:
                pass
        await report(TokenSaid("did it"))
        await report(FileWritten("a.py", 3))
        await report(Noted("odd"))
        return RESULT


def judge(text: str) -> Judgement:
    role: Role = "ux" if text.startswith("say") else "task"
    return Judgement(role, "talk" if role == "ux" else "work", "by its first word")


async def no_pause(seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


class World:
    """An engine with what is around it."""

    def __init__(self, store: TaskStore, pause: Callable[[float], Awaitable[None]]) -> None:
        self.store = store
        self.hub = ProgressHub(store)
        self.runner = Runner()
        self.engine = Engine(
            store, self.hub, self.runner, judge, lanes={"ux": 1, "task": 1}, pause=pause
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.engine.run)
                yield
                tasks.cancel_scope.cancel()

    async def submit(self, text: str, priority: int = 0) -> str:
        return (await self.engine.submit(NewTask(text, priority=priority))).id

    async def ended(self, identity: str) -> Task:
        with self.hub.subscribe(identity) as events:
            async for _ in events:
                pass
        return await self.store.get(identity)

    async def until(self, identity: str, kind: str) -> None:
        with self.hub.subscribe(identity) as events:
            async for one in events:
                if one.kind == kind:
                    return


@pytest.fixture
def world(store: TaskStore) -> World:
    return World(store, no_pause)


async def test_a_task_runs_to_its_recorded_end_and_shows_its_tokens(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        with world.hub.subscribe(held, after=2) as events:
            live: list[tuple[int, str]] = []
            await anyio.wait_all_tasks_blocked()

            async def watch() -> None:
                live.extend([(one.seq, one.kind) async for one in events])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                world.runner.hold.set()
        task = await world.ended(held)
    assert live == [(2, "token"), (3, "file"), (4, "note"), (5, "done")]
    assert (task.state, task.answer, task.role) == ("done", "did it", "task")
    assert task.reason == "by its first word"
    assert await kinds(world.store, held) == ["queued", "started", "file", "note", "done"]


async def test_a_short_answer_does_not_wait_behind_long_work(world: World) -> None:
    async with world.running():
        await world.submit("hold")
        waiting = await world.submit("more work")
        quick = await world.submit("say hello")
        assert (await world.ended(quick)).state == "done"
        assert (await world.store.get(waiting)).state == "queued"


async def test_waiting_tasks_start_by_priority_then_age(world: World) -> None:
    async with world.running():
        first = await world.submit("hold")
        await world.until(first, "started")
        ids = [
            await world.submit(text, priority)
            for text, priority in [("old", 0), ("young", 0), ("urgent", 5), ("idle", -5)]
        ]
        world.runner.hold.set()
        for identity in ids:
            await world.ended(identity)
    assert world.runner.steps == ["hold", "urgent", "old", "young", "idle"]


async def test_a_task_that_can_not_be_done_fails_with_its_reason(world: World) -> None:
    world.runner.fail = [BackendFailed("the model said no", hint="ask nicely")]
    async with world.running():
        task = await world.ended(await world.submit("fail"))
        after = await world.ended(await world.submit("work"))
    assert (task.state, task.error, task.hint) == ("failed", "the model said no", "ask nicely")
    assert after.state == "done"


async def test_a_fault_of_tales_own_fails_that_task_alone(world: World) -> None:
    world.runner.fail = [RuntimeError("bug")]
    async with world.running():
        task = await world.ended(await world.submit("fail"))
        after = await world.ended(await world.submit("work"))
    assert task.state == "failed"
    assert task.hint is not None
    assert "tale logs" in task.hint
    assert after.state == "done"


async def test_a_step_whose_server_goes_away_is_done_again(world: World) -> None:
    world.runner.fail = [ServiceUnavailable("execution-1 went away")] * 2
    async with world.running():
        identity = await world.submit("fail")
        task = await world.ended(identity)
    assert task.state == "done"
    events, _ = await world.store.events(identity, 0)
    resumed = [one.data["why"] for one in events if one.kind == "resumed"]
    assert resumed == ["execution-1 went away"] * 2


@pytest.mark.parametrize(
    "error",
    [BackendBroke("cut off"), BackendStalled("silent"), BackendUnavailable("no process")],
)
async def test_a_step_whose_model_goes_away_is_done_again(world: World, error: TaleError) -> None:
    world.runner.fail = [error]
    async with world.running():
        identity = await world.submit("fail")
        task = await world.ended(identity)
    assert task.state == "done"
    assert (await kinds(world.store, identity))[:3] == ["queued", "started", "resumed"]


async def test_a_step_that_begins_again_by_itself_is_told_of(world: World) -> None:
    async with world.running():
        identity = await world.submit("twice")
        await world.ended(identity)
    assert await kinds(world.store, identity) == [
        "queued",
        "started",
        "resumed",
        "file",
        "note",
        "done",
    ]


async def test_a_step_that_never_finds_a_server_fails_in_the_end(world: World) -> None:
    world.runner.fail = [ServiceUnavailable("nobody there")] * 99
    async with world.running():
        task = await world.ended(await world.submit("fail"))
    assert (task.state, task.error) == ("failed", "nobody there")
    assert len(world.runner.steps) == 5


async def test_a_step_that_brings_its_server_down_again_and_again_fails(world: World) -> None:
    async with world.running():
        task = await world.ended(await world.submit("deadly"))
    assert task.state == "failed"
    assert task.error is not None
    assert "begun 5 times" in task.error


async def test_cancelling_a_waiting_task_keeps_it_from_starting(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        waiting = await world.submit("never")
        assert (await world.engine.cancel(waiting)).state == "cancelled"
        world.runner.hold.set()
        await world.ended(held)
    assert world.runner.steps == ["hold"]
    assert await kinds(world.store, waiting) == ["queued", "cancelled"]


async def test_cancelling_a_running_task_stops_its_step(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        await anyio.wait_all_tasks_blocked()
        assert (await world.engine.cancel(held)).state == "cancelled"
        assert (await world.ended(await world.submit("next"))).state == "done"
        assert world.runner.ended[0] == "hold"
        assert (await world.engine.cancel(held)).state == "cancelled"
    assert await kinds(world.store, held) == ["queued", "started", "cancelled"]


async def test_cancelling_a_task_that_is_done_changes_nothing(world: World) -> None:
    async with world.running():
        done = await world.ended(await world.submit("work"))
        assert await world.engine.cancel(done.id) == done


async def test_a_result_that_comes_after_the_cancellation_is_dropped(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        # As another process, or a moment before the scope is cancelled.
        await world.store.cancel(held)
        world.runner.hold.set()
        assert (await world.ended(await world.submit("next"))).state == "done"
    assert (await world.store.get(held)).state == "cancelled"


async def test_what_had_not_ended_is_taken_up_again(store: TaskStore) -> None:
    before = World(store, no_pause)
    async with before.running():
        held = await before.submit("hold")
        waiting = await before.submit("work")
        await before.until(held, "started")
    assert (await store.get(held)).state == "running"
    after = World(store, no_pause)
    after.runner.hold.set()
    async with after.running():
        assert (await after.ended(held)).state == "done"
        assert (await after.ended(waiting)).state == "done"
    assert after.runner.steps == ["hold", "work"]
    assert (await kinds(store, held))[:4] == ["queued", "started", "resumed", "started"]
    assert (await kinds(store, waiting))[:3] == ["queued", "resumed", "started"]


async def test_the_same_submission_again_is_one_task(world: World) -> None:
    async with world.running():
        first = await world.engine.submit(NewTask("work", key="k"))
        await world.ended(first.id)
        again = await world.engine.submit(NewTask("work", key="k"))
    assert again.id == first.id
    assert world.runner.steps == ["work"]


class FullDisk(TaskStore):
    """A store that can't record results until somebody frees some space."""

    full = True

    async def finish(self, identity: str, result: StepResult) -> Change:
        if self.full:
            raise StorageError("the disk is full")
        return await super().finish(identity, result)


async def test_a_full_disk_holds_a_task_up_and_does_not_end_it(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        store = FullDisk(database, paths.workspaces)
        paused: list[float] = []

        async def pause(seconds: float) -> None:
            paused.append(seconds)
            store.full = len(paused) < 7
            await anyio.lowlevel.checkpoint()

        world = World(store, pause)
        async with world.running():
            task = await world.ended(await world.submit("work"))
    assert task.state == "done"
    assert paused == [1, 2, 4, 8, 16, 30, 30]


class Locked(TaskStore):
    """A store that can only be read until it is unlocked."""

    def __init__(self, database: Database, workspaces: Path) -> None:
        super().__init__(database, workspaces)
        self.unlocked = anyio.Event()

    async def requeue(self, identity: str, why: str) -> Change:
        if not self.unlocked.is_set():
            raise StorageReadOnly("locked")
        return await super().requeue(identity, why)


async def test_a_database_that_is_locked_at_the_start_is_shown_and_its_tasks_go_on_later(
    tmp_path: Path,
) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        store = Locked(database, paths.workspaces)
        first, dropped, last = [await add(store, text) for text in ("first", "dropped", "last")]
        world = World(store, lambda _: store.unlocked.wait())
        async with world.running():
            assert [task.id for task in await store.newest(limit=9)] == [
                last.id,
                dropped.id,
                first.id,
            ]
            await world.engine.cancel(dropped.id)
            store.unlocked.set()
            assert (await world.ended(first.id)).state == "done"
            assert (await world.ended(last.id)).state == "done"
    assert world.runner.steps == ["first", "last"]
    assert (await kinds(store, dropped.id)) == ["queued", "cancelled"]


def test_only_a_lane_with_room_is_picked_from() -> None:
    queue = [Queued(0, "t-2", "task"), Queued(-1, "t-3", "task"), Queued(0, "t-1", "ux")]
    lanes: dict[Role, int] = {"ux": 1, "task": 2}
    assert pick(queue, [], lanes) == queue[1]
    assert pick(queue, ["task", "task"], lanes) == queue[2]
    assert pick(queue, ["task", "task", "ux"], lanes) is None
    assert pick([], [], lanes) is None


def test_states_of_the_wire_and_of_the_code_are_the_same() -> None:
    states: set[State] = set(TRANSITIONS)
    assert states == {"queued", "running", "done", "failed", "cancelled"}
