"""A large request from its plan to the whole: planned, worked on in parts, mended, agreed to.

The engine, its database and the planner are real; the model answers from a script, and programs
are a function of the files.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from plan_rules import RULES
from tale.config import Settings
from tale.errors import BackendUnavailable
from tale.paths import Paths
from tale.prompts import PLAN_SYSTEM, REPAIR_SYSTEM, WHOLE_SYSTEM
from tale.storage.database import Database
from tale.tasks.agent import work
from tale.tasks.durable import MemoryJournal
from tale.tasks.engine import Engine
from tale.tasks.hands import (
    Action,
    FileChange,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.leave import Answer
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.planning import PlanKeeping
from tale.tasks.progress import ProgressHub
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import (
    Approve,
    Began,
    Judgement,
    Report,
    Step,
    Subtask,
    Task,
    TaskEvent,
    TokensSpent,
)

pytestmark = pytest.mark.anyio

REQUEST = "Build a shop with a model, pages and texts"
Runs = Callable[[str, Mapping[str, str]], Outcome]


def part(name: str, *needs: str, writes: str = "") -> dict[str, object]:
    path = writes or f"{name}.py"
    return {
        "id": name,
        "title": name.capitalize(),
        "instructions": f"Write {path} with {name}",
        "kind": "code",
        "depends_on": list(needs),
        "reads": [f"{other}.py" for other in needs],
        "writes": [path],
        "check": f"try {path}",
        "size": "small",
        "priority": 0,
    }


def plan_of(*parts: dict[str, object], reasoning: str = "The model comes first.") -> str:
    return json.dumps({"reasoning": reasoning, "subtasks": parts})


def repair_of(*parts: dict[str, object], drop: tuple[str, ...] = ()) -> str:
    return json.dumps({"diagnosis": "It used a library.", "subtasks": parts, "drop": drop})


SHOP = plan_of(part("model"), part("pages", "model"), part("texts", "model"))


class Desk:
    """A model that answers by what it is, and a workspace in memory.

    Attributes:
        plans: What the planner is answered, in order; the last one for ever.
        repairs: Likewise when the plan is mended.
        broken: Files of which the check fails.
        down: Parts whose model is gone.
        endless: Parts whose model repeats itself without end.
        hold: Held up before they are written, until `go`.
        meet: Written once all of them are being written.
        asked: What the models were asked, as they were.
    """

    def __init__(self) -> None:
        self.plans = [SHOP]
        self.repairs: list[str] = []
        self.broken: set[str] = set()
        self.down: set[str] = set()
        self.endless: set[str] = set()
        self.hold: set[str] = set()
        self.meet: set[str] = set()
        self.go = anyio.Event()
        self.files: dict[str, str] = {}
        self.asked: list[tuple[str, Question]] = []
        self.met: set[str] = set()

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        await report(Began())
        self.asked.append((step.subtask or "", question))
        system = question.messages[0].content
        if system == PLAN_SYSTEM:
            text = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        elif system == REPAIR_SYSTEM:
            text = self.repairs.pop(0)
        elif system == WHOLE_SYSTEM:
            text = "A shop: run model.py."
        else:
            text = await self._write(step)
        ran_away = step.subtask in self.endless
        return Reply(text, "scripted", "task", usage=TokensSpent(10, 5), ran_away=ran_away)

    async def _write(self, step: Step) -> str:
        if step.subtask in self.down:
            raise BackendUnavailable("no model")
        path = step.text.split()[1]
        if path in self.hold:
            await self.go.wait()
        self.met.add(path)
        while path in self.meet and not self.meet <= self.met:
            await anyio.lowlevel.checkpoint()
        files = dict.fromkeys((path, *step.writes))
        return "\n".join(f"FILE: {one}\n```python\nx = {len(self.asked)}\n```" for one in files)

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        await report(Began())
        match action:
            case WriteFile(path, content):
                self.files[path] = content
                return Outcome(ok=True, text="written", files=(FileChange(path, len(content)),))
            case ListFiles():
                return Outcome(ok=True, text="\n".join(self.files) or "The folder is empty.")
            case ReadFile(path):
                return Outcome(path in self.files, self.files.get(path, "It is not there."))
            case RunCommand(line):
                bad = line.rsplit(maxsplit=1)[-1] in self.broken
                return Outcome(not bad, "ImportError: no shoplib" if bad else "", exit=int(bad))
            case RunPython():
                return Outcome(ok=True, text="", exit=0)
            case _:
                raise AssertionError(action)


def judge(text: str) -> Judgement:
    return Judgement("task", "work", "it is large", planned=text.startswith("Build"))


async def no_pause(seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


class World:
    """An engine, as it is started again and again over the same record."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self.desk = Desk()
        self.journal = MemoryJournal()
        self.hub = ProgressHub(store)
        self.approve: Approve = "never"
        self.seconds = 60.0
        """What parts are known to take by now."""

    async def expected(self, plan: Sequence[Subtask]) -> Mapping[str, float]:
        return {one.id: self.seconds for one in plan}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Engine]:
        engine = Engine(
            self.store,
            self.hub,
            self.journal,
            self.desk,
            agent=work,
            judge=judge,
            lanes={"ux": 1, "task": 2},
            plans=PlanKeeping(
                RULES, lambda said: PlanPolicy(approve=said or self.approve), self.expected
            ),
            pause=no_pause,
        )
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                await tasks.start(engine.run)
                yield engine
                tasks.cancel_scope.cancel()

    async def until(self, identity: str, kind: str, after: int = 0, **data: object) -> TaskEvent:
        with self.hub.subscribe(identity, after) as events:
            async for one in events:
                if one.kind == kind and data.items() <= one.data.items():
                    return one
        raise AssertionError(f"{identity} ended without {kind}")

    async def ended(self, identity: str) -> Task:
        with self.hub.subscribe(identity) as events:
            async for _ in events:
                pass
        return await self.store.get(identity)

    async def events(self, identity: str, kind: str) -> list[TaskEvent]:
        events, _ = await self.store.events(identity, 0)
        return [one for one in events if one.kind == kind]

    async def states(self, identity: str) -> dict[str, str]:
        return {one.id: one.state for one in await self.store.plan(identity)}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        yield World(TaskStore(database, paths.workspaces))


