"""The dashboard on a real daemon: it sees a task at work, answers it, and outlives a power cut."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from test_plans import PLAN, REQUEST, until
from textual.pilot import Pilot

from tale.dashboard.actions import DaemonActions
from tale.dashboard.app import Dashboard
from tale.dashboard.dialogs import Dialog
from tale.dashboard.lines import TableLines
from tale.dashboard.logs import LogFiles
from tale.dashboard.source import DaemonSource
from tale.paths import Paths
from tale.prompts import PLAN_SYSTEM
from told_daemon import World, installation

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(300)]


class Shown:
    """A dashboard without a terminal."""

    def __init__(self, home: Path) -> None:
        paths = Paths.from_environment({"TALE_HOME": str(home)})
        self.app = Dashboard(DaemonSource(paths), DaemonActions(paths), LogFiles(paths))
        self.pilot: Pilot[None]

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not holds():
                await self.pilot.pause(0.05)

    async def sees(self, panel: str, words: str) -> None:
        lines = self.app.screen_stack[0].query_one(f"#{panel}-lines", TableLines)
        await self.until(lambda: words in lines.text)


@asynccontextmanager
async def dashboard(home: Path) -> AsyncGenerator[Shown]:
    shown = Shown(home)
    async with shown.app.run_test(size=(160, 50)) as pilot:
        shown.pilot = pilot
        yield shown


async def _answer(messages: list[Any]) -> str:
    if messages[0].content == PLAN_SYSTEM:
        return PLAN
    name = messages[-1].content.partition("Write ")[2].partition(".txt")[0]
    return f"FILE: {name}.txt\n```\n{name}\n```\n"


async def _submit(world: World, work: Path) -> str:
    asked = ("--no-wait", "--approve", "always", "--permission", "full")
    done = await world.run("submit", REQUEST, "-w", str(work), *asked)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_a_task_is_seen_answered_and_seen_again_after_everything_was_killed(
    tmp_path: Path,
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    async with installation(home) as world, dashboard(home) as one:
        world.model.answer = _answer
        await one.until(lambda: one.app.state.link == "stopped")
        task = await _submit(world, work)
        await one.sees("tasks", "waits for you")
        await one.sees("task", "·  ├ Api")
        await world.kill_everything()
        await one.until(lambda: one.app.state.link != "live")
        assert (await world.run("serve", "--detach")).returncode == 0
        await one.until(lambda: one.app.state.link == "live")
        await one.sees("tasks", "waits for you")
        await one.pilot.press("a")
        await one.until(lambda: isinstance(one.app.screen, Dialog))
        await one.pilot.press("y")
        await one.sees("task", "✓  Data")
        assert (await until(world, task, "done"))["files"]
        await one.sees("tasks", "took")
        await one.sees("checkpoints", "when")
        await one.sees("models", "talks")
        await one.sees("servers", "execution-1")
        await one.sees("log", "gateway")
