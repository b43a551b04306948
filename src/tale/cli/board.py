"""Lines about tasks: shown at once above a waiting prompt, kept while an answer is written.

Followers tell them in their threads. Above: `chat_terminal`. Below: nothing of tale's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["Board"]


class Board:
    """What is told between one prompt and the next."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._open = False
        self._kept: list[str] = []

    def tell(self, lines: list[str]) -> None:
        """Show lines, or keep them."""
        with self._lock:
            if self._open:
                self._write("".join(f"{line}\n" for line in lines))
            else:
                self._kept += lines

    @contextmanager
    def opened(self) -> Generator[None]:
        """Show lines while the block runs, those first that were kept."""
        with self._lock:
            self._open = True
            if self._kept:
                self._write("".join(f"{line}\n" for line in self._kept))
                self._kept.clear()
        try:
            yield
        finally:
            with self._lock:
                self._open = False
