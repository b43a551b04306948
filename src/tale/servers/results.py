"""The gateway's tool by which what came of tasks is followed; what is told is in the database.

Above: `servers.gateway`; the ux server calls it. Below: `tasks.ended`, which reads them, and
`tasks.progress`, which says that there are some.
"""

from __future__ import annotations

from typing import Literal, cast

import anyio

from tale.servers.mcp_app import McpApp, Progress
from tale.storage.database import Database
from tale.tasks.ended import Ended, ended_after
from tale.tasks.task import ENDED, TaskEvent
from tale.wire.result_contracts import (
    RESULTS,
    ResultList,
    ResultsRequest,
    ResultView,
    VerdictView,
)

__all__ = ["Results"]


class Results:
    """Tells what came of tasks."""

    def __init__(self, database: Database) -> None:
        """`database` is where tasks are."""
        self._database = database
        self._closed = False
        self._changed = anyio.Event()

    def add_to(self, app: McpApp) -> None:
        """Serve it."""
        app.add(RESULTS, self.results)

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if event.kind in ENDED:
            self._announce()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._announce()

    async def results(self, request: ResultsRequest, progress: Progress) -> ResultList:
        """Give the next results, once there are some or the time is over."""
        del progress
        changed = self._changed
        page = await ended_after(self._database, request.after, request.limit)
        with anyio.move_on_after(request.wait):
            while page.through == request.after and not self._closed:
                await changed.wait()
                changed = self._changed
                page = await ended_after(self._database, request.after, request.limit)
        return ResultList(results=tuple(map(_view, page.ended)), through=page.through)

    def _announce(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def _view(ended: Ended) -> ResultView:
    task = ended.task
    return ResultView(
        number=ended.number,
        task=task.id,
        key=ended.key,
        session=task.session,
        text=task.text,
        state=cast("Literal['done', 'failed', 'cancelled']", task.state),
        finished=task.finished or task.created,
        answer=task.answer or "",
        files=task.files,
        error=task.error or "",
        parts=ended.parts,
        verdicts=tuple(
            VerdictView(plan=one.plan, asked=one.asked, yes=one.yes, said=one.said)
            for one in ended.verdicts
        ),
    )
