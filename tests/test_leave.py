"""What a task may not do by itself it asks its user for, once, over any crash."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import anyio
import orjson
import pytest

from scripted_hands import ScriptedHands
from tale.config import Settings
from tale.errors import TaskError
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.agent import work
from tale.tasks.durable import Json
from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    Hands,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.hands_json import read_action, write_action
from tale.tasks.leave import Answer, Asked, Granted, Trust, described, leave_for
from tale.tasks.recorded_hands import RecordedHands
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import Level, Report, Step, StepResult, Subtask, ToolOffer
from test_tasks import World, kinds, no_pause

pytestmark = pytest.mark.anyio

STEP = Step("t-1", "do it", "/w", "task", "work", tools=(ToolOffer("web", "get", read_only=True),))


class User:
    """Answers, and remembers what was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[Asked] = []

    async def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self._answer


async def leave(action: Action, user: User, trust: Trust | None = None) -> Granted | Outcome:
    return await leave_for(action, STEP, trust or Trust(), "t-1:1", user)


@pytest.mark.parametrize(
    "action", [WriteFile("a", "b"), RunCommand("make"), CallTool("web", "get"), ReadFile("a")]
)
async def test_what_the_rules_allow_is_not_asked_for(action: Action) -> None:
    user = User(Answer(False))
    assert await leave(action, user) == Granted()
    assert not user.asked


async def test_what_the_user_forbade_is_refused_without_a_question() -> None:
    user = User(Answer(True))
    refused = await leave(CallTool("web", "put"), user, Trust("full", {"web.put": "deny"}))
    assert isinstance(refused, Outcome)
    assert not refused.ok
    assert not user.asked


@pytest.mark.parametrize(
    ("action", "text", "detail"),
    [
        (
            ReadFile("/etc/hosts"),
            "May it read /etc/hosts, which is outside of the workspace?",
            "",
        ),
        (
            CallTool("web", "put", {"url": "u"}),
            "May it use web.put, which may change something outside of the workspace?",
            "url: u",
        ),
        (
            WriteFile("/other/a", "x" * 5_000),
            "May it write /other/a, which is outside of the workspace?",
            "x" * 4_000 + "\n… and 1,000 more",
        ),
        (
            EditFile("../a", "old", "new"),
            "May it write ../a, which is outside of the workspace?",
            "old\n→\nnew",
        ),
    ],
)
async def test_the_rest_is_asked_for_with_what_it_would_do(
    action: Action, text: str, detail: str
) -> None:
    user = User(Answer(True, "but only once"))
    assert await leave(action, user) == Granted(anywhere=True, said="but only once")
    assert user.asked == [Asked("t-1:1", text, type(action).__name__, detail)]


async def test_without_a_sandbox_programs_are_asked_for() -> None:
    user = User(Answer(True))
    await leave(RunPython("1", about="runs its tests"), user, Trust(sandboxed=False))
    assert user.asked[0].text == "May it run a Python program (runs its tests) without a sandbox?"
    assert user.asked[0].detail == ""


async def test_a_program_of_the_models_is_shown_before_it_may_run() -> None:
    user = User(Answer(True))
    await leave(RunPython("print(1)"), user, Trust(sandboxed=False))
    assert user.asked[0].detail == "print(1)"


@pytest.mark.parametrize(
    ("permission", "asks", "granted"),
    [
        ("ask", True, Granted(anywhere=True)),
        ("workspace", False, Granted()),
        ("full", False, Granted(anywhere=True)),
    ],
)
async def test_what_was_said_of_the_task_counts_before_the_settings(
    permission: Level, asks: bool, granted: Granted
) -> None:
    for level in get_args(Level):
        user = User(Answer(True))
        step = replace(STEP, permission=permission)
        leave = await leave_for(WriteFile("a", "b"), step, Trust(level), "t-1:1", user)
        assert (bool(user.asked), leave) == (asks, granted)


