"""A task that was paused, exported and imported goes on in another daemon's home, asking nothing
twice."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from server_process import TOKEN, events_of, execution, milestones, server
from tale.errors import ExportRefused
from tale.servers.mcp_app import Progress
from tale.tasks.hands import Reply
from tale.wire.contracts import (
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
from tale.wire.portable_contracts import EXPORT, IMPORT, ExportRequest, ImportRequest

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

gateway = partial(server, "gateway")

PLAN = (
    SubtaskRequest(id="a", text="Write the first"),
    SubtaskRequest(id="b", text="Write the second", depends_on=("a",)),
)


class Model:
    """Answers `b` with a file that is no Python first, so that it is asked a second time."""

    def __init__(self, *, hold: bool) -> None:
        self.hold = hold
        self.reached = anyio.Event()
        self.asked: list[str] = []
        self.told: list[str] = []

    async def answer(self, request: AskRequest, progress: Progress) -> Reply:
        await progress({"token": "."})
        part = request.subtask or ""
        if part == "b" and self.asked.count("b") == self.hold and self.hold:
            self.reached.set()
            await anyio.sleep_forever()
        self.asked.append(part)
        self.told.append(str(request.question["messages"]))
        wrong = part == "b" and self.hold
        body = "def (:" if wrong else f"print({part!r})"
        return Reply(f"FILE: {part}.py\n```python\n{body}\n```\n", "fake", request.role)


async def test_a_paused_task_goes_on_in_another_home_at_the_same_step(tmp_path: Path) -> None:
    there, here, source = Model(hold=True), Model(hold=False), FixedPeers()
    file, work = tmp_path / "task.tale", tmp_path / "elsewhere"
    with anyio.fail_after(120):
        async with Services(source, services={"gateway"}, token=TOKEN).open() as services:
            async with (
                execution(there.answer) as peer,
                gateway(tmp_path / "one", peer) as first,
            ):
                source.set(first.peer)
                request = SubmitRequest(text="Two of them", subtasks=PLAN)
                task = await services.call(SUBMIT, request, deadline=30)
                await there.reached.wait()
                await services.call(PAUSE, TaskRequest(id=task.id), deadline=30)
                left = await services.call(
                    EXPORT, ExportRequest(id=task.id, path=str(file)), deadline=30
                )
            async with (
                execution(here.answer, pid=2) as peer,
                gateway(tmp_path / "two", peer, starts=2) as second,
            ):
                source.set(second.peer)
                taken = ImportRequest(path=str(file), workspace=str(work))
                arrived = await services.call(IMPORT, taken, deadline=30)
                held = sorted(path.name for path in work.iterdir())
                await services.call(RESUME, TaskRequest(id=task.id), deadline=30)
                events = await events_of(second.peer.url, task.id)
                shown = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
                file.write_bytes(file.read_bytes()[:-9])
                with pytest.raises(ExportRefused, match="cut short"):
                    await services.call(IMPORT, ImportRequest(path=str(file)), deadline=30)
    assert there.asked == ["a", "b"]
    assert here.asked == ["b"]
    assert "def (:" in here.told[0]  # it mends what the other model had answered
    assert (arrived.task.id, arrived.task.state) == (task.id, "paused")
    assert (arrived.steps, arrived.files) == (left.steps, left.files)
    assert held == ["a.py", "b.py"]
    assert (shown.state, shown.files) == ("done", ("a.py", "b.py"))
    assert (work / "b.py").read_text() == "print('b')\n"
    assert [event.seq for event in events if event.kind != "token"] == list(
        range(1, shown.last_event + 1)
    )
    assert milestones(events) == [
        *["queued", "started", "subtask", "subtask", "subtask", "paused"],
        *["imported", "resumed", "started", "subtask", "subtask", "done"],
    ]
