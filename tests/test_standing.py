"""How far the tasks of a conversation are is told from their facts, at once and without a model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tale.errors import ServiceUnavailable
from tale.memory.exchange import Standing
from tale.memory.standing import in_a_sentence, meant
from tale.models.caller import Script
from tale.servers.remote_gateway import RemoteGateway
from tale.storage.database import Database
from tale.wire.contracts import (
    SHOW,
    ProgressView,
    ShowRequest,
    TaskView,
)
from test_ux import WORK, World

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RUNS = Standing("t-1", WORK, "running", "is being worked on: 40 % are done, about 2 min left.")
TOLD = "It is being worked on: 40 % are done, about 2 min left."


async def test_how_far_is_answered_from_the_facts_without_a_model(database: Database) -> None:
    world = World(database)
    session = (await world.say(WORK)).session
    world.gateway.standing["t-1"] = RUNS
    reply = await world.say("how far are you?", session)
    assert (reply.answer, reply.model, reply.task) == (TOLD, "", None)
    assert world.models.asked == []
    assert {"token": TOLD} in world.seen


async def test_the_answer_is_part_of_the_conversation_that_follows(database: Database) -> None:
    world = World(database, Script(["Two minutes."]))
    session = (await world.say(WORK)).session
    world.gateway.standing["t-1"] = RUNS
    await world.say("is it done?", session)
    await world.say("So how many minutes is that?", session)
    [(_, request)] = world.models.asked
    said = [(message.role, message.content) for message in request.messages[1:]]
    assert said[-3:] == [
        ("user", "is it done?"),
        ("assistant", TOLD),
        ("user", "So how many minutes is that?"),
    ]


async def test_without_a_task_it_is_a_question_like_any_other(database: Database) -> None:
    world = World(database, Script(["I am fine."]), Script(["No."]), Script(["Long ago."]))
    first = await world.say("how far are you?")
    assert first.answer == "I am fine."
    await world.say(WORK, first.session)  # a task that nobody knows any more
    assert (await world.say("is it done?", first.session)).answer == "No."
    ended = replace(RUNS, state="done", ended=datetime.now(UTC) - timedelta(days=1))
    world.gateway.standing["t-1"] = ended
    assert (await world.say("is it done?", first.session)).answer == "Long ago."


async def test_a_question_about_something_else_goes_to_the_model(database: Database) -> None:
    world = World(database, Script(["Far."]))
    session = (await world.say(WORK)).session
    world.gateway.standing["t-1"] = RUNS
    assert (await world.say("how far is the moon?", session)).answer == "Far."
    assert "40 %" in (await world.say("is the function done?", session)).answer


async def test_while_the_gateway_is_away_that_is_said(database: Database) -> None:
    world = World(database)
    session = (await world.say(WORK)).session
    world.gateway.error = ServiceUnavailable("no gateway is there")
    reply = await world.say("how far are you?", session)
    assert "the part of tale that runs tasks is not there just now" in reply.answer
    assert world.models.asked == []


async def test_several_tasks_are_told_by_their_names(database: Database) -> None:
    world = World(database)
    session = (await world.say(WORK)).session
    await world.say("Write a Python script that prints one", session)
    world.gateway.standing["t-1"] = RUNS
    world.gateway.standing["t-2"] = replace(
        RUNS, task="t-2", text="Write it", state="queued", words="has not begun yet."
    )
    reply = await world.say("how far are you?", session)
    assert reply.answer == f"“Write it” has not begun yet.\n“{WORK}” {RUNS.words}"


def test_all_that_goes_on_is_meant_or_else_what_ended_last() -> None:
    waits = replace(RUNS, task="t-2", state="waiting")
    done = replace(RUNS, task="t-3", state="done", ended=NOW - timedelta(minutes=2))
    failed = replace(RUNS, task="t-4", state="failed", ended=NOW - timedelta(minutes=1))
    long_ago = replace(RUNS, task="t-5", state="done", ended=NOW - timedelta(hours=2))
    assert meant([failed, waits, RUNS, done], NOW) == [waits, RUNS]
    assert meant([done, failed, long_ago], NOW) == [failed]
    assert meant([long_ago], NOW) == []
    assert meant([], NOW) == []


def test_a_task_that_waits_says_how_it_is_answered() -> None:
    waits = replace(RUNS, state="waiting", words="waits for your approval: May it run 'make'?")
    assert in_a_sentence(waits, alone=True) == (
        "It waits for your approval: May it run 'make'?\n"
        '`tale approve t-1` or `tale reject t-1 "why not"` lets it go on.'
    )


def test_a_long_text_is_named_by_its_beginning() -> None:
    said = in_a_sentence(replace(RUNS, text="word \n" * 40), alone=False)
    assert said.startswith("“word word")
    assert "…” is being worked on" in said
    assert len(said.split("”")[0]) <= 62


class _Caller:
    """Stands for the gateway's tool `show`."""

    def __init__(self, view: TaskView) -> None:
        self.view = view

    async def call(self, tool: object, request: object, **more: object) -> TaskView:
        assert tool is SHOW
        assert request == ShowRequest(id="t-1")
        return self.view


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (ProgressView(state="done", words="Task t-1 is done after 26 s."), "is done after 26 s."),
        (None, "is done."),
    ],
)
async def test_the_facts_come_from_the_gateway(progress: ProgressView | None, words: str) -> None:
    view = TaskView(
        id="t-1",
        text=WORK,
        state="done",
        workspace="/w",
        created=NOW,
        finished=NOW,
        progress=progress,
    )
    gateway = RemoteGateway(_Caller(view), deadline=2)  # pyright: ignore[reportArgumentType]
    assert await gateway.stands("t-1") == Standing("t-1", WORK, "done", words, NOW)
