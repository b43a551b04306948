"""A line on standard error that says what is being waited for, and vanishes.

On a terminal it turns; elsewhere nothing is shown, except progress in percent, one line for each
ten. Above: `connection`, and commands that wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from tale.cli.render import Screen, clean, clip

__all__ = ["Look", "Spinner", "Waiting"]

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS_PER_FRAME = 0.1
_SECONDS_PER_LOOK = 0.7


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is being waited for; `fraction` (0 to 1) is how much of it is done, where known."""

    text: str
    fraction: float | None = None


Look = Callable[[], Waiting | None]


class Spinner:
    """A context manager that shows what is being waited for.

    Its thread also asks `look`, now and then, what that is; `look` must not raise. Leaving the
    block waits for the thread, so `look` has to be quick.

    Ctrl-C may come anywhere, also while it is stopped. An event or a condition would then keep its
    lock, and who stops it once more, as the block is left, would wait for ever; a bare lock is
    released in one step that nothing interrupts.
    """

    def __init__(self, screen: Screen, text: str, look: Look | None = None) -> None:
        self._screen = screen
        self._waiting = Waiting(text)
        self._look = look
        self._turns = threading.Lock()
        """Held as long as it is to turn."""
        self._thread: threading.Thread | None = None
        self._decile = -1

    def say(self, waiting: Waiting) -> None:
        """Say what is being waited for now."""
        self._waiting = waiting
        if not self._screen.err_is_terminal and waiting.fraction is not None:
            decile = int(waiting.fraction * 10)
            if decile != self._decile:
                self._decile = decile
                self._screen.note(_text(waiting))

    def note(self, text: str) -> None:
        """Write a line that stays, above what is being waited for."""
        if self._screen.err_is_terminal and self._thread is not None:
            self._screen.err.write("\r\x1b[K")
        self._screen.note(clean(text))

    def stop(self) -> None:
        """End it and take its line away; harmless if it has ended."""
        if self._thread is None:
            return
        if self._turns.locked():
            self._turns.release()
        self._thread.join()
        self._thread = None
        if self._screen.err_is_terminal:
            self._screen.err.write("\r\x1b[K")
            self._screen.err.flush()

    def __enter__(self) -> Spinner:
        if self._screen.err_is_terminal or self._look is not None:
            self._turns.acquire()
            self._thread = threading.Thread(target=self._turn, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _turn(self) -> None:
        frame, next_look = 0, time.monotonic() + _SECONDS_PER_LOOK
        while self._turns.locked():
            if self._look is not None and time.monotonic() >= next_look:
                if (waiting := self._look()) is not None:
                    self.say(waiting)
                next_look = time.monotonic() + _SECONDS_PER_LOOK
            if self._screen.err_is_terminal:
                self._draw(frame)
                frame += 1
            if self._turns.acquire(timeout=_SECONDS_PER_FRAME):
                return

    def _draw(self, frame: int) -> None:
        sign = self._screen.style_err(_FRAMES[frame % len(_FRAMES)], "cyan")
        text = clip(_text(self._waiting), self._screen.width - 3)
        self._screen.err.write(f"\r{sign} {text}\x1b[K")
        self._screen.err.flush()


def _text(waiting: Waiting) -> str:
    if waiting.fraction is None:
        return waiting.text
    return f"{waiting.text} {waiting.fraction:.0%}"
