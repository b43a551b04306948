"""A client that waits for a task has its user asked what the task asks, in both eras of MCP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types._v2025_11_25 import PrimitiveSchemaDefinition
from pydantic import TypeAdapter
from starlette.applications import Starlette

from desk import Ask, Told
from tale.errors import TaskError
from tale.models.caller import Script
from tale.servers.approving import Approving
from tale.servers.eliciting import Filled, Form, may_ask
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import bind
from tale.tasks.leave import Answer, Trust
from tale.wire.contracts import ShowRequest, TaskView, VerdictRequest
from tale.wire.tool import Tool
from test_gateway import World, gateway, quiet

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
CAREFUL = Trust("ask")
ONE_TEXT = Script(["FILE: one.txt\n```\none\n```\n"])

User = Callable[[types.ElicitRequestFormParams], Awaitable[types.ElicitResult]]


def says(action: Any, **content: Any) -> types.ElicitResult:
    return types.ElicitResult(action=action, content=content or None)


class Person:
    """Answers each form with the next of these, and closes those after."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self._answers = list(answers)
        self.seen: list[types.ElicitRequestFormParams] = []

    async def __call__(self, form: types.ElicitRequestFormParams) -> types.ElicitResult:
        self.seen.append(form)
        return self._answers.pop(0) if self._answers else says("cancel")


@asynccontextmanager
async def serving(app: Starlette) -> AsyncGenerator[str]:
    """Serve over HTTP; gives the address."""
    sock = bind(0)
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [sock])
        while not server.started:
            await anyio.lowlevel.checkpoint()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        server.should_exit = True


@asynccontextmanager
async def connected(url: str, era: str, user: User | None) -> AsyncGenerator[Client]:
    """Connect the official client, with somebody before it or nobody."""

    async def ask(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        assert user
        assert isinstance(params, types.ElicitRequestFormParams)
        return await user(params)

    async with (
        httpx2.AsyncClient(timeout=30) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=era,
            elicitation_callback=ask if user else None,
        ) as client,
    ):
        yield client


@asynccontextmanager
async def waiting(
    home: Path, era: str, user: User | None, *scripts: Script
) -> AsyncGenerator[tuple[World, Client, str]]:
    """Have a task wait for its user, and a client that can wait for it."""
    async with gateway(home, *(scripts or (ONE_TEXT,)), trust=CAREFUL) as world:
        view = await world.submit("Write a file with one word")
        assert (await world.show(view.id, wait=20)).state == "waiting"
        async with (
            serving(world.gateway.app()) as url,
            connected(url, era, user) as client,
        ):
            yield world, client, view.id


async def shown(client: Client, task: str, wait: float = 20) -> tuple[TaskView, list[str]]:
    """Show a task; gives what is said beside it, too."""
    result = await client.call_tool("show", {"id": task, "wait": wait})
    assert not result.is_error
    texts = [one.text for one in result.content if isinstance(one, types.TextContent)]
    return TaskView.model_validate(result.structured_content), texts[1:]


@ERAS
async def test_who_accepts_and_approves_lets_the_task_go_on(tmp_path: Path, era: str) -> None:
    person = Person(says("accept", verdict="approve"))
    async with waiting(tmp_path, era, person) as (_, client, task):
        view, told = await shown(client, task)
    assert (view.state, view.files, told) == ("done", ("one.txt",), [])
    [form] = person.seen
    assert form.message.startswith(f"Task {task} asks: May it write one.txt?\n\none\n")
    assert form.requested_schema["properties"]["verdict"]["enum"] == ["approve", "reject"]
    assert form.requested_schema["required"] == ["verdict"]


async def test_the_form_is_one_that_the_protocol_allows(tmp_path: Path) -> None:
    person = Person()
    async with waiting(tmp_path, "legacy", person) as (_, client, task):
        await shown(client, task)
    fields: Any = TypeAdapter(PrimitiveSchemaDefinition)
    for schema in person.seen[0].requested_schema["properties"].values():
        fields.validate_python(schema)


@ERAS
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (says("accept", verdict="reject", reason=" Not here "), "Not here"),
        (says("decline"), "no reason was given"),
    ],
)
async def test_who_rejects_or_declines_has_it_not_done(
    tmp_path: Path, era: str, answer: types.ElicitResult, told: str
) -> None:
    person = Person(answer)
    async with waiting(tmp_path, era, person, ONE_TEXT, ONE_TEXT) as (world, client, task):
        view, _ = await shown(client, task)
        _, heard = world.models.asked[-1]
    assert view.state == "waiting"  # it asks again, and the second form was closed
    assert len(person.seen) == 2
    assert f"did not allow this: {told}" in heard.messages[-1].content
    assert not (Path(view.workspace) / "one.txt").exists()


