"""Parts of tasks as they are recorded: with what they say, what came of them, and new plans."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import create_engine, text

from tale.config import Settings
from tale.errors import PlanRejected, TaskError
from tale.paths import Paths
from tale.storage.database import Database
from tale.storage.upgrade import upgrade
from tale.tasks.recompose import Merged, after_failure, failures_of, merge, needless
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import StepResult, Subtask, Task, TaskEvent, TokensSpent
from tale.tasks.task_rows import Change
from tale.tasks.view import View, replay

pytestmark = pytest.mark.anyio

RESULT = StepResult("did it", "scripted", "task", ("a.py",), TokensSpent(3, 2, 1))
PLAN = Subtask("+plan", "Plan", "Plan it", kind="plan", size="small")
A = Subtask(
    "a",
    "Part A",
    "Do a",
    kind="write",
    reads=("in.md",),
    writes=("a.py", "b.py"),
    check="make test",
    size="large",
    priority=7,
)
B = Subtask("b", "Part B", "Do b", ("a",))
WHOLE = Subtask("+whole", "The whole", "Put it together", ("b",))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[TaskStore]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield TaskStore(database, paths.workspaces)


async def added(store: TaskStore, *parts: Subtask) -> Task:
    change = await store.add(NewTask("work", subtasks=parts))
    assert isinstance(change, Change)
    return change.task


async def planned(store: TaskStore, *parts: Subtask) -> Task:
    """Give a task that was planned so."""
    task = await added(store, PLAN)
    await store.start_part(task.id, PLAN, "task", "")
    await store.finish_part(task.id, PLAN, RESULT, lambda plan: merge(plan, parts, why="so"))
    return task


async def done(store: TaskStore, task: Task, *parts: Subtask) -> list[Change]:
    changes: list[Change] = []
    for one in parts:
        await store.start_part(task.id, one, "task", "")
        changes = await store.finish_part(task.id, one, RESULT)
    return changes


async def events(store: TaskStore, task: Task) -> list[TaskEvent]:
    found, _ = await store.events(task.id, 0)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return found


async def kinds(store: TaskStore, task: Task) -> list[str]:
    return [event.kind for event in await events(store, task)]


async def view(store: TaskStore, task: Task) -> View:
    return replay(await events(store, task))


async def states(store: TaskStore, task: Task) -> dict[str, str]:
    """Give how the parts stand, which is how the events tell it."""
    plan = await store.plan(task.id)
    told = {"queued": "waiting", "cancelled": "dropped"}
    shown = {part.id: part.state for part in (await view(store, task)).parts}
    assert shown == {one.id: told.get(one.state, one.state) for one in plan}
    return {one.id: one.state for one in plan}


async def test_a_part_comes_back_as_it_was_recorded_and_is_listed_with_its_task(
    store: TaskStore,
) -> None:
    task = await added(store, A, B)
    assert await store.plan(task.id) == (A, B)
    [queued] = await events(store, task)
    assert queued.data["subtasks"] == [
        {
            "id": "a",
            "title": "Part A",
            "kind": "write",
            "depends_on": [],
            "reads": ["in.md"],
            "writes": ["a.py", "b.py"],
            "check": "make test",
            "size": "large",
            "priority": 7,
        },
        {
            "id": "b",
            "title": "Part B",
            "kind": "code",
            "depends_on": ["a"],
            "reads": [],
            "writes": [],
            "check": "",
            "size": "medium",
            "priority": 0,
        },
    ]
    [part, _] = (await view(store, task)).parts
    assert (part.kind, part.reads, part.writes) == ("write", A.reads, A.writes)
    assert (part.acceptance, part.size, part.priority) == ("make test", "large", 7)


async def test_text_that_databases_refuse_does_not_cost_a_plan(store: TaskStore) -> None:
    task = await planned(store, A, replace(B, title="a\0b\ud800"))
    [_, _, part] = await store.plan(task.id)
    assert part.title == "a�b?"
    await store.start_part(task.id, A, "task", "")
    await store.finish_part(
        task.id, A, RESULT, lambda plan: merge(plan, [], dropped={"b": "no\0"}, why="\ud800")
    )
    assert (await events(store, task))[-2].data["changes"] == ["'a�b?' is dropped: no�"]


async def test_parts_of_an_older_database_are_as_if_nobody_said_more_of_them(
    tmp_path: Path,
) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    engine = create_engine(f"sqlite:///{paths.database}")
    upgrade(engine, "old", to="0005")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO tasks (id, text, state, workspace, priority, created, last_event, "
                "prompt_tokens, completion_tokens, cached_tokens) "
                "VALUES ('t-1', 'work', 'queued', '/w', 0, 0, 0, 0, 0, 0)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO subtasks (task, id, position, title, text, depends_on, state, answer, "
                "files) VALUES ('t-1', 'b', 0, 'Part B', 'Do b', '[\"a\"]', 'queued', '', '[]')"
            )
        )
    engine.dispose()
    async with Database.open(paths, Settings()) as database:
        assert await TaskStore(database, paths.workspaces).plan("t-1") == (B,)


async def test_the_end_of_planning_and_the_plan_are_one_transaction(store: TaskStore) -> None:
    task = await added(store, PLAN)
    await store.start_part(task.id, PLAN, "task", "")
    changes = await store.finish_part(
        task.id, PLAN, RESULT, lambda plan: merge(plan, [A, B, WHOLE], why="step by step")
    )
    assert [change.event.kind for change in changes] == ["subtask", "plan"]
    told = changes[1].event.data
    assert (told["why"], told["changes"]) == ("step by step", [])
    assert [(one["id"], one.get("state")) for one in rows(told)] == [
        ("+plan", "done"),
        ("a", None),
        ("b", None),
        ("+whole", None),
    ]
    assert [one.id for one in await store.plan(task.id)] == ["+plan", "a", "b", "+whole"]
    assert changes[-1].task.state == "running"
    assert (await view(store, task)).setbacks == 0


def rows(data: Mapping[str, object]) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data["subtasks"])


async def test_a_plan_that_is_refused_leaves_the_planning_undone(store: TaskStore) -> None:
    task = await added(store, PLAN)
    await store.start_part(task.id, PLAN, "task", "")
    before = await store.get(task.id)
    with pytest.raises(PlanRejected, match="wait for each other"):
        await store.finish_part(
            task.id, PLAN, RESULT, lambda plan: merge(plan, [replace(A, depends_on=("a",))])
        )
    assert await store.get(task.id) == before
    assert await states(store, task) == {"+plan": "running"}


async def test_a_task_is_done_with_its_last_part_and_neither_planning_nor_drops_count(
    store: TaskStore,
) -> None:
    task = await planned(store, A, B, WHOLE)
    await store.start_part(task.id, A, "task", "")
    changes = await store.finish_part(
        task.id, A, RESULT, lambda plan: merge(plan, [], dropped={"b": "a does it"})
    )
    assert [change.event.kind for change in changes] == ["subtask", "plan"]
    whole = replace(WHOLE, depends_on=("a",))
    changes = await done(store, task, whole)
    assert [change.event.kind for change in changes] == ["subtask", "done"]
    ended = await store.get(task.id)
    assert (ended.state, ended.answer, ended.files) == ("done", "did it", ("a.py",))
    assert ended.usage == TokensSpent(9, 6, 3)
    assert await states(store, task) == {
        "+plan": "done",
        "a": "done",
        "b": "cancelled",
        "+whole": "done",
    }


async def test_a_task_of_which_nothing_was_planned_ends_with_its_planning(
    store: TaskStore,
) -> None:
    task = await planned(store)
    assert (await store.get(task.id)).state == "done"


async def test_a_failed_part_is_planned_anew_and_the_task_goes_on(store: TaskStore) -> None:
    task = await planned(store, A, B, WHOLE)
    await store.start_part(task.id, A, "task", "")
    failed = replace(RESULT, holds=False, check="`make test` failed")
    changes = await store.fail_part(
        task.id, A, failed, "its test failed", partial(after_failure, failed="a", why="it failed")
    )
    assert [change.event.kind for change in changes] == ["subtask", "plan"]
    assert changes[0].event.data == {
        "id": "a",
        "title": "Part A",
        "state": "failed",
        "why": "its test failed",
        "holds": False,
        "check": "`make test` failed",
        "files": ["a.py"],
    }
    assert changes[-1].task.state == "running"
    assert changes[-1].task.usage == TokensSpent(6, 4, 2)
    [_, part, repair, *_] = await store.plan(task.id)
    assert (part.state, part.answer, part.files) == ("failed", "did it", ("a.py",))
    await store.start_part(task.id, repair, "task", "")
    [_, plan] = await store.finish_part(
        task.id,
        repair,
        RESULT,
        lambda plan: merge(
            plan,
            [Subtask("a1", "Smaller", "Do less")],
            failures_of(plan, repair.id),
            why="it was too much",
        ),
    )
    assert plan.event.data["changes"] == ["'Part A' is replaced by 'Smaller': it was too much"]
    assert await states(store, task) == {
        "+plan": "done",
        "a": "cancelled",
        "a1": "queued",
        "+repair-1": "done",
        "b": "queued",
        "+whole": "queued",
    }
    seen = await view(store, task)
    assert (seen.setback, seen.setbacks) == ("it was too much", 1)
    plan_now = {one.id: one for one in await store.plan(task.id)}
    assert plan_now["b"].depends_on == ("a1",)


async def test_what_is_taken_as_it_is_ends_the_task_and_keeps_that_its_check_does_not_hold(
    store: TaskStore,
) -> None:
    task = await planned(store, A)
    await store.start_part(task.id, A, "task", "")

    def accepted(plan: tuple[Subtask, ...]) -> Merged:
        spent = [replace(PLAN, id=f"+repair-{number}", state="cancelled") for number in (1, 2)]
        return after_failure([*plan, *spent], "a", why="its test failed")

    changes = await store.fail_part(task.id, A, None, "no model answered", accepted)
    assert [change.event.kind for change in changes] == ["subtask", "plan", "done"]
    ended = await store.get(task.id)
    assert ended.answer == "What was made does not pass its check, `make test`."
    [_, part, *_] = (await view(store, task)).parts
    assert (part.state, part.holds, part.check) == ("done", False, "no model answered")


async def test_nothing_is_told_of_a_plan_where_nothing_changes(store: TaskStore) -> None:
    task = await planned(store, A, replace(B, writes=("a.py",)), WHOLE)
    await store.start_part(task.id, A, "task", "")
    changes = await store.finish_part(
        task.id, A, RESULT, lambda plan: merge(plan, [], dropped=needless(plan))
    )
    assert [change.event.kind for change in changes] == ["subtask"]


async def test_a_running_task_of_which_the_rest_is_dropped_is_done(store: TaskStore) -> None:
    task = await planned(store, A, B)
    await store.start_part(task.id, A, "task", "")
    changes = await store.finish_part(
        task.id, A, RESULT, lambda plan: merge(plan, [], dropped={"b": "needless"})
    )
    assert [change.event.kind for change in changes] == ["subtask", "plan", "done"]
    assert (await store.get(task.id)).state == "done"


async def test_a_part_begins_only_as_the_plan_has_it(store: TaskStore) -> None:
    other = Subtask("c", "Part C", "Do c")
    task = await planned(store, A, B, other)
    with pytest.raises(TaskError, match="has changed, and b with it"):
        await store.start_part(task.id, B, "task", "")
    changed = replace(A, text="Do it otherwise")
    await store.start_part(task.id, other, "task", "")
    await store.finish_part(task.id, other, RESULT, lambda plan: merge(plan, [changed]))
    with pytest.raises(TaskError, match="has changed, and a with it"):
        await store.start_part(task.id, A, "task", "")
    await store.start_part(task.id, changed, "task", "")
    await store.start_part(task.id, changed, "task", "")  # again, after a crash
    await store.finish_part(task.id, changed, RESULT)
    with pytest.raises(TaskError, match="has changed"):
        await store.start_part(task.id, changed, "task", "")


async def test_nothing_ends_in_a_task_that_runs_no_more(store: TaskStore) -> None:
    task = await planned(store, A, B)
    await store.start_part(task.id, A, "task", "")
    await store.pause(task.id)
    before = await kinds(store, task)
    with pytest.raises(TaskError, match="is paused"):
        await store.finish_part(task.id, A, RESULT)
    with pytest.raises(TaskError, match="is paused"):
        await store.fail_part(task.id, A, RESULT, "why")
    assert await kinds(store, task) == before
