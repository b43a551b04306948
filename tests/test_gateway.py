"""The gateway's tools and event stream, and the steps it has done by execution servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.config import Settings
from tale.errors import BackendFailed, PromptRejected, TaskError, TaskNotFound, WorkspaceUnusable
from tale.models.backend import Message
from tale.models.caller import Script, ScriptedModels
from tale.paths import Paths
from tale.servers.execution import Execution, performing
from tale.servers.steps import (
    RemoteWorkers,
    read_progress,
    read_step,
    write_progress,
)
from tale.servers.task_tools import TaskTools
from tale.storage.database import Database
from tale.tasks.agent import work
from tale.tasks.durable import MemoryJournal
from tale.tasks.engine import Engine
from tale.tasks.equip import Equipping
from tale.tasks.hands import (
    Action,
    CallTool,
    EditFile,
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
from tale.tasks.hands_json import (
    read_action,
    read_outcome,
    read_question,
    write_action,
    write_outcome,
    write_reply,
)
from tale.tasks.judging import judge, kind_of
from tale.tasks.leave import Trust
from tale.tasks.mcp_tools import McpTools
from tale.tasks.merging import Merged
from tale.tasks.progress import ProgressHub
from tale.tasks.sandbox_bare import Bare
from tale.tasks.store import TaskStore, utc_now
from tale.tasks.task import (
    Began,
    FileWritten,
    Noted,
    Progress,
    Step,
    StepResult,
    Subtask,
    TokenSaid,
    TokensSpent,
)
from tale.tasks.tools import Tooling
from tale.tasks.watching import Watching
from tale.tasks.workspace import check_workspace
from tale.wire.contracts import (
    Event,
    ListRequest,
    ProgressView,
    ShowRequest,
    SubmitRequest,
    SubtaskRequest,
    TaskRequest,
    TaskView,
    UsageView,
    VerdictRequest,
)
from tale.wire.execution_contracts import AskReply
from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers
from tale.wire.tool import Tool

pytestmark = pytest.mark.anyio

WORK = "Write a Python script that prints one"
EXECUTION = Peer(service="execution", name="execution-1", url="", pid=1, starts=1)


class ExecutionInMemory:
    """Calls an execution server without a wire between."""

    def __init__(self, models: ScriptedModels, external: McpTools | None = None) -> None:
        self._execution = Execution(models, performing(Tooling(Bare(), external)), external)
        self.deadlines: list[float] = []

    async def call(
        self,
        tool: Tool[Any, Any],
        request: Any,
        *,
        deadline: float,
        on_progress: Callable[[Mapping[str, object]], Awaitable[None]] | None = None,
    ) -> Any:
        assert on_progress
        self.deadlines.append(deadline)
        on_wire = tool.request.model_validate_json(request.model_dump_json())
        handler = getattr(self._execution, tool.name)
        reply = await handler(on_wire, on_progress)
        return tool.reply.model_validate_json(reply.model_dump_json())


async def quiet(data: Mapping[str, object]) -> None:
    del data


class World:
    def __init__(
        self, gateway: TaskTools, models: ScriptedModels, home: Path, store: TaskStore
    ) -> None:
        self.store = store
        self.gateway = gateway
        self.models = models
        self.home = home

    async def submit(self, text: str = WORK, **more: Any) -> TaskView:
        return await self.gateway.submit(SubmitRequest(text=text, **more), quiet)

    async def words(self, identity: str) -> str:
        """Give what a task has told so far."""
        events, _ = await self.store.events(identity, 0)
        return "\n".join(str(event.data.get("text")) for event in events)

    async def show(self, identity: str, wait: float = 0) -> TaskView:
        return await self.gateway.show(ShowRequest(id=identity, wait=wait), quiet)

    async def events(self, query: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.gateway.app())
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(f"/api/events?{query}", headers=headers)


@asynccontextmanager
async def gateway(
    home: Path,
    *scripts: Script,
    heartbeat: float = 15,
    trust: Trust | None = None,
    external: McpTools | None = None,
) -> AsyncGenerator[World]:
    paths = Paths.from_environment({"TALE_HOME": str(home / "tale")})
    models = ScriptedModels(*scripts)
    with anyio.fail_after(20):
        async with (
            Database.open(paths, Settings()) as database,
            anyio.create_task_group() as tasks,
        ):
            store = TaskStore(database, paths.workspaces)
            hub = ProgressHub(store)
            watching = Watching(store, kind_of=kind_of, lanes=1, now=utc_now)
            hub.listen(watching.take)
            execution = ExecutionInMemory(models, external)
            workers = RemoteWorkers(execution, FixedPeers(EXECUTION), deadline=60)
            engine = Engine(
                store,
                hub,
                MemoryJournal(),
                workers,
                agent=work,
                judge=judge,
                lanes={"ux": 1, "task": 1},
                trust=trust,
                equip=Equipping(workers.listed, external.names) if external else None,
            )
            await tasks.start(engine.run)
            served = TaskTools(
                engine,
                store,
                hub,
                watching=watching,
                check_folder=lambda given: check_workspace(given, home=home),
                heartbeat=heartbeat,
            )
            yield World(served, models, home, store)
            tasks.cancel_scope.cancel()


def parse(stream: str) -> list[Event]:
    """Read server-sent events, and make sure of their ids and names."""
    events: list[Event] = []
    for block in filter(None, stream.split("\n\n")):
        if block.startswith(":"):
            continue
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event = Event.model_validate_json(fields["data"])
        assert (fields["id"], fields["event"]) == (str(event.seq), event.kind)
        events.append(event)
    return events


async def test_work_is_recorded_at_once_and_its_files_appear(tmp_path: Path) -> None:
    answer = Script(["FILE: one.py\n```python\n", "print(1)\n```\n"])
    async with gateway(tmp_path, answer) as world:
        view = await world.submit(f"  {WORK}\n", workspace=str(tmp_path / "mine"), priority=2)
        assert (view.state, view.text, view.priority) == ("queued", WORK, 2)
        assert view.workspace == str(tmp_path / "mine")
        response = await world.events(f"task={view.id}")
        shown = await world.show(view.id)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = parse(response.text)
    assert [event.kind for event in events if event.kind != "token"] == [
        "queued",
        "started",
        "acting",
        "file",
        "acting",
        "done",
    ]
    assert events[-1].data["files"] == ["one.py"]
    assert (shown.state, shown.model, shown.role) == ("done", "scripted-task", "task")
    assert shown.usage == UsageView(prompt=20, completion=2, cached=5)
    assert (tmp_path / "mine" / "one.py").read_text() == "print(1)\n"


async def test_a_greeting_is_answered_by_the_small_model(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(["Hello!"])) as world:
        view = await world.submit("hello world")
        await world.events(f"task={view.id}")
        shown = await world.show(view.id)
    assert (shown.answer, shown.role, shown.model) == ("Hello!", "ux", "scripted-ux")


async def test_whoever_waits_is_shown_the_task_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    held = anyio.Event()
    shown: list[TaskView] = []
    async with gateway(tmp_path, Script(["Hello!"], hold=held)) as world:
        view = await world.submit("hello world")

        async def wait() -> None:
            shown.append(await world.show(view.id, wait=50))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert shown == []
            held.set()
        again = await world.show(view.id, wait=50)
    assert [(task.state, task.answer) for task in shown] == [("done", "Hello!")]
    assert again == shown[0]


async def test_whoever_waits_is_told_how_far_the_task_is(tmp_path: Path) -> None:
    held = anyio.Event()
    heard: list[Mapping[str, object]] = []

    async def hear(data: Mapping[str, object]) -> None:
        heard.append(data)
        held.set()

    async with gateway(tmp_path, Script(["Hello!"], hold=held)) as world:
        view = await world.submit("hello world")
        shown = await world.gateway.show(ShowRequest(id=view.id, wait=50), hear)
    assert shown.state == "done"
    assert 0 <= cast("int", heard[0]["percent"]) < 100
    assert heard[0]["words"]


async def test_whoever_waits_in_vain_is_shown_the_task_as_it_stands(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(hold=anyio.Event())) as world:
        view = await world.submit("hello world")
        assert (await world.show(view.id, wait=0.01)).state in ("queued", "running")
        with pytest.raises(TaskNotFound):
            await world.show("t-none", wait=50)


async def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(["Hello!"])) as world:
        view = await world.submit("hello world")
        whole = parse((await world.events(f"task={view.id}")).text)
        stored = [event for event in whole if event.kind != "token"]
        later = parse((await world.events(f"task={view.id}&after=1")).text)
        by_header = parse((await world.events(f"task={view.id}", {"Last-Event-ID": "2"})).text)
        nothing = await world.events(f"task={view.id}&after={stored[-1].seq}")
    assert later == stored[1:]
    assert by_header == stored[2:]
    assert nothing.text == ""


async def test_tokens_are_shown_as_they_come_with_signs_of_life_between(tmp_path: Path) -> None:
    held = anyio.Event()
    script = Script(["Hel", "lo"], hold=held)
    async with gateway(tmp_path, script, heartbeat=0.01) as world:
        app = world.gateway.app()
        view = await world.submit("hello world")
        received: list[str] = []

        async def receive() -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            received.append(message.get("body", b"").decode())
            if "still here" in received[-1]:
                held.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": "/api/events",
            "query_string": f"task={view.id}".encode(),
            "headers": [(b"host", b"127.0.0.1")],
        }
        await app(scope, receive, send)
    events = parse("".join(received))
    assert events[-1].kind == "done"
    assert any(one.startswith(": ") for one in received)


async def test_who_asks_for_it_is_told_how_far_a_task_is_beside_the_same_events(
    tmp_path: Path,
) -> None:
    held = anyio.Event()
    async with gateway(tmp_path, Script(["Hel", "lo"], hold=held)) as world:
        view = await world.submit("hello world")
        await anyio.wait_all_tasks_blocked()
        waits = (await world.show(view.id)).progress
        held.set()
        whole = parse((await world.events(f"task={view.id}&progress=1")).text)
        plain = parse((await world.events(f"task={view.id}")).text)
        ended = (await world.show(view.id)).progress
    assert waits is not None
    assert ended is not None
    assert waits.percent < 100
    assert waits.words.startswith(f"Task {view.id} ")
    assert (ended.percent, ended.eta) == (100, None)
    told = [event for event in whole if event.kind == "progress"]
    stored = [event for event in whole if event.kind not in {"progress", "token"}]
    assert stored == [event for event in plain if event.kind != "token"]
    last = ProgressView.model_validate(told[-1].data)
    assert (last.state, last.percent) == ("done", 100)
    assert whole[-1].kind == "done"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("task=t-none", 404, "task_not_found"),
        ("", 404, "task_not_found"),
        ("task=t-none&after=x", 400, "bad_arguments"),
        ("task=t-none&after=-1", 400, "bad_arguments"),
    ],
)
async def test_a_wrong_question_for_events_is_answered_in_words(
    tmp_path: Path, query: str, status: int, code: str
) -> None:
    async with gateway(tmp_path) as world:
        response = await world.events(query)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["hint"]


@pytest.mark.parametrize("text", ["", " ", "x" * 1_048_576, "a\0b"])
async def test_what_is_no_task_is_refused_and_leaves_nothing(tmp_path: Path, text: str) -> None:
    async with gateway(tmp_path) as world:
        with pytest.raises(PromptRejected):
            await world.submit(text)
        assert (await world.gateway.list(ListRequest(), quiet)).tasks == ()


async def test_a_folder_that_is_no_workspace_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as world:
        for folder in ("/", str(tmp_path), "relative"):
            with pytest.raises(WorkspaceUnusable):
                await world.submit(workspace=folder)
        assert (await world.gateway.list(ListRequest(), quiet)).tasks == ()


async def test_a_failed_task_says_why(tmp_path: Path) -> None:
    refused = Script(refusal=BackendFailed("no such luck", hint="try later"))
    async with gateway(tmp_path, refused) as world:
        view = await world.submit()
        events = parse((await world.events(f"task={view.id}")).text)
        shown = await world.show(view.id)
    assert events[-1].kind == "failed"
    assert events[-1].data == {"error": "no such luck", "hint": "try later"}
    assert (shown.state, shown.error, shown.hint) == ("failed", "no such luck", "try later")


async def test_cancelling_stops_the_models_work(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(["a"], hold=anyio.Event())) as world:
        view = await world.submit()
        while not world.models.asked:
            await anyio.lowlevel.checkpoint()
        cancelled = await world.gateway.cancel(TaskRequest(id=view.id), quiet)
        while not world.models.stopped:
            await anyio.lowlevel.checkpoint()
        events = parse((await world.events(f"task={view.id}")).text)
        again = await world.gateway.cancel(TaskRequest(id=view.id), quiet)
    assert cancelled.state == "cancelled"
    assert again == cancelled
    assert events[-1].kind == "cancelled"


async def test_tasks_are_listed_newest_first_and_unknown_ones_named(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(hold=anyio.Event())) as world:
        one, two = await world.submit(), await world.submit()
        listed = (await world.gateway.list(ListRequest(), quiet)).tasks
        queued = (await world.gateway.list(ListRequest(state="queued"), quiet)).tasks
        with pytest.raises(TaskNotFound):
            await world.show("t-none")
    assert [task.id for task in listed] == [two.id, one.id]
    assert two.id in [task.id for task in queued]


async def test_a_submission_that_is_sent_twice_is_one_task(tmp_path: Path) -> None:
    async with gateway(tmp_path, Script(["done"])) as world:
        request = SubmitRequest(text=WORK)
        first = await world.gateway.submit(request, quiet)
        again = await world.gateway.submit(request, quiet)
        other = await world.submit()
    assert again.id == first.id != other.id


# -- steps on the wire ---------------------------------------------------------------------------

PROGRESS = st.one_of(
    st.just(Began()),
    st.builds(TokenSaid, st.text()),
    st.builds(FileWritten, st.text(), st.integers(0, 2**40)),
    st.builds(Noted, st.text()),
)


@given(PROGRESS)
def test_progress_comes_off_the_wire_as_it_went_on(progress: Progress) -> None:
    on_wire = cast("Mapping[str, object]", orjson.loads(orjson.dumps(write_progress(progress))))
    assert read_progress(on_wire) == progress


@pytest.mark.parametrize("data", [{}, {"later": "kind"}, {"token": {"not": "text"}}])
def test_progress_of_a_kind_unknown_here_is_passed_over(data: Mapping[str, object]) -> None:
    assert read_progress(data) is None


async def test_what_is_asked_and_what_is_answered_keep_everything_on_the_way() -> None:
    step = Step("t-1", "", "/w", "ux", "talk", "s-1", subtask="part", anywhere=True)
    question = Question(
        (Message("user", "do", {"name": "me"}),),
        9,
        0.5,
        "task",
        {"type": "object"},
        "s-2",
        False,
        ("x",),
    )
    answered = Reply("did", "m", "ux", "why", "length", TokensSpent(1, 2, 3), True)

    class Wire:
        async def call(
            self,
            tool: Tool[Any, Any],
            request: Any,
            *,
            deadline: float,
            on_progress: Callable[[Mapping[str, object]], Awaitable[None]] | None = None,
        ) -> Any:
            assert deadline == 7
            assert on_progress
            await on_progress({"token": "x"})
            await on_progress({"of a later": "version"})
            sent = tool.request.model_validate_json(request.model_dump_json())
            assert read_step(sent) == step
            assert read_question(sent.question) == question
            return AskReply(reply=write_reply(answered))

    seen: list[Progress] = []

    async def report(progress: Progress) -> None:
        seen.append(progress)

    workers = RemoteWorkers(Wire(), FixedPeers(EXECUTION), deadline=7)
    assert await workers.ask(step, question, report) == answered
    assert seen == [TokenSaid("x")]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ACTION = st.one_of(
    st.builds(ListFiles, TEXT),
    st.builds(ReadFile, TEXT),
    st.builds(WriteFile, TEXT, TEXT),
    st.builds(EditFile, TEXT, TEXT, TEXT),
    st.builds(RunCommand, TEXT, st.floats(0, 9), st.booleans()),
    st.builds(RunPython, TEXT, st.floats(0, 9), st.booleans()),
    st.builds(CallTool, TEXT, TEXT, st.dictionaries(TEXT, TEXT | st.integers(0, 9))),
)
OUTCOME = st.builds(
    Outcome,
    st.booleans(),
    TEXT,
    st.none() | st.integers(0, 255),
    st.lists(st.builds(FileChange, TEXT, st.integers(0, 2**40), st.booleans())).map(tuple),
    TEXT,
)


def wired(record: Mapping[str, object]) -> dict[str, Any]:
    return cast("dict[str, Any]", orjson.loads(orjson.dumps(record)))


@given(ACTION, OUTCOME)
def test_actions_and_outcomes_come_out_of_json_as_they_went_in(
    action: Action, outcome: Outcome
) -> None:
    assert read_action(wired(write_action(action))) == action
    assert read_outcome(wired(write_outcome(outcome))) == outcome


def test_what_no_json_holds_is_replaced() -> None:
    assert read_action(wired(write_action(WriteFile("a", "b\ud800")))) == WriteFile("a", "b?")


@pytest.mark.parametrize(
    ("record", "says"),
    [({}, "no action None"), ({"do": "Sing"}, "no action 'Sing'"), ({"do": "ReadFile"}, "path")],
)
def test_an_action_nobody_knows_is_refused_in_words(
    record: Mapping[str, object], says: str
) -> None:
    with pytest.raises(TaskError, match=says):
        read_action(record)


async def test_a_paused_task_is_shown_as_that_and_goes_on(tmp_path: Path) -> None:
    held = anyio.Event()
    async with gateway(tmp_path, Script(["a"], hold=held), Script(["b"])) as world:
        view = await world.submit("hello world")
        while not world.models.asked:
            await anyio.lowlevel.checkpoint()
        paused = await world.gateway.pause(TaskRequest(id=view.id), quiet)
        resumed = await world.gateway.resume(TaskRequest(id=view.id), quiet)
        await world.events(f"task={view.id}")
        shown = await world.show(view.id)
    assert (paused.state, resumed.state, shown.state) == ("paused", "queued", "done")
    assert shown.answer == "b"


async def test_a_plan_that_can_not_be_worked_on_leaves_nothing(tmp_path: Path) -> None:
    circle = [
        SubtaskRequest(id="a", text="one", depends_on=("b",)),
        SubtaskRequest(id="b", text="two", depends_on=("a",)),
    ]
    async with gateway(tmp_path) as world:
        with pytest.raises(PromptRejected, match="wait for each other"):
            await world.submit(subtasks=tuple(circle))
        assert (await world.gateway.list(ListRequest(), quiet)).tasks == ()


async def test_what_is_said_of_parts_is_kept_and_shown(tmp_path: Path) -> None:
    parts = (
        SubtaskRequest(
            id="a",
            text="Do it",
            kind="act",
            reads=("in.csv",),
            writes=("./out.csv",),
            check="test -s out.csv",
            size="small",
            priority=2,
        ),
        SubtaskRequest(id="b", text="Write a Python function that adds", depends_on=("a",)),
        SubtaskRequest(id="c", text="What is it?", depends_on=("a",)),
    )
    async with gateway(tmp_path, Script(["x"], hold=anyio.Event())) as world:
        view = await world.submit(subtasks=parts)
        progress = (await world.show(view.id)).progress
    assert progress is not None
    first, second, third = progress.parts
    assert (first.kind, first.reads, first.writes) == ("act", ("in.csv",), ("out.csv",))
    assert (first.acceptance, first.size, first.priority) == ("test -s out.csv", "small", 2)
    assert (second.kind, second.depends_on, second.size) == ("code", ("a",), "medium")
    assert third.kind == "write"


async def test_why_a_plan_was_changed_is_shown_to_whoever_asks_for_it(tmp_path: Path) -> None:
    parts = (SubtaskRequest(id="a", text="Do it"), SubtaskRequest(id="b", text="Do that"))
    async with gateway(tmp_path, Script(["x"], hold=anyio.Event())) as world:
        view = await world.submit(subtasks=parts)
        first, _ = await world.store.plan(view.id)

        def dropped(plan: tuple[Subtask, ...]) -> Merged:
            parts = (plan[0], replace(plan[1], state="cancelled"))
            return Merged(parts, ("b is dropped.",), "a does it.", ("in.csv",))

        await world.store.start_part(view.id, first, "task", "")
        await world.store.finish_part(view.id, first, StepResult("x", "scripted", "task"), dropped)
        [short] = (await world.show(view.id)).planning
        asked = ShowRequest(id=view.id, reasoning=True)
        [whole] = (await world.gateway.show(asked, quiet)).planning
    assert (short.changes, short.used, short.why) == (("b is dropped.",), ("in.csv",), "")
    assert whole == short.model_copy(update={"why": "a does it."})


async def test_a_plan_is_worked_on_part_by_part(tmp_path: Path) -> None:
    parts = (
        SubtaskRequest(id="b", text="Write a Python script that uses it", depends_on=("a",)),
        SubtaskRequest(id="a", text="Write a Python module"),
    )
    answers = [Script([f"FILE: {name}.py\n```python\nprint(1)\n```\n"]) for name in ("one", "two")]
    async with gateway(tmp_path, *answers) as world:
        view = await world.submit(subtasks=parts)
        await world.events(f"task={view.id}")
        shown = await world.show(view.id)
        asked = [request.messages[1].content for _, request in world.models.asked]
    assert (shown.state, shown.files) == ("done", ("two.py", "one.py"))
    assert [target for target, _ in world.models.asked] == ["task", "task"]
    assert "Result of 'a'" in asked[1]


# -- the user's word -----------------------------------------------------------------------------


CAREFUL = Trust("ask")
ONE_TEXT = Script(["FILE: one.txt\n```\none\n```\n"])


async def test_a_task_that_asks_is_shown_with_its_question_and_goes_on_when_approved(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, ONE_TEXT, trust=CAREFUL) as world:
        view = await world.submit("Write a file with one word")
        shown = await world.show(view.id, wait=20)
        assert shown.state == "waiting"
        assert shown.progress
        assert shown.progress.question == "May it write one.txt?"
        assert "waits for your approval: May it write one.txt?" in shown.progress.words
        goes_on = await world.gateway.approve(VerdictRequest(id=view.id), quiet)
        ended = await world.show(view.id, wait=20)
    assert (goes_on.state, ended.state, ended.files) == ("queued", "done", ("one.txt",))
    assert (Path(ended.workspace) / "one.txt").read_text() == "one\n"


async def test_what_is_rejected_is_not_done_and_the_model_hears_why(tmp_path: Path) -> None:
    async with gateway(tmp_path, ONE_TEXT, ONE_TEXT, trust=CAREFUL) as world:
        view = await world.submit("Write a file with one word")
        await world.show(view.id, wait=20)
        await world.gateway.reject(VerdictRequest(id=view.id, text="Not here"), quiet)
        asks_again = await world.show(view.id, wait=20)
        _, request = world.models.asked[-1]
        await world.gateway.cancel(TaskRequest(id=view.id), quiet)
    assert asks_again.state == "waiting"
    assert "did not allow this: Not here" in request.messages[-1].content
    assert not (Path(view.workspace) / "one.txt").exists()


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_only_a_task_that_waits_takes_the_users_word(tmp_path: Path, verdict: str) -> None:
    async with gateway(tmp_path, Script(["hi"])) as world:
        view = await world.submit("hello world")
        await world.show(view.id, wait=20)
        tell = getattr(world.gateway, verdict)
        with pytest.raises(TaskError, match=r"is done; it asks for nothing just now") as refused:
            await tell(VerdictRequest(id=view.id), quiet)
        with pytest.raises(TaskNotFound, match="There is no task 't-none'"):
            await tell(VerdictRequest(id="t-none"), quiet)
        assert (await world.show(view.id)).state == "done"
    assert refused.value.hint == f"`tale show {view.id}` shows how it stands."


async def test_a_task_has_the_permission_that_it_was_submitted_with(tmp_path: Path) -> None:
    async with gateway(tmp_path, ONE_TEXT, ONE_TEXT) as world:
        careful = await world.submit("Write a file with one word", permission="ask")
        usual = await world.submit("Write a file with one word")
        asks, ended = await world.show(careful.id, wait=20), await world.show(usual.id, wait=20)
    assert (careful.permission, asks.permission, asks.state) == ("ask", "ask", "waiting")
    assert (ended.permission, ended.state) == (None, "done")
