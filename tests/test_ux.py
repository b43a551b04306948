"""Conversations with the ux server: talk is answered, work is handed over, nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from pydantic import BaseModel
from sqlalchemy import text as sql

from tale.config import Settings
from tale.errors import (
    BackendStalled,
    BackendUnavailable,
    DeadlineExceeded,
    PromptRejected,
    ServiceUnavailable,
    SessionNotFound,
    StorageReadOnly,
    TaleError,
    TaskNotFound,
    WorkspaceUnusable,
)
from tale.memory.exchange import Standing, Work
from tale.memory.outbox import Outbox
from tale.memory.referring import Exchange, with_context
from tale.memory.turns import NewTurn, Turn, TurnStore
from tale.memory.windows import Windows
from tale.models.assess import assess
from tale.models.caller import Purpose, Script, ScriptedModels
from tale.paths import Paths
from tale.prompts import CHAT_SYSTEM
from tale.servers.remote_gateway import RemoteGateway
from tale.servers.steps import ReplyT, RequestT
from tale.servers.ux import Ux
from tale.storage.database import Database
from tale.wire.chat_contracts import (
    ChatReply,
    ChatRequest,
    ContextRequest,
    KeptRequest,
    SessionRequest,
    SessionsRequest,
    TurnView,
)
from tale.wire.contracts import SubmitRequest, TaskView, UsageView
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio

WORK = "Write a Python function that parses ISO dates, with tests"


class Gateway:
    """Takes tasks, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[Work] = []
        self.error: TaleError | None = None
        self.hold: anyio.Event | None = None
        self.asked = anyio.Event()
        self.standing: dict[str, Standing] = {}

    async def submit(self, work: Work) -> str:
        self.asked.set()
        if self.hold:
            await self.hold.wait()
        if self.error:
            raise self.error
        self.taken.append(work)
        return f"t-{len(self.taken)}"

    async def stands(self, task: str) -> Standing:
        if self.error:
            raise self.error
        if task not in self.standing:
            raise TaskNotFound(f"There is no task {task!r}.")
        return self.standing[task]


class World:
    def __init__(self, database: Database, *scripts: Script) -> None:
        self.gateway = Gateway()
        self.models = ScriptedModels(*scripts)
        self.seen: list[Mapping[str, object]] = []
        self.outbox = Outbox(database)
        self.windows = Windows(self.models, CHAT_SYSTEM, budget=6144)
        self.ux = Ux(
            TurnStore(database),
            self.models,
            self.gateway,
            self.outbox,
            self.windows,
            private=self.windows,
        )

    async def progress(self, data: Mapping[str, object]) -> None:
        await anyio.lowlevel.checkpoint()
        self.seen.append(data)

    async def say(
        self, text: str, session: str | None = None, workspace: str | None = None
    ) -> ChatReply:
        request = ChatRequest(text=text, session=session, workspace=workspace)
        return await self.ux.chat(request, self.progress)

    async def turns(self, session: str | None = None) -> tuple[TurnView, ...]:
        if session is None:
            listed = await self.ux.sessions(SessionsRequest(), self.progress)
            session = listed.sessions[0].id
        return (await self.ux.session(SessionRequest(id=session), self.progress)).turns

    async def told(self) -> list[tuple[str, str, bool]]:
        return [(turn.speaker, turn.text, turn.interrupted) for turn in await self.turns()]


