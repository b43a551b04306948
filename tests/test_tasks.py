"""Tasks: what can become one, how it is recorded, watched, run, cancelled and taken up again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

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
from tale.models.backend import Message
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.durable import Journal, Json, MemoryJournal, Recorder, Work
from tale.tasks.engine import Agent, Engine
from tale.tasks.hands import (
    Action,
    EditFile,
    FileChange,
    Hands,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    WriteFile,
)
from tale.tasks.leave import Trust
from tale.tasks.progress import ProgressHub
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import (
    ENDED,
    MAX_PROMPT_BYTES,
    TRANSITIONS,
    Began,
    Judgement,
    Report,
    Role,
    State,
    Step,
    StepResult,
    Subtask,
    Task,
    TaskEvent,
    TokenSaid,
    TokensSpent,
    check_prompt,
    check_transition,
)
from tale.tasks.task_rows import Change
from tale.wire.contracts import TaskState

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


async def test_what_was_checked_is_told_with_the_end(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "it is work")
    change = await store.finish(task.id, replace(RESULT, holds=True, check="2 tests passed"))
    assert change.event.data["holds"] is True
    assert change.event.data["check"] == "2 tests passed"


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


async def test_what_was_done_is_learned_from_with_all_that_came_of_it(store: TaskStore) -> None:
    task = await add(store)
    await store.start(task.id, "task", "")
    for kind in ("acting", "file", "note"):
        await store.note(task.id, kind, {})
    await store.finish(task.id, StepResult("done", "m", "task"))
    [found] = await store.finished(None, 9)
    assert found.events == (await store.events(task.id, 0))[0]


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


class Workers:
    """Do what their step's text says."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.ended: list[str] = []
        self.acts: list[Action] = []
        self.anywhere: list[bool] = []
        self.hold = anyio.Event()
        self.fail: list[Exception] = []
        self.die: list[Exception] = []

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        text = question.messages[0].content
        self.steps.append(text)
        try:
            return await self._answer(text, report)
        finally:
            self.ended.append(text)

    async def _answer(self, text: str, report: Report) -> Reply:
        await report(Began())
        match text.rsplit(maxsplit=1)[-1]:
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
        return Reply("did it", "scripted", "task", usage=TokensSpent(3, 2, 1))

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        self.acts.append(action)
        self.anywhere.append(step.anywhere)
        await report(Began())
        if self.die:
            raise self.die.pop(0)
        match action:
            case WriteFile(path, content):
                files = (FileChange(path, len(content)),)
                return Outcome(ok=True, text="written", files=files)
            case ReadFile():
                return Outcome(ok=True, text="new text")
            case EditFile():
                return Outcome(ok=False, text="no such text")
            case _:
                return Outcome(ok=True, text="ran", exit=0)


async def agent(step: Step, hands: Hands) -> StepResult:
    """Ask, write a file, and say something."""
    reply = await hands.ask(Question((Message("user", step.text),), 10))
    outcome = await hands.act(WriteFile("a.py", "abc"))
    await hands.note("odd")
    files = tuple(file.path for file in outcome.files)
    return StepResult(reply.text, reply.model, reply.role, files, reply.usage)


def judge(text: str) -> Judgement:
    role: Role = "ux" if text.startswith("say") else "task"
    return Judgement(role, "talk" if role == "ux" else "work", "by its first word")