async def test_a_plan_that_is_declined_without_a_word_waits_on() -> None:
    taken: list[Answer] = []

    async def answer(task: str, given: Answer) -> None:
        assert task == "t-1"
        taken.append(given)

    engine: Any = SimpleNamespace(answer=answer)
    nobody: Any = None
    approving = Approving(engine, nobody, nobody)
    asked = ShowRequest(id="t-1", wait=20)
    with pytest.raises(TaskError, match="declined without a reason") as told:
        await approving.take(asked, "d1|t-1:1:x", Filled("decline"))
    assert "`reject` it with a reason" in (told.value.hint or "")
    assert taken == []
    await approving.take(asked, "d1|t-1:1:x", Filled("accept", {"verdict": "reject"}))
    await approving.take(asked, "|t-1:1:x", Filled("decline"))
    assert [(one.approved, one.digest) for one in taken] == [(False, "d1"), (False, "")]


@ERAS
async def test_who_closes_the_form_leaves_the_task_waiting(tmp_path: Path, era: str) -> None:
    person = Person()
    async with waiting(tmp_path, era, person) as (world, client, task):
        view, told = await shown(client, task)
        assert (await world.show(task)).state == "waiting"
    assert (view.state, told, len(person.seen)) == ("waiting", [], 1)
    assert view.asked


@ERAS
async def test_a_client_without_forms_is_answered_as_ever(tmp_path: Path, era: str) -> None:
    async with waiting(tmp_path, era, None) as (_, client, task):
        view, told = await shown(client, task)
    assert (view.state, told) == ("waiting", [])


@ERAS
async def test_who_only_looks_is_asked_nothing(tmp_path: Path, era: str) -> None:
    person = Person(says("accept", verdict="approve"))
    async with waiting(tmp_path, era, person) as (_, client, task):
        view, _ = await shown(client, task, wait=0)
    assert (view.state, person.seen) == ("waiting", [])


async def test_an_answer_that_comes_after_another_is_not_taken(tmp_path: Path) -> None:
    second = Script(["FILE: two.txt\n```\ntwo\n```\n"])

    class Late(Person):
        async def __call__(self, form: types.ElicitRequestFormParams) -> types.ElicitResult:
            if not self.seen:
                word = VerdictRequest(id=task, text="Another file")
                await world.gateway.reject(word, quiet)
                while (await world.show(task, wait=20)).asked == asked:
                    pass
            return await super().__call__(form)

    person = Late(says("accept", verdict="approve"))
    async with waiting(tmp_path, "2026-07-28", person, ONE_TEXT, second) as (world, client, task):
        asked = (await world.show(task)).asked
        view, told = await shown(client, task)
        assert (await world.show(task)).asked not in {"", asked}
    assert (view.state, told) == ("waiting", [])
    assert not (Path(view.workspace) / "two.txt").exists()
    assert "May it write one.txt?" in person.seen[0].message
    assert person.seen[1].message.startswith("Your answer was not taken: What you saw has been")
    assert "May it write two.txt?" in person.seen[1].message


async def test_a_form_is_withdrawn_where_the_answer_is_given_elsewhere(tmp_path: Path) -> None:
    withdrawn = anyio.Event()

    async def never(form: types.ElicitRequestFormParams) -> types.ElicitResult:
        del form
        try:
            await world.gateway.approve(VerdictRequest(id=task), quiet)
            await anyio.sleep_forever()
        finally:
            withdrawn.set()
        raise AssertionError

    async with waiting(tmp_path, "legacy", never) as (world, client, task):
        view, told = await shown(client, task)
        assert (view.state, told) == ("done", [])
        await withdrawn.wait()


