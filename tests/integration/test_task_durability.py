"""Tasks whose gateway or execution server is killed lose nothing and do nothing twice."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from server_process import TOKEN, events_of, execution, server
from tale.servers.mcp_app import Progress
from tale.tasks.hands import Reply
from tale.wire.contracts import (
    CANCEL,
    PAUSE,
    RESUME,
    SHOW,
    SUBMIT,
    ShowRequest,
    SubmitRequest,
    SubtaskRequest,
    TaskRequest,
)
from tale.wire.execution_contracts import AskRequest
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

gateway = partial(server, "gateway")


class Model:
    """Answers each part with a file; some answers wait until they are let go."""

    def __init__(self, *held: str) -> None:
        self.held = {part: anyio.Event() for part in held}
        self.reached = {part: anyio.Event() for part in held}
        self.asked: list[str] = []

    async def answer(self, request: AskRequest, progress: Progress) -> Reply:
        part = request.subtask or ""
        self.asked.append(part)
        await progress({"token": part})
        if part in self.held:
            self.reached[part].set()
            await self.held[part].wait()
        return Reply(f"FILE: {part}.py\n```python\nprint({part!r})\n```\n", "fake", request.role)


PLAN = (
    SubtaskRequest(id="a", text="Write the first"),
    SubtaskRequest(id="b", text="Write the second", depends_on=("a",)),
    SubtaskRequest(id="c", text="Write the third", depends_on=("b",)),
)


async def test_a_task_of_parts_goes_on_at_its_part_after_each_kill(tmp_path: Path) -> None:
    model, source = Model("b", "c"), FixedPeers()
    work = tmp_path / "work"
    with anyio.fail_after(100):
        async with (
            execution(model.answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
        ):
            async with gateway(tmp_path, peer) as first:
                source.set(first.peer)
                request = SubmitRequest(text="Three of them", workspace=str(work), subtasks=PLAN)
                task = await services.call(SUBMIT, request, deadline=30)
                await model.reached["b"].wait()
                await first.kill()
            model.held["b"].set()
            async with gateway(tmp_path, peer, starts=2) as second:
                source.set(second.peer)
                await model.reached["c"].wait()
                await second.kill()
            model.held["c"].set()
            async with gateway(tmp_path, peer, starts=3) as third:
                source.set(third.peer)
                events = await events_of(third.peer.url, task.id)
                shown = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
    assert (shown.state, shown.files) == ("done", ("a.py", "b.py", "c.py"))
    assert sorted(path.name for path in work.iterdir()) == ["a.py", "b.py", "c.py"]
    assert model.asked == ["a", "b", "b", "c", "c"]
    stored = [event for event in events if event.kind != "token"]
    assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
    assert [event.data["path"] for event in stored if event.kind == "file"] == [
        "a.py",
        "b.py",
        "c.py",
    ]


async def test_a_paused_task_rests_over_a_restart_and_goes_on_where_it_was(tmp_path: Path) -> None:
    model, source = Model("b"), FixedPeers()
    with anyio.fail_after(100):
        async with (
            execution(model.answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
        ):
            async with gateway(tmp_path, peer) as first:
                source.set(first.peer)
                request = SubmitRequest(text="Three of them", subtasks=PLAN)
                task = await services.call(SUBMIT, request, deadline=30)
                await model.reached["b"].wait()
                this = TaskRequest(id=task.id)
                paused = await services.call(PAUSE, this, deadline=30)
                await first.kill()
            async with gateway(tmp_path, peer, starts=2) as second:
                source.set(second.peer)
                rests = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
                model.held["b"].set()
                await services.call(RESUME, this, deadline=30)
                await events_of(second.peer.url, task.id)
                shown = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
                ended = await services.call(CANCEL, this, deadline=30)
    assert (paused.state, rests.state, shown.state) == ("paused", "paused", "done")
    only_shown = {"progress": None, "holds": None, "check": ""}
    assert (shown.holds, ended) == (True, shown.model_copy(update=only_shown))
    assert model.asked == ["a", "b", "b", "c"]
