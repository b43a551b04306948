"""What came of tasks is remembered: once each, over any crash, and only what may be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_database import KINDS, opened, paths_in
from tale.errors import ServiceUnavailable, TaleError
from tale.memory.forgetting import ByNote, ByTurn, Forgetting
from tale.memory.hearing import note_plainly
from tale.memory.notes import Note, NoteStore
from tale.memory.referring import Exchange, with_context
from tale.memory.remembering import Remembering
from tale.memory.results import Result, ResultPage, Verdict, asked_in, in_words
from tale.memory.turns import NewTurn, TurnStore
from tale.servers.results import Results
from tale.storage.database import Database
from tale.tasks.ended import ended_after
from tale.tasks.leave import Answer, Asked
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import StepResult, Subtask, Task, TaskEvent
from tale.tasks.task_rows import Change
from tale.wire.result_contracts import ResultList, ResultsRequest

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DONE = Result(1, "t-1", "Write a scraper for prices", "done", NOON, answer="It reads the pages.")


# -- in which words --------------------------------------------------------------------------------


def test_a_result_says_what_was_asked_for_what_came_of_it_and_what_the_user_decided() -> None:
    result = replace(
        DONE,
        answer="It reads the pages.\n```python\nprint(1)\n```\n",
        files=("scraper.py", "test_scraper.py"),
        parts=("Fetching", "Tests"),
        verdicts=(
            Verdict(plan=True, asked="", yes=False, said="no database, please"),
            Verdict(plan=True, asked="", yes=True),
            Verdict(plan=False, asked="May it run curl?", yes=True),
            Verdict(plan=False, asked="Which shop?", yes=True, said="Only the one in Bern"),
        ),
    )
    assert in_words(result) == (
        "The user asked for “Write a scraper for prices”. It is done: It reads the pages. "
        "It wrote scraper.py, test_scraper.py. Its parts were Fetching; Tests. "
        "The user did not want a plan: no database, please. The user agreed to its plan. "
        "Asked “Which shop?” the user said yes: Only the one in Bern."
    )


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (replace(DONE, state="failed", error="No model answers."), "It failed: No model answers."),
        (replace(DONE, state="failed"), "It failed."),
        (replace(DONE, state="cancelled"), "The user cancelled it."),
        (replace(DONE, answer="```\nonly code\n```"), "It is done."),
    ],
)
def test_what_failed_or_was_not_wanted_says_so(result: Result, said: str) -> None:
    assert in_words(result) == f"The user asked for “Write a scraper for prices”. {said}"


def test_what_a_request_took_along_from_its_conversation_is_no_part_of_it() -> None:
    text = with_context("Do it in Rust", [Exchange(1, "Write a scraper", "Here it is.")])
    assert "Here it is" not in in_words(replace(DONE, text=text))


@given(
    st.builds(
        Result,
        st.just(1),
        st.text(),
        st.text(max_size=400),
        st.sampled_from(["done", "failed", "cancelled"]),
        st.just(NOON),
        answer=st.text(max_size=400),
        files=st.lists(st.text(max_size=9), max_size=10).map(tuple[str, ...]),
        error=st.text(max_size=400),
        parts=st.lists(st.text(max_size=200), max_size=3).map(tuple[str, ...]),
        verdicts=st.lists(
            st.builds(Verdict, st.booleans(), st.text(), st.booleans(), st.text()), max_size=2
        ).map(tuple[Verdict, ...]),
    )
)
def test_any_result_is_one_line_of_bounded_length(result: Result) -> None:
    said = in_words(result)
    assert said.splitlines() == [said]
    assert len(said) < 4_000


@pytest.mark.parametrize(
    ("session", "key", "turn"),
    [
        ("s-1", "s-1/3", 3),
        ("s-1", "s-2/3", None),
        ("s-1", "s-1/0", None),
        ("s-1", "s-1/3/4", None),
        ("s-1", "abc", None),
        ("s-1", None, None),
        (None, "s-1/3", None),
    ],
)
def test_the_turn_that_asked_is_known_by_its_key(
    session: str | None, key: str | None, turn: int | None
) -> None:
    assert asked_in(replace(DONE, session=session, key=key)) == turn


# -- following them --------------------------------------------------------------------------------


class Tasks:
    """Tells results, as many at a time as it likes; then nothing any more.

    Attributes:
        asked: After which number it was asked, each time.
        all_told: Set once it was asked for what there is not yet.
    """

    def __init__(self, *results: Result, page: int = 2) -> None:
        self.results_to_tell = list(results)
        self.errors: list[TaleError] = []
        self.page = page
        self.asked: list[int] = []
        self.all_told = anyio.Event()

    async def results(self, after: int, wait: float) -> ResultPage:
        del wait
        self.asked.append(after)
        if self.errors:
            raise self.errors.pop(0)
        found = [one for one in self.results_to_tell if one.number > after][: self.page]
        if not found:
            self.all_told.set()
            await anyio.sleep_forever()
        return ResultPage(found, found[-1].number)


async def never(seconds: float) -> None:
    del seconds
    await anyio.lowlevel.checkpoint()


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.turns = TurnStore(database, also=note_plainly)
        self.notes = NoteStore(database)

    async def follow(self, tasks: Tasks) -> None:
        """Take in all that there is to tell."""
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(Remembering(self.database, tasks, pause=never).run)
                await tasks.all_told.wait()
                group.cancel_scope.cancel()

    async def noted(self) -> list[Note]:
        return [one for one in await self.notes.listed(100, outdated=True) if one.task]


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with opened(request.param, tmp_path) as database:
        yield World(database)


def several(count: int) -> Sequence[Result]:
    return [
        replace(DONE, number=n, task=f"t-{n}", at=NOON + timedelta(minutes=n))
        for n in range(1, count + 1)
    ]


async def test_each_result_becomes_a_dated_note_of_its_task(world: World) -> None:
    await world.follow(Tasks(*several(5)))
    noted = sorted(await world.noted(), key=lambda one: one.said)
    assert [one.task for one in noted] == ["t-1", "t-2", "t-3", "t-4", "t-5"]
    assert {(one.source, one.kind, one.text) for one in noted} == {("task", "fact", in_words(DONE))}
    assert noted[0].said == NOON + timedelta(minutes=1)


async def test_none_is_noted_twice_or_left_out_wherever_it_stops(world: World) -> None:
    tasks = Tasks(*several(4), page=1)
    tasks.errors = [ServiceUnavailable("away"), ServiceUnavailable("away")]
    await world.follow(tasks)
    await world.follow(Tasks(*several(6), page=3))
    assert len(await world.noted()) == 6


async def test_a_process_that_is_late_records_nothing(world: World) -> None:
    late = Tasks(*several(2))
    asked, go_on = anyio.Event(), anyio.Event()

    class Slow(Tasks):
        async def results(self, after: int, wait: float) -> ResultPage:
            if not asked.is_set():
                page = await late.results(after, wait)
                asked.set()
                await go_on.wait()
                return page
            return await super().results(after, wait)

    slow = Slow(*several(2))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(Remembering(world.database, slow, pause=never).run)
            await asked.wait()
            await world.follow(Tasks(*several(2)))
            go_on.set()
            await slow.all_told.wait()
            group.cancel_scope.cancel()
    assert len(await world.noted()) == 2


async def test_what_was_forgotten_does_not_come_back(world: World) -> None:
    await world.follow(Tasks(*several(1)))
    [note] = await world.noted()
    await Forgetting(world.database).forget(ByNote(note.id))
    await world.follow(Tasks(*several(2)))
    assert [one.task for one in await world.noted()] == ["t-2"]


async def test_a_result_is_linked_to_the_turn_that_asked_and_goes_with_it(world: World) -> None:
    asked = await world.turns.add(None, NewTurn("user", "Write a scraper for prices"))
    await world.turns.add(asked.session, NewTurn("assistant", "I'm on it.", task="t-1"))
    result = replace(DONE, session=asked.session, key=f"{asked.session}/{asked.seq}")
    await world.follow(Tasks(result))
    [note] = await world.noted()
    assert (note.session, note.turns) == (asked.session, (asked.seq,))
    await Forgetting(world.database).forget(ByTurn(asked.session, asked.seq))
    assert await world.noted() == []


async def test_nothing_is_noted_of_a_task_whose_turn_was_forgotten_meanwhile(world: World) -> None:
    kept = await world.turns.add(None, NewTurn("user", "hello"))
    gone = await world.turns.add(kept.session, NewTurn("user", "Write a scraper"))
    await Forgetting(world.database).forget(ByTurn(gone.session, gone.seq))
    result = replace(DONE, session=gone.session, key=f"{gone.session}/{gone.seq}")
    other = replace(result, number=2, session="s-gone", key="s-gone/1")
    await world.follow(Tasks(result, other))
    assert await world.noted() == []


async def test_a_session_that_is_not_ours_is_no_reason_to_forget_the_result(world: World) -> None:
    await world.follow(Tasks(replace(DONE, session="theirs", key="abc")))
    [note] = await world.noted()
    assert (note.session, note.turns) == (None, ())


async def test_results_and_what_the_user_says_take_no_place_of_each_other(world: World) -> None:
    await world.turns.add(
        None, NewTurn("user", "My name is Ada. We decided to use SQLite for storage.")
    )
    answer = "My name is Bot. We use PostgreSQL for storage instead of SQLite"
    await world.follow(Tasks(replace(DONE, answer=answer)))
    said = "We decided to use DuckDB instead of PostgreSQL for storage."
    await world.turns.add(None, NewTurn("user", said))
    outdated = [one.text for one in await world.notes.listed(9, outdated=True) if not one.holds]
    assert outdated == ["We decided to use SQLite for storage."]


# -- what the gateway tells ------------------------------------------------------------------------


@asynccontextmanager
async def gateway(home: Path) -> AsyncGenerator[TaskStore]:
    async with opened("sqlite", home) as database:
        yield TaskStore(database, paths_in(home).workspaces)


async def ran(store: TaskStore, new: NewTask) -> Task:
    change = await store.add(new)
    assert isinstance(change, Change)
    await store.start(change.task.id, "task", "")
    return change.task


async def test_tasks_are_numbered_as_they_end_and_private_ones_are_passed_over(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as store:
        first = await ran(store, NewTask("first", "k-1", session="s-1"))
        private = await ran(store, NewTask("secret", private=True))
        third = await ran(store, NewTask("third"))
        await ran(store, NewTask("still at work"))
        await store.cancel(third.id)
        await store.finish(private.id, StepResult("hush", "m", "task"))
        await store.finish(first.id, StepResult("did it", "m", "task", ("a.py",)))
        page = await ended_after(store.database, 0, 9)
        assert [(one.number, one.task.id, one.key) for one in page.ended] == [
            (1, third.id, None),
            (3, first.id, "k-1"),
        ]
        assert page.through == 3
        alone = await ended_after(store.database, 1, 1)
        assert (alone.ended, alone.through) == ((), 2)
        assert await ended_after(store.database, 3, 9) == type(page)((), 3)


async def test_a_result_tells_what_was_done_of_its_plan_and_what_its_user_said(
    tmp_path: Path,
) -> None:
    plan = Asked("q1", "May it work on this plan?", "ApprovePlan", "subtasks: []", "d1")
    shop = Asked("q2", "Which shop?", "AskUser")
    parts = (Subtask("a", "Fetching", "x"), Subtask("+whole", "Check the whole", "y", ("a",)))
    said = [
        (plan, Answer(approved=False, text="too much")),
        (plan, Answer(approved=True, text="subtasks:\n- id: a\n  title: A\n  text: x\n")),
        (shop, Answer(approved=True, text="The one in Bern")),
    ]
    async with gateway(tmp_path) as store:
        change = await store.add(NewTask("work", subtasks=parts))
        assert isinstance(change, Change)
        task = change.task.id
        for number, (asked, answer) in enumerate(said):
            if number:
                await store.requeue(task, "")
            await store.start(task, "task", "")
            await store.ask(task, replace(asked, id=f"q{number}"), None)
            await store.answer(task, answer)
        for part in parts:
            await store.start_part(task, part, "task", "")
            await store.finish_part(task, part, StepResult("", "m", "task"))
        [ended] = (await ended_after(store.database, 0, 9)).ended
    assert ended.parts == ("Fetching",)
    assert [(one.plan, one.asked, one.yes, one.said) for one in ended.verdicts] == [
        (True, "", False, "too much"),
        (True, "", True, ""),
        (False, "Which shop?", True, "The one in Bern"),
    ]


async def quiet(data: object) -> None:
    del data


async def test_who_follows_is_told_as_soon_as_a_task_ends_and_let_go_when_the_server_stops(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as store:
        results = Results(store.database)
        task = await ran(store, NewTask("work"))
        told: list[ResultList] = []

        async def follow(after: int) -> None:
            told.append(await results.results(ResultsRequest(after=after, wait=50), quiet))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(follow, 0)
                await anyio.wait_all_tasks_blocked()
                change = await store.finish(task.id, StepResult("did it", "m", "task"))
                results.take(TaskEvent(task.id, 1, NOON, "note"))
                results.take(change.event)
            async with anyio.create_task_group() as group:
                group.start_soon(follow, 1)
                await anyio.wait_all_tasks_blocked()
                results.close()
        assert [(len(one.results), one.through) for one in told] == [(1, 1), (0, 1)]
        at_once = await results.results(ResultsRequest(after=1), quiet)
        assert at_once == ResultList(results=(), through=1)


async def test_a_fork_of_a_private_task_is_private(tmp_path: Path) -> None:
    async with gateway(tmp_path) as store:
        assert (await ran(store, NewTask("secret", private=True))).private
        assert not (await ran(store, NewTask("open"))).private