@asynccontextmanager
async def in_background(world: World, text: str) -> AsyncGenerator[anyio.CancelScope]:
    """Let somebody chat who may go away; on leaving, wait until their turn is dealt with."""

    async def chat(task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            await world.say(text)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            yield await tasks.start(chat)


async def test_a_question_that_is_asked_again_says_that_its_answer_was_no_good(
    database: Database,
) -> None:
    world = World(database, Script(["Sydney."]), Script(["Canberra."]), Script(["It is."]))
    first = await world.say("what is the capital of Australia?")
    await world.say("What is the capital of Australia?", first.session)
    await world.say("Is it large?", first.session)
    assert world.models.outcomes == [("r-1", False)]


async def test_what_a_request_is_for_goes_with_it(database: Database) -> None:
    world = World(database, Script(["Hi."]))
    talk = await world.say("hello")
    assert world.models.purposes == [Purpose(session=talk.session)]


async def test_talk_is_answered_word_by_word_and_kept(database: Database) -> None:
    world = World(database, Script(["Hel", "lo!"]))
    reply = await world.say("  hello there ")
    assert (reply.answer, reply.model, reply.role, reply.task) == (
        "Hello!",
        "scripted-ux",
        "ux",
        None,
    )
    assert reply.usage == UsageView(prompt=20, completion=2, cached=5)
    assert (reply.reason, reply.recalled) == ("it is in the script", ())
    assert world.seen == [{"session": reply.session}, {"token": "Hel"}, {"token": "lo!"}]
    question, answer = await world.turns(reply.session)
    assert (question.speaker, question.text, question.model) == ("user", "hello there", None)
    assert (answer.speaker, answer.text, answer.model) == ("assistant", "Hello!", "scripted-ux")


async def test_an_answer_that_rambles_is_stopped_and_kept_as_far_as_it_made_sense(
    database: Database,
) -> None:
    world = World(database, Script(["I can help."] + [" And I can help with anything."] * 60))
    reply = await world.say("what can you do?")
    assert reply.answer.startswith("I can help. And I can help with anything.")
    assert len(reply.answer) < 100
    assert world.models.stopped == 1
    assert (await world.turns(reply.session))[1].text == reply.answer


async def test_a_conversation_goes_on_with_what_was_said(database: Database) -> None:
    world = World(database, Script(["Hello!"]), Script(["Bob."]))
    first = await world.say("hello, I am Bob")
    second = await world.say("what is my name?", first.session)
    assert second.session == first.session
    (_, before), (_, after) = world.models.asked
    assert before.messages[0].content == CHAT_SYSTEM
    assert after.messages[: len(before.messages)] == before.messages
    assert [one.content for one in after.messages[1:]] == [
        "hello, I am Bob",
        "Hello!",
        "what is my name?",
    ]
    listed = await world.ux.sessions(SessionsRequest(), world.progress)
    assert [(one.title, one.turns) for one in listed.sessions] == [("hello, I am Bob", 4)]


async def test_work_is_handed_over_and_acknowledged_at_once_without_a_model(
    database: Database,
) -> None:
    world = World(database)
    reply = await world.say(WORK, workspace="/w")
    assert (reply.answer, reply.task, reply.role) == ("I'm on it.", "t-1", "ux")
    assert reply.reason == assess(WORK).reason
    [request] = world.gateway.taken
    assert (request.text, request.workspace, request.session) == (WORK, "/w", reply.session)
    assert world.models.asked == []
    assert world.seen == [{"session": reply.session}, {"task": "t-1"}, {"token": "I'm on it."}]
    answer = (await world.turns())[1]
    assert (answer.text, answer.task, answer.interrupted) == ("I'm on it.", "t-1", False)


@pytest.mark.parametrize(
    "error", [ServiceUnavailable("gateway went away"), DeadlineExceeded("no answer")]
)
async def test_without_a_gateway_the_work_is_kept_and_the_user_told_that_it_starts_later(
    database: Database, error: TaleError
) -> None:
    world = World(database)
    world.gateway.error = error
    with anyio.fail_after(20):
        reply = await world.say(WORK, workspace="/w")
    assert (reply.task, reply.kept, reply.role) == (None, f"{reply.session}/1", "ux")
    assert "kept" in reply.answer
    assert "by itself" in reply.answer
    assert world.seen == [
        {"session": reply.session},
        {"kept": reply.kept},
        {"token": reply.answer},
    ]
    assert await world.told() == [("user", WORK, False), ("assistant", reply.answer, False)]
    waiting = await world.outbox.oldest()
    assert waiting.work == Work(WORK, "/w", reply.session, f"{reply.session}/1")


async def test_work_that_has_begun_is_named_also_where_it_can_not_be_recorded_as_said(
    database: Database,
) -> None:
    world = World(database)
    locked = (
        "CREATE TRIGGER locked BEFORE INSERT ON turns WHEN NEW.speaker = 'assistant' "
        "BEGIN SELECT RAISE(ABORT, 'locked'); END"
    )
    await database.write(lambda connection: connection.execute(sql(locked)))
    reply = await world.say(WORK)
    assert (reply.answer, reply.task) == ("I'm on it.", "t-1")
    assert {"task": "t-1"} in world.seen
    assert await world.told() == [("user", WORK, False)]


async def test_nothing_says_that_work_began_before_the_gateway_has_it(database: Database) -> None:
    world = World(database)
    world.gateway.hold = anyio.Event()
    async with in_background(world, WORK):
        await world.gateway.asked.wait()
        assert [list(one) for one in world.seen] == [["session"]]
        world.gateway.hold.set()
    assert [list(one) for one in world.seen] == [["session"], ["task"], ["token"]]


class FullOutbox(Outbox):
    """Can't keep anything."""

    async def keep(self, work: Work, told: NewTurn) -> Turn:
        raise StorageReadOnly("the disk is full")


async def test_work_that_can_not_even_be_kept_is_refused_in_words(database: Database) -> None:
    world = World(database)
    world.gateway.error = ServiceUnavailable("gateway went away")
    outbox = FullOutbox(database)
    world.ux = Ux(
        TurnStore(database),
        world.models,
        world.gateway,
        outbox,
        world.windows,
        private=world.windows,
    )
    with anyio.fail_after(20), pytest.raises(StorageReadOnly, match="disk is full"):
        await world.say(WORK)
    assert await world.told() == [("user", WORK, False)]


async def test_what_is_only_told_is_talk_though_it_reads_like_work(database: Database) -> None:
    world = World(database, Script(["Noted."]))
    reply = await world.say("Remember that the wifi password of the cabin is blue-heron-42.")
    assert (reply.answer, reply.task) == ("Noted.", None)


async def test_the_task_of_kept_work_can_be_waited_for(database: Database) -> None:
    world = World(database)
    world.gateway.error = ServiceUnavailable("gateway went away")
    reply = await world.say(WORK)
    assert reply.kept
    found: list[str] = []

    async def wait(key: str) -> None:
        found.append((await world.ux.kept_task(KeptRequest(key=key), world.progress)).task)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, reply.kept)
            await anyio.wait_all_tasks_blocked()
            assert found == []
            await world.outbox.delivered(await world.outbox.oldest(), "t-7")
    assert found == ["t-7"]
    assert (await world.turns())[1].task == "t-7"


