"""Every command that a page shows is run, page by page, in a whole daemon with a told model.

Left out is what says why in a comment (`documentation.fences`). A task that a page speaks of
without having submitted it is there all the same, and has been done.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from documentation.fences import Entry, Fence, fences, pages, tale_calls
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tale.cli.main import run
from tale.orchestration.control_client import Runtime, read_runtime
from tale.paths import Paths
from tale.prompts import CHAT_SYSTEM, PLAN_SYSTEM, THIS_PART, WHOLE_SYSTEM
from told_daemon import installation

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

GENERATED = "docs/reference/commands.md"
"""Made of the commands' own help: parsed, not run."""
TASK = re.compile(r"\bt-[0-9a-z]{8}\b|\bID\b")
WITHIN = re.compile(r"\$\((tale [^()]*)\)")
CODE = {"console", "python", "json", "yaml"}
PATIENCE = 300.0


def part(name: str, *needs: str) -> dict[str, object]:
    return {
        "id": name,
        "title": name.capitalize(),
        "instructions": f"Write {name}.txt",
        "kind": "write",
        "depends_on": list(needs),
        "reads": [f"{other}.txt" for other in needs],
        "writes": [f"{name}.txt"],
        "check": f"test -s {name}.txt",
        "size": "small",
        "priority": 0,
    }


PLAN = json.dumps({"reasoning": "Data first.", "subtasks": [part("data"), part("api", "data")]})


async def answer(messages: list[Any]) -> str:
    system, told = messages[0].content, messages[-1].content
    if system == PLAN_SYSTEM:
        return PLAN
    if system in (WHOLE_SYSTEM, CHAT_SYSTEM):
        return "Hello! All of it is there."
    if own := re.search(r"Write (\S+)", told.partition(THIS_PART)[2]):
        return f"FILE: {own[1].rstrip('.,')}\n```\nx = 1\n```\n"
    return "FILE: notes.txt\n```\nnotes\n```\n"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def tale(*words: str) -> Done:
    """Run a command in this process: its interpreter has started, which saves most of the time."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(words))
    return Done(code, out.getvalue(), err.getvalue())


def until(task: str, state: str) -> None:
    last = time.monotonic() + PATIENCE
    while (shown := json.loads(tale("show", task, "--json").out))["state"] != state:
        assert time.monotonic() < last, shown


@dataclass
class Reader:
    """Does what a page says, with the ids that there really are in the place of those it shows."""

    home: Path
    folder: Path
    ids: dict[str, str] = field(default_factory=dict[str, str])

    def follow(self, fence: Fence) -> None:
        if fence.title:
            (self.folder / fence.title).write_text(fence.text, encoding="utf-8")
        elif fence.language == "console" and not fence.not_run:
            for entry in fence.entries():
                self.type(entry, f"{fence.page}:{fence.line}")
        elif fence.language == "python":
            exec(compile(self.here(fence.text), fence.page, "exec"), {})  # noqa: S102
        elif fence.language == "json" and '"url"' in fence.text:
            self.connect(json.loads(self.here(fence.text)))

    def type(self, entry: Entry, where: str) -> None:
        rests = entry.command.startswith("tale pause")
        named = TASK.sub(lambda found: self.task(found[0], rests=rests), entry.command)
        command = WITHIN.sub(lambda found: self.within(found[1]), self.here(named))
        calls = list(tale_calls(command))
        for words in calls:
            if words[0] in ("approve", "reject", "edit"):
                until(words[1], "waiting")
        typed = re.sub(r"\s#.*", "", command)
        plain = len(calls) == 1 and not re.search(r"[|<>;&$\\]", typed)
        done = tale(*calls[0]) if plain else self.shell(command)
        assert done.code == 0, f"{where}: {entry.command}\n{done.out}{done.err}"
        shown = [one for one in TASK.findall(entry.output) if one not in self.ids]
        self.ids.update(zip(shown, TASK.findall(done.out + done.err), strict=False))

    def task(self, shown: str, *, rests: bool) -> str:
        """Give the task that a page calls so; one that it did not submit is done, or asks."""
        if shown not in self.ids:
            words = ["submit", "Write notes.txt", "-w", str(self.folder / f"made-{shown}")]
            words += ["--no-wait", "--permission", "ask" if rests else "full"]
            self.ids[shown] = tale(*words).out.strip()
            until(self.ids[shown], "waiting" if rests else "done")
        return self.ids[shown]

    def within(self, call: str) -> str:
        """Give what a call of `tale` in the middle of a command comes to."""
        done = tale(*shlex.split(call)[1:])
        assert done.code == 0, done.err
        return done.out.strip()

    def shell(self, command: str) -> Done:
        program = command.split(maxsplit=1)[0]
        if program in ("curl", "git") and shutil.which(program) is None:
            return Done(0, "", f"{program} is not here")
        ran = subprocess.run(
            # An answer that is an error is one.
            ["bash", "-o", "pipefail", "-c", command.replace("curl -s", "curl -fs")],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def here(self, text: str) -> str:
        """Put the addresses and files of this installation in the place of the usual ones."""
        text = text.replace("~/.local/share/tale", str(self.home))
        if "http://127.0.0.1" not in text:
            return text
        runtime = running(self.home)
        text = text.replace("http://127.0.0.1:7433", runtime.gateway)
        text = text.replace("http://127.0.0.1:7434", runtime.models)
        return text.replace("Bearer TOKEN", f"Bearer {runtime.token}")

    def connect(self, settings: dict[str, dict[str, Any]]) -> None:
        """Connect as a client with these settings would."""
        (servers,) = settings.values()
        with start_blocking_portal() as portal:
            for server in servers.values():
                assert "submit" in portal.call(_tools, server["url"], server["headers"])


async def _tools(url: str, headers: dict[str, str]) -> set[str]:
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport) as client:
            return {tool.name for tool in (await client.list_tools()).tools}


def running(home: Path) -> Runtime:
    """Find the daemon, starting it where a page has stopped it."""
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    last = time.monotonic() + PATIENCE
    while not ((runtime := read_runtime(paths)) and runtime.gateway and runtime.models):
        assert time.monotonic() < last
        tale("serve", "--detach")
    return runtime


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A whole daemon whose model plans, writes what it is asked for, and talks."""
    place = tmp_path_factory.mktemp("pages")
    command = place / "bin" / "tale"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tale.cli "$@"\n')
    command.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal() as portal:
        patch.setenv("TALE_HOME", str(place / "home"))
        patch.delenv("TALE_CONFIG", raising=False)
        patch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
        with portal.wrap_async_context_manager(installation(place / "home", seconds=900)) as world:
            world.model.answer = answer
            settings = place / "home" / "tale.toml"
            # Without a sandbox each check of a plan's part would ask.
            settings.write_text(f'{settings.read_text()}[tasks]\npermission = "full"\n')
            yield place / "home"


def followed() -> list[str]:
    return [
        page
        for page in pages()
        if page != GENERATED
        and any(not each.not_run for each in fences(page) if each.language in CODE - {"yaml"})
    ]


@pytest.mark.parametrize("page", followed())
def test_all_that_a_page_shows_works(
    page: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(home, tmp_path)
    for fence in fences(page):
        reader.follow(fence)
