"""A task that is exported goes on elsewhere at the same step, and nothing else comes with it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from sqlalchemy import text as sql

from memory_database import blank_schema
from small_disk import mounted
from tale.config import Settings
from tale.errors import (
    ExportRefused,
    StorageError,
    StorageReadOnly,
    TaskError,
    TaskFileUnusable,
    TaskNotFound,
    WorkspaceUnusable,
)
from tale.models.backend import Message
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.adopted import AdoptedSteps, AdoptingJournal
from tale.tasks.checkpoint_history import History
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.durable import MemoryJournal
from tale.tasks.engine import Engine
from tale.tasks.hands import (
    Action,
    FileChange,
    Hands,
    Outcome,
    Question,
    Reply,
    RunCommand,
    WriteFile,
)
from tale.tasks.leave import Answer, Trust
from tale.tasks.portable import Imported, Row, TaskRows, export_task
from tale.tasks.portable_rows import check_rows
from tale.tasks.progress import ProgressHub
from tale.tasks.records import TaskRecords
from tale.tasks.snapshots.repository import Repository
from tale.tasks.store import NewTask, TaskStore, utc_now
from tale.tasks.task import Began, Judgement, Origin, Report, Step, StepResult, Subtask, Task
from tale.tasks.task_rows import Change
from tale.tasks.transfer import Arrived, Transfer

pytestmark = pytest.mark.anyio

PARTS = (Subtask("a", "A", "first"), Subtask("b", "B", "second", ("a",)))


async def agent(step: Step, hands: Hands) -> StepResult:
    """Ask, write, ask, run something, and write again."""
    said: list[str] = []
    for turn in ("one", "two"):
        question = Question((Message("user", f"{step.subtask or 'whole'} {turn}"),), 10)
        reply = await hands.ask(question)
        said.append(reply.text)
        await hands.act(WriteFile(f"{step.subtask or 'whole'}-{turn}.txt", reply.text))
    ran = await hands.act(RunCommand("make"))
    return StepResult(f"{' '.join(said)} {ran.text}", "scripted", "task")


def write(folder: Path, name: str, content: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


class Workers:
    """Do what is asked, and wait at one question until they are cut off."""

    def __init__(self, hold: str = "") -> None:
        self.hold = hold
        self.reached = anyio.Event()
        self.asked: list[str] = []
        self.acts: list[str] = []

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        await report(Began())
        text = question.messages[0].content
        if text == self.hold:
            self.reached.set()
            await anyio.sleep_forever()
        self.asked.append(text)
        return Reply(f"<{text}>", "scripted", "task")

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        await report(Began())
        if isinstance(action, WriteFile):
            self.acts.append(action.path)
            write(Path(step.workspace), action.path, action.content)
            return Outcome(True, "written", files=(FileChange(action.path, len(action.content)),))
        self.acts.append("make")
        return Outcome(True, "made", exit=0)


async def no_pause(seconds: float) -> None:
    del seconds
    await anyio.lowlevel.checkpoint()


class Machine:
    """One installation of tale."""

    def __init__(self, paths: Paths, database: Database, workers: Workers, trust: Trust) -> None:
        self.paths = paths
        self.database = database
        self.workers = workers
        self.store = TaskStore(database, paths.workspaces)
        self.hub = ProgressHub(self.store)
        self.adopted = AdoptedSteps(database)
        self.journal = AdoptingJournal(MemoryJournal(), self.adopted)
        self.checkpoints = CheckpointStore(paths.checkpoints)
        self.engine = Engine(
            self.store,
            self.hub,
            self.journal,
            workers,
            agent=agent,
            judge=lambda text: Judgement("task", "work", "as always"),
            lanes={"ux": 1, "task": 1},
            trust=trust,
            pause=no_pause,
        )
        self.transfer = self.transfer_to(self.checkpoints)

    def transfer_to(self, checkpoints: CheckpointStore) -> Transfer:
        return Transfer(
            self.store,
            TaskRecords(self.database, self.journal),
            checkpoints,
            self.hub,
            workspaces=self.paths.workspaces,
            settled=self.engine.settled,
            now=utc_now,
        )

    async def begun(self, *parts: Subtask, workspace: Path | None = None) -> Task:
        """Give a task that was paused where the workers held it."""
        folder = str(workspace) if workspace else None
        task = await self.engine.submit(NewTask("work", workspace=folder, subtasks=parts))
        await self.workers.reached.wait()
        return await self.engine.pause(task.id)

    async def done(self, task: str) -> Task:
        await self.engine.resume(task)
        return await self.ended(task)

    async def ended(self, task: str) -> Task:
        with self.hub.subscribe(task) as events:
            async for _ in events:
                pass
        return await self.store.get(task)

    async def until(self, task: str, kind: str) -> None:
        with self.hub.subscribe(task) as events:
            async for one in events:
                if one.kind == kind:
                    return

    async def kinds(self, task: str) -> list[str]:
        events, _ = await self.store.events(task, 0)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event.kind for event in events]


@asynccontextmanager
async def machine(
    home: Path,
    hold: str = "",
    trust: Trust = Trust("full"),  # noqa: B008 - it is frozen
    url: str = "",
) -> AsyncGenerator[Machine]:
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    with anyio.fail_after(30):
        async with (
            Database.open(paths, Settings(database_url=url)) as database,
            anyio.create_task_group() as tasks,
        ):
            here = Machine(paths, database, Workers(hold), trust)
            await tasks.start(here.engine.run)
            yield here
            tasks.cancel_scope.cancel()


async def exported(home: Path, hold: str = "whole two", *parts: Subtask) -> tuple[Path, Task]:
    """Give the file of a task that was paused on one machine."""
    async with machine(home / "there", hold) as there:
        task = await there.begun(*parts)
        await there.transfer.leave(task.id, home / "task.tale")
    return home / "task.tale", task


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


# -- there and back --------------------------------------------------------------------------------


async def test_a_task_goes_on_at_the_step_at_which_it_was_exported(tmp_path: Path) -> None:
    file, task = await exported(tmp_path)
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(file)
        rests = await here.store.get(arrived.task)
        laid_out = texts(Path(rests.workspace))
        done = await here.done(arrived.task)
        kinds = await here.kinds(arrived.task)
    assert arrived == Arrived(task.id, task.id, checkpoints=1, files=1, steps=2)
    assert (rests.state, rests.text, rests.created) == ("paused", "work", task.created)
    assert rests.workspace == str(tmp_path / "here/workspaces" / task.id)
    assert laid_out == {"whole-one.txt": "<whole one>"}
    assert (done.state, done.answer) == ("done", "<whole one> <whole two> made")
    assert here.workers.asked == ["whole two"]
    assert here.workers.acts == ["whole-two.txt", "make"]
    assert set(texts(Path(rests.workspace))) == {"whole-one.txt", "whole-two.txt"}
    assert kinds == [
        *["queued", "started", "acting", "file", "paused", "imported", "resumed", "started"],
        *["acting", "file", "acting", "done"],
    ]


async def test_parts_that_are_done_stay_done_and_the_rest_goes_on(tmp_path: Path) -> None:
    file, _ = await exported(tmp_path, "b two", *PARTS)
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(file)
        plan = await here.store.plan(arrived.task)
        done = await here.done(arrived.task)
    assert [(part.id, part.state) for part in plan] == [("a", "done"), ("b", "running")]
    assert plan[0].answer == "<a one> <a two> made"
    assert (done.state, done.answer) == ("done", "<b one> <b two> made")
    assert here.workers.asked == ["b two"]


async def test_a_plan_goes_along_with_all_that_it_says(tmp_path: Path) -> None:
    said = replace(PARTS[0], writes=("a.txt",), check="test -s a.txt", size="large", priority=3)
    planning = Subtask("+plan", "Plan", "plan", kind="plan")
    file, task = await exported(tmp_path, "b two", planning, said, PARTS[1])
    async with machine(tmp_path / "here") as here:
        await here.transfer.arrive(file)
        planned, first, second = await here.store.plan(task.id)
    assert (planned.id, planned.kind, planned.state) == ("+plan", "plan", "done")
    assert replace(first, state="queued", answer="", files=()) == said
    assert (second.state, second.kind) == ("running", "code")


async def test_what_was_imported_can_be_exported_again_before_and_after_it_goes_on(
    tmp_path: Path,
) -> None:
    file, task = await exported(tmp_path)
    async with machine(tmp_path / "second", "whole two") as second:
        await second.transfer.arrive(file)
        untouched = await second.transfer.leave(task.id, tmp_path / "again.tale")
        await second.engine.resume(task.id)
        await second.workers.reached.wait()
        await second.engine.pause(task.id)
        gone_on = await second.transfer.leave(task.id, tmp_path / "later.tale")
    assert (untouched.steps, gone_on.steps) == (2, 2)
    for number, name in enumerate(("again.tale", "later.tale")):
        async with machine(tmp_path / f"third{number}") as third:
            await third.transfer.arrive(tmp_path / name)
            assert (await third.done(task.id)).state == "done"
        assert third.workers.asked == ["whole two"]


async def test_what_changed_in_the_workspace_since_comes_along(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun()
        (Path(task.workspace) / "mine.txt").write_text("by hand")
        left = await there.transfer.leave(task.id, tmp_path / "task.tale")
        (Path(task.workspace) / "mine.txt").write_text("by hand, later")
        again = await there.transfer.leave(task.id, tmp_path / "task.tale", replace=True)
    assert (left.files, left.checkpoints, again.checkpoints) == (2, 1, 2)
    async with machine(tmp_path / "here") as here:
        await here.transfer.arrive(tmp_path / "task.tale", tmp_path / "mine")
        assert (await here.store.get(task.id)).workspace == str(tmp_path / "mine")
    assert texts(tmp_path / "mine") == {
        "whole-one.txt": "<whole one>",
        "mine.txt": "by hand, later",
    }


async def test_a_fork_that_has_not_begun_leaves_with_the_files_it_begins_with(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun()
        taken = await there.checkpoints.take(task.id, Path(task.workspace), "to fork it")
        # As where the call that forked it was cut off: its own start fills its workspace.
        added = await there.store.add(NewTask("go on", origin=Origin(task.id, taken.number)))
        assert isinstance(added, Change)
        await there.store.pause(added.task.id)
        left = await there.transfer.leave(added.task.id, tmp_path / "task.tale")
    assert texts(Path(added.task.workspace)) == {"whole-one.txt": "<whole one>"}
    assert (left.files, left.checkpoints) == (1, 1)
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(tmp_path / "task.tale", tmp_path / "mine")
    assert (arrived.files, texts(tmp_path / "mine")) == (1, {"whole-one.txt": "<whole one>"})


async def test_what_stays_behind_is_counted(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun()
        (Path(task.workspace) / ".gitignore").write_text("*.o\n")
        (Path(task.workspace) / "a.o").write_text("built")
        left = await there.transfer.leave(task.id, tmp_path / "task.tale")
    assert (left.files, left.omissions) == (2, 1)


async def test_a_task_whose_workspace_is_gone_leaves_with_its_checkpoints(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun()
        await there.transfer.leave(task.id, tmp_path / "task.tale")
        await anyio.Path(task.workspace).rename(tmp_path / "elsewhere")
        left = await there.transfer.leave(task.id, tmp_path / "task.tale", replace=True)
    assert (left.files, left.checkpoints) == (1, 1)


async def test_a_task_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    async with machine(tmp_path / "there") as there:
        task = await there.ended((await there.engine.submit(NewTask("work"))).id)
        kinds = await there.kinds(task.id)
        left = await there.transfer.leave(task.id, tmp_path / "task.tale")
    async with machine(tmp_path / "here") as here:
        await here.transfer.arrive(tmp_path / "task.tale")
        found = await here.store.get(task.id)
        assert await here.kinds(task.id) == kinds
        assert await here.adopted.known() == set()
    assert left.steps == 0
    assert replace(found, workspace="") == replace(task, workspace="")
    assert set(texts(Path(found.workspace))) == {"whole-one.txt", "whole-two.txt"}


async def test_a_task_goes_from_sqlite_to_postgresql_and_back(tmp_path: Path) -> None:
    url = await blank_schema("transfer")
    file, task = await exported(tmp_path, "b two", *PARTS)
    async with machine(tmp_path / "here", url=url) as here:
        arrived = await here.transfer.arrive(file)
        await here.transfer.leave(task.id, tmp_path / "again.tale")
        assert (await here.done(arrived.task)).answer == "<b one> <b two> made"
    async with machine(tmp_path / "back") as back:
        assert (await back.transfer.arrive(tmp_path / "again.tale")).steps == arrived.steps
        assert (await back.done(task.id)).answer == "<b one> <b two> made"
    assert here.workers.asked == back.workers.asked == ["b two"]


async def test_what_was_adopted_is_forgotten_with_its_task(tmp_path: Path) -> None:
    file, _ = await exported(tmp_path, "b two", *PARTS)
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(file)
        first, second = f"{arrived.task}.a", f"{arrived.task}.b"
        assert await here.adopted.known() == {first, second}
        assert [name for name, _ in await here.adopted.of(second)] == ["ask", "act WriteFile"]
        await here.adopted.forget([first, "t-none"])
        assert await here.adopted.known() == {second}


# -- leaving ---------------------------------------------------------------------------------------


async def test_a_task_at_work_is_to_be_paused_first(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.engine.submit(NewTask("work"))
        await there.workers.reached.wait()
        with pytest.raises(TaskError, match="is running") as caught:
            await there.transfer.leave(task.id, tmp_path / "task.tale")
        assert f"tale pause {task.id}" in caught.value.hint
        with pytest.raises(TaskNotFound):
            await there.transfer.leave("t-none", tmp_path / "task.tale")
    assert not (tmp_path / "task.tale").exists()


async def test_the_file_is_private_and_takes_no_place_that_it_was_not_given(tmp_path: Path) -> None:
    target = tmp_path / "task.tale"
    target.write_text("mine")
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun()
        with pytest.raises(TaskFileUnusable, match="is there already") as caught:
            await there.transfer.leave(task.id, target)
        assert "--force" in caught.value.hint
        assert target.read_text() == "mine"
        left = await there.transfer.leave(task.id, target, replace=True)
        with pytest.raises(TaskFileUnusable, match="no folder"):
            await there.transfer.leave(task.id, tmp_path / "no/task.tale")
        with pytest.raises(TaskFileUnusable, match="is a folder"):
            await there.transfer.leave(task.id, tmp_path, replace=True)
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(TaskFileUnusable, match="no plain file"):
            await there.transfer.leave(task.id, tmp_path / "link", replace=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert left.size == target.stat().st_size


# -- arriving --------------------------------------------------------------------------------------


async def test_the_same_file_again_gives_another_task(tmp_path: Path) -> None:
    file, task = await exported(tmp_path)
    async with machine(tmp_path / "here") as here:
        first = await here.transfer.arrive(file)
        second = await here.transfer.arrive(file)
        assert (first.task, second.origin) == (task.id, task.id)
        assert second.task != task.id
        ended = [await here.done(one.task) for one in (second, first)]
        events, _ = await here.store.events(second.task, 0)
    assert {one.answer for one in ended} == {"<whole one> <whole two> made"}
    assert ended[0].workspace != ended[1].workspace
    assert here.workers.asked == ["whole two", "whole two"]
    told = next(event.data for event in events if event.kind == "imported")
    assert told["from"] == task.id


async def test_an_id_of_which_something_is_left_is_taken(tmp_path: Path) -> None:
    file, task = await exported(tmp_path)
    async with machine(tmp_path / "a") as here:
        (here.paths.workspaces / task.id).mkdir(parents=True)
        assert (await here.transfer.arrive(file)).task != task.id
    async with machine(tmp_path / "b") as here:
        (tmp_path / "w").mkdir()
        await here.checkpoints.take(task.id, tmp_path / "w", "of another")
        assert (await here.transfer.arrive(file)).task != task.id


async def test_an_id_of_the_future_does_not_keep_others_from_getting_one(tmp_path: Path) -> None:
    there = History(Repository(tmp_path / "store"))
    rows = TaskRows({**TASK, "id": "t-zzzzzzzz"}, EVENTS)
    export_task(tmp_path / "task.tale", rows, there, "t-zzzzzzzz")
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(tmp_path / "task.tale")
        later = await here.engine.submit(NewTask("work"))
    assert arrived.task != "t-zzzzzzzz"
    assert later.id > arrived.task


async def test_a_task_without_files_gets_its_folder_later(tmp_path: Path) -> None:
    export_task(tmp_path / "task.tale", TaskRows(TASK), History(Repository(tmp_path / "s")), "t")
    async with machine(tmp_path / "here") as here:
        arrived = await here.transfer.arrive(tmp_path / "task.tale", tmp_path / "mine")
        assert not (tmp_path / "mine").exists()
        await here.done(arrived.task)
    assert set(texts(tmp_path / "mine")) == {"whole-one.txt", "whole-two.txt"}


async def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    file, task = await exported(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("mine")
    async with machine(tmp_path / "here") as here:
        with pytest.raises(WorkspaceUnusable, match="not empty"):
            await here.transfer.arrive(file, tmp_path / "mine")
        assert await here.checkpoints.tasks() == ()
        with pytest.raises(TaskNotFound):
            await here.store.get(task.id)
        (tmp_path / "empty").mkdir()
        await here.transfer.arrive(file, tmp_path / "empty")
    assert texts(tmp_path / "mine") == {"notes": "mine"}
    assert texts(tmp_path / "empty") == {"whole-one.txt": "<whole one>"}


async def test_nothing_is_left_of_a_task_that_could_not_be_recorded(tmp_path: Path) -> None:
    file, _ = await exported(tmp_path)
    (tmp_path / "mine").mkdir()
    async with machine(tmp_path / "here") as here:
        await here.database.write(
            lambda connection: connection.execute(
                sql(
                    "CREATE TRIGGER full BEFORE INSERT ON adopted_steps "
                    "BEGIN SELECT RAISE(ABORT, 'x'); END"
                )
            )
        )
        for folder in (None, tmp_path / "mine"):
            with pytest.raises(StorageError):
                await here.transfer.arrive(file, folder)
        assert await here.checkpoints.tasks() == ()
        assert await here.store.newest(limit=9) == []
        assert list(here.paths.workspaces.glob("*")) == []
    assert texts(tmp_path / "mine") == {}


class FullMeanwhile(CheckpointStore):
    """A store on a disk that is full by the time that another import has filled the folder."""

    def __init__(self, paths: Paths, folder: Path) -> None:
        super().__init__(paths.checkpoints)
        self._of_the_other = folder

    async def install(self, imported: Imported, task: str) -> None:
        await super().install(imported, task)
        write(self._of_the_other, "theirs.txt", "theirs")
        raise StorageReadOnly("The disk is full.")


async def test_an_import_that_fails_takes_nothing_away_that_others_put_into_its_folder(
    tmp_path: Path,
) -> None:
    file, _ = await exported(tmp_path)
    async with machine(tmp_path / "here") as here:
        checkpoints = FullMeanwhile(here.paths, tmp_path / "mine")
        transfer = here.transfer_to(checkpoints)
        with pytest.raises(StorageReadOnly, match="full"):
            await transfer.arrive(file, tmp_path / "mine")
        assert await here.checkpoints.tasks() == ()
    assert texts(tmp_path / "mine") == {"theirs.txt": "theirs"}


async def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        async with machine(tmp_path / "there", "whole two") as there:
            task = await there.begun()
            write(Path(task.workspace), "noise", os.urandom(20_000).hex())
            await there.transfer.leave(task.id, tmp_path / "task.tale")
            disk.fill()
            with pytest.raises(StorageReadOnly, match="can't be written: the disk is full"):
                await there.transfer.leave(task.id, disk.path / "task.tale")
        async with machine(tmp_path / "here") as here:
            with pytest.raises(StorageReadOnly) as caught:
                await here.transfer.arrive(tmp_path / "task.tale", disk.path / "w")
            assert "nothing of it is left" in caught.value.hint
            assert await here.checkpoints.tasks() == ()
            assert {path.name for path in disk.path.iterdir()} == {"filler"}
            disk.free()
            await here.transfer.arrive(tmp_path / "task.tale", disk.path / "w")
        assert set(texts(disk.path / "w")) == {"whole-one.txt", "noise"}


async def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no task")
    async with machine(tmp_path / "here") as here:
        with pytest.raises(TaskFileUnusable, match="No such file"):
            await here.transfer.arrive(tmp_path / "none")
        with pytest.raises(TaskFileUnusable, match="no plain file"):
            await here.transfer.arrive(tmp_path / "pipe")
        with pytest.raises(ExportRefused, match="damaged"):
            await here.transfer.arrive(tmp_path / "text")


async def test_a_file_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    file, _ = await exported(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    async with machine(tmp_path / "here") as here:
        with pytest.raises(ExportRefused, match="cut short"):
            await here.transfer.arrive(file)
        assert await here.store.newest(limit=9) == []
        assert await here.checkpoints.tasks() == ()
        left = {path.name for path in here.paths.data.iterdir()}
    assert not [name for name in left if name.startswith(".tale")]


# -- the user's word -------------------------------------------------------------------------------


async def test_a_task_that_waited_for_its_user_asks_again_once_it_goes_on(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", trust=Trust("ask")) as there:
        task = await there.engine.submit(NewTask("work"))
        await there.until(task.id, "approval")
        await there.transfer.leave(task.id, tmp_path / "task.tale")
    async with machine(tmp_path / "here", trust=Trust("ask")) as here:
        await here.transfer.arrive(tmp_path / "task.tale")
        assert (await here.store.get(task.id)).state == "paused"
        assert (await here.kinds(task.id))[-3:] == ["approval", "paused", "imported"]
        with anyio.fail_after(10), here.hub.subscribe(task.id, 6) as events:
            await here.engine.resume(task.id)
            async for event in events:
                if event.kind == "approval":
                    break
        await here.engine.answer(task.id, Answer(True))
        assert here.workers.asked == []


async def test_what_another_machines_user_allowed_is_asked_again(tmp_path: Path) -> None:
    """An allowed act that was not done yet: its event alone would let it be done here."""
    async with machine(tmp_path / "there", trust=Trust("ask")) as there:
        task = await there.engine.submit(NewTask("work"))
        await there.until(task.id, "approval")
        there.workers.hold = "nothing"
        events, _ = await there.store.events(task.id, 0)
        rows = await TaskRecords(there.database, MemoryJournal()).dump(task.id)
        forged = {
            "seq": events[-1].seq + 1,
            "at": events[-1].at.isoformat(),
            "kind": "approved",
            "data": {"id": events[-1].data["id"], "text": ""},
        }
        history = History(Repository(there.paths.checkpoints))
        rows = replace(rows, events=[*rows.events, forged])
        export_task(tmp_path / "task.tale", rows, history, task.id)
    async with machine(tmp_path / "here", trust=Trust("ask")) as here:
        await here.transfer.arrive(tmp_path / "task.tale")
        last = (await here.store.get(task.id)).last_event
        with here.hub.subscribe(task.id, last) as following:
            await here.engine.resume(task.id)
            async for event in following:
                if event.kind == "approval":
                    break
        assert here.workers.acts == []


# -- rows from anywhere ----------------------------------------------------------------------------

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC).isoformat()
TASK: dict[str, Any] = {
    "id": "t-00000001",
    "text": "Count to ten",
    "state": "paused",
    "created": NOW,
}
PLAN: list[dict[str, Any]] = [
    {"id": "a", "title": "A", "text": "first"},
    {"id": "b", "title": "B", "text": "second", "depends_on": ["a"]},
]
EVENTS: list[dict[str, Any]] = [
    {"seq": 1, "at": NOW, "kind": "queued"},
    {"seq": 2, "at": NOW, "kind": "note", "data": {"text": "a\0b"}, "key": ":1:x"},
]
STEPS: list[dict[str, Any]] = [{"part": "", "position": 0, "name": "ask", "value": "{}"}]
SOURCE = Path("/x/task.tale")


def test_rows_that_are_a_task_are_read() -> None:
    checked = check_rows(SOURCE, TaskRows({**TASK, "later": 1}, EVENTS, STEPS))
    assert (checked.task.id, checked.last_event, checked.steps) == ("t-00000001", 2, 1)
    assert [event.harmless() for event in checked.events()] == [
        {},
        {"text": "a\N{REPLACEMENT CHARACTER}b"},
    ]


def test_parts_are_read_with_what_an_older_tale_did_not_know_of_them() -> None:
    further: dict[str, Any] = {
        **PLAN[1],
        "id": "+whole",
        "kind": "write",
        "reads": ["a.py"],
        "writes": ["b.md"],
        "check": "test -s b.md",
        "size": "large",
        "priority": 3,
        "state": "failed",
    }
    dropped = {**PLAN[1], "id": "gone", "state": "cancelled", "depends_on": ["unknown"]}
    rows = {**TASK, "subtasks": [PLAN[0], further, dropped]}
    read = [row.part() for row in check_rows(SOURCE, TaskRows(rows)).task.subtasks]
    assert read[0] == Subtask("a", "A", "first")
    assert read[1] == Subtask(
        "+whole",
        "B",
        "second",
        ("a",),
        "failed",
        kind="write",
        reads=("a.py",),
        writes=("b.md",),
        check="test -s b.md",
        size="large",
        priority=3,
    )
    assert read[2].state == "cancelled"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "../../etc"}, "id: "),
        ({"id": "t-00000001\n"}, "id: "),
        ({"state": "odd"}, "state: "),
        ({"text": " "}, "text is empty"),
        ({"text": None}, "text: "),
        ({"priority": 101}, "priority: "),
        ({"created": "2026-05-04T12:00:00"}, "created: "),
        ({"prompt_tokens": 2**31}, "prompt_tokens: "),
        ({"subtasks": [PLAN[1]]}, "which is not there"),
        ({"subtasks": [{**PLAN[0], "id": "a.b"}]}, "can't be the id"),
        ({"subtasks": [PLAN[0], PLAN[0]]}, "Two subtasks"),
        ({"subtasks": [{**PLAN[0], "kind": "cook"}]}, "subtasks.0.kind: "),
        ({"subtasks": [{**PLAN[0], "writes": ["../x"]}]}, "leads out of the workspace"),
        ({"subtasks": [{**PLAN[0], "check": "'"}]}, "can't be checked"),
        ({"subtasks": [{**PLAN[0], "priority": 101}]}, "subtasks.0.priority: "),
    ],
)
def test_a_task_that_is_none_is_refused(change: Row, says: str) -> None:
    with pytest.raises(ExportRefused, match=r"/x/task\.tale can't be imported") as caught:
        check_rows(SOURCE, TaskRows({**TASK, **change}))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (EVENTS[1:], "event 1 is missing"),
        ([EVENTS[0], EVENTS[0]], "event 2 is missing"),
        ([EVENTS[0], {**EVENTS[1], "kind": "k" * 17}], "kind: "),
        ([EVENTS[0], {**EVENTS[1], "data": 1}], "data: "),
        ([EVENTS[0], {**EVENTS[1], "key": "k" * 119}], "key: "),
        ([*EVENTS, {**EVENTS[1], "seq": 3}], "event 3 is there twice"),
    ],
)
def test_events_that_are_none_are_refused(events: list[Row], says: str) -> None:
    with pytest.raises(ExportRefused) as caught:
        check_rows(SOURCE, TaskRows(TASK, events))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{**STEPS[0], "position": 1}], "step 0 is missing"),
        ([STEPS[0], STEPS[0]], "step 1 is missing"),
        ([{**STEPS[0], "part": "c"}], "'c' has steps"),
        ([{**STEPS[0], "value": "{"}], "gave no JSON"),
        ([{**STEPS[0], "value": 1}], "value: "),
        ([{**STEPS[0], "name": "n" * 129}], "name: "),
    ],
)
def test_steps_that_are_none_are_refused(steps: list[Row], says: str) -> None:
    with pytest.raises(ExportRefused) as caught:
        check_rows(SOURCE, TaskRows(TASK, EVENTS, steps))
    assert says in caught.value.message


async def test_rows_are_plain_json_with_nothing_of_the_machine_in_them(tmp_path: Path) -> None:
    async with machine(tmp_path / "there", "whole two") as there:
        task = await there.begun(workspace=tmp_path / "private-folder")
        rows = await TaskRecords(there.database, MemoryJournal()).dump(task.id)
    written = orjson.dumps([rows.task, list(rows.events), list(rows.steps)]).decode()
    assert "private-folder" not in written
    assert written.count(task.id) == 1