async def test_what_the_gateway_refuses_is_refused_in_its_words(database: Database) -> None:
    world = World(database)
    world.gateway.error = WorkspaceUnusable("/ is the root")
    with pytest.raises(WorkspaceUnusable, match="/ is the root"):
        await world.say(WORK, workspace="/")
    assert await world.told() == [("user", WORK, False)]


async def test_an_answer_that_waits_for_the_models_says_so_first(database: Database) -> None:
    world = World(database, Script(["Hello!"], held_up="They come back."))
    reply = await world.say("hello there")
    assert world.seen == [
        {"session": reply.session},
        {"note": "They come back."},
        {"token": "Hello!"},
    ]
    assert reply.answer == "Hello!"


async def test_an_answer_whose_reader_goes_away_is_kept_as_far_as_it_came(
    database: Database,
) -> None:
    world = World(database, Script(["Once ", "upon"], hold=anyio.Event()))
    async with in_background(world, "tell me a story") as scope:
        while {"token": "upon"} not in world.seen:
            await anyio.lowlevel.checkpoint()
        scope.cancel()
    assert await world.told() == [
        ("user", "tell me a story", False),
        ("assistant", "Once upon", True),
    ]
    assert world.models.stopped == 1


async def test_an_answer_whose_model_dies_is_kept_as_far_as_it_came(database: Database) -> None:
    world = World(database, Script(["Once"], error=BackendStalled("silence")), Script(["Yes"]))
    with pytest.raises(BackendStalled):
        await world.say("tell me a story")
    assert (await world.told())[1] == ("assistant", "Once", True)
    session = (await world.ux.sessions(SessionsRequest(), world.progress)).sessions[0].id
    assert (await world.say("hello?", session)).answer == "Yes"


