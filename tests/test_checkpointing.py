"""Checkpoints hold states that were there, and a task's work goes on whatever becomes of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from tale.errors import StorageReadOnly
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_rule import Cadence, Retention, Verdict
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.hands import (
    Action,
    CallTool,
    FileChange,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    WriteFile,
)
from tale.tasks.task import Step

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FULL = StorageReadOnly("The disk is full.")
EACH = Cadence(seconds=0, share=1e9)
"""A checkpoint after each effect."""


def read(folder: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in folder.glob("*")}


def write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


class Checkpoints:
    """Checkpoints in memory: the twin of `CheckpointStore`."""

    def __init__(self) -> None:
        self.taken: list[Checkpoint] = []
        self.held: list[dict[str, str]] = []
        self.full = False
        self.gate: anyio.Event | None = None
        self.reached = anyio.Event()
        self.pruned: list[str] = []
        self.collected = 0

    async def take(self, task: str, workspace: Path, why: str) -> Checkpoint:
        if self.full:
            raise FULL
        if self.gate and self.taken:
            self.reached.set()
            await self.gate.wait()
        files = read(workspace)
        if not self.held or self.held[-1] != files:
            number = len(self.taken) + 1
            self.held.append(files)
            self.taken.append(
                Checkpoint(f"{number}", task, number, NOON, why, "", files=len(files), changes=1)
            )
        return self.taken[-1]

    async def list(self, task: str) -> tuple[Checkpoint, ...]:
        return tuple(self.taken)

    async def restore(self, task: str, number: int, workspace: Path) -> None:
        write(workspace, self.held[number - 1])

    async def fork(
        self, task: str, number: int, into: str, workspace: Path, *, beside: bool = False
    ) -> Checkpoint:
        raise AssertionError(into)

    async def tasks(self) -> tuple[str, ...]:
        return ("t-1",) if self.taken else ()

    async def prune(self, task: str, rule: Retention, now: datetime) -> tuple[Verdict, ...]:
        self.pruned.append(task)
        return ()

    async def collect(self) -> None:
        self.collected += 1


class Desk:
    """Hands that write, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.step = Step("t-1", "", str(folder / "work"), "task", "work")
        self.workspace = folder / "work"
        self.checkpoints = Checkpoints()
        self.seconds = 0.0
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.keys: set[str | None] = set()
        self.acted: list[Action] = []

    def keeper(self, cadence: Cadence = EACH) -> Checkpointing:
        return Checkpointing(self.checkpoints, cadence=cadence, clock=lambda: self.seconds)

    async def tell(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        if key is not None and key in self.keys:
            return False
        self.keys.add(key)
        self.told.append((kind, data))
        return True

    async def ask(self, question: Question) -> Reply:
        raise AssertionError(question)

    async def act(self, action: Action) -> Outcome:
        self.acted.append(action)
        if not isinstance(action, WriteFile):
            return Outcome(ok=True, text="")
        self.workspace.mkdir(exist_ok=True)
        (self.workspace / action.path).write_text(action.content)
        change = FileChange(action.path, len(action.content))
        return Outcome(ok=True, text="", files=(change,))

    async def note(self, text: str) -> None:
        raise AssertionError(text)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@asynccontextmanager
async def running(keeper: Checkpointing) -> AsyncGenerator[Checkpointing]:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            await tasks.start(keeper.run)
            yield keeper
            tasks.cancel_scope.cancel()


async def test_what_was_there_is_kept_before_the_first_effect(desk: Desk) -> None:
    desk.workspace.mkdir()
    (desk.workspace / "a").write_text("old")
    async with running(desk.keeper()) as keeper:
        await keeper.hands(desk.step, desk, desk.tell).act(WriteFile("a", "new"))
        await keeper.settled("t-1")
    assert desk.checkpoints.held == [{"a": "old"}, {"a": "new"}]
    assert [data for kind, data in desk.told if kind == "checkpoint"] == [
        {"number": 1, "why": "before its first effect", "changed": 1},
        {"number": 2, "why": "after writing a", "changed": 1},
    ]


async def test_the_next_effect_waits_for_a_checkpoint_and_the_answer_does_not(desk: Desk) -> None:
    desk.checkpoints.gate = anyio.Event()
    async with running(desk.keeper()) as keeper, anyio.create_task_group() as tasks:
        hands = keeper.hands(desk.step, desk, desk.tell)
        await hands.act(WriteFile("a", "1"))  # its outcome is there while the gate is shut
        await desk.checkpoints.reached.wait()
        tasks.start_soon(hands.act, WriteFile("a", "2"))
        await anyio.wait_all_tasks_blocked()
        assert len(desk.acted) == 1
        desk.checkpoints.gate.set()
    assert desk.checkpoints.held[:2] == [{}, {"a": "1"}]
    assert len(desk.acted) == 2


async def test_reading_takes_no_checkpoint_and_waits_for_none(desk: Desk) -> None:
    async with running(desk.keeper()) as keeper:
        await keeper.hands(desk.step, desk, desk.tell).act(ReadFile("a"))
        await keeper.keep(desk.step, "end", desk.tell)
    assert (desk.checkpoints.taken, desk.told) == ([], [])


async def test_a_little_work_is_kept_once_it_ends(desk: Desk) -> None:
    async with running(desk.keeper(Cadence())) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        await hands.act(WriteFile("a", "1"))
        await hands.act(WriteFile("b", "2"))
        await keeper.settled("t-1")
        assert len(desk.checkpoints.taken) == 1
        await keeper.keep(desk.step, "end", desk.tell)
    assert [one.why for one in desk.checkpoints.taken] == [
        "before its first effect",
        "at its end",
    ]


async def test_a_command_may_have_changed_anything(desk: Desk) -> None:
    async with running(desk.keeper(Cadence())) as keeper:
        await keeper.hands(desk.step, desk, desk.tell).act(RunCommand("make"))
        desk.workspace.mkdir()
        (desk.workspace / "made").write_text("it")
        await keeper.keep(desk.step, "pause", desk.tell)
    assert desk.checkpoints.held == [{}, {"made": "it"}]


async def test_the_time_between_two_is_counted(desk: Desk) -> None:
    async with running(desk.keeper(Cadence())) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        for number in range(6):
            await hands.act(WriteFile("a", str(number)))
            await keeper.settled("t-1")
            desk.seconds += 8
    assert [one.get("a") for one in desk.checkpoints.held] == [None, "3"]


async def test_no_state_is_kept_while_another_part_is_changing_it(desk: Desk) -> None:
    other = replace(desk.step, subtask="b")
    entered, leave = anyio.Event(), anyio.Event()

    class Slow(Desk):
        async def act(self, action: Action) -> Outcome:
            entered.set()
            await leave.wait()
            return Outcome(ok=True, text="")

    slow = Slow(desk.workspace.parent)
    async with running(desk.keeper()) as keeper, anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.hands(other, slow, desk.tell).act, RunCommand("make"))
        await entered.wait()
        await keeper.hands(desk.step, desk, desk.tell).act(WriteFile("a", "1"))
        await keeper.settled("t-1")
        assert desk.checkpoints.held == [{}]
        leave.set()
    assert desk.checkpoints.held == [{}, {"a": "1"}]


