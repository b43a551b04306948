"""A large request in a whole daemon: its plan, the yes to it, its parts, and the end of all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from anyio import to_thread
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from tale.orchestration.control_client import read_runtime
from tale.paths import Paths
from tale.prompts import CHAT_SYSTEM, PLAN_SYSTEM, WHOLE_SYSTEM
from terminal import Terminal
from told_daemon import World, installation

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = "Build a complete web shop with a database, an API and pages"
PERMITTED = ("--permission", "full")  # without a sandbox, each check would ask


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


PLAN = json.dumps(
    {
        "reasoning": "All need the database.",
        "subtasks": [part("data"), part("api", "data"), part("pages", "data")],
    }
)


class Model:
    """Plans, and writes each part once it may go on.

    Attributes:
        answers: Its plans, in order; the last one for ever.
        told: What it was told of each, in order.
        went: What was written, by part, in order.
    """

    def __init__(self, *, held: str = "") -> None:
        self.plans = 0
        self.answers = [PLAN]
        self.told: list[str] = []
        self.went: list[str] = []
        self.held = held
        self.go_on = anyio.Event()

    async def answer(self, messages: list[Any]) -> str:
        system, told = messages[0].content, messages[-1].content
        if system == PLAN_SYSTEM:
            self.plans += 1
            self.told.append(told)
            return self.answers[min(self.plans, len(self.answers)) - 1]
        if system == WHOLE_SYSTEM:
            return "A shop is there."
        if system == CHAT_SYSTEM:
            return "I see."
        own = told.partition("Do this part only:\n")[2].split("\n")[0]
        name = own.removeprefix("Write ").removesuffix(".txt")
        if name and name == self.held:
            await self.go_on.wait()
        if name:  # else a model is only warmed up
            self.went.append(name)
        return f"FILE: {name}.txt\n```\n{name}\n```\n"


async def submitted(world: World, workspace: Path, *more: str) -> str:
    done = await world.run("submit", REQUEST, "-w", str(workspace), "--no-wait", *PERMITTED, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def until(world: World, task: str, state: str, part: str = "") -> dict[str, Any]:
    """Give a task once it, or a part of it, is in a state."""
    while True:
        shown = await world.show(task)
        parts = {one["id"]: one["state"] for one in shown["progress"]["parts"]}
        if (parts.get(part) if part else shown["state"]) == state:
            return shown


async def test_a_plan_waits_for_a_yes_over_a_kill_and_is_worked_on_as_it_was_edited(
    tmp_path: Path,
) -> None:
    work, model = tmp_path / "work", Model()
    async with installation(tmp_path / "home") as world:
        world.model.answer = model.answer
        task = await submitted(world, work, "--approve", "always")
        asked = await until(world, task, "waiting")
        await world.kill_everything()
        assert (await world.run("serve", "--detach")).returncode == 0
        shown = await world.run("show", task)
        assert "you want to be asked about every plan" in shown.stdout
        assert "├ api  Api (after data)" in shown.stdout, shown.stdout
        mine = tmp_path / "mine.yaml"
        mine.write_text(asked["plan"].replace("pages", "views").replace("Pages", "Views"))
        edited = await world.run("edit", task, "--file", str(mine))
        assert edited.returncode == 0, edited.stderr
        ended = await world.run("watch", task)
    assert (ended.returncode, ended.stdout) == (0, "A shop is there.\n"), ended.stderr
    assert model.plans == 1
    assert sorted(model.went) == ["api", "data", "views"]
    assert {file.name for file in work.glob("*.txt")} == {"data.txt", "api.txt", "views.txt"}


async def test_a_kill_of_everything_in_a_plan_repeats_no_part_that_is_done(tmp_path: Path) -> None:
    work, model = tmp_path / "work", Model(held="pages")
    async with installation(tmp_path / "home") as world:
        world.model.answer = model.answer
        task = await submitted(world, work, "--approve", "never")
        await until(world, task, "done", part="data")
        await world.kill_everything()
        model.go_on.set()
        assert (await world.run("serve", "--detach")).returncode == 0
        ended = await world.run("watch", task)
        shown = await world.show(task)
    assert ended.returncode == 0, ended.stderr
    assert model.plans == 1
    assert model.went.count("data") == 1
    assert {one["state"] for one in shown["progress"]["parts"]} == {"done"}
    assert shown["holds"] is True


async def test_a_faulty_edit_is_refused_and_a_rejected_plan_ends_its_task(
    tmp_path: Path,
) -> None:
    model = Model()
    async with installation(tmp_path / "home") as world:
        world.model.answer = model.answer
        task = await submitted(world, tmp_path / "work", "--approve", "always")
        await until(world, task, "waiting")
        mine = tmp_path / "mine.yaml"
        mine.write_text("subtasks:\n  - id: a\n    text: do\n    depends_on: [a]\n")
        faulty = await world.run("edit", task, "--file", str(mine))
        rejected = await world.run("reject", task)
        ended = await world.run("watch", task)
    assert faulty.returncode != 0
    assert "can't be worked on" in faulty.stderr
    assert rejected.returncode == 0
    assert ended.returncode == 1
    assert "You rejected its plan" in ended.stderr


async def test_a_part_that_is_too_big_is_split_once_over_a_kill_of_everything(
    tmp_path: Path,
) -> None:
    big = {
        **part("pages", "data"),
        "instructions": "Build the complete frontend: pages for login, accounts, an admin area, "
        "a dashboard with charts, search and comments",
        "writes": ["views.txt", "forms.txt"],
        "check": "test -s views.txt && test -s forms.txt",
        "size": "large",
    }
    plan = {"reasoning": "Data first.", "subtasks": [part("data"), big, part("docs", "pages")]}
    pieces = {"reasoning": "Two files.", "subtasks": [part("views"), part("forms")]}
    work, model = tmp_path / "work", Model(held="forms")
    model.answers = [json.dumps(plan), json.dumps(pieces)]
    async with installation(tmp_path / "home") as world:
        world.model.answer = model.answer
        task = await submitted(world, work, "--approve", "never")
        await until(world, task, "done", part="pages-1")
        await world.kill_everything()
        model.go_on.set()
        assert (await world.run("serve", "--detach")).returncode == 0
        ended = await world.run("watch", task)
        shown = await world.show(task)
    assert ended.returncode == 0, ended.stderr
    assert model.plans == 2
    assert model.went.count("data") == model.went.count("views") == 1
    states = {one["id"]: one["state"] for one in shown["progress"]["parts"]}
    assert states.pop("pages") == "dropped"
    assert set(states.values()) == {"done"}
    assert {"+split-pages", "pages-1", "pages-2", "docs"} <= set(states)
    assert shown["holds"] is True


class Person:
    """Sits before an MCP client, and answers its forms with these."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self._answers = list(answers)
        self.read: list[str] = []

    async def answer(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        self.read.append(params.message)
        return self._answers.pop(0)


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
async def test_who_waits_in_an_mcp_client_is_asked_about_the_plan_there(
    tmp_path: Path, era: str
) -> None:
    home, model = tmp_path / "home", Model()
    person = Person(
        types.ElicitResult(action="cancel"),
        types.ElicitResult(
            action="accept", content={"verdict": "reject", "reason": "Ask Ann first"}
        ),
        types.ElicitResult(action="accept", content={"verdict": "approve"}),
    )
    async with installation(home) as world:
        world.model.answer = model.answer
        task = await submitted(world, tmp_path / "work", "--approve", "always")
        runtime = read_runtime(Paths.from_environment({"TALE_HOME": str(home)}))
        assert runtime
        headers = {"Authorization": f"Bearer {runtime.token}"}
        url = f"{runtime.gateway}/mcp"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(
                streamable_http_client(url, http_client=http),
                mode=era,
                elicitation_callback=person.answer,
            ) as client,
        ):
            waits: Any = (
                await client.call_tool("show", {"id": task, "wait": 50})
            ).structured_content
            assert waits["state"] == "waiting"
            assert (await world.show(task))["state"] == "waiting"
            ended: Any = None
            while ended is None or ended["state"] not in {"done", "failed", "cancelled"}:
                called = await client.call_tool("show", {"id": task, "wait": 50})
                ended = called.structured_content
        told = (await world.run("watch", task)).stderr
    assert (ended["state"], ended["answer"]) == ("done", "A shop is there.")
    assert model.plans == 2
    assert sorted(model.went) == ["api", "data", "pages"]
    assert len(person.read) == 3
    assert person.read[0] == person.read[1]
    assert person.read[0].startswith(f"Task {task} asks: May it work on this plan of 3 parts")
    assert "├ api  Api (after data)" in person.read[0]
    assert "you said no: Ask Ann first" in told


