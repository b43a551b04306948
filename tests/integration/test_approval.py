"""A task that waits for its user waits over the end of everything, and does once what is allowed.

The whole daemon, its real command line, and a model that answers what the test wants.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest
from anyio import to_thread

from fake_ollama import FakeOllama, fake_ollama
from tale_home import Tale

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(300)]

SETTINGS = """
[models]
backend = "ollama"
ollama_url = "{url}"
[models.ux]
name = "small"
[models.task]
name = "large"
[gateway]
port = 0
[model_server]
port = 0
[sandbox]
kind = "none"
"""
REQUEST = "Run the command that appends a line to done.txt"
COMMAND = "I append it.\n\nRUN: echo once >> done.txt\n"


def says(text: str) -> list[bytes]:
    """Give what Ollama sends as an answer."""
    message = {"model": "m", "message": {"role": "assistant", "content": text}, "done": False}
    end = {
        **message,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 10,
        "eval_count": 10,
    }
    return [orjson.dumps(message) + b"\n", orjson.dumps(end) + b"\n"]


@dataclass
class World:
    tale: Tale
    model: FakeOllama

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await to_thread.run_sync(lambda: self.tale.run(*arguments))

    async def show(self, task: str) -> dict[str, Any]:
        return json.loads((await self.run("show", task, "--json")).stdout)

    async def waiting_task(self, workspace: Path) -> str:
        """Submit a task, and give its id once it waits for its user."""
        self.model.lines = says(COMMAND)
        done = await self.run("submit", REQUEST, "-w", str(workspace), "--no-wait")
        assert done.returncode == 0, done.stderr
        task = done.stdout.strip()
        while (await self.show(task))["state"] != "waiting":
            pass
        return task

    async def kill_everything(self) -> None:
        """End all processes of the installation as a power cut would."""

        def kill() -> None:
            processes = self.tale.processes()
            assert len(processes) > 4
            for process in processes:
                process.kill()
            gone, alive = psutil.wait_procs(processes, timeout=20)
            assert gone
            assert not alive

        await to_thread.run_sync(kill)


@asynccontextmanager
async def installation(home: Path) -> AsyncGenerator[World]:
    async with fake_ollama("small:latest", "large:latest") as model:
        await anyio.Path(home).mkdir()
        await anyio.Path(home / "tale.toml").write_text(SETTINGS.format(url=model.url))
        world = World(Tale(home), model)
        try:
            with anyio.fail_after(200):
                yield world
        finally:
            with anyio.CancelScope(shield=True):
                await world.run("stop")
        assert world.tale.processes() == []


async def test_what_is_approved_after_a_kill_of_everything_is_done_once(tmp_path: Path) -> None:
    work = tmp_path / "work"
    async with installation(tmp_path / "home") as world:
        task = await world.waiting_task(work)
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
        task = await world.waiting_task(work)
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
