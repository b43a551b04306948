"""A gateway that is killed loses nothing it has accepted: real processes, leash and MCP."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import aiohttp
import anyio
import pytest

from server_process import TOKEN, execution, milestones, server
from tale.servers.mcp_app import Progress
from tale.tasks.hands import Reply
from tale.wire.contracts import (
    CANCEL,
    LIST,
    SHOW,
    SUBMIT,
    Event,
    ListRequest,
    ShowRequest,
    SubmitRequest,
    TaskRequest,
)
from tale.wire.execution_contracts import AskRequest
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

WORK = "Write a Python script that prints one"


class Model:
    """Answers with a file, once it is let go."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.released = anyio.Event()
        self.asked: list[str] = []
        self.given_up = anyio.Event()

    async def answer(self, request: AskRequest, progress: Progress) -> Reply:
        self.asked.append(request.task)
        await progress({"token": "one"})
        self.begun.set()
        try:
            await self.released.wait()
        except anyio.get_cancelled_exc_class():
            self.given_up.set()
            raise
        return Reply("FILE: one.py\n```python\nprint(1)\n```\n", "fake", request.role)


gateway = partial(server, "gateway")


async def follow(url: str, task: str, after: int = 0) -> list[Event]:
    """Read a task's events to its end."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/api/events?task={task}&after={after}") as response,
    ):
        assert response.status == 200
        lines = (await response.text()).splitlines()
    return [
        Event.model_validate_json(line.removeprefix("data: "))
        for line in lines
        if line.startswith("data: ")
    ]


async def test_a_task_survives_the_kill_of_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_MODELS__TASK__SLOTS", "1")  # so that the second task waits
    model, source = Model(), FixedPeers()
    with anyio.fail_after(100):
        async with (
            execution(model.answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
        ):
            async with gateway(tmp_path, peer) as first:
                source.set(first.peer)
                task = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
                waiting = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
                await model.begun.wait()
                first.process.kill()
                await first.process.wait()
            await model.given_up.wait()
            source.set()
            async with gateway(tmp_path, peer, starts=2) as second:
                source.set(second.peer)
                model.released.set()
                events = await follow(second.peer.url, task.id)
                others = await follow(second.peer.url, waiting.id)
                shown = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
                listed = await services.call(LIST, ListRequest(), deadline=30)
                second.process.terminate()
                assert await second.process.wait() == 0
    assert (shown.state, shown.files) == ("done", ("one.py",))
    stored = [event for event in events if event.kind != "token"]
    assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
    kinds = milestones(events)
    assert kinds[:2] == ["queued", "started"]
    assert kinds[-2:] == ["started", "done"]
    assert [event.kind for event in others if event.kind != "token"][:2] == ["queued", "resumed"]
    assert [one.id for one in listed.tasks] == [waiting.id, task.id]
    assert [one.state for one in listed.tasks] == ["done", "done"]
    assert model.asked == [task.id, task.id, waiting.id]


async def test_cancelling_a_task_stops_its_step_on_the_execution_server(tmp_path: Path) -> None:
    model, source = Model(), FixedPeers()
    with anyio.fail_after(100):
        async with (
            execution(model.answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            gateway(tmp_path, peer) as running,
        ):
            source.set(running.peer)
            task = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            await model.begun.wait()
            cancelled = await services.call(CANCEL, TaskRequest(id=task.id), deadline=30)
            await model.given_up.wait()
            assert cancelled.state == "cancelled"
            assert (await follow(running.peer.url, task.id))[-1].kind == "cancelled"


async def test_a_step_goes_over_to_the_server_that_takes_a_dead_ones_place(tmp_path: Path) -> None:
    dead, alive, source = Model(), Model(), FixedPeers()
    alive.released.set()
    with anyio.fail_after(100):
        async with (
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            gateway(tmp_path) as running,
        ):
            source.set(running.peer)
            async with execution(dead.answer) as peer:
                await running.tell(peer)
                task = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
                await dead.begun.wait()
            async with execution(alive.answer, pid=2) as peer:
                await running.tell(peer)
                events = await follow(running.peer.url, task.id)
    assert milestones(events) == ["queued", "started", "resumed", "done"]
    assert "file" in [event.kind for event in events]
    assert dead.asked == alive.asked == [task.id]
