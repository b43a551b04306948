"""A task that waits for its user waits over the end of everything, and does once what is allowed.

The whole daemon, its real command line, and a model that answers what the test wants.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from told_daemon import World, installation, says

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = "Run the command that appends a line to done.txt"
COMMAND = "I append it.\n\nRUN: echo once >> done.txt\n"


async def waiting_task(world: World, workspace: Path) -> str:
    """Submit a task, and give its id once it waits for its user."""
    world.model.lines = says(COMMAND)
    done = await world.run("submit", REQUEST, "-w", str(workspace), "--no-wait")
    assert done.returncode == 0, done.stderr
    task = done.stdout.strip()
    while (await world.show(task))["state"] != "waiting":
        pass
    return task


async def test_what_is_approved_after_a_kill_of_everything_is_done_once(tmp_path: Path) -> None:
    work = tmp_path / "work"
    async with installation(tmp_path / "home") as world:
        task = await waiting_task(world, work)
        await world.kill_everything()
        assert (await world.run("serve", "--detach")).returncode == 0
        shown = await world.run("show", task)
        assert (await world.show(task))["state"] == "waiting"
        assert f"tale approve {task}" in shown.stdout
        assert not (work / "done.txt").exists()
        world.model.lines = says("The line is there.")
        approved = await world.run("approve", task)
        assert (approved.returncode, approved.stdout) == (0, f"{task} goes on.\n")
        ended = await world.run("watch", task)
        again = await world.run("approve", task)
    assert (ended.returncode, ended.stdout) == (0, "The line is there.\n"), ended.stderr
    assert (work / "done.txt").read_text() == "once\n"
    assert again.returncode == 1
    assert f"Task {task} is done; it asks for nothing" in again.stderr


async def test_what_is_rejected_after_a_kill_of_everything_is_not_done(tmp_path: Path) -> None:
    work = tmp_path / "work"
    async with installation(tmp_path / "home") as world:
        task = await waiting_task(world, work)
        await world.kill_everything()
        world.model.lines = says("Then it stays as it is.")
        rejected = await world.run("reject", task, "not", "today")
        assert rejected.returncode == 0, rejected.stderr
        ended = await world.run("watch", task)
        heard = [body["messages"] for body in world.model.bodies if body.get("messages")][-1]
    assert (ended.returncode, ended.stdout) == (0, "Then it stays as it is.\n"), ended.stderr
    assert "you said no: not today" in ended.stderr
    assert not (work / "done.txt").exists()
    assert "not today" in json.dumps(heard)
