"""A whole daemon, its real command line, and a model that answers what the test wants."""

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
from anyio import to_thread

from fake_ollama import FakeOllama, fake_ollama
from tale_home import Tale

__all__ = ["World", "installation", "says"]

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
async def installation(home: Path, *, seconds: float = 200) -> AsyncGenerator[World]:
    async with fake_ollama("small:latest", "large:latest") as model:
        await anyio.Path(home).mkdir()
        await anyio.Path(home / "tale.toml").write_text(SETTINGS.format(url=model.url))
        world = World(Tale(home), model)
        try:
            with anyio.fail_after(seconds):
                yield world
        finally:
            with anyio.CancelScope(shield=True):
                await world.run("stop")
        assert world.tale.processes() == []
