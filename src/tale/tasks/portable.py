"""A task in one file, `task.tale`: what the database has of it, and all its checkpoints.

The file can come from anywhere, so all of it is checked before any of it is used: that it is whole
and unpacks to no more than is allowed, that its git objects are complete and what their ids say,
and that no row would have to be unpickled, which runs code. Rows pass as JSON values, whose
meaning `tasks.portable_rows` knows. Above: `tasks.checkpoint_store`, `tasks.transfer`. Below:
`tasks.portable_file` (the container), `tasks.snapshots.incoming` (git objects).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import orjson

import tale
from tale.errors import ExportRefused, TaskError
from tale.tasks.checkpoint import Checkpoint, from_message
from tale.tasks.checkpoint_history import History
from tale.tasks.portable_file import Bounds, Manifest, pack_files, unpack_files
from tale.tasks.snapshots.incoming import Incoming, PackBounds
from tale.tasks.snapshots.objects import Damaged, decode_commit
from tale.tasks.snapshots.packs import PackWriter, sync_folder

__all__ = ["Imported", "Limits", "Row", "TaskRows", "export_task", "opened", "sweep"]

Row = Mapping[str, object]
"""A row of a table, as JSON values."""

_TASK: Final = "task.json"
_EVENTS: Final = "events.jsonl"
_STEPS: Final = "steps.jsonl"
_CHECKPOINTS: Final = "checkpoints.json"
_LISTS: Final = (_EVENTS, _STEPS)
_UNPACKED: Final = ".tale-import-"
"""How the names of folders begin into which files are unpacked."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PICKLE: Final = re.compile(r"gA[I-X][A-Za-z0-9+/]+={0,2}")
"""How the base64 of a pickle of protocol 2 to 5 begins: DBOS stores them so."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """What a database has of a task.

    Attributes:
        task: Its row, with its subtasks.
        events: What happened to it, in order.
        steps: What its steps have recorded, in order. A `serialization` in a row must be JSON.
    """

    task: Row
    events: Iterable[Row] = ()
    steps: Iterable[Row] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an imported file may hold at most."""

    file: Bounds = field(default_factory=Bounds)
    packs: PackBounds = field(default_factory=PackBounds)
    row_bytes: int = 16 << 20
    rows_bytes: int = 1 << 30


_DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was checked; its rows are read from disk, once or more often.

    Attributes:
        manifest: What it says of itself.
        rows: What the other machine's database had.
        checkpoints: What it brings, oldest first.
    """

    manifest: Manifest
    rows: TaskRows
    checkpoints: tuple[Checkpoint, ...]
    _objects: Incoming

    def install(self, history: History, task: str) -> None:
        """Add its checkpoints to a store, as those of a task of this machine.

        Raises:
            TaskError: The task has other checkpoints of the same numbers; nothing was added.
        """
        repository = history.repository
        refs = {f"tale/{task}/{one.number}": bytes.fromhex(one.id) for one in self.checkpoints}
        with repository.sharing():
            for name, commit in refs.items():
                if repository.ref(name) not in {None, commit}:
                    raise TaskError(f"Task {task} has checkpoints of its own already.")
            writer = repository.writer()
            self._objects.copy_to(writer)
            writer.finish()
            for name, commit in refs.items():
                repository.add_ref(name, commit)
            for one in self.checkpoints:
                if one.pinned:
                    history.pin(task, one.number)


def export_task(target: Path, rows: TaskRows, history: History, task: str) -> None:
    """Write a task to a file, which is there whole or not at all.

    Args:
        target: The file; replaced if it is there.
        rows: What the database has.
        history: Where the task's checkpoints are.
        task: Its id.

    Raises:
        Damaged: A checkpoint isn't whole.
        OSError: The file can't be written.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tale-") as made:
        folder = Path(made)
        (folder / _TASK).write_bytes(orjson.dumps(dict(rows.task)))
        for name, listed in ((_EVENTS, rows.events), (_STEPS, rows.steps)):
            with (folder / name).open("wb") as file:
                file.writelines(orjson.dumps(dict(row)) + b"\n" for row in listed)
        packs = folder / "packs"
        packs.mkdir()
        with history.repository.sharing():
            checkpoints = history.list(task)
            writer = PackWriter(packs)
            history.repository.copy_to(writer, [bytes.fromhex(one.id) for one in checkpoints])
            writer.finish()
        (folder / _CHECKPOINTS).write_bytes(
            orjson.dumps(
                [
                    {"number": one.number, "commit": one.id, "pinned": one.pinned}
                    for one in checkpoints
                ]
            )
        )
        files = [folder / name for name in (_TASK, *_LISTS, _CHECKPOINTS)]
        for number, pack in enumerate(sorted(packs.glob("*.pack")), 1):
            files.append(pack.rename(folder / f"objects-{number}.pack"))
        about = {"task": task, "exported": datetime.now(UTC).isoformat(timespec="seconds")}
        whole = target.with_name(f".tale-{secrets.token_hex(8)}")
        try:
            # What a task says and holds is private, wherever it is written.
            handle = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                pack_files(file, files, tale=tale.__version__, about=about)
                file.flush()
                os.fsync(file.fileno())
            whole.replace(target)
        finally:
            with suppress(FileNotFoundError):
                whole.unlink()
        sync_folder(target.parent)