@ERAS
async def test_a_client_that_goes_away_leaves_the_task_waiting(tmp_path: Path, era: str) -> None:
    opened = anyio.Event()

    async def never(form: types.ElicitRequestFormParams) -> types.ElicitResult:
        del form
        opened.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with gateway(tmp_path, ONE_TEXT, trust=CAREFUL) as world:
        view = await world.submit("Write a file with one word")
        await world.show(view.id, wait=20)
        async with serving(world.gateway.app()) as url, anyio.create_task_group() as tasks:

            async def wait() -> None:
                async with connected(url, era, never) as client:
                    await shown(client, view.id)

            tasks.start_soon(wait)
            await opened.wait()
            tasks.cancel_scope.cancel()
        assert (await world.show(view.id)).state == "waiting"
        await world.gateway.approve(VerdictRequest(id=view.id), quiet)
        assert (await world.show(view.id, wait=20)).state == "done"


@ERAS
async def test_an_answer_that_is_none_is_told_and_changes_nothing(tmp_path: Path, era: str) -> None:
    person = Person(says("accept", verdict="maybe"))
    async with waiting(tmp_path, era, person) as (_, client, task):
        view, told = await shown(client, task)
    assert view.state == "waiting"
    assert told == ["Your answer was not taken: It has to say `approve` or `reject`."]


@pytest.mark.parametrize(
    ("state", "asks"),
    [
        *((state, True) for state in ("", "1", "1 ", "1 |t-1:1:x", "1 d1|t-1:1:x")),
        *((state, False) for state in ("x", "99999999999999 x", "-1 |x", "² |x")),
    ],
)
async def test_what_a_client_makes_up_changes_nothing(
    tmp_path: Path, state: str, asks: bool
) -> None:
    async with waiting(tmp_path, "2026-07-28", Person()) as (world, client, task):
        result = await client.session.call_tool(
            "show",
            {"id": task, "wait": 20},
            input_responses={"word": says("accept", verdict="approve")},
            request_state=state,
            allow_input_required=True,
        )
        assert (await world.show(task)).state == "waiting"
    assert isinstance(result, types.InputRequiredResult if asks else types.CallToolResult)


async def test_a_word_on_a_question_that_is_asked_no_more_is_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path, ONE_TEXT, trust=CAREFUL) as world:
        view = await world.submit("Write a file with one word")
        asked = (await world.show(view.id, wait=20)).asked
        with pytest.raises(TaskError, match="answered already; it asks something else now"):
            await world.gateway.approve(VerdictRequest(id=view.id, asked="another"), quiet)
        await world.gateway.approve(VerdictRequest(id=view.id, asked=asked), quiet)
        assert (await world.show(view.id, wait=20)).state == "done"


@pytest.mark.parametrize(
    ("declared", "asks"),
    [
        (None, False),
        ({}, False),
        ({"elicitation": {}}, True),
        ({"elicitation": {"form": {}}}, True),
        ({"elicitation": {"form": {}, "url": {}}}, True),
        ({"elicitation": {"url": {}}}, False),
    ],
)
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
@pytest.mark.parametrize("reachable", [True, False])
def test_only_who_has_forms_and_can_be_reached_is_asked(
    declared: dict[str, object] | None, asks: bool, version: str, reachable: bool
) -> None:
    known = declared is not None
    capabilities = types.ClientCapabilities.model_validate(declared) if known else None
    session = SimpleNamespace(client_capabilities=capabilities, can_send_request=reachable)
    call: Any = SimpleNamespace(protocol_version=version, session=session)
    assert may_ask(call) == (asks and (reachable or version == "2026-07-28"))


class Curious:
    """Has a new question after each answer."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def form(self, request: Ask, reply: Told) -> Form | None:
        del request, reply
        return Form(f"q{len(self.taken)}", "Well?", {"type": "object", "properties": {}})

    async def take(self, request: Ask, key: str, filled: Filled) -> None:
        del request, filled
        self.taken.append(key)

    async def settled(self, request: Ask, reply: Told) -> None:
        del request, reply
        await anyio.sleep_forever()


@ERAS
async def test_no_call_asks_without_end(era: str) -> None:
    async def answer(request: Ask, progress: Progress) -> Told:
        del request, progress
        return Told(text="so far")

    async def yes(form: types.ElicitRequestFormParams) -> types.ElicitResult:
        del form
        return says("accept")

    curious = Curious()
    app = McpApp("desk", "For tests.")
    app.add(Tool("desk", "ask", "Ask.", Ask, Told), answer, asks=curious)
    with anyio.fail_after(20):
        async with serving(app.build()) as url, connected(url, era, yes) as client:
            result = await client.call_tool("ask", {})
    content: Mapping[str, object] = result.structured_content or {}
    assert content == {"text": "so far"}
    assert curious.taken == [f"q{number}" for number in range(8)]