async def test_a_model_that_says_nothing_leaves_only_the_question(database: Database) -> None:
    world = World(database, Script(refusal=BackendUnavailable("loading")))
    with pytest.raises(BackendUnavailable):
        await world.say("hello")
    assert await world.told() == [("user", "hello", False)]


async def test_work_is_handed_over_though_who_asked_for_it_went_away(database: Database) -> None:
    world = World(database)
    world.gateway.hold = anyio.Event()
    async with in_background(world, WORK) as scope:
        await world.gateway.asked.wait()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        world.gateway.hold.set()
    assert [request.text for request in world.gateway.taken] == [WORK]
    question, answer = await world.turns()
    assert question.text == WORK
    assert (answer.text, answer.task) == ("I'm on it.", "t-1")


async def test_turns_of_one_session_wait_for_each_other_and_others_do_not(
    database: Database,
) -> None:
    hold = anyio.Event()
    scripts = [Script(["one"]), Script(["two"], hold=hold), Script(["other"]), Script(["three"])]
    world = World(database, *scripts)
    session = (await world.say("hello")).session
    answers: list[str] = []

    async def say(text: str, into: str | None) -> None:
        answers.append((await world.say(text, into)).answer)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "hello again", session)
            while {"token": "two"} not in world.seen:
                await anyio.lowlevel.checkpoint()
            await say("hello from elsewhere", None)
            assert answers == ["other"]
            tasks.start_soon(say, "and again", session)
            await anyio.wait_all_tasks_blocked()
            assert len(await world.turns(session)) == 3
            hold.set()
    assert answers == ["other", "two", "three"]
    assert [turn.text for turn in await world.turns(session)] == [
        "hello",
        "one",
        "hello again",
        "two",
        "and again",
        "three",
    ]


async def test_a_session_nobody_knows_is_named_and_nothing_is_recorded(database: Database) -> None:
    world = World(database)
    with pytest.raises(SessionNotFound, match="s-none") as caught:
        await world.say("hello", "s-none")
    assert "tale sessions" in caught.value.hint
    with pytest.raises(SessionNotFound):
        await world.turns("s-none")
    assert (await world.ux.sessions(SessionsRequest(), world.progress)).sessions == ()


@pytest.mark.parametrize("text", ["", "  ", "x" * 1_048_576, "\0\1\2"])
async def test_what_is_no_text_is_refused_and_nothing_is_recorded(
    database: Database, text: str
) -> None:
    world = World(database)
    with pytest.raises(PromptRejected):
        await world.say(text)
    assert (await world.ux.sessions(SessionsRequest(), world.progress)).sessions == ()