async def test_a_plan_is_approved_in_the_terminal_that_follows_it(tmp_path: Path) -> None:
    home, model = tmp_path / "home", Model()

    def follow() -> str:
        arguments = ("submit", REQUEST, "-w", str(tmp_path / "work"), "--approve", "always")
        with Terminal(home, *arguments, *PERMITTED) as terminal:
            terminal.until("leave it waiting? [a/r/e/L] ", seconds=150)
            terminal.type("a\r")
            assert terminal.end(100) == 0, terminal.text
            return terminal.text

    async with installation(home) as world:
        world.model.answer = model.answer
        shown = await to_thread.run_sync(follow)
    assert "├ api  Api (after data)" in shown
    assert "A shop is there." in shown
    assert sorted(model.went) == ["api", "data", "pages"]


async def test_a_plan_knows_what_was_said_in_a_chat_and_its_result_is_remembered(
    tmp_path: Path,
) -> None:
    work, model = tmp_path / "work", Model()
    model.answers = [json.dumps({**json.loads(PLAN), "uses": [1, 7]})]
    async with installation(tmp_path / "home") as world:
        world.model.answer = model.answer
        said = "I prefer SQLite for every web shop.\n"
        chatted = await to_thread.run_sync(lambda: world.tale.run("chat", stdin=said))
        assert chatted.stdout == "I see.\n", chatted.stderr
        task = await submitted(world, work, "--approve", "never")
        assert (await world.run("watch", task)).returncode == 0
        shown = await world.run("show", task)
        secret = await submitted(world, tmp_path / "secret", "--approve", "never", "--private")
        assert (await world.run("watch", secret)).returncode == 0
        results: list[dict[str, Any]] = []
        while not results:
            noted = await world.run("memory", "show", "--json")
            results = [one for one in json.loads(noted.stdout)["notes"] if one["source"] == "task"]
        listed = await world.run("memory", "show")
    with_it, without = model.told
    assert re.search(
        r'<data of="memory">\n\[1\] preference, 20\d\d-\d\d-\d\d: '
        r"I prefer SQLite for every web shop\.\n</data>",
        with_it,
    )
    assert "SQLite" not in without
    assert "remembers  “I prefer SQLite for every web shop.” (preference, " in shown.stdout
    assert [one["task"] for one in results] == [task]
    assert results[0]["text"].startswith(f"The user asked for “{REQUEST}”. It is done: A shop is")
    assert re.search(r"result +.* The user asked for “Build", listed.stdout), listed.stdout
