"""A task as the wire has it: by itself, and with how far it is.

Above: `task_tools`, `overview_tasks`. Beside: `task_stream`. Below: `wire.contracts`.
"""

from __future__ import annotations

from tale.servers.task_stream import write_outlook, write_planning
from tale.tasks.outlook import Outlook
from tale.tasks.task import ENDED, Task
from tale.wire.contracts import TaskView, UsageView

__all__ = ["shown_of", "view_of"]


def view_of(task: Task) -> TaskView:
    """Give a task as the wire has it."""
    usage = task.usage
    return TaskView(
        id=task.id,
        text=task.text,
        state=task.state,
        workspace=task.workspace,
        priority=task.priority,
        session=task.session,
        created=task.created,
        started=task.started,
        finished=task.finished,
        answer=task.answer,
        files=task.files,
        role=task.role,
        model=task.model,
        reason=task.reason,
        usage=UsageView(prompt=usage.prompt, completion=usage.completion, cached=usage.cached),
        error=task.error,
        hint=task.hint,
        last_event=task.last_event,
        permission=task.permission,
        approve=task.approve,
    )


def shown_of(task: Task, found: Outlook, *, reasoning: bool = False) -> TaskView:
    """Give a task with its outlook; with `reasoning`, what was thought before it was planned."""
    far = write_outlook(found)
    if task.state in ENDED:  # what was counted while they came is forgotten with the view
        far = far.model_copy(update={"tokens": task.usage.completion})
    shown = {
        "progress": far,
        "holds": found.holds,
        "check": found.check,
        "plan": found.plan,
        "detail": "" if found.plan else found.detail,
        "digest": found.digest,
        "planning": write_planning(found, reasoning=reasoning),
        "asked": found.asked,
        "action": found.action,
    }
    return view_of(task).model_copy(update=shown)