class Caller:
    """Takes calls of the gateway's tools."""

    def __init__(
        self, text: str = "x", *, answer: str | None = None, files: tuple[str, ...] = ()
    ) -> None:
        self.requests: list[BaseModel] = []
        created = datetime(2026, 5, 4, tzinfo=UTC)
        self.task = TaskView(
            id="t-9",
            text=text,
            state="queued",
            workspace="/w",
            created=created,
            answer=answer,
            files=files,
        )

    async def call(
        self,
        tool: Tool[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline: float,
        on_progress: Callable[[Mapping[str, object]], Awaitable[None]] | None = None,
    ) -> ReplyT:
        assert deadline > 0
        assert on_progress is None
        self.requests.append(request)
        return tool.reply.model_validate(self.task.model_dump())


async def test_work_reaches_the_gateway_with_a_key_that_tells_the_turn(database: Database) -> None:
    caller = Caller()
    world = World(database)
    gateway = RemoteGateway(caller, deadline=2)
    ux = Ux(
        TurnStore(database),
        world.models,
        gateway,
        world.outbox,
        world.windows,
        private=world.windows,
    )
    reply = await ux.chat(ChatRequest(text=WORK, workspace="/w"), world.progress)
    assert reply.task == "t-9"
    key = f"{reply.session}/1"
    assert caller.requests == [
        SubmitRequest(text=WORK, workspace="/w", session=reply.session, key=key)
    ]


def test_the_server_offers_its_tools(tmp_path: Path) -> None:
    async def build() -> None:
        paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
        async with Database.open(paths, Settings()) as database:
            routes = World(database).ux.app().routes
            assert "/mcp" in [getattr(route, "path", "") for route in routes]

    anyio.run(build)


# -- what is sent, and what is handed over ---------------------------------------------------------


async def test_work_that_refers_back_takes_along_what_it_means(database: Database) -> None:
    world = World(database, Script(["A heap is a tree."]))
    first = await world.say(WORK)
    await world.say("what is a heap?", first.session)
    world.gateway.standing["t-1"] = Standing(
        "t-1", WORK, "done", "is done.", answer="It parses dates.", files=("dates.py",)
    )
    again = await world.say("Write it again but in Rust, with tests", first.session)
    assert again.task == "t-2"
    text = world.gateway.taken[1].text
    assert text.startswith("Write it again but in Rust, with tests\n\n")
    assert f"user: {WORK}\nresult: It parses dates.\nfiles: dates.py" in text
    assert "tale: A heap is a tree." in text
    assert (await world.turns(first.session))[4].text == "Write it again but in Rust, with tests"


async def test_a_result_that_can_not_be_learned_is_left_out(database: Database) -> None:
    world = World(database)
    first = await world.say(WORK)
    await world.say("Write it again but in Rust, with tests", first.session)
    assert f"user: {WORK}\n</data>" in world.gateway.taken[1].text


async def test_a_task_is_known_by_what_was_asked_alone() -> None:
    text = with_context("do it again", [Exchange(1, "Write a poem", "Roses")])
    caller = Caller(text, answer="Done.", files=("a.txt",))
    stands = await RemoteGateway(caller, deadline=1).stands("t-1")
    assert (stands.text, stands.answer, stands.files) == ("do it again", "Done.", ("a.txt",))


async def test_what_would_be_sent_is_shown_part_by_part(database: Database) -> None:
    world = World(database, Script(["Hello!"]))
    session = (await world.say("hello, I am Bob")).session
    shown = await world.ux.context(ContextRequest(), world.progress)
    assert shown.session == session
    assert [(part.name, part.cached, part.count) for part in shown.parts] == [
        ("system", True, 1),
        ("turns", True, 2),
    ]
    assert shown.parts[1].text == "user: hello, I am Bob\nassistant: Hello!"
    assert shown.tokens == sum(part.tokens for part in shown.parts) <= shown.budget == 6144
    assert (shown.begins, shown.left_out.turns) == (1, 0)
    named = await world.ux.context(ContextRequest(session=session, model="task"), world.progress)
    assert named.parts == shown.parts


async def test_without_a_conversation_there_is_nothing_to_show(database: Database) -> None:
    world = World(database)
    with pytest.raises(SessionNotFound, match="No conversations yet"):
        await world.ux.context(ContextRequest(), world.progress)
    with pytest.raises(SessionNotFound, match="s-none"):
        await world.ux.context(ContextRequest(session="s-none"), world.progress)
