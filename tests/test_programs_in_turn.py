"""Programs run side by side as far as there is memory for them: `tasks.programs_in_turn`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.hands import (
    Action,
    ListFiles,
    Outcome,
    Question,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.programs_in_turn import InTurn
from tale.tasks.task import Progress, Report, Step

pytestmark = pytest.mark.anyio

STEP = Step("t-1", "Do it", "/w", "task", "work")
DONE = Outcome(ok=True, text="done")


class Held:
    """Workers of which each program runs until it is let go.

    Attributes:
        running: Names of what runs, oldest first.
        begun: All that ever began.
        free: Memory; a program may take 4.
    """

    def __init__(self, free: int) -> None:
        self.free = free
        self.looks = 0
        self.running: list[str] = []
        self.begun: list[str] = []
        self._ends: dict[str, anyio.Event] = {}
        self.turns = InTurn(self, memory=4, available=self._look)

    def _look(self) -> int:
        self.looks += 1
        return self.free

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        return Reply("said", "m", "task")

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        if not isinstance(action, RunCommand):
            return DONE
        name = action.line
        self.running.append(name)
        self.begun.append(name)
        self._ends[name] = anyio.Event()
        try:
            await self._ends[name].wait()
        finally:
            self.running.remove(name)
        return DONE

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settled()


async def settled() -> None:
    """Let everybody go as far as they come; what anyio has for that looks every 0.1 s."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def silent(progress: Progress) -> None:
    del progress


@asynccontextmanager
async def world(free: int, *names: str) -> AsyncGenerator[tuple[Held, TaskGroup]]:
    held = Held(free)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(run, held, name)
                await settled()
            yield held, tasks
            tasks.cancel_scope.cancel()


async def run(held: Held, name: str) -> None:
    assert await held.turns.act(STEP, RunCommand(name), silent, repeatable=False) == DONE


async def test_programs_run_side_by_side_as_far_as_their_limits_are_free() -> None:
    async with world(8, "a", "b", "c") as (held, _):
        assert held.running == ["a", "b"]
        await held.end("a")
        assert held.running == ["b", "c"]


async def test_one_alone_begins_whatever_is_free_and_nobody_looks() -> None:
    async with world(0, "a") as (held, _):
        assert (held.running, held.looks) == (["a"], 0)


async def test_those_that_wait_begin_in_the_order_in_which_they_came() -> None:
    async with world(4, "a", "b", "c", "d") as (held, _):
        for name in "abc":
            await held.end(name)
        assert held.begun == ["a", "b", "c", "d"]


async def test_memory_that_is_free_again_counts_when_something_ends() -> None:
    async with world(4, "a", "b", "c") as (held, _):
        held.free = 12
        await held.end("a")
        assert held.running == ["b", "c"]


async def test_files_and_questions_wait_for_no_program() -> None:
    async with world(0, "a", "b") as (held, _):
        for action in (ListFiles(), WriteFile("x", "y")):
            assert await held.turns.act(STEP, action, silent, repeatable=True) == DONE
        assert (await held.turns.ask(STEP, Question((), 5), silent)).text == "said"


async def test_a_python_program_is_one_too() -> None:
    async with world(0, "a") as (held, _):
        with anyio.move_on_after(0) as scope:
            await held.turns.act(STEP, RunPython("x"), silent, repeatable=True)
        assert scope.cancelled_caught


async def test_one_that_is_cut_off_while_it_waits_or_runs_leaves_its_place() -> None:
    async with world(4, "a") as (held, tasks):
        async with anyio.create_task_group() as gone:
            gone.start_soon(run, held, "b")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(run, held, "c")
            await anyio.wait_all_tasks_blocked()
            gone.cancel_scope.cancel()
        await held.end("a")
        assert held.running == ["c"]
        async with anyio.create_task_group() as gone:
            gone.start_soon(run, held, "d")
            await anyio.wait_all_tasks_blocked()
            await held.end("c")
            assert held.running == ["d"]
            gone.cancel_scope.cancel()
        tasks.start_soon(run, held, "e")
        await anyio.wait_all_tasks_blocked()
        assert held.running == ["e"]


@given(st.randoms(use_true_random=False), st.integers(0, 20))
def test_all_programs_end_and_never_more_run_than_memory_is_free(
    random_: Random, free: int
) -> None:
    async def play() -> None:
        names = [f"p{number}" for number in range(random_.randint(1, 12))]
        async with world(free, *names) as (held, _):
            while held.running:
                assert len(held.running) <= max(1, free // 4)
                await held.end(random_.choice(held.running))
            assert held.begun == names

    anyio.run(play)
