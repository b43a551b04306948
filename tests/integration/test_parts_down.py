"""What goes on while a part is down: real server processes, with parts of tale missing."""

from __future__ import annotations

import resource
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from raw_http import DONE, delta, finish, raw_server, stream
from server_process import TOKEN, events_of, execution, milestones, server
from small_disk import mounted
from tale.errors import StorageReadOnly
from tale.paths import Paths
from tale.servers.mcp_app import Progress
from tale.tasks.hands import Reply
from tale.wire.chat_contracts import (
    CHAT,
    KEPT_TASK,
    SESSION,
    ChatRequest,
    KeptRequest,
    SessionRequest,
)
from tale.wire.contracts import (
    LIST,
    SHOW,
    SUBMIT,
    ListRequest,
    ShowRequest,
    SubmitRequest,
)
from tale.wire.execution_contracts import AskRequest
from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

WORK = "Write a Python script that prints one"


async def answer(request: AskRequest, progress: Progress) -> Reply:
    del progress
    return Reply("FILE: one.py\n```python\nprint(1)\n```\n", "fake", request.role)


async def test_without_an_execution_server_a_task_is_told_to_wait_and_starts_by_itself(
    tmp_path: Path,
) -> None:
    source = FixedPeers()
    with anyio.fail_after(60):
        async with (
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            server("gateway", tmp_path) as gateway,
        ):
            source.set(gateway.peer)
            task = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            told = await events_of(gateway.peer.url, task.id, until="note")
            assert "No execution server" in str(told[-1].data["text"])
            async with execution(answer) as peer:
                await gateway.tell(peer)
                events = await events_of(gateway.peer.url, task.id)
    assert milestones(events) == ["queued", "started", "done"]


async def test_a_locked_database_refuses_work_whole_and_is_still_read(tmp_path: Path) -> None:
    source = FixedPeers()
    database = Paths.from_environment({"TALE_HOME": str(tmp_path)}).database
    with anyio.fail_after(60):
        async with (
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            execution(answer) as peer,
            server("gateway", tmp_path, peer) as gateway,
        ):
            source.set(gateway.peer)
            first = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            await events_of(gateway.peer.url, first.id)
            other = sqlite3.connect(database, isolation_level=None)
            try:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StorageReadOnly, match="another process has had it locked"):
                    await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
                listed = await services.call(LIST, ListRequest(), deadline=5)
                shown = await services.call(SHOW, ShowRequest(id=first.id), deadline=5)
            finally:
                other.close()
            second = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            await events_of(gateway.peer.url, second.id)
            after = await services.call(LIST, ListRequest(), deadline=5)
    only_shown = {"progress": None, "holds": None, "check": ""}
    assert listed.tasks == (shown.model_copy(update=only_shown),)
    assert shown.state == "done"
    assert [task.state for task in after.tasks] == ["done", "done"]


async def test_work_that_was_kept_is_done_once_though_the_ux_server_was_killed(
    tmp_path: Path,
) -> None:
    source = FixedPeers()
    seen: list[str] = []

    async def progress(data: Mapping[str, object]) -> None:
        seen.extend(data)

    with anyio.fail_after(60):
        async with Services(source, services={"gateway", "ux"}, token=TOKEN).open() as services:
            async with server("ux", tmp_path) as ux:
                source.set(ux.peer)
                request = ChatRequest(text=WORK, workspace=str(tmp_path / "work"))
                reply = await services.call(CHAT, request, deadline=30, on_progress=progress)
                await ux.kill()
            assert seen == ["session", "kept", "token"]
            assert reply.kept
            async with execution(answer) as peer, server("gateway", tmp_path, peer) as gateway:
                async with server("ux", tmp_path, gateway.peer, starts=2) as ux:
                    source.set(gateway.peer, ux.peer)
                    kept = KeptRequest(key=reply.kept)
                    task = (await services.call(KEPT_TASK, kept, deadline=30)).task
                    said = SessionRequest(id=reply.session)
                    turns = (await services.call(SESSION, said, deadline=30)).turns
                events = await events_of(gateway.peer.url, task)
                listed = await services.call(LIST, ListRequest(), deadline=30)
    assert [(turn.speaker, turn.task) for turn in turns] == [("user", None), ("assistant", task)]
    assert milestones(events) == ["queued", "started", "done"]
    assert [(one.id, one.session, one.workspace) for one in listed.tasks] == [
        (task, reply.session, str(tmp_path / "work"))
    ]