@contextmanager
def opened(source: Path, scratch: Path, limits: Limits = _DEFAULT_LIMITS) -> Generator[Imported]:
    """Check a file that a task was exported to; what was unpacked goes when this is left.

    Args:
        source: The file.
        scratch: A folder of tale's own, on a disk with room for it.
        limits: What it may hold.

    Raises:
        ExportRefused: It is damaged, cut short, newer than this tale, or hostile.
        OSError: It can't be read, or there is no room for it.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix=_UNPACKED))
    try:
        manifest = unpack_files(source, folder, limits.file)
        names = set(manifest.files)
        if not {_TASK, *_LISTS, _CHECKPOINTS} <= names:
            raise _refused(source, "a part is missing")
        objects = Incoming(limits.packs)
        try:
            for name in sorted(names - {_TASK, *_LISTS, _CHECKPOINTS}):
                objects.check(folder / name)
            checkpoints = _checkpoints(source, folder, objects, limits)
        except Damaged as error:
            raise _refused(source, str(error)) from error
        task = _value(source, _content(source, folder / _TASK, limits))
        if not isinstance(task, dict):
            raise _refused(source, f"{_TASK} holds no row")
        for name in _LISTS:
            for row in _Rows(source, folder / name, limits):
                _refuse_pickles(source, row)
        _refuse_pickles(source, cast("Row", task))
        events, steps = (_Rows(source, folder / name, limits) for name in _LISTS)
        yield Imported(manifest, TaskRows(cast("Row", task), events, steps), checkpoints, objects)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(scratch: Path, before: float) -> None:
    """Remove what was unpacked by imports that were killed.

    Args:
        scratch: Where it was unpacked.
        before: Unix time; what was unpacked later may still be in use.
    """
    for folder in scratch.glob(f"{_UNPACKED}*"):
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _content(source: Path, path: Path, limits: Limits) -> bytes:
    if path.stat().st_size > limits.row_bytes:
        raise _refused(source, f"{path.name} is too large")
    return path.read_bytes()


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a list, read one at a time, as often as they are asked for."""

    source: Path
    path: Path
    limits: Limits

    def __iter__(self) -> Iterator[Row]:
        if self.path.stat().st_size > self.limits.rows_bytes:
            raise _refused(self.source, f"{self.path.name} is too large")
        with self.path.open("rb") as file:
            while line := file.readline(self.limits.row_bytes + 1):
                row = _value(self.source, line) if line.endswith(b"\n") else None
                if not isinstance(row, dict):
                    raise _refused(self.source, f"{self.path.name} holds something that is no row")
                yield cast("Row", row)


def _checkpoints(
    source: Path, folder: Path, objects: Incoming, limits: Limits
) -> tuple[Checkpoint, ...]:
    """Read which checkpoints there are, each with all that it needs."""
    content = _content(source, folder / _CHECKPOINTS, limits)
    checkpoints: list[Checkpoint] = []
    try:
        rows = cast("list[dict[str, Any]]", _value(source, content))
        for row in rows:
            number, commit = int(row["number"]), str(row["commit"])
            if number < 1 or not _COMMIT.fullmatch(commit):
                raise Damaged("a checkpoint's name is none")
            identity = bytes.fromhex(commit)
            found = from_message(identity, *decode_commit(objects.commit(identity)))
            checkpoints.append(replace(found, number=number, pinned=row["pinned"] is True))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged("the list of checkpoints can't be understood") from error
    if len({one.number for one in checkpoints}) < len(checkpoints):
        raise Damaged("a checkpoint is there twice")
    objects.require(bytes.fromhex(one.id) for one in checkpoints)
    return tuple(sorted(checkpoints, key=lambda one: one.number))


def _value(source: Path, content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:  # also for what is nested too deep
        raise _refused(source, "a row is no JSON") from error


def _refuse_pickles(source: Path, value: object) -> None:
    """Refuse what would be unpickled where it is read back."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            row = cast("dict[str, object]", one)
            how = row.get("serialization")
            if how is not None and ("json" not in str(how).lower() or "pickle" in str(how).lower()):
                raise _refused(source, f"a row is serialized as {str(how)[:40]!r}, not as JSON")
            todo += row.values()
        elif isinstance(one, list):
            todo += cast("list[object]", one)
        elif isinstance(one, str) and _is_pickle(one):
            raise _refused(source, "a row holds a pickle, which could run any program")


def _is_pickle(text: str) -> bool:
    if not _PICKLE.fullmatch(text):
        return False
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return 2 <= data[1] <= 5 and data.endswith(b".")


def _refused(source: Path, what: str) -> ExportRefused:
    return ExportRefused(f"{source} can't be imported: {what}.", hint="Nothing of it was used.")
