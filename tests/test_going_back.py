"""Going back to a checkpoint and forking from one: files, records and words agree afterwards."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Connection

from tale.config import Settings
from tale.errors import (
    CheckpointNotFound,
    PromptRejected,
    StorageReadOnly,
    TaskError,
    TaskNotFound,
    WorkspaceUnusable,
)
from tale.models.backend import Message
from tale.paths import Paths
from tale.servers.checkpoints import CheckpointTools
from tale.storage.database import Database
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_history import Restored
from tale.tasks.checkpoint_rule import Cadence
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.durable import MemoryJournal
from tale.tasks.engine import Agent, Engine
from tale.tasks.going_back import GoingBack
from tale.tasks.hands import (
    Action,
    AskUser,
    FileChange,
    Hands,
    Outcome,
    Question,
    Reply,
    RunCommand,
    WriteFile,
)
from tale.tasks.leave import Answer
from tale.tasks.progress import ProgressHub
from tale.tasks.rounds import undone
from tale.tasks.store import NewTask, TaskStore, utc_now
from tale.tasks.task import (
    Began,
    Judgement,
    Origin,
    Report,
    Role,
    Step,
    StepResult,
    Subtask,
    Task,
    TaskEvent,
)
from tale.tasks.task_rows import Change
from tale.tasks.workspace import Workspace, Written, check_workspace
from tale.wire.checkpoint_contracts import CheckpointRequest, ForkRequest
from tale.wire.contracts import TaskRequest, TaskView

pytestmark = pytest.mark.anyio

ResultT = TypeVar("ResultT")
EACH = Cadence(seconds=0, share=1e9)
"""A checkpoint after each effect."""


async def quiet(data: Mapping[str, object]) -> None:
    del data


def judge(text: str) -> Judgement:
    del text
    return Judgement("task", "work", "it is work")


def doing(*actions: Action | str) -> Agent:
    """Make an agent that does these things, and asks a model where there is a text."""

    async def agent(step: Step, hands: Hands) -> StepResult:
        said: list[str] = []
        for action in actions:
            if isinstance(action, str):
                await hands.ask(Question((Message("user", action),), 10))
            else:
                said.append((await hands.act(action)).text)
        return StepResult(" | ".join(said), "scripted", "task")

    return agent


async def parts_agent(step: Step, hands: Hands) -> StepResult:
    """Write a file that is called like the part; part c waits for its model first."""
    if step.subtask == "c":
        await hands.ask(Question((Message("user", "hold"),), 10))
    await hands.act(WriteFile(f"{step.subtask}.py", step.subtask or ""))
    return StepResult(f"did {step.subtask}", "scripted", "task", (f"{step.subtask}.py",))


PARTS = (
    Subtask("a", "A", "first"),
    Subtask("b", "B", "second", ("a",)),
    Subtask("c", "C", "third", ("b",)),
)


class Workers:
    """Answer at once, or where they are asked to hold once they are let go; really write files."""

    def __init__(self) -> None:
        self.hold = anyio.Event()
        self.asked: list[str] = []
        self.acts: list[Action] = []

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        text = question.messages[0].content
        self.asked.append(text)
        await report(Began())
        if text == "hold":
            await self.hold.wait()
        return Reply("answer", "scripted", "task")

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        self.acts.append(action)
        await report(Began())
        if not isinstance(action, WriteFile):
            return Outcome(ok=True, text="ran", exit=0)
        written = Workspace(Path(step.workspace)).write(action.path, action.content)
        assert isinstance(written, Written)
        return Outcome(ok=True, text="written", files=(FileChange(written.path, written.bytes),))


class World:
    def __init__(self, home: Path, store: TaskStore, agent: Agent) -> None:
        self.home = home
        self.store = store
        self.hub = ProgressHub(store)
        self.workers = Workers()
        self.journal = MemoryJournal()
        self.checkpoints = CheckpointStore(home / "checkpoints.git")
        self.keeper = Checkpointing(self.checkpoints, cadence=EACH)
        self.engine = Engine(
            store,
            self.hub,
            self.journal,
            self.workers,
            agent=agent,
            judge=judge,
            lanes={"ux": 1, "task": 1},
            keeper=self.keeper,
        )
        self.going_back = self.going_back_in(self.checkpoints)
        self.tools = CheckpointTools(
            store,
            self.checkpoints,
            self.going_back,
            check_folder=lambda given: check_workspace(given, home=home),
            view=view,
        )

    def going_back_in(self, history: CheckpointStore) -> GoingBack:
        return GoingBack(self.engine, self.store, self.hub, self.keeper, history)

    async def submit(self, text: str = "work", *parts: Subtask) -> Task:
        return await self.engine.submit(NewTask(text, subtasks=parts))

    async def until(self, task: Task, kind: str, **data: object) -> None:
        with self.hub.subscribe(task.id) as events:
            async for one in events:
                if one.kind == kind and data.items() <= dict(one.data).items():
                    return

    async def held(self, *parts: Subtask) -> Task:
        """Submit a task, and pause it where its model holds it up."""
        task = await self.submit("work", *parts)
        while "hold" not in self.workers.asked:  # nothing tells of it
            await anyio.lowlevel.checkpoint()
        return await self.engine.pause(task.id)

    async def ended(self, task: Task) -> Task:
        with self.hub.subscribe(task.id) as events:
            async for _ in events:
                pass
        return await self.store.get(task.id)

    async def events(self, task: Task) -> list[TaskEvent]:
        events, _ = await self.store.events(task.id, 0)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return events

    async def kinds(self, task: Task) -> list[str]:
        return [event.kind for event in await self.events(task)]


def view(task: Task) -> TaskView:
    return TaskView(
        id=task.id,
        text=task.text,
        state=task.state,
        workspace=task.workspace,
        created=task.created,
    )


def remove(task: Task) -> None:
    shutil.rmtree(task.workspace)


def files(task: Task) -> dict[str, str]:
    return {one.name: one.read_text() for one in Path(task.workspace).iterdir()}


@asynccontextmanager
async def world(
    home: Path,
    agent: Agent,
    stores: type[TaskStore] = TaskStore,
    databases: type[Database] = Database,
) -> AsyncGenerator[World]:
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    with anyio.fail_after(30):
        async with (
            databases.open(paths, Settings()) as database,
            anyio.create_task_group() as tasks,
        ):
            world = World(home, stores(database, paths.workspaces), agent)
            await tasks.start(world.keeper.run)
            await tasks.start(world.engine.run)
            yield world
            tasks.cancel_scope.cancel()


# -- which parts are done again ------------------------------------------------------------------


def told(*events: int | str) -> list[TaskEvent]:
    """Make events: a number is a checkpoint, a text a part that was done."""
    return [
        TaskEvent("t-1", seq, utc_now(), "checkpoint", {"number": one})
        if isinstance(one, int)
        else TaskEvent("t-1", seq, utc_now(), "subtask", {"id": one, "state": "done"})
        for seq, one in enumerate(events, 1)
    ]


@pytest.mark.parametrize(
    ("events", "number", "again"),
    [
        ((1, 2, "a", 3, "b"), 3, ""),
        ((1, 2, "a", 3, "b"), 2, "b"),
        ((1, 2, "a", 3, "b"), 1, "ab"),
        # What a part did after a checkpoint within it is in the next one.
        ((1, 2, 3, "a"), 2, "a"),
        ((1, 2, "a", "b"), 2, ""),
        # Gone back to 1, which is 3 now, and done again.
        ((1, 2, "a", 3, 4, "a"), 3, "a"),
        ((1, 2, "a", 3, 4, "a"), 4, ""),
        ((), 1, ""),
    ],
)
def test_parts_are_done_again_whose_work_the_checkpoint_may_not_hold(
    events: Sequence[int | str], number: int, again: str
) -> None:
    done = {one for one in events if isinstance(one, str)}
    plan = [Subtask(one, one, "", state="done" if one in done else "queued") for one in "abc"]
    assert undone(told(*events), plan, number) == tuple(again)


# -- going back ----------------------------------------------------------------------------------


async def test_an_ended_task_gets_its_files_back_and_can_have_the_later_ones_again(
    tmp_path: Path,
) -> None:
    agent = doing(WriteFile("a", "1"), WriteFile("a", "2"), WriteFile("b", "3"))
    async with world(tmp_path, agent) as here:
        task = await here.ended(await here.submit())
        (Path(task.workspace) / "a").write_text("by hand")
        done = await here.going_back.restore(task.id, 2)
        assert files(task) == {"a": "1"}
        assert (done.restored.written, done.restored.removed) == (1, 1)
        assert (done.task.state, done.anew, done.again) == ("done", False, ())
        assert done.restored.saved
        await here.going_back.restore(task.id, done.restored.saved.number)
        assert files(task) == {"a": "by hand", "b": "3"}
        last = (await here.events(task))[-7:]
    assert [(one.kind, one.data.get("number"), one.data.get("saved")) for one in last] == [
        ("checkpoint", 5, None),
        ("restoring", 2, 5),
        ("checkpoint", 6, None),
        ("restored", 2, 5),
        ("restoring", 5, 6),
        ("checkpoint", 7, None),
        ("restored", 5, 6),
    ]


async def test_a_paused_task_begins_anew_with_the_files_it_was_given_back(tmp_path: Path) -> None:
    actions = (WriteFile("a", "1"), RunCommand("make"), WriteFile("b", "2"), "hold")
    async with world(tmp_path, doing(*actions)) as here:
        task = await here.held()
        done = await here.going_back.restore(task.id, 1)
        assert (done.task.state, done.anew, files(task)) == ("paused", True, {})
        here.workers.hold.set()
        await here.engine.resume(task.id)
        ended = await here.ended(task)
        # Files that it would have been told are there are, and a command that ran before the
        # restore is no command that a crash cut off.
        assert files(task) == {"a": "1", "b": "2"}
        assert (ended.state, ended.answer) == ("done", "written | ran | written")
        assert here.workers.acts == list(actions[:3]) * 2
        assert here.workers.asked == ["hold", "hold"]
        assert "note" not in await here.kinds(task)


async def test_an_answer_that_was_given_before_the_files_went_back_is_asked_for_again(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), AskUser("Which?"))) as here:
        task = await here.submit()
        await here.until(task, "approval")
        done = await here.going_back.restore(task.id, 1)
        assert (done.task.state, done.anew) == ("paused", True)
        with pytest.raises(TaskError, match="asks for nothing"):
            await here.engine.answer(task.id, Answer(True, "the first"))
        await here.engine.resume(task.id)
        await here.until(task, "restored")
        with here.hub.subscribe(task.id, (await here.store.get(task.id)).last_event) as events:
            async for event in events:
                if event.kind == "approval":
                    break
        await here.engine.answer(task.id, Answer(True, "the second"))
        assert (await here.ended(task)).answer == "written | the second"


async def test_parts_whose_work_is_there_stay_done(tmp_path: Path) -> None:
    async with world(tmp_path, parts_agent) as here:
        task = await here.held(*PARTS)
        assert [one.state for one in await here.store.plan(task.id)][:2] == ["done", "done"]
        taken = await here.checkpoints.list(task.id)
        [after_a] = [one.number for one in taken if one.changed == ("a.py",)]
        done = await here.going_back.restore(task.id, after_a)
        assert (done.again, files(task)) == (("b",), {"a.py": "a"})
        here.workers.hold.set()
        await here.engine.resume(task.id)
        ended = await here.ended(task)
    assert (ended.state, ended.files) == ("done", ("a.py", "b.py", "c.py"))
    assert files(task) == {"a.py": "a", "b.py": "b", "c.py": "c"}
    written = [one.path for one in here.workers.acts if isinstance(one, WriteFile)]
    assert written == ["a.py", "b.py", "b.py", "c.py"]


async def test_files_do_not_change_under_a_task_that_runs_or_will(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), "hold")) as here:
        task = await here.submit()
        await here.until(task, "file")
        waits = await here.submit()
        for one, state in ((task, "running"), (waits, "queued")):
            with pytest.raises(TaskError, match=f"{one.id} is {state}") as caught:
                await here.going_back.restore(one.id, 1)
            assert f"`tale pause {one.id}`" in caught.value.hint
        here.workers.hold.set()
        assert (await here.ended(task)).state == "done"
        assert (await here.ended(waits)).state == "done"


async def test_files_do_not_change_under_another_task_in_the_same_folder(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), "hold")) as here:
        first = await here.held()
        other = await here.engine.submit(NewTask("other", workspace=first.workspace))
        await here.until(other, "started")
        with pytest.raises(TaskError, match=f"{other.id} runs in the same folder"):
            await here.going_back.restore(first.id, 1)
        await here.engine.pause(other.id)
        await here.going_back.restore(first.id, 1)
        assert files(first) == {}


async def test_a_task_that_is_resumed_meanwhile_waits_until_its_files_are_there(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), "hold")) as here:
        task = await here.held()
        asked = len(here.workers.asked)
        async with here.engine.holding(task.id):
            await here.engine.resume(task.id)
            await anyio.wait_all_tasks_blocked()
            assert (await here.store.get(task.id)).state == "queued"
            assert len(here.workers.asked) == asked
        here.workers.hold.set()
        assert (await here.ended(task)).state == "done"


class Meanwhile(CheckpointStore):
    """A store where something else happens just before it saves anything."""

    happens: Callable[[], Awaitable[object]]

    async def take(
        self, task: str, workspace: Path, why: str, *, pinned: bool = False
    ) -> Checkpoint:
        await self.happens()
        return await super().take(task, workspace, why, pinned=pinned)


async def test_parts_are_done_again_also_where_the_task_is_resumed_meanwhile(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, parts_agent) as here:
        task = await here.held(*PARTS)
        await here.engine.settled(task.id)
        history = Meanwhile(tmp_path / "checkpoints.git")
        history.happens = lambda: here.engine.resume(task.id)
        here.workers.hold.set()
        done = await here.going_back_in(history).restore(task.id, 1)
        assert done.again == ("a", "b")
        assert (await here.ended(task)).state == "done"
    written = [one.path for one in here.workers.acts if isinstance(one, WriteFile)]
    assert written == ["a.py", "b.py", "a.py", "b.py", "c.py"]
    assert files(task) == {"a.py": "a", "b.py": "b", "c.py": "c"}


class LateDatabase(Database):
    """A database where something else happens once something was read and before it is given."""

    happens: Callable[[], Awaitable[object]] | None = None

    async def read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        result = await super().read(work)
        happens, self.happens = self.happens, None
        if happens:
            await happens()
        return result


class CountingStore(TaskStore):
    """A store that counts how often a part was tried, and tells that it has begun."""

    tried = 0
    begun: Callable[[str], None] | None = None

    async def start_part(
        self, identity: str, part: Subtask, role: Role, reason: str
    ) -> list[Change]:
        self.tried += 1
        changes = await super().start_part(identity, part, role, reason)
        if self.begun:
            self.begun(part.id)
        return changes


@pytest.mark.parametrize("state", ["cancelled", "paused"])
async def test_a_task_that_is_stopped_as_it_is_resumed_is_not_tried_for_ever(
    tmp_path: Path, state: str
) -> None:
    async with world(tmp_path, parts_agent, CountingStore, LateDatabase) as here:
        store = here.store
        assert isinstance(store, CountingStore)
        assert isinstance(store.database, LateDatabase)
        task = await here.held(*PARTS)
        await here.engine.settled(task.id)
        stop = here.engine.cancel if state == "cancelled" else here.engine.pause
        store.database.happens, store.tried = lambda: stop(task.id), 0
        await here.engine.resume(task.id)
        for _ in range(30):  # in which it would be tried again and again
            assert (await store.get(task.id)).state == state
        assert store.tried <= 1
        if state == "paused":
            here.workers.hold.set()
            await here.engine.resume(task.id)
            assert (await here.ended(task)).state == "done"


async def test_a_part_may_be_paused_just_as_what_is_known_of_its_task_was_read(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, parts_agent, CountingStore, LateDatabase) as here:
        store = here.store
        assert isinstance(store, CountingStore)
        assert isinstance(store.database, LateDatabase)
        database, paused = store.database, anyio.Event()
        here.workers.hold.set()

        async def pause() -> None:
            [task] = await here.store.newest(limit=1)
            await here.engine.pause(task.id)
            paused.set()

        def begun(part: str) -> None:
            if part == "b" and not paused.is_set():
                database.happens = pause

        store.begun = begun
        task = await here.submit("work", *PARTS)
        await paused.wait()
        await here.engine.settled(task.id)
        assert (await store.get(task.id)).state == "paused"
        await here.engine.resume(task.id)
        assert (await here.ended(task)).state == "done"


async def test_what_is_not_there_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"))) as here:
        task = await here.ended(await here.submit())
        before = await here.kinds(task)
        with pytest.raises(CheckpointNotFound, match="no checkpoint 9"):
            await here.going_back.restore(task.id, 9)
        with pytest.raises(CheckpointNotFound, match="no checkpoint 9"):
            await here.going_back.fork(task.id, 9, NewTask(""))
        with pytest.raises(TaskNotFound):
            await here.going_back.restore("t-none", 1)
        assert (await here.kinds(task), files(task)) == (before, {"a": "1"})
        assert len(await here.store.newest(limit=9)) == 1


async def test_a_workspace_that_vanishes_comes_back_as_it_was_restored(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), WriteFile("b", "2"), "hold")) as here:
        task = await here.held()
        await here.going_back.restore(task.id, 2)
        remove(task)
        await here.keeper.begin(Step(task.id, "", task.workspace, "task", "work"), tell_nobody)
        assert files(task) == {"a": "1"}


async def test_a_workspace_that_is_gone_can_be_restored_and_nothing_is_saved(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"))) as here:
        task = await here.ended(await here.submit())
        remove(task)
        done = await here.going_back.restore(task.id, 2)
        assert (done.restored.saved, files(task)) == (None, {"a": "1"})


async def tell_nobody(kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
    del kind, data, key
    return True


class Dies(CheckpointStore):
    """A store whose process ends where files would be written."""

    async def restore(self, task: str, number: int, workspace: Path) -> Restored:
        raise StorageReadOnly("The disk is full.")


async def test_a_step_does_not_go_on_from_a_record_where_going_back_was_cut_off(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), "hold")) as here:
        task = await here.held()
        with pytest.raises(StorageReadOnly):
            await here.going_back_in(Dies(tmp_path / "checkpoints.git")).restore(task.id, 1)
        assert (await here.kinds(task))[-1] == "restoring"
        (Path(task.workspace) / "a").unlink()  # as far as it came
        here.workers.hold.set()
        await here.engine.resume(task.id)
        await here.ended(task)
        assert files(task) == {"a": "1"}


# -- forking -------------------------------------------------------------------------------------


async def test_a_fork_does_the_same_with_the_files_of_the_checkpoint(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"), WriteFile("b", "2"))) as here:
        task = await here.ended(await here.submit("the work"))
        (Path(task.workspace) / "a").write_text("by hand")
        await here.checkpoints.take(task.id, Path(task.workspace), "by hand")
        fork = await here.going_back.fork(task.id, 4, NewTask("", key="k"))
        assert fork.workspace != task.workspace
        assert (fork.text, files(fork)) == ("the work", {"a": "by hand", "b": "2"})
        again = await here.going_back.fork(task.id, 4, NewTask("", key="k"))
        ended = await here.ended(fork)
        first, *_ = await here.events(fork)
        assert (again.id, ended.state, files(fork)) == (fork.id, "done", {"a": "1", "b": "2"})
        assert first.data == {"forked": {"task": task.id, "number": 4}}
        assert (await here.checkpoints.list(fork.id))[0].why.startswith("taken over from")
        assert files(task)["a"] == "by hand"


async def test_a_fork_has_the_same_parts_or_another_text(tmp_path: Path) -> None:
    async with world(tmp_path, parts_agent) as here:
        here.workers.hold.set()
        task = await here.ended(await here.submit("all", *PARTS))
        same = await here.ended(await here.going_back.fork(task.id, 1, NewTask("")))
        other = await here.ended(await here.going_back.fork(task.id, 1, NewTask("other")))
        assert len(await here.store.plan(same.id)) == 3
        assert (same.files, same.text) == (("a.py", "b.py", "c.py"), "all")
        assert (other.text, await here.store.plan(other.id)) == ("other", ())


async def test_a_fork_that_was_cut_off_gets_its_files_as_it_starts(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("b", "2"))) as here:
        task = await here.ended(await here.submit())
        new = NewTask("go on", key="k", origin=Origin(task.id, 2))
        added = await here.store.add(new)
        assert isinstance(added, Change)
        Workspace(Path(added.task.workspace)).write("mine", "before")
    async with world(tmp_path, doing(WriteFile("c", "3"))) as here:
        assert (await here.ended(added.task)).state == "done"
    assert files(added.task) == {"b": "2", "c": "3", "mine": "before"}


async def test_a_fork_whose_files_can_not_be_had_fails_in_words(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("b", "2"))) as here:
        task = await here.engine.submit(NewTask("go on", origin=Origin("t-gone", 2)))
        ended = await here.ended(task)
    assert (ended.state, ended.error) == ("failed", "Task t-gone has no checkpoint 2.")
    assert here.workers.acts == []


# -- the tools -----------------------------------------------------------------------------------


async def test_checkpoints_are_listed_pinned_and_unpinned(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"))) as here:
        task = await here.submit()
        await here.ended(task)
        (Path(task.workspace) / ".gitignore").write_text("*.log\n")
        (Path(task.workspace) / "x.log").write_text("noise")
        await here.checkpoints.take(task.id, Path(task.workspace), "by hand")
        listed = await here.tools.list(TaskRequest(id=task.id), quiet)
        second = CheckpointRequest(id=task.id, number=2)
        pinned = await here.tools.pin(second, quiet)
        unpinned = await here.tools.unpin(second, quiet)
        with pytest.raises(TaskNotFound):
            await here.tools.list(TaskRequest(id="t-none"), quiet)
    assert [(one.number, one.files, one.changed) for one in listed.checkpoints] == [
        (1, 0, ()),
        (2, 1, ("a",)),
        (3, 2, (".gitignore",)),
    ]
    assert [(one.path, one.why) for one in listed.checkpoints[2].left_out] == [
        ("x.log", "a .gitignore file says so")
    ]
    assert (pinned.number, pinned.pinned, unpinned.pinned) == (2, True, False)


async def test_the_tools_restore_and_fork_and_say_what_they_did(tmp_path: Path) -> None:
    async with world(tmp_path, doing(WriteFile("a", "1"))) as here:
        task = await here.ended(await here.submit())
        back = await here.tools.restore(CheckpointRequest(id=task.id, number=1), quiet)
        into = tmp_path / "new"
        request = ForkRequest(id=task.id, number=2, workspace=str(into), text="go on")
        fork = await here.tools.fork(request, quiet)
        assert (fork.workspace, (into / "a").read_text()) == (str(into), "1")
        with pytest.raises(WorkspaceUnusable, match="not empty"):
            await here.tools.fork(request.model_copy(update={"key": "another"}), quiet)
        assert (await here.tools.fork(request, quiet)).id == fork.id
        with pytest.raises(PromptRejected):
            await here.tools.fork(request.model_copy(update={"text": " "}), quiet)
        await here.ended(await here.store.get(fork.id))
    assert (back.number, back.saved, back.written, back.removed) == (1, 2, 0, 1)
    assert (back.kept, back.again, back.anew, back.task.state) == ((), (), False, "done")
