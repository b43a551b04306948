"""A task's files go back to a checkpoint, over a kill -9 of the gateway, and another goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from server_process import TOKEN, events_of, execution, milestones, server
from tale.errors import TaskError
from tale.servers.mcp_app import Progress
from tale.tasks.hands import Reply
from tale.wire.checkpoint_contracts import (
    CHECKPOINTS,
    FORK,
    RESTORE,
    CheckpointRequest,
    ForkRequest,
)
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

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

gateway = partial(server, "gateway")

PLAN = (
    SubtaskRequest(id="a", text="Write the first"),
    SubtaskRequest(id="b", text="Write the second", depends_on=("a",)),
    SubtaskRequest(id="c", text="Write the third", depends_on=("b",)),
)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_task_goes_back_over_a_kill_and_a_fork_goes_on_from_there(tmp_path: Path) -> None:
    held, reached = anyio.Event(), anyio.Event()
    asked: list[str] = []
    source, work = FixedPeers(), tmp_path / "work"

    async def answer(request: AskRequest, progress: Progress) -> Reply:
        part = request.subtask or ""
        asked.append(part)
        if part == "c":
            reached.set()
            await held.wait()
        return Reply(f"FILE: {part}.py\n```python\nprint({part!r})\n```\n", "fake", request.role)

    with anyio.fail_after(100):
        async with (
            execution(answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
        ):
            async with gateway(tmp_path, peer) as first:
                source.set(first.peer)
                request = SubmitRequest(text="Three of them", workspace=str(work), subtasks=PLAN)
                task = await services.call(SUBMIT, request, deadline=30)
                this = TaskRequest(id=task.id)
                await reached.wait()
                back = CheckpointRequest(id=task.id, number=2)
                with pytest.raises(TaskError, match="is running"):
                    await services.call(RESTORE, back, deadline=30)
                await services.call(PAUSE, this, deadline=30)
                listed = await services.call(CHECKPOINTS, this, deadline=30)
                done = await services.call(RESTORE, back, deadline=30)
                await first.kill()
            assert [one.changed for one in listed.checkpoints] == [(), ("a.py",), ("b.py",)]
            assert (done.saved, done.removed, done.again, done.anew) == (3, 1, ("b",), True)
            assert files(work) == ["a.py"]
            held.set()
            async with gateway(tmp_path, peer, starts=2) as second:
                source.set(second.peer)
                await services.call(RESUME, this, deadline=30)
                events = await events_of(second.peer.url, task.id)
                shown = await services.call(SHOW, ShowRequest(id=task.id), deadline=30)
                fork = await services.call(FORK, ForkRequest(id=task.id, number=3), deadline=30)
                assert {"a.py", "b.py"} <= set(files(Path(fork.workspace)))
                forked = await events_of(second.peer.url, fork.id)
    assert asked[:6] == ["a", "b", "c", "b", "c", "a"]
    assert (shown.state, shown.files) == ("done", ("a.py", "b.py", "c.py"))
    assert files(work) == files(Path(fork.workspace)) == ["a.py", "b.py", "c.py"]
    seen = milestones(events)
    assert seen[seen.index("paused") :][:4] == ["paused", "restoring", "restored", "resumed"]
    assert forked[0].data["forked"] == {"task": task.id, "number": 3}
    assert forked[-1].kind == "done"