async def test_a_large_request_is_planned_worked_on_in_parts_and_looked_at(world: World) -> None:
    world.desk.meet = {"pages.py", "texts.py"}  # what needs nothing of each other runs together
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "done"
    assert task.answer == "A shop: run model.py."
    assert set(task.files) == {"model.py", "pages.py", "texts.py"}
    assert set((await world.states(task.id)).values()) == {"done"}
    [planned] = await world.events(task.id, "plan")
    assert planned.data["why"] == "The model comes first."
    order = [name for name, _ in world.desk.asked]
    assert order[:2] == ["+plan", "model"]
    assert order[-1] == "+whole"


async def test_a_small_request_has_no_plan(world: World) -> None:
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask("Write model.py for me"))).id)
    assert task.state == "done"
    assert await world.store.plan(task.id) == ()


async def test_a_part_whose_check_never_holds_is_planned_anew_and_finished_work_stays(
    world: World,
) -> None:
    world.desk.broken = {"pages.py"}
    world.desk.repairs = [repair_of(part("plain", "model"))]
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "done"
    states = await world.states(task.id)
    assert states["pages"] == "cancelled"
    assert states["plain"] == states["+repair-1"] == states["+whole"] == "done"
    written = [name for name, _ in world.desk.asked if name == "model"]
    assert len(written) == 1, "what is done is not done again"
    [mend] = [question for name, question in world.desk.asked if name == "+repair-1"]
    assert "ImportError: no shoplib" in mend.messages[-1].content
    assert "Pages" in str((await world.events(task.id, "plan"))[-1].data["changes"])


async def test_what_can_never_pass_is_taken_as_it_is_and_said_plainly(world: World) -> None:
    world.desk.broken = {"pages.py", "other.py", "third.py"}
    world.desk.repairs = [
        repair_of(part("other", "model")),
        repair_of(part("third", "model")),
    ]
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "done"
    repairs = [name for name in await world.states(task.id) if name.startswith("+repair")]
    assert len(repairs) == 2
    [whole] = await world.events(task.id, "done")
    assert whole.data.get("holds") is False
    assert "third.py" in str(whole.data.get("check"))


