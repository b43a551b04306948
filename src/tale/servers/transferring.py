"""The gateway's tools `export` and `import`: the wire on this side, `tasks.transfer` on the other.

Files pass by their path: who calls and the gateway are the same user on the same machine. Above:
`servers.gateway`, of which they are a part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from tale.errors import TaleError, TaskFileUnusable
from tale.servers.mcp_app import McpApp, Progress
from tale.tasks.transfer import Transfer
from tale.wire.contracts import TaskView
from tale.wire.portable_contracts import (
    EXPORT,
    IMPORT,
    ExportReply,
    ExportRequest,
    ImportReply,
    ImportRequest,
)

__all__ = ["Transferring"]

ResultT = TypeVar("ResultT")

_ALIVE_SECONDS: Final = 10.0
"""Between two signs of life: a large workspace takes longer than a caller bears silence."""


class Transferring:
    """The tools."""

    def __init__(
        self,
        transfer: Transfer,
        check_folder: Callable[[str], Path],
        view: Callable[[str], Awaitable[TaskView]],
    ) -> None:
        """Make them.

        Args:
            transfer: Does it.
            check_folder: Resolves a workspace that a user named, or refuses it.
            view: Gives a task as the wire has it.
        """
        self._transfer = transfer
        self._check_folder = check_folder
        self._view = view

    def add_to(self, app: McpApp) -> None:
        """Serve them."""
        app.add(EXPORT, self.export)
        app.add(IMPORT, self.import_)

    async def export(self, request: ExportRequest, progress: Progress) -> ExportReply:
        """Write a task to a file."""
        target = _absolute(request.path)
        left = await _alive(
            progress, lambda: self._transfer.leave(request.id, target, replace=request.replace)
        )
        return ExportReply(
            id=request.id,
            path=str(left.path),
            bytes=left.size,
            checkpoints=left.checkpoints,
            files=left.files,
            omissions=left.omissions,
            steps=left.steps,
        )

    async def import_(self, request: ImportRequest, progress: Progress) -> ImportReply:
        """Take a task over from a file."""
        folder = None
        if request.workspace is not None:
            folder = await anyio.to_thread.run_sync(self._check_folder, request.workspace)
        source = _absolute(request.path)
        arrived = await _alive(progress, lambda: self._transfer.arrive(source, folder))
        return ImportReply(
            task=await self._view(arrived.task),
            origin=arrived.origin,
            checkpoints=arrived.checkpoints,
            files=arrived.files,
            steps=arrived.steps,
        )


async def _alive(progress: Progress, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Show signs of life meanwhile."""

    async def tell() -> None:
        while True:
            await anyio.sleep(_ALIVE_SECONDS)
            await progress({"working": True})

    done: list[ResultT] = []
    failure: TaleError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell)
        try:
            done.append(await call())
        except TaleError as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure
    return done[0]


def _absolute(given: str) -> Path:
    path = Path(given)
    if "\0" in given or not path.is_absolute():
        raise TaskFileUnusable(f"{given!r} is not an absolute path.", hint="Name it in full.")
    return path
