"""A gateway whose database was garbled serves what its backup has, and says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from server_process import TOKEN, events_of, execution, server
from tale.paths import Paths
from tale.servers.mcp_app import Progress
from tale.storage.backup import backups_of
from tale.storage.set_aside import rescues
from tale.tasks.hands import Reply
from tale.wire.contracts import (
    LIST,
    SHOW,
    SUBMIT,
    ListRequest,
    ShowRequest,
    SubmitRequest,
)
from tale.wire.execution_contracts import AskRequest
from tale.wire.peers import FixedPeers
from tale.wire.pool import Services

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

gateway = partial(server, "gateway")


async def answer(request: AskRequest, progress: Progress) -> Reply:
    del progress
    return Reply("FILE: a.py\n```python\nprint(1)\n```\n", "fake", request.role)


async def test_tasks_of_the_backup_are_there_and_younger_ones_are_listed(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    [backup, _], source = backups_of(paths.database), FixedPeers()

    async def submitted(services: Services, url: str, text: str) -> str:
        task = await services.call(SUBMIT, SubmitRequest(text=text), deadline=30)
        assert (await events_of(url, task.id))[-1].kind == "done"
        return task.id

    with anyio.fail_after(100):
        async with (
            execution(answer) as peer,
            Services(source, services={"gateway"}, token=TOKEN).open() as services,
        ):
            async with gateway(tmp_path, peer) as first:
                source.set(first.peer)
                old = await submitted(services, first.peer.url, "Write the first program")
                await first.kill()
            blank = backup.stat().st_mtime_ns if backup.exists() else 0
            async with gateway(tmp_path, peer, starts=2) as second:
                source.set(second.peer)
                with anyio.fail_after(30):
                    while not backup.exists() or backup.stat().st_mtime_ns == blank:
                        await services.call(LIST, ListRequest(), deadline=30)
                made = backup.stat().st_mtime_ns
                young = await submitted(services, second.peer.url, "Write the second program")
                assert backup.stat().st_mtime_ns == made
                await second.kill()
            size = paths.database.stat().st_size
            with paths.database.open("r+b") as file:
                file.seek(size // 3)
                file.write(b"\xff" * (size // 2))
            paths.database.with_name("tale.db-wal").write_bytes(b"\xff" * 100_000)
            async with gateway(tmp_path, peer, starts=3) as third:
                source.set(third.peer)
                kept = await services.call(SHOW, ShowRequest(id=old), deadline=30)
                lost = await services.call(SHOW, ShowRequest(id=young), deadline=30)
                new = await submitted(services, third.peer.url, "Write the third program")
                listed = await services.call(LIST, ListRequest(), deadline=30)
    assert (kept.state, kept.files) == ("done", ("a.py",))
    assert lost.state == "failed"
    assert "only its files are left" in str(lost.error)
    assert [task.id for task in listed.tasks] == [new, young, old]
    [rescue] = rescues(tmp_path)
    assert rescue.handled
    assert rescue.backup