async def test_a_part_whose_model_says_nothing_of_use_is_planned_anew_and_then_fails_the_task(
    world: World,
) -> None:
    world.desk.endless = {"pages", "other", "third"}
    world.desk.repairs = [repair_of(part("other", "model")), repair_of(part("third", "model"))]
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "failed"
    assert task.error is not None
    assert "Third: " in task.error
    states = await world.states(task.id)
    assert states["pages"] == states["other"] == "cancelled"
    assert states["model"] == "done", "what is done stays"


async def test_a_model_that_is_gone_is_no_fault_of_the_plan(world: World) -> None:
    world.desk.down = {"pages"}
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        await world.until(identity, "resumed")
        world.desk.down = set()
        task = await world.ended(identity)
    assert task.state == "done"
    assert not any("+repair" in name for name in await world.states(task.id))


async def test_a_plan_waits_for_its_user_over_a_restart_and_goes_on_as_they_say(
    world: World,
) -> None:
    world.approve = "always"
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        asked = await world.until(identity, "approval")
    assert (await world.store.get(identity)).state == "waiting"
    assert set(await world.states(identity)) == {"+plan"}, "nothing is begun before the yes"
    async with world.running() as engine:
        await engine.answer(identity, Answer(approved=True, digest=str(asked.data["digest"])))
        task = await world.ended(identity)
    assert task.state == "done"
    plans = [name for name, _ in world.desk.asked if name == "+plan"]
    assert len(plans) == 1, "the plan that they said yes to is not made again"


async def test_a_question_tells_what_was_learned_by_then_and_stays_the_same_after_a_crash(
    world: World,
) -> None:
    world.approve, world.seconds = "always", 600.0
    world.desk.files["model.py"] = "x = 0"
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        asked = await world.until(identity, "approval")
    assert "3 parts (about 30 min of work)" in str(asked.data["text"])
    assert asked.data["seconds"] == {"model": 600, "pages": 600, "texts": 600}
    assert (asked.data["why"], asked.data["used"]) == ("The model comes first.", ["model.py"])
    world.seconds = 5.0  # much was done meanwhile, and quickly
    async with world.running() as engine:
        await engine.answer(identity, Answer(approved=True, digest=str(asked.data["digest"])))
        await world.ended(identity)
    assert await world.events(identity, "approval") == [asked]
    [planned] = await world.events(identity, "plan")
    assert planned.data["used"] == ["model.py"]


async def test_a_rejected_plan_is_made_anew_with_the_reason(world: World) -> None:
    world.approve = "always"
    world.desk.plans = [SHOP, plan_of(part("model"), part("texts", "model"))]
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        first = await world.until(identity, "approval")
        await engine.answer(identity, Answer(approved=False, text="No pages, please"))
        second = await world.until(identity, "approval", after=first.seq)
        assert second.data["digest"] != first.data["digest"]
        await engine.answer(identity, Answer(approved=True))
        await world.ended(identity)
    again = [question for name, question in world.desk.asked if name == "+plan"][-1]
    assert "No pages, please" in again.messages[-1].content
    assert "pages" not in await world.states(identity)


async def test_an_edited_plan_is_worked_on_as_it_was_edited(world: World) -> None:
    world.approve = "always"
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        asked = await world.until(identity, "approval")
        mine = str(asked.data["detail"]).replace("texts", "words")
        await engine.answer(identity, Answer(approved=True, text=mine))
        task = await world.ended(identity)
    assert task.state == "done"
    assert "words.py" in task.files


async def test_one_task_may_be_asked_about_though_others_are_not(world: World) -> None:
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST, approve="always"))).id
        await world.until(identity, "approval")


@pytest.mark.parametrize("held", ["model.py", "texts.py"])
async def test_a_crash_in_the_middle_repeats_nothing_that_was_recorded(
    world: World, held: str
) -> None:
    world.desk.hold = {held}
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        await world.until(identity, "subtask", id=held[:-3], state="running")
        await anyio.wait_all_tasks_blocked()
    world.desk.hold = set()
    async with world.running():
        task = await world.ended(identity)
    assert task.state == "done"
    asked = [name for name, _ in world.desk.asked]
    assert asked.count("+plan") == 1
    cut_off = held[:-3]
    again = {name for name in asked if asked.count(name) > 1}
    assert again <= {cut_off}


# -- parts that are too big ------------------------------------------------------------------------