async def test_a_no_tells_the_agent_why() -> None:
    outcome = await leave(ReadFile("/etc/hosts"), User(Answer(False, "Use the copy.")))
    assert isinstance(outcome, Outcome)
    assert not outcome.ok
    assert "did not allow this: Use the copy. It was not done" in outcome.text


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(True, "8080"), Outcome(True, "8080")),
        (Answer(True), Outcome(True, "Yes.")),
        (Answer(False), Outcome(False, "No.")),
        (Answer(False, "none"), Outcome(False, "No. none")),
    ],
)
async def test_a_question_of_the_agent_is_answered_by_the_user_at_every_level(
    answer: Answer, outcome: Outcome
) -> None:
    user = User(answer)
    assert await leave(AskUser("Which port?"), user, Trust("full")) == outcome
    assert user.asked[0].text == "Which port?"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(True), Outcome(True, "")),
        (Answer(True, " subtasks: []\n"), Outcome(True, "subtasks: []")),
        (Answer(False), Outcome(False, "")),
        (Answer(False, "too many"), Outcome(False, "too many")),
    ],
)
async def test_a_plan_is_asked_for_whole_and_the_answer_is_the_users_own_words(
    answer: Answer, outcome: Outcome
) -> None:
    user = User(answer)
    plan = "x" * 50_000
    assert await leave(ApprovePlan("May it?", plan, "d1"), user, Trust("full")) == outcome
    assert user.asked == [Asked("t-1:1", "May it?", "ApprovePlan", plan, "d1")]


def test_programs_are_described_by_what_they_are_for_or_by_how_they_begin() -> None:
    assert described(RunPython("import a", about="runs its tests"))["what"] == "runs its tests"
    assert described(RunPython("\nimport a\nb()"))["what"] == "import a …"
    assert described(RunCommand("make all"))["what"] == "make all"


# -- tasks that wait -----------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[TaskStore]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield TaskStore(database, paths.workspaces)


OUTSIDE = WriteFile("/outside/a", "abc")


async def planner(step: Step, hands: Hands) -> StepResult:
    """Ask for a plan to be approved, and say what came of it."""
    outcome = await hands.act(ApprovePlan("May it?", "subtasks: []", "d1"))
    return StepResult(f"{outcome.ok} {outcome.text}", "scripted", "task")


async def writer(step: Step, hands: Hands) -> StepResult:
    """Run something, then write outside of the workspace, and say what came of it."""
    await hands.act(RunCommand("make"))
    outcome = await hands.act(OUTSIDE)
    return StepResult(outcome.text, "scripted", "task")


async def test_a_task_waits_over_a_restart_and_does_once_what_was_approved(
    store: TaskStore,
) -> None:
    before = World(store, no_pause, agent=writer)
    async with before.running():
        identity = await before.submit("do it")
        await before.until(identity, "approval")
        assert (await before.store.get(identity)).state == "waiting"
        other = await before.submit("another")  # the lane is free meanwhile
        await before.until(other, "approval")
    assert before.workers.acts == [RunCommand("make"), RunCommand("make")]
    after = World(store, no_pause, journal=before.journal, agent=writer)
    async with after.running():
        await anyio.wait_all_tasks_blocked()
        assert after.workers.acts == []
        await after.engine.answer(identity, Answer(True))
        task = await after.ended(identity)
        assert (await after.store.get(other)).state == "waiting"
    assert (task.state, task.answer) == ("done", "written")
    assert after.workers.acts == [OUTSIDE]
    events, _ = await store.events(identity, 0)
    assert [one.data.get("again") for one in events if one.kind == "started"] == [None, True]
    told = await kinds(store, identity)
    assert told == [
        "queued",
        "started",
        "acting",
        "approval",
        "approved",
        "started",
        "acting",
        "file",
        "done",
    ]


async def test_the_question_about_a_plan_outlasts_a_restart_with_the_plan_and_its_digest(
    store: TaskStore,
) -> None:
    before = World(store, no_pause, agent=planner)
    async with before.running():
        identity = await before.submit("do it")
        await before.until(identity, "approval")
    after = World(store, no_pause, journal=before.journal, agent=planner)
    async with after.running():
        with pytest.raises(TaskError, match="has changed since you saw it"):
            await after.engine.answer(identity, Answer(True, digest="another"))
        await after.engine.answer(identity, Answer(True, "subtasks: [a]", "d1"))
        task = await after.ended(identity)
    assert task.answer == "True subtasks: [a]"
    [asked] = [one for one in (await store.events(identity, 0))[0] if one.kind == "approval"]
    assert (asked.data["detail"], asked.data["digest"]) == ("subtasks: []", "d1")


async def test_a_number_of_more_than_64_bits_reaches_a_tool_as_it_was_written(
    store: TaskStore,
) -> None:
    wei = CallTool("bank", "pay", {"amount": 25 * 10**18, "to": "Köln"})

    async def payer(step: Step, hands: Hands) -> StepResult:
        outcome = await hands.act(wei)
        return StepResult(outcome.text, "scripted", "task")

    world = World(store, no_pause, agent=payer, trust=Trust("full"))
    async with world.running():
        task = await world.ended(await world.submit("pay"))
    assert (task.state, task.error) == ("done", None)
    [acted] = world.workers.acts
    assert acted == wei
    assert read_action(write_action(acted)) == wei, "it goes to an execution server so"


