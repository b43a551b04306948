"""The spans of tasks: one for each run of a step, and one for the whole once it has ended.

A task's trace follows from its id, so that whatever happens to it, over any restart and in any
process, is in one. Above: `step_work`, `servers.gateway`. Below: `spans`, `store`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import anyio

from tale import spans, trace
from tale.errors import TaleError
from tale.tasks.task import ENDED, Step, Task, TaskEvent

__all__ = ["TaskSpans", "step_span"]

_MOST_WAITING: Final = 1000


@contextmanager
def step_span(step: Step) -> Generator[spans.Span]:
    """Work on a step within its task's trace."""
    attributes: spans.Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "tale",
        "gen_ai.agent.name": "tale",
        "gen_ai.conversation.id": step.session,
        "tale.task.id": step.task,
        "tale.part.id": step.subtask,
        "tale.role": step.role,
    }
    name = f"invoke_agent tale {step.subtask}" if step.subtask else "invoke_agent tale"
    with trace.within(spans.of_task(step.task)), spans.span(name, attributes) as span:
        yield span


class TaskSpans:
    """Sends the span of each task that ends."""

    def __init__(self, find: Callable[[str], Awaitable[Task]]) -> None:
        """Tasks are looked up with `find`."""
        self._find = find
        self._send, self._receive = anyio.create_memory_object_stream[str](_MOST_WAITING)

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if event.kind in ENDED:
            # Else it is a span less: nothing waits for those who watch.
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):
                self._send.send_nowait(event.task)

    async def run(self) -> None:
        """Send spans until cancelled."""
        with self._receive, self._send:
            async for identity in self._receive:
                try:
                    task = await self._find(identity)
                except TaleError:
                    continue
                _tell(task)


def _tell(task: Task) -> None:
    ended = task.finished or datetime.now(UTC)
    spans.root(
        "invoke_workflow tale",
        spans.of_task(task.id),
        {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "tale",
            "gen_ai.conversation.id": task.session,
            "tale.task.id": task.id,
            "tale.task.state": task.state,
            "error.type": "task_error" if task.state == "failed" else None,
        },
        begun=task.created,
        ended=ended,
    )