async def test_a_full_disk_costs_checkpoints_and_one_note(desk: Desk) -> None:
    desk.checkpoints.full = True
    async with running(desk.keeper()) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        for text in "123":
            assert (await hands.act(WriteFile("a", text))).ok
        await keeper.keep(desk.step, "end", desk.tell)
    assert desk.kinds() == ["note"]
    assert "The disk is full. The task goes on." in str(desk.told[0][1]["text"])


async def test_after_a_restart_the_workspace_stays_as_it_is(desk: Desk) -> None:
    async with running(desk.keeper()) as keeper:
        await keeper.hands(desk.step, desk, desk.tell).act(WriteFile("a", "1"))
        await keeper.keep(desk.step, "pause", desk.tell)
    (desk.workspace / "a").write_text("by hand")
    async with running(desk.keeper(Cadence())) as keeper:
        await keeper.begin(desk.step, desk.tell)
        await keeper.hands(desk.step, desk, desk.tell).act(WriteFile("b", "2"))
        await keeper.keep(desk.step, "end", desk.tell)
    assert desk.checkpoints.held[-1] == {"a": "by hand", "b": "2"}
    assert "note" not in desk.kinds()


async def test_a_workspace_that_is_gone_comes_back_with_a_note(desk: Desk) -> None:
    async with running(desk.keeper()) as keeper:
        await keeper.hands(desk.step, desk, desk.tell).act(WriteFile("a", "1"))
        await keeper.keep(desk.step, "pause", desk.tell)
    (desk.workspace / "a").unlink()
    desk.workspace.rmdir()
    await desk.keeper().begin(desk.step, desk.tell)
    assert (desk.workspace / "a").read_text() == "1"
    assert "as it was at checkpoint 2" in str(desk.told[-1][1]["text"])


async def test_a_folder_that_no_effect_has_made_yet_is_no_loss(desk: Desk, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints.git")
    step = replace(desk.step, workspace=str(tmp_path / "never"))

    class Elsewhere(Desk):
        async def act(self, action: Action) -> Outcome:
            return Outcome(ok=True, text="done elsewhere")

    hands = Elsewhere(tmp_path)
    async with running(Checkpointing(store, cadence=EACH)) as keeper:
        await keeper.hands(step, hands, desk.tell).act(CallTool("web", "get"))
        await keeper.keep(step, "end", desk.tell)
    assert [kind for kind, _ in desk.told] == ["checkpoint"]


async def test_a_new_task_s_workspace_is_not_missed(desk: Desk) -> None:
    await desk.keeper().begin(desk.step, desk.tell)
    assert (desk.told, desk.workspace.exists()) == ([], False)


async def test_old_checkpoints_are_thinned_out_and_a_failure_of_it_is_none(desk: Desk) -> None:
    await desk.checkpoints.take("t-1", desk.workspace, "")
    await desk.keeper().tidy()
    assert (desk.checkpoints.pruned, desk.checkpoints.collected) == (["t-1"], 1)

    class Broken(Checkpoints):
        async def tasks(self) -> tuple[str, ...]:
            raise FULL

    await Checkpointing(Broken()).tidy()


async def test_the_real_store_keeps_what_a_task_does(desk: Desk, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints.git")
    async with running(Checkpointing(store, cadence=EACH)) as keeper:
        hands = keeper.hands(desk.step, desk, desk.tell)
        await hands.act(WriteFile("a", "1"))
        await hands.act(WriteFile("b", "2"))
        await keeper.keep(desk.step, "end", desk.tell)
    taken = await store.list("t-1")
    assert [(one.files, one.changed) for one in taken] == [(0, ()), (1, ("a",)), (2, ("b",))]
