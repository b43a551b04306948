"""Tasks after a damaged database: those that its backup knows, and those only in snapshots.

What the backup has as running may have gone on, or ended, since: it rests until its user looks.
What is younger than the backup is listed again by its checkpoints, so that its files can be had.
Above: the gateway, before it runs tasks. Below: `tasks.store`, the checkpoint store,
`storage.set_aside`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from anyio import to_thread

from tale.errors import TaleError
from tale.storage.set_aside import Rescue, mark_handled, rescues
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.store import TaskStore
from tale.telemetry import get_logger

__all__ = ["Snapshots", "see_to_lost_tasks"]

log = get_logger(__name__)

_LOST: Final = (
    "The database was damaged, and no backup of it knows this task: only its files are left."
)
_LOST_HINT: Final = (
    "`tale checkpoints {task}` lists the states of its workspace, `tale restore {task}` brings one "
    "back. Submit the work anew."
)
_RESTS: Final = (
    "The database was damaged and is as it was at {when} UTC. What this task did since then isn't "
    "known, so it rests: look at its workspace, then `tale resume {task}` or `tale cancel {task}`."
)


class Snapshots(Protocol):
    """What is used of the checkpoint store."""

    async def tasks(self) -> Sequence[str]:
        """Give the tasks that have checkpoints."""
        ...

    async def list(self, task: str) -> Sequence[Checkpoint]:
        """Give a task's checkpoints, oldest first."""
        ...


async def see_to_lost_tasks(
    store: TaskStore, snapshots: Snapshots, database: Path, workspaces: Path
) -> None:
    """Bring the tasks to rest and back that a damaged database left behind, once for each damage.

    Args:
        store: The tasks, of the backup.
        snapshots: Checkpoints of all tasks.
        database: The file that was damaged.
        workspaces: Where the workspaces are that tale makes.
    """
    for rescue in await to_thread.run_sync(rescues, database.parent):
        if rescue.handled or rescue.file != database:
            continue
        try:
            known = await snapshots.tasks()
            if rescue.backup:
                await _rest(store, known, rescue)
            for task in known:
                await _list_again(store, snapshots, task, workspaces)
            await to_thread.run_sync(mark_handled, rescue)
        except (TaleError, OSError) as error:  # the next start tries again
            log.warning("rescue.not_finished", database=str(database), reason=str(error))


async def _rest(store: TaskStore, known: Sequence[str], rescue: Rescue) -> None:
    for identity in await store.unfinished():
        task = await store.get(identity)
        if task.started is None and identity not in known:
            continue  # it had not begun, and begins as it would have
        when = f"{rescue.backup:%Y-%m-%d %H:%M}"
        text = _RESTS.format(when=when, task=identity)
        await store.note_once(
            identity, f"{identity}:{rescue.aside.name}", "note", {"text": text}, at_rest=True
        )
        await store.pause(identity)


async def _list_again(store: TaskStore, snapshots: Snapshots, task: str, workspaces: Path) -> None:
    taken = await snapshots.list(task)
    if not taken:
        return
    hint = _LOST_HINT.format(task=task)
    lost = await store.add_lost(task, str(workspaces / task), taken[0].at, _LOST, hint)
    if lost:
        log.warning("task.lost", task=task, checkpoints=len(taken))