async def no_pause(seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


class World:
    """An engine with what is around it."""

    def __init__(
        self,
        store: TaskStore,
        pause: Callable[[float], Awaitable[None]],
        journal: Journal | None = None,
        agent: Agent = agent,
        trust: Trust | None = None,
    ) -> None:
        self.store = store
        self.hub = ProgressHub(store)
        self.workers = Workers()
        self.journal = journal or MemoryJournal()
        self.engine = Engine(
            store,
            self.hub,
            self.journal,
            self.workers,
            agent=agent,
            judge=judge,
            lanes={"ux": 1, "task": 1},
            pause=pause,
            trust=trust,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.engine.run)
                yield
                tasks.cancel_scope.cancel()

    async def submit(self, text: str, priority: int = 0, *parts: Subtask) -> str:
        return (await self.engine.submit(NewTask(text, priority=priority, subtasks=parts))).id

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
                world.workers.hold.set()
        task = await world.ended(held)
    assert live == [(2, "token"), (3, "acting"), (4, "file"), (5, "note"), (6, "done")]
    assert (task.state, task.answer, task.role) == ("done", "did it", "task")
    assert task.reason == "by its first word"
    assert await kinds(world.store, held) == ["queued", "started", "acting", "file", "note", "done"]


async def test_a_task_whose_record_was_lost_says_that_it_begins_anew(world: World) -> None:
    journal = world.journal
    assert isinstance(journal, MemoryJournal)
    async with world.running():
        identity = await world.submit("hold")
        await world.until(identity, "started")
    journal.records.clear()
    journal.lost = "steps.db was damaged."
    world.workers.hold.set()
    async with world.running():
        fresh = await world.submit("work")
        await world.ended(identity)
        await world.ended(fresh)
    told = [event.data.get("text") for event in (await world.store.events(identity, 0))[0]]
    assert "steps.db was damaged." in told
    said = [event.data.get("text") for event in (await world.store.events(fresh, 0))[0]]
    assert "steps.db was damaged." not in said


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
        world.workers.hold.set()
        for identity in ids:
            await world.ended(identity)
    assert world.workers.steps == ["hold", "urgent", "old", "young", "idle"]


async def test_a_task_that_can_not_be_done_fails_with_its_reason(world: World) -> None:
    world.workers.fail = [BackendFailed("the model said no", hint="ask nicely")]
    async with world.running():
        task = await world.ended(await world.submit("fail"))
        after = await world.ended(await world.submit("work"))
    assert (task.state, task.error, task.hint) == ("failed", "the model said no", "ask nicely")
    assert after.state == "done"


async def test_a_fault_of_tales_own_fails_that_task_alone(world: World) -> None:
    world.workers.fail = [RuntimeError("bug")]
    async with world.running():
        task = await world.ended(await world.submit("fail"))
        after = await world.ended(await world.submit("work"))
    assert task.state == "failed"
    assert task.hint is not None
    assert "tale logs" in task.hint
    assert after.state == "done"


async def test_a_step_whose_server_goes_away_is_done_again(world: World) -> None:
    world.workers.fail = [ServiceUnavailable("execution-1 went away")] * 2
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
    world.workers.fail = [error]
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
        "acting",
        "file",
        "note",
        "done",
    ]


async def test_a_step_that_never_finds_a_server_fails_in_the_end(world: World) -> None:
    world.workers.fail = [ServiceUnavailable("nobody there")] * 99
    async with world.running():
        task = await world.ended(await world.submit("fail"))
    assert (task.state, task.error) == ("failed", "nobody there")
    assert len(world.workers.steps) == 5


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
        world.workers.hold.set()
        await world.ended(held)
    assert world.workers.steps == ["hold"]
    assert await kinds(world.store, waiting) == ["queued", "cancelled"]


