"""What the dashboard does for its user, through the tools that the commands use.

Each call blocks, and is made in a thread of its own. Above: `app`. Below: `cli.connection`,
`cli.task_calls`, `cli.editing`.
"""

from __future__ import annotations

from typing import Final, Protocol

from tale.cli.checkpoint_view import Checkpoint
from tale.cli.connection import Connection
from tale.cli.editing import in_editor
from tale.cli.record import JsonObject
from tale.cli.render import plural
from tale.cli.task_calls import Question, answer_task, show_task
from tale.cli.views import Task
from tale.dashboard.shown import plain
from tale.orchestration import background
from tale.paths import Paths

__all__ = ["Actions", "DaemonActions"]

_RESTART_SECONDS: Final = 300.0


class Actions(Protocol):
    """What can be asked and done. Each says in a sentence what it did, and raises `TaleError`."""

    def show(self, task: str) -> Task:
        """Ask how a task stands."""
        ...

    def checkpoints(self, task: str) -> tuple[Checkpoint, ...]:
        """Ask for a task's checkpoints, oldest first."""
        ...

    def edit(self, plan: str) -> str | None:
        """Have a plan changed in the user's editor, which has the terminal; None where it isn't."""
        ...

    def approve(self, task: Task, text: str) -> str:
        """Let a task do what it asked for when it was shown, or answer its question."""
        ...

    def reject(self, task: Task, text: str) -> str:
        """Don't let it."""
        ...

    def pause(self, task: str) -> str:
        """Let a task rest."""
        ...

    def resume(self, task: str) -> str:
        """Let it go on."""
        ...

    def cancel(self, task: str) -> str:
        """End it."""
        ...

    def restore(self, task: str, number: int, *, pause: bool) -> str:
        """Bring its files back to a checkpoint, where asked after it was paused."""
        ...

    def restart(self, server: str) -> str:
        """Restart a server, and wait until it is ready."""
        ...

    def start(self) -> str:
        """Start the daemon."""
        ...


class DaemonActions:
    """Asks the daemon of this installation."""

    def __init__(self, paths: Paths) -> None:
        """Keep the folders; nothing is looked up yet."""
        self._connection = Connection(paths)

    def show(self, task: str) -> Task:
        """Ask how a task stands."""
        return show_task(self._connection, task)

    def checkpoints(self, task: str) -> tuple[Checkpoint, ...]:
        """Ask for a task's checkpoints, oldest first."""
        reply = self._connection.call("gateway", "checkpoints", {"id": task}, idempotent=True)
        return tuple(map(Checkpoint.read, reply.records("checkpoints")))

    def edit(self, plan: str) -> str | None:
        """Have a plan changed in the user's editor, which has the terminal; None where it isn't."""
        return in_editor(plan)

    def approve(self, task: Task, text: str) -> str:
        """Let a task do what it asked for when it was shown, or answer its question."""
        answer_task(self._connection, "approve", Question.of(task), text)
        return "Approved; it goes on."

    def reject(self, task: Task, text: str) -> str:
        """Don't let it."""
        answer_task(self._connection, "reject", Question.of(task), text)
        return "Rejected; it looks for another way." if text or not task.plan else "Rejected."

    def pause(self, task: str) -> str:
        """Let a task rest."""
        return self._asked("pause", task, "paused", "It rests until you resume it.")

    def resume(self, task: str) -> str:
        """Let it go on."""
        return self._asked("resume", task, "queued", "It goes on.")

    def cancel(self, task: str) -> str:
        """End it."""
        return self._asked("cancel", task, "cancelled", "It is cancelled.")

    def _asked(self, tool: str, task: str, wanted: str, said: str) -> str:
        reply = Task.read(self._connection.call("gateway", tool, {"id": task}, idempotent=True))
        changed = reply.state == wanted or not reply.ended
        return said if changed else f"It had ended already: {reply.state}."

    def restore(self, task: str, number: int, *, pause: bool) -> str:
        """Bring its files back to a checkpoint, where asked after it was paused."""
        if pause:
            self._connection.call("gateway", "pause", {"id": task}, idempotent=True)
        arguments: JsonObject = {"id": task, "number": number}
        reply = self._connection.call("gateway", "restore", arguments, idempotent=True)
        written, removed = reply.integer("written"), reply.integer("removed")
        did = [f"{plural(written, 'file')} written"] if written else []
        did += [f"{plural(removed, 'file')} removed"] if removed else []
        said = [f"Its files are those of checkpoint {number}: {', '.join(did) or 'none differed'}."]
        if (saved := reply.integer("saved")) and did:
            said.append(f"What they were before is checkpoint {saved}.")
        if kept := reply.records("kept"):
            named = ", ".join(plain(one.text("path")) for one in kept[:3])
            said.append(f"Left as they are: {named}.")
        if reply.flag("anew"):
            said.append("It begins anew with them once you resume it.")
        return " ".join(said)

    def restart(self, server: str) -> str:
        """Restart a server, and wait until it is ready."""
        self._connection.control("restart", deadline=_RESTART_SECONDS, server=server)
        return f"{server} serves again."

    def start(self) -> str:
        """Start the daemon."""
        background.ensure_daemon(self._connection.paths)
        return "tale runs."