BIG = {
    **part("pages", "model"),
    "instructions": "Write pages.py and views.py: build the complete frontend with pages for "
    "login, accounts, an admin area, a dashboard with charts, search and comments",
    "writes": ["pages.py", "views.py"],
    "size": "large",
}
LARGE = plan_of(part("model"), BIG, part("texts", "pages"))
PIECES = plan_of(part("layout", writes="pages.py"), part("forms", writes="views.py"))


async def test_a_part_that_is_too_big_is_split_once_what_it_needs_is_there(world: World) -> None:
    world.desk.plans = [LARGE, PIECES]
    world.desk.meet = {"pages.py", "views.py"}
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "done"
    assert [name for name, _ in world.desk.asked][:3] == ["+plan", "model", "+split-pages"]
    plan = {one.id: one for one in await world.store.plan(task.id)}
    assert plan["pages"].state == "cancelled"
    assert plan["pages-1"].depends_on == plan["pages-2"].depends_on == ("model",)
    assert plan["texts"].depends_on == ("pages-1", "pages-2")
    assert {"pages.py", "views.py"} <= set(task.files)
    planned, split = await world.events(task.id, "plan")
    assert "'Pages' is to be split before it begins" in str(planned.data["changes"])
    assert "'Pages' is replaced by 'Layout', 'Forms'" in str(split.data["changes"])
    [asked] = [question for name, question in world.desk.asked if name == "+split-pages"]
    assert "Between them the parts write pages.py, views.py." in asked.messages[-1].content


@pytest.mark.parametrize("held", ["pages.py", "texts.py"])
async def test_a_split_is_not_made_again_after_a_crash(world: World, held: str) -> None:
    world.desk.plans = [LARGE, PIECES]
    world.desk.hold = {held}
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        waits = {"pages.py": "pages-1", "texts.py": "texts"}[held]
        await world.until(identity, "subtask", id=waits, state="running")
        await anyio.wait_all_tasks_blocked()
    world.desk.hold = set()
    async with world.running():
        task = await world.ended(identity)
    assert task.state == "done"
    asked = [name for name, _ in world.desk.asked]
    assert asked.count("+split-pages") == asked.count("model") == 1
    assert {name for name in asked if asked.count(name) > 1} <= {waits}
    assert len(await world.events(identity, "plan")) == 2


async def test_where_no_better_plan_comes_a_part_is_done_as_it_is(world: World) -> None:
    world.desk.plans = [LARGE, plan_of(part("all", writes="pages.py"))]
    async with world.running() as engine:
        task = await world.ended((await engine.submit(NewTask(REQUEST))).id)
    assert task.state == "done"
    asked = [name for name, _ in world.desk.asked]
    assert asked.count("+split-pages") == 2, "it is asked once more, with the faults"
    assert (await world.states(task.id))["pages"] == "done"
    assert "'Pages' is done as it is" in str((await world.events(task.id, "plan"))[-1].data)


@pytest.mark.parametrize("approved", [True, False])
async def test_a_split_that_goes_beyond_an_approved_plan_is_asked_about(
    world: World, approved: bool
) -> None:
    world.approve = "always"
    more = plan_of(
        part("layout", writes="pages.py"), part("forms", writes="views.py"), part("style")
    )
    world.desk.plans = [LARGE, more]
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        first = await world.until(identity, "approval")
        await engine.answer(identity, Answer(approved=True))
        second = await world.until(identity, "approval", after=first.seq)
    assert "the plan did not name: style.py" in str(second.data)
    async with world.running() as engine:
        await engine.answer(identity, Answer(approved=approved))
        task = await world.ended(identity)
    assert task.state == "done"
    states = await world.states(identity)
    assert states["pages"] == ("cancelled" if approved else "done")
    assert ("style.py" in task.files) is approved
    assert [name for name, _ in world.desk.asked].count("+split-pages") == 1


async def test_a_split_within_an_approved_plan_needs_no_second_yes(world: World) -> None:
    world.approve = "always"
    world.desk.plans = [LARGE, PIECES]
    async with world.running() as engine:
        identity = (await engine.submit(NewTask(REQUEST))).id
        await world.until(identity, "approval")
        await engine.answer(identity, Answer(approved=True))
        task = await world.ended(identity)
    assert task.state == "done"
    assert len(await world.events(identity, "approval")) == 1