async def test_cancelling_a_running_task_stops_its_step(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        await anyio.wait_all_tasks_blocked()
        assert (await world.engine.cancel(held)).state == "cancelled"
        assert (await world.ended(await world.submit("next"))).state == "done"
        assert world.workers.ended[0] == "hold"
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
        world.workers.hold.set()
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
    after.workers.hold.set()
    async with after.running():
        assert (await after.ended(held)).state == "done"
        assert (await after.ended(waiting)).state == "done"
    assert after.workers.steps == ["hold", "work"]
    assert (await kinds(store, held))[:4] == ["queued", "started", "resumed", "started"]
    assert (await kinds(store, waiting))[:3] == ["queued", "resumed", "started"]


async def test_the_same_submission_again_is_one_task(world: World) -> None:
    async with world.running():
        first = await world.engine.submit(NewTask("work", key="k"))
        await world.ended(first.id)
        again = await world.engine.submit(NewTask("work", key="k"))
    assert again.id == first.id
    assert world.workers.steps == ["work"]


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
    assert world.workers.steps == ["first", "last"]
    assert (await kinds(store, dropped.id)) == ["queued", "cancelled"]


def test_states_of_the_wire_and_of_the_code_are_the_same() -> None:
    states: set[State] = set(TRANSITIONS)
    assert states == set(get_args(TaskState))


# -- durable work --------------------------------------------------------------------------------


def doing(*actions: Action) -> Agent:
    """Make an agent that asks, does these things, and answers with what came of them."""

    async def agent(step: Step, hands: Hands) -> StepResult:
        reply = await hands.ask(Question((Message("user", step.text),), 10))
        outcomes = [await hands.act(action) for action in actions]
        await hands.note("looked at it")
        return StepResult(" | ".join(one.text for one in outcomes), reply.model, reply.role)

    return agent


class CutOff(MemoryJournal):
    """A journal whose process dies where the step of a number should be recorded."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at: int | None = at
        self.died = anyio.Event()

    async def run(self, identity: str, work: Work) -> None:
        async def dying(recorder: Recorder) -> None:
            await work(Dying(recorder, self))

        await super().run(identity, dying)


class Dying:
    def __init__(self, recorder: Recorder, journal: CutOff) -> None:
        self.recorder, self.journal, self.position = recorder, journal, 0

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        self.position += 1

        async def dying() -> Json:
            value = await call()
            if self.position == self.journal.at:
                self.journal.died.set()
                await anyio.sleep_forever()
            return value

        return await self.recorder.step(name, dying)


async def crash_and_go_on(store: TaskStore, agent: Agent, at: int) -> tuple[World, World, Task]:
    """Kill the process when step `at` was done and not recorded, then start another."""
    journal = CutOff(at)
    before = World(store, no_pause, journal, agent)
    async with before.running():
        identity = await before.submit("work")
        await journal.died.wait()
    journal.at = None
    after = World(store, no_pause, journal, agent)
    async with after.running():
        task = await after.ended(identity)
    return before, after, task


async def test_what_was_recorded_is_not_done_again_after_a_crash(store: TaskStore) -> None:
    first, last = WriteFile("a", "1"), WriteFile("b", "2")
    before, after, task = await crash_and_go_on(store, doing(first, last), at=3)
    assert (task.state, task.answer) == ("done", "written | written")
    assert (before.workers.acts, after.workers.acts) == ([first, last], [last])
    assert after.workers.steps == []


async def test_what_is_told_again_after_a_crash_is_recorded_once(store: TaskStore) -> None:
    agent = doing(WriteFile("a", "1"), RunCommand("make"), RunCommand("make", repeatable=True))
    _, _, task = await crash_and_go_on(store, agent, at=4)
    assert await kinds(store, task.id) == [
        *["queued", "started", "acting", "file", "acting", "acting"],
        *["resumed", "started", "note", "done"],
    ]


async def test_a_command_that_a_crash_cut_off_is_not_run_again_and_the_user_is_told(
    store: TaskStore,
) -> None:
    _, after, task = await crash_and_go_on(store, doing(RunCommand("pay twice")), at=2)
    assert after.workers.acts == []
    assert task.answer is not None
    assert "cut off by a crash" in task.answer
    events, _ = await store.events(task.id, 0)
    notes = [str(one.data["text"]) for one in events if one.kind == "note"]
    assert "pay twice: This was cut off by a crash" in notes[0]


async def test_a_command_that_may_be_repeated_is_run_again(store: TaskStore) -> None:
    command = RunCommand("make", repeatable=True)
    _, after, task = await crash_and_go_on(store, doing(command), at=2)
    assert after.workers.acts == [command]
    assert task.answer == "ran"


async def test_an_edit_that_was_made_before_the_crash_is_recognised(store: TaskStore) -> None:
    _, _, task = await crash_and_go_on(store, doing(EditFile("a", "old", "new text")), at=2)
    assert task.answer == "a was edited."


async def test_an_edit_that_fails_for_another_reason_stays_failed(world: World) -> None:
    world = World(world.store, no_pause, agent=doing(EditFile("a", "old", "new text")))
    async with world.running():
        task = await world.ended(await world.submit("work"))
    assert task.answer == "no such text"


async def test_a_command_whose_server_died_is_not_run_again(store: TaskStore) -> None:
    world = World(store, no_pause, agent=doing(RunCommand("pay")))
    world.workers.die = [ServiceUnavailable("it went away")]
    async with world.running():
        task = await world.ended(await world.submit("work"))
    assert len(world.workers.acts) == 1
    assert task.answer is not None
    assert "cut off" in task.answer


async def test_a_failure_that_the_agent_saw_is_seen_again_after_a_crash(store: TaskStore) -> None:
    async def stubborn(step: Step, hands: Hands) -> StepResult:
        try:
            reply = await hands.ask(Question((Message("user", step.text),), 10))
        except BackendFailed:
            reply = await hands.ask(Question((Message("user", "again"),), 10))
        await hands.act(RunCommand("make"))
        return StepResult(reply.text, reply.model, reply.role)

    journal = CutOff(3)
    before = World(store, no_pause, journal, stubborn)
    before.workers.fail = [BackendFailed("no")]
    async with before.running():
        identity = await before.submit("fail")
        await journal.died.wait()
    journal.at = None
    after = World(store, no_pause, journal, stubborn)
    async with after.running():
        assert (await after.ended(identity)).state == "done"
    assert before.workers.steps == ["fail", "again"]
    assert after.workers.steps == []


async def test_a_record_that_no_longer_fits_is_begun_anew_and_that_is_told(
    store: TaskStore,
) -> None:
    journal = MemoryJournal()
    world = World(store, no_pause, journal)
    task = await add(store)
    journal.records[task.id] = [("act WriteFile", None)]
    async with world.running():
        assert (await world.ended(task.id)).state == "done"
    events, _ = await store.events(task.id, 0)
    told = [str(one.data["why"]) for one in events if one.kind == "resumed"]
    assert "begins anew" in told[-1]


async def test_the_record_of_a_task_that_has_ended_is_deleted_and_no_other(
    store: TaskStore,
) -> None:
    ended, paused = await add(store), await add(store)
    await store.cancel(ended.id)
    await store.pause(paused.id)
    journal = MemoryJournal()
    journal.records = {ended.id: [], f"{ended.id}.a": [], f"{paused.id}.a": [], paused.id: []}
    async with World(store, no_pause, journal).running():
        await anyio.wait_all_tasks_blocked()
        while ended.id in journal.records:
            await anyio.lowlevel.checkpoint()
    assert set(journal.records) == {paused.id, f"{paused.id}.a"}


# -- pause and resume ----------------------------------------------------------------------------


async def test_a_paused_task_stops_its_step_and_goes_on_where_it_was(store: TaskStore) -> None:
    world = World(store, no_pause, agent=doing(WriteFile("a", "1")))
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        await anyio.wait_all_tasks_blocked()
        assert (await world.engine.pause(held)).state == "paused"
        assert (await world.ended(await world.submit("next"))).state == "done"
        assert world.workers.ended[0] == "hold"
        assert (await world.engine.pause(held)).state == "paused"
        world.workers.hold.set()
        assert (await world.engine.resume(held)).state in ("queued", "running")
        assert (await world.ended(held)).state == "done"
    assert (await kinds(store, held))[:5] == ["queued", "started", "paused", "resumed", "started"]


async def test_a_paused_task_stays_paused_over_a_restart(store: TaskStore) -> None:
    task = await add(store)
    await store.pause(task.id)
    world = World(store, no_pause)
    async with world.running():
        assert (await world.ended(await world.submit("other"))).state == "done"
        assert (await store.get(task.id)).state == "paused"
        await world.engine.resume(task.id)
        assert (await world.ended(task.id)).state == "done"


async def test_a_task_that_waits_can_be_paused_and_cancelled(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        waiting = await world.submit("never")
        assert (await world.engine.pause(waiting)).state == "paused"
        assert (await world.engine.cancel(waiting)).state == "cancelled"
        world.workers.hold.set()
        await world.ended(held)
        for attempt in (world.engine.pause, world.engine.resume):
            with pytest.raises(TaskError, match=f"{waiting} is cancelled"):
                await attempt(waiting)
    assert world.workers.steps == ["hold"]


async def test_resuming_what_is_not_paused_changes_nothing(world: World) -> None:
    async with world.running():
        held = await world.submit("hold")
        await world.until(held, "started")
        assert (await world.engine.resume(held)).state == "running"
        world.workers.hold.set()
        await world.ended(held)
    assert "resumed" not in await kinds(world.store, held)


# -- parts ---------------------------------------------------------------------------------------


async def answering(step: Step, hands: Hands) -> StepResult:
    """Ask for the part's own text, and answer with it."""
    own, *_ = step.text.split("\n")
    await hands.ask(Question((Message("user", own),), 10))
    return StepResult(f"result of {own}", "scripted", "task", (f"{step.subtask}.py",))


async def test_parts_run_in_the_order_they_need_and_make_one_result(store: TaskStore) -> None:
    told: list[str] = []

    async def agent(step: Step, hands: Hands) -> StepResult:
        told.append(step.context)
        return await answering(step, hands)

    world = World(store, no_pause, agent=agent)
    async with world.running():
        identity = await world.submit(
            "all of it",
            0,
            Subtask("end", "The end", "last", ("left", "right")),
            Subtask("left", "Left", "one"),
            Subtask("right", "Right", "two", ("left",)),
        )
        task = await world.ended(identity)
    assert world.workers.steps == ["one", "two", "last"]
    assert (task.state, task.answer) == ("done", "result of last")
    assert task.files == ("end.py", "left.py", "right.py")
    assert "all of it" in told[0]
    assert "Result of 'Left':\nresult of one\nFiles: left.py" in told[1]
    events, _ = await store.events(identity, 0)
    assert [(e.data["id"], e.data["state"]) for e in events if e.kind == "subtask"] == [
        (part, state) for part in ("left", "right", "end") for state in ("running", "done")
    ]


async def test_parts_that_need_nothing_of_each_other_run_at_the_same_time(
    store: TaskStore,
) -> None:
    world = World(store, no_pause, agent=answering)
    world.engine = Engine(
        store,
        world.hub,
        world.journal,
        world.workers,
        agent=answering,
        judge=judge,
        lanes={"ux": 1, "task": 2},
        pause=no_pause,
    )
    parts = [Subtask(name, name, f"{name} hold") for name in "abc"]
    async with world.running():
        identity = await world.submit("all", 0, *parts)
        while len(world.workers.steps) < 2:
            await anyio.lowlevel.checkpoint()
        assert sorted(world.workers.steps) == ["a hold", "b hold"]
        world.workers.hold.set()
        assert (await world.ended(identity)).state == "done"


async def test_parts_that_are_done_are_not_done_again_after_a_crash(store: TaskStore) -> None:
    before = World(store, no_pause, agent=answering)
    parts = (Subtask("a", "A", "one"), Subtask("b", "B", "two hold", ("a",)))
    async with before.running():
        identity = await before.submit("all", 0, *parts)
        while len(before.workers.steps) < 2:
            await anyio.lowlevel.checkpoint()
    after = World(store, no_pause, agent=answering)
    after.workers.hold.set()
    async with after.running():
        task = await after.ended(identity)
    assert after.workers.steps == ["two hold"]
    assert task.answer == "result of two hold"


async def test_a_part_that_can_not_be_done_ends_its_task_and_stops_the_others(
    store: TaskStore,
) -> None:
    world = World(store, no_pause, agent=answering)
    world.workers.fail = [BackendFailed("no", hint="try")]
    parts = (Subtask("a", "Part A", "fail"), Subtask("b", "B", "two", ("a",)))
    async with world.running():
        task = await world.ended(await world.submit("all", 0, *parts))
        assert (await world.ended(await world.submit("other"))).state == "done"
    assert (task.state, task.error, task.hint) == ("failed", "Part A: no", "try")
    assert world.workers.steps == ["fail", "other"]


async def test_a_task_of_parts_is_cancelled_as_a_whole(store: TaskStore) -> None:
    world = World(store, no_pause, agent=answering)
    parts = (Subtask("a", "A", "one hold"), Subtask("b", "B", "two"))
    async with world.running():
        identity = await world.submit("all", 0, *parts)
        while not world.workers.steps:
            await anyio.lowlevel.checkpoint()
        await world.engine.cancel(identity)
        assert (await world.ended(await world.submit("other"))).state == "done"
    assert world.workers.steps == ["one hold", "other"]


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        # It may have run: nobody knows any more.
        ("pay", 0),
        ("look", 1),
    ],
)
async def test_a_command_is_known_to_have_begun_though_the_record_of_steps_is_lost(
    store: TaskStore, line: str, runs: int
) -> None:
    journal = CutOff(2)
    before = World(store, no_pause, journal, doing(RunCommand("pay")))
    async with before.running():
        identity = await before.submit("work")
        await journal.died.wait()
    after = World(store, no_pause, MemoryJournal(), doing(RunCommand(line)))
    async with after.running():
        assert (await after.ended(identity)).state == "done"
    assert len(after.workers.acts) == runs
