"""Fetching model files with progress to see: bars on a terminal, plain lines elsewhere.

Above: `models pull`. Below: `models.fetch`, which downloads, resumes and verifies.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import anyio
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tale.cli.render import Screen, human_bytes
from tale.config_layers import load_settings
from tale.models.catalog import EMBEDDED_PAIR, CatalogModel, find_model
from tale.models.fetch import FetchProgress, OnProgress, ensure_model, is_present
from tale.paths import Paths

__all__ = ["Fetch", "PlainProgress", "pull_models"]

Fetch = Callable[[CatalogModel, Path, OnProgress], Path]

_PAIR = "pair"
_PERCENT_STEP = 10


def pull_models(screen: Screen, name: str, fetch: Fetch | None = None) -> list[Path]:
    """Make sure that a model's file, or the embedded pair's, is here and whole.

    Args:
        screen: Progress goes to its standard error.
        name: A catalogue name, or `pair`.
        fetch: Brings one file; by default `models.fetch.ensure_model`.

    Raises:
        UnknownModel: The catalogue has no such model.
        DownloadFailed: It can't be brought here.
    """
    paths = Paths.from_environment()
    directory = load_settings(paths, secrets=False).models.directory or paths.models
    names = EMBEDDED_PAIR.values() if name == _PAIR else (name,)
    models = [find_model(each) for each in names]
    bring = fetch or _ensure
    files: list[Path] = []
    for model in models:
        if fetch is None and is_present(model, directory):
            screen.note(f"{model.name} is here and verified.")
            files.append(directory / model.file)
            continue
        with _progress(screen, model) as progress:
            files.append(bring(model, directory, progress.update))
        screen.note(f"{model.name} is here and verified ({model.licence}).", "green")
    return files


def _ensure(model: CatalogModel, directory: Path, on_progress: OnProgress) -> Path:
    return anyio.run(ensure_model, model, directory, on_progress)


class _Progress(AbstractContextManager["_Progress"]):
    """Shows how far one file is."""

    @abstractmethod
    def update(self, progress: FetchProgress) -> None: ...


def _progress(screen: Screen, model: CatalogModel) -> _Progress:
    return _Bars(screen, model) if screen.err_is_terminal else PlainProgress(screen, model)


class PlainProgress(_Progress):
    """A line for each ten percent of each phase."""

    def __init__(self, screen: Screen, model: CatalogModel) -> None:
        self._screen = screen
        self._model = model
        self._step: tuple[str, int] = ("", -1)

    def update(self, progress: FetchProgress) -> None:
        """Take how far it is."""
        if progress.phase == "note":
            self._screen.note(f"{self._model.name}: {progress.text}")
            return
        step = progress.done * 100 // max(1, progress.total) // _PERCENT_STEP
        if (progress.phase, step) != self._step:
            self._step = (progress.phase, step)
            source = f" from {progress.source}" if progress.source else ""
            self._screen.note(
                f"{self._model.name}: {progress.phase}{source} {step * _PERCENT_STEP}% "
                f"of {human_bytes(progress.total)}"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to take away."""


class _Bars(_Progress):
    """A bar with bytes, speed and the time that is left."""

    def __init__(self, screen: Screen, model: CatalogModel) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=screen.err, no_color=not screen.color),
            transient=True,
        )
        self._model = model
        self._phases: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def update(self, progress: FetchProgress) -> None:
        if progress.phase == "note":
            self._bars.console.print(f"{self._model.name}: {progress.text}", style="dim")
            return
        if progress.phase not in self._phases:
            what = {"download": "fetching", "verify": "verifying"}[progress.phase]
            self._phases[progress.phase] = self._bars.add_task(f"{what} {self._model.name}")
        self._bars.update(
            self._phases[progress.phase], completed=progress.done, total=progress.total
        )