async def test_a_turn_while_the_models_server_is_down_says_so_and_is_answered_once_it_is_back(
    tmp_path: Path,
) -> None:
    source = FixedPeers()
    seen: list[Mapping[str, object]] = []
    noted = anyio.Event()

    async def progress(data: Mapping[str, object]) -> None:
        seen.append(data)
        if "note" in data:
            noted.set()

    with anyio.fail_after(60):
        async with (
            Services(source, services={"ux"}, token=TOKEN).open() as services,
            raw_server(stream(delta("good day"), finish(), DONE)) as models,
            server("ux", tmp_path) as ux,
            anyio.create_task_group() as tasks,
        ):
            source.set(ux.peer)

            async def bring_back() -> None:
                await noted.wait()
                peer = Peer(service="models", name="models", url=models.url, pid=1, starts=2)
                await ux.tell(peer)

            tasks.start_soon(bring_back)
            reply = await services.call(
                CHAT, ChatRequest(text="hello"), deadline=30, on_progress=progress
            )
            assert reply.answer == "good day"
    assert [list(one) for one in seen] == [["session"], ["note"], ["token"]]
    assert "being brought back" in str(seen[1]["note"])


async def test_a_gateway_that_starts_on_a_full_disk_shows_its_tasks_and_goes_on_with_space(
    tmp_path: Path,
) -> None:
    source = FixedPeers()
    with anyio.fail_after(60), mounted(tmp_path / "disk") as disk:
        async with (
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            execution(answer) as peer,
        ):
            async with server("gateway", disk.path) as gateway:
                source.set(gateway.peer)
                task = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
                await gateway.kill()
            disk.fill()
            async with server("gateway", disk.path, peer, starts=2) as gateway:
                source.set(gateway.peer)
                listed = await services.call(LIST, ListRequest(), deadline=30)
                large = SubmitRequest(text=f"{WORK} {'x' * 50_000}")
                with pytest.raises(StorageReadOnly, match="the disk is full"):
                    await services.call(SUBMIT, large, deadline=30)
                disk.free()
                events = await events_of(gateway.peer.url, task.id)
    assert [one.id for one in listed.tasks] == [task.id]
    assert milestones(events)[-3:] == ["resumed", "started", "done"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set by prlimit")
async def test_a_gateway_that_can_not_write_any_more_shows_its_tasks_and_goes_on_afterwards(
    tmp_path: Path,
) -> None:
    source, began, written = FixedPeers(), anyio.Event(), anyio.Event()

    async def hold(request: AskRequest, progress: Progress) -> Reply:
        began.set()
        await written.wait()
        return await answer(request, progress)

    with anyio.fail_after(60):
        async with (
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
            execution(hold) as peer,
            server("gateway", tmp_path, peer) as gateway,
        ):
            source.set(gateway.peer)
            running = await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            await began.wait()
            no_limit = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (1, -1))
            with pytest.raises(StorageReadOnly, match="MiB left"):
                await services.call(SUBMIT, SubmitRequest(text=WORK), deadline=30)
            written.set()  # its end can't be recorded
            listed = await services.call(LIST, ListRequest(), deadline=5)
            resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, no_limit)
            events = await events_of(gateway.peer.url, running.id)
    assert [task.id for task in listed.tasks] == [running.id]
    assert events[-1].kind == "done"
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