async def test_a_tasks_own_permission_is_kept_over_a_restart(store: TaskStore) -> None:
    before = World(store, no_pause, agent=writer, trust=Trust("full"))
    async with before.running():
        careful = await before.engine.submit(NewTask("do it", permission="ask"))
        await before.until(careful.id, "approval")
    after = World(store, no_pause, journal=before.journal, agent=writer, trust=Trust("full"))
    async with after.running():
        await after.engine.answer(careful.id, Answer(True))
        while (await store.get(careful.id)).state != "waiting":  # the second of its two acts
            await anyio.lowlevel.checkpoint()
        free = await after.submit("do it")
        ended = await after.ended(free)
    assert (await store.get(careful.id)).permission == "ask"
    assert (ended.state, ended.permission) == ("done", None)
    assert after.workers.acts.count(OUTSIDE) == 1


async def test_what_was_rejected_is_not_done_and_the_agent_goes_on(store: TaskStore) -> None:
    world = World(store, no_pause, agent=writer)
    async with world.running():
        identity = await world.submit("do it")
        await world.until(identity, "approval")
        await world.engine.answer(identity, Answer(False, "not there"))
        task = await world.ended(identity)
    assert "not there" in (task.answer or "")
    assert world.workers.acts == [RunCommand("make")]


async def test_a_task_that_waits_can_be_paused_and_asks_the_same_again(store: TaskStore) -> None:
    world = World(store, no_pause, agent=writer)
    async with world.running():
        identity = await world.submit("do it")
        await world.until(identity, "approval")
        await world.engine.pause(identity)
        await world.engine.resume(identity)
        while (await store.get(identity)).state != "waiting":
            await anyio.lowlevel.checkpoint()
        await world.engine.answer(identity, Answer(True))
        task = await world.ended(identity)
    assert task.answer == "written"
    asked = [event for event in (await store.events(identity, 0))[0] if event.kind == "approval"]
    first, again = [str(event.data["id"]) for event in asked]
    assert first == again
    assert first.startswith(f"{identity}:2:")


async def test_a_task_that_asks_for_nothing_takes_no_answer(store: TaskStore) -> None:
    world = World(store, no_pause)
    async with world.running():
        identity = await world.submit("do it")
        await world.ended(identity)
        with pytest.raises(TaskError, match="asks for nothing"):
            await world.engine.answer(identity, Answer(True))


async def test_the_parts_of_a_task_rest_while_one_waits_and_all_go_on(store: TaskStore) -> None:
    world = World(store, no_pause, agent=writer)
    async with world.running():
        parts = [Subtask(name, name, name) for name in ("a", "b")]
        identity = await world.submit("both", 0, *parts)
        for _ in parts:
            while (await store.get(identity)).state != "waiting":
                await anyio.lowlevel.checkpoint()
            await world.engine.answer(identity, Answer(True))
        task = await world.ended(identity)
    assert task.state == "done"
    assert world.workers.acts.count(OUTSIDE) == 2


async def test_agreeing_lets_it_work_outside_of_the_workspace_for_that_one_act(
    store: TaskStore,
) -> None:
    world = World(store, no_pause, agent=writer)
    async with world.running():
        identity = await world.submit("do it")
        await world.until(identity, "approval")
        await world.engine.answer(identity, Answer(True))
        await world.ended(identity)
    assert world.workers.anywhere == [False, True]


class Unrecorded:
    """Records, workers and a teller that have nothing to lose: a script does it all at once."""

    def __init__(self, hands: ScriptedHands) -> None:
        self._hands = hands

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        return await call()

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        return await self._hands.ask(question)

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        return await self._hands.act(action)

    async def tell(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        return True

    def token(self, text: str) -> None:
        raise NotImplementedError


async def test_what_the_user_says_as_they_allow_a_write_is_told_to_the_model() -> None:
    write = {"why": "", "action": "write", "path": "a.txt", "content": "one\n"}
    done = {"why": "", "action": "done", "answer": "It is there."}
    script = ScriptedHands(orjson.dumps(write).decode(), orjson.dumps(done).decode())
    step, user = replace(STEP, form="json"), User(Answer(True, "Mind the commas."))
    all_of_it = Unrecorded(script)
    hands = RecordedHands(step, all_of_it, all_of_it, all_of_it, trust=Trust("ask"), ask_user=user)
    await work(step, hands)
    assert [asked.text for asked in user.asked] == ["May it write a.txt?"]
    told = script.asked[1].messages[-1].content
    assert told == "a.txt is written.\nThe user says: Mind the commas."
