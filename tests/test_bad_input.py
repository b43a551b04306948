"""What goes wrong around a task: its disk, its folder, its clock, its user's hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from local_hands import run_step
from small_disk import SmallDisk, mounted
from tale.config import Settings
from tale.errors import TaskError, WorkspaceFull
from tale.models.caller import Script, ScriptedModels
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.hands import ReadFile, RunCommand, WriteFile
from tale.tasks.steady_clock import SteadyClock
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import Progress, Step
from tale.tasks.task_rows import Change
from tale.tasks.workspace import Workspace, Written
from test_checkpointing import EACH, Desk, running
from test_gateway import WORK, gateway, parse
from test_tasks import World, no_pause

pytestmark = pytest.mark.anyio

FULL = "FILE: big.txt\n```\n" + "x" * 100_000 + "\n```\n"


@pytest.fixture
def disk(tmp_path: Path) -> Generator[SmallDisk]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[TaskStore]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield TaskStore(database, paths.workspaces)


# -- a disk that fills up ------------------------------------------------------------------------


def test_a_full_disk_is_told_apart_and_nothing_is_left_of_the_write(disk: SmallDisk) -> None:
    workspace = Workspace(disk.path / "w")
    workspace.write("before.txt", "kept")
    disk.fill()
    with pytest.raises(WorkspaceFull, match=r"the disk is full \(0\.0 MiB left\)"):
        workspace.write("a.txt", "x" * 10_000)
    assert [file.name for file in (disk.path / "w").iterdir()] == ["before.txt"]
    disk.free()
    assert isinstance(workspace.write("a.txt", "x" * 10_000), Written)


async def test_a_task_whose_disk_is_full_waits_and_goes_on_by_itself_with_room(
    disk: SmallDisk, tmp_path: Path
) -> None:
    folder = disk.path / "work"
    folder.mkdir()
    disk.fill()
    async with gateway(tmp_path, Script([FULL])) as world:
        task = await world.submit(WORK, workspace=str(folder))
        with anyio.fail_after(20):
            while "the disk is full" not in (await world.words(task.id)):
                await anyio.lowlevel.checkpoint()
        assert (await world.show(task.id)).state == "running"
        assert list(folder.iterdir()) == []
        disk.free()
        events = parse((await world.events(f"task={task.id}")).text)
        shown = await world.show(task.id)
    assert (shown.state, shown.files) == ("done", ("big.txt",))
    notes = [str(event.data["text"]) for event in events if event.kind == "note"]
    assert [note.rsplit(".", 2)[-2].strip() for note in notes[:2]] == [
        "Free some space: the task waits, and goes on by itself once there is room",
        "There is room on the disk again; it goes on",
    ]


async def test_a_disk_that_stays_full_fails_no_task_however_long_it_takes(
    store: TaskStore,
) -> None:
    world = World(store, no_pause)
    world.workers.die = [WorkspaceFull("/w: the disk is full.") for _ in range(50)]
    async with world.running():
        task = await world.ended(await world.submit("work"))
    assert task.state == "done"
    assert len(world.workers.acts) == 51
    events, _ = await store.events(task.id, 0)
    assert sum("the disk is full" in str(event.data.get("text")) for event in events) == 1


# -- a folder that is deleted --------------------------------------------------------------------


async def test_a_folder_that_is_deleted_in_mid_task_comes_back_with_a_note(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    store = CheckpointStore(tmp_path / "checkpoints.git")
    async with running(Checkpointing(store, cadence=EACH)) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        await hands.act(WriteFile("a", "1"))
        await keeper.settled("t-1")
        (desk.workspace / "a").unlink()
        desk.workspace.rmdir()
        await hands.act(RunCommand("make"))
        assert (desk.workspace / "a").read_text() == "1"
    notes = [str(data["text"]) for kind, data in desk.told if kind == "note"]
    assert notes == ["The workspace was gone; it is back as it was at checkpoint 2."]


async def test_a_folder_that_holds_nothing_yet_is_not_missed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    store = CheckpointStore(tmp_path / "checkpoints.git")
    async with running(Checkpointing(store, cadence=EACH)) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        await hands.act(ReadFile("a"))
        await hands.act(RunCommand("true"))
        await hands.act(WriteFile("a", "1"))
    assert not [kind for kind, _ in desk.told if kind == "note"]


# -- a clock that jumps --------------------------------------------------------------------------


def test_what_is_measured_is_what_it_took_though_the_clock_is_set() -> None:
    seconds, read = [100.0], list[datetime]()

    def wall() -> datetime:
        read.append(datetime(2026, 1, 31, 12, tzinfo=UTC))
        return read[-1]

    clock = SteadyClock(wall, lambda: seconds[0])
    first = clock()
    seconds[0] += 5
    assert clock() - first == timedelta(seconds=5)
    assert len(read) == 1


async def test_a_clock_that_was_set_back_between_two_starts_reverses_no_events(
    tmp_path: Path,
) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    late = datetime(2026, 1, 31, 12, tzinfo=UTC)
    async with Database.open(paths, Settings()) as database:
        added = await TaskStore(database, tmp_path, now=lambda: late).add(NewTask("x"))
        assert isinstance(added, Change)
        early = TaskStore(database, tmp_path, now=lambda: late - timedelta(days=2))
        await early.start(added.task.id, "task", "")
        task = await early.get(added.task.id)
        events, _ = await early.events(task.id, 0)
    assert [event.at for event in events] == [late, late]
    assert task.started == late


# -- a model that answers garbage ----------------------------------------------------------------


async def test_garbage_for_ever_leaves_a_transcript_that_the_user_can_read(tmp_path: Path) -> None:
    step = Step("t-1", WORK, str(tmp_path / "w"), "task", "work", form="json")
    models = ScriptedModels(*[Script([f"I would rather not ({number})."]) for number in range(9)])

    async def report(progress: Progress) -> None:
        del progress

    with pytest.raises(TaskError, match="could not be understood") as caught:
        await run_step(step, models, report)
    transcript = tmp_path / "w" / ".tale" / "t-1.md"
    assert ".tale/t-1.md in the workspace" in caught.value.hint
    said = transcript.read_text()
    assert WORK in said
    assert all(f"I would rather not ({number})." in said for number in range(4))
