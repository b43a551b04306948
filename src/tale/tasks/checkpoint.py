"""What a checkpoint is: a state of a task's workspace, and the words kept with it; pure.

All of it stands in the message of the checkpoint's commit, so that the store alone, without any
database, can list and restore what it holds. Above: `tasks.checkpoint_store`,
`tasks.checkpoint_rule`. The files themselves are in `tasks.snapshots`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from tale.tasks.snapshots.objects import Damaged
from tale.tasks.snapshots.scan import LeftOut

__all__ = ["MAX_NAMED", "Checkpoint", "checkpoint_event", "from_message", "to_message"]

MAX_NAMED: Final = 100
"""Changed files, and things left out, that a checkpoint names; the rest is counted."""
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state of a task's workspace.

    Attributes:
        id: The commit's id in the store, 40 hexadecimal digits.
        number: Counts the task's checkpoints from 1; with the task, it names one.
        at: When it was taken.
        why: After which subtask or effect, in words.
        tree: Id of its content; equal for equal workspaces.
        parent: The number of the one before; None for the first.
        files: Files and links that it holds.
        size: Their bytes.
        stored: Bytes that it added to the store, compressed.
        changed: Names of files that differ from the one before, the first `MAX_NAMED`.
        changes: How many differ.
        left_out: What the workspace held and it doesn't, the first `MAX_NAMED`.
        omissions: How many were left out.
        pinned: Never thinned out.
    """

    id: str
    task: str
    number: int
    at: datetime
    why: str
    tree: str
    parent: int | None = None
    files: int = 0
    size: int = 0
    stored: int = 0
    changed: tuple[str, ...] = ()
    changes: int = 0
    left_out: tuple[LeftOut, ...] = ()
    omissions: int = 0
    pinned: bool = False


def checkpoint_event(taken: Checkpoint) -> tuple[str, dict[str, object], str]:
    """Give the event that tells of a checkpoint: its kind, its data, its key."""
    data: dict[str, object] = {
        "number": taken.number,
        "why": taken.why,
        "changed": taken.changes,
    }
    return "checkpoint", data, f"{taken.task}:checkpoint{taken.number}"


def to_message(checkpoint: Checkpoint) -> str:
    """Write a checkpoint's words as a commit's message: a line for people, the rest as JSON."""
    plain = "".join(one if one.isprintable() else " " for one in checkpoint.why[:100])
    words = {
        "tale": _VERSION,
        "task": checkpoint.task,
        "number": checkpoint.number,
        "at": checkpoint.at.astimezone(UTC).isoformat(),
        "why": checkpoint.why,
        "parent": checkpoint.parent,
        "files": checkpoint.files,
        "size": checkpoint.size,
        "stored": checkpoint.stored,
        "changed": checkpoint.changed[:MAX_NAMED],
        "changes": checkpoint.changes,
        "left_out": [(one.path, one.why) for one in checkpoint.left_out[:MAX_NAMED]],
        "omissions": checkpoint.omissions,
    }
    return f"{checkpoint.task} {checkpoint.number}: {plain}\n\n{json.dumps(words, indent=1)}\n"


def from_message(identity: bytes, tree: bytes, message: str) -> Checkpoint:
    """Read a checkpoint's words.

    Raises:
        Damaged: They aren't a checkpoint's, or one's that a newer tale has written.
    """
    _, _, words = message.partition("\n\n")
    try:
        read = cast("dict[str, Any]", json.loads(words))
        if read["tale"] != _VERSION:
            raise Damaged("a newer tale has written this checkpoint")
        return Checkpoint(
            id=identity.hex(),
            task=str(read["task"]),
            number=int(read["number"]),
            at=datetime.fromisoformat(read["at"]),
            why=str(read["why"]),
            tree=tree.hex(),
            parent=None if read["parent"] is None else int(read["parent"]),
            files=int(read["files"]),
            size=int(read["size"]),
            stored=int(read["stored"]),
            changed=tuple(str(one) for one in read["changed"]),
            changes=int(read["changes"]),
            left_out=tuple(LeftOut(str(path), str(why)) for path, why in read["left_out"]),
            omissions=int(read["omissions"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged("a commit is no checkpoint") from error
