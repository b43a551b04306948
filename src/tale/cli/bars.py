"""A task's progress drawn in place on a terminal, with lines that stay above it.

Rich redraws it, also when the window changes its size; it is imported when drawing begins, because
that takes as long as everything else `tale watch` does. Above: `follow`. Below: `progress_lines`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from tale.cli.progress_lines import progress_lines
from tale.cli.render import Screen, clean
from tale.cli.views import Event, Progress

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

__all__ = ["Bars"]

_FRAMES_PER_SECOND = 12.0
_TAIL = 400
"""Characters of what the model writes that are kept: more than a line has."""


class Bars:
    """A context manager that draws what `take` is told, on standard error."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._progress = Progress()
        self._tail = ""
        self._live: Live | None = None

    def take(self, event: Event) -> None:
        """Take an event of the task; what it tells is on the screen at return, tokens soon."""
        match event.kind:
            case "progress":
                self._progress = Progress.read(event.data)
            case "token":
                self._tail = (self._tail + clean(event.data.text("text")))[-_TAIL:]
            case "started" | "resumed" | "subtask" | "tool":
                self._tail = ""
            case _:
                pass
        if self._live is not None and event.kind != "token":
            self._live.refresh()

    def note(self, text: str) -> None:
        """Write a line that stays, above the bars."""
        if self._live is None:
            self._screen.note(text)
            return
        from rich.text import Text  # noqa: PLC0415

        self._live.console.print(Text(clean(text), style="dim"))

    def stop(self, *, keep: bool = True) -> None:
        """End drawing; harmless if it has ended.

        Args:
            keep: Leave the bars as they are, without what is generated.
        """
        live, self._live = self._live, None
        if live is None:
            return
        self._tail = ""
        live.transient = not keep
        live.stop()

    @contextmanager
    def resting(self) -> Generator[None]:
        """Leave the screen to somebody else while the block runs."""
        drawn = self._live is not None
        self.stop(keep=False)
        try:
            yield
        finally:
            if drawn:
                self._begin()

    def __enter__(self) -> Bars:
        self._begin()
        return self

    def _begin(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        console = Console(
            file=self._screen.err, no_color=not self._screen.color, force_terminal=True
        )
        self._live = Live(
            console=console,
            get_renderable=lambda: self._drawn(console.width),
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(keep=bool(self._progress.parts))

    def _drawn(self, width: int) -> Text:
        from rich.text import Text  # noqa: PLC0415

        lines = progress_lines(
            self._progress, tail=self._tail, width=width, color=self._screen.color
        )
        return Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
