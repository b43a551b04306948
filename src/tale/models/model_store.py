"""The models folder: which files in it were verified, and who may change it now.

Light, because every start looks here first. `fetch` fills the folder.

    qwen.gguf                          a model
    qwen.gguf.verified                 its size, time and hash when it was verified
    qwen.gguf.damaged-20260131T…Z      was not what the catalogue says; the user may delete it
    .parts/                            locks, and what has arrived of files on their way
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import orjson

from tale.models.catalog import CatalogModel

__all__ = ["distrust", "is_present", "locked", "mark_verified", "move_aside", "sync_folder"]

_LOCK_RETRY_SECONDS: Final = 0.2


def _marker(target: Path) -> Path:
    return target.with_name(f"{target.name}.verified")


def is_present(model: CatalogModel, directory: Path) -> bool:
    """Whether the file is here and the one that was verified, by its size and time."""
    target = directory / model.file
    try:
        noted = orjson.loads(_marker(target).read_bytes())
        found = target.stat()
    except (OSError, ValueError):
        return False
    return noted == _note(model, found)


def mark_verified(model: CatalogModel, target: Path) -> None:
    """Note that a file was just found to be what the catalogue says."""
    half = _marker(target).with_suffix(".half")
    half.write_bytes(orjson.dumps(_note(model, target.stat())))
    half.replace(_marker(target))


def _note(model: CatalogModel, found: os.stat_result) -> dict[str, int | str]:
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": model.sha256}


def distrust(model: CatalogModel, directory: Path) -> None:
    """Forget that a file was verified: llama.cpp refused it, so it is hashed before its next use.

    In a folder that can't be written nothing can be forgotten, nor fetched anew.
    """
    with suppress(PermissionError):
        _marker(directory / model.file).unlink(missing_ok=True)


def move_aside(target: Path) -> Path:
    """Rename a damaged file, so that nothing of the user's is lost; gives its new path."""
    aside = target.with_name(f"{target.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    return target.replace(aside)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@asynccontextmanager
async def locked(file: Path, note: Callable[[str], None]) -> AsyncGenerator[None]:
    """Hold a lock between processes, which the kernel frees when one dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    waiting = False
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    note("Another process is fetching it: waiting for that.")
                waiting = True
                # The kernel tells nobody when a lock is freed, and a thread that waits for it could
                # not be cancelled.
                await anyio.sleep(_LOCK_RETRY_SECONDS)
        yield
    finally:
        os.close(handle)
