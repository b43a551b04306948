"""Where a model file's bytes come from, behind one Protocol.

A source brings the whole file into a work folder, continues from what it left there, and verifies
nothing: `fetch` does. The hub is in `fetch_hub`; the wheels, which carry the same bytes in parts,
are in `fetch_wheels`; `InMemorySource` is the twin that tests use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import anyio
import anyio.lowlevel

from tale.models.catalog import CatalogModel

__all__ = ["InMemorySource", "Progress", "Source", "size_of"]

Progress = Callable[[int], None]
"""Told the bytes of the file that are on disk or on their way."""


class Source(Protocol):
    """One place that has model files."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    def offers(self, model: CatalogModel) -> bool:
        """Whether it has this model, as far as the catalogue knows."""
        ...

    def missing(self, model: CatalogModel, work: Path) -> int:
        """Bytes of disk it will take at most, beyond what is in the work folder already."""
        ...

    async def fetch(self, model: CatalogModel, work: Path, progress: Progress) -> Path:
        """Bring the file; gives its path in the work folder.

        What has arrived stays in the folder when this fails or is cancelled, and is used next time.

        Raises:
            DownloadFailed: This source can't; another may.
            OSError: The disk is full or can't be written; no source can.
        """
        ...


class InMemorySource:
    """A source whose files are byte strings, keyed by model name; it can be told to fail."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "memory",
        failure: Exception | None = None,
    ) -> None:
        self.name = name
        self.fetched: list[str] = []
        self._files = files
        self._failure = failure

    def offers(self, model: CatalogModel) -> bool:
        """See `Source`."""
        return model.name in self._files

    def missing(self, model: CatalogModel, work: Path) -> int:
        """See `Source`."""
        return len(self._files[model.name]) - size_of(work / f"{self.name}.part")

    async def fetch(self, model: CatalogModel, work: Path, progress: Progress) -> Path:
        """See `Source`; yields to other tasks on the way, as a network would."""
        self.fetched.append(model.name)
        await anyio.lowlevel.checkpoint()
        if self._failure:
            raise self._failure
        part = work / f"{self.name}.part"
        await anyio.Path(part).write_bytes(self._files[model.name])
        progress(len(self._files[model.name]))
        return part


def size_of(file: Path) -> int:
    """Give a file's bytes; 0 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
