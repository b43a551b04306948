"""Writing an answer: set as it comes on a terminal, whole and plain into a pipe.

What is streamed may differ from the answer in the end (tokens of an outage are lost, a step that
was resumed begins anew, a final answer may be a summary), so the end completes or repeats it. A
terminal that can't move its cursor is written to as to a pipe, but at once. Above: `follow`,
`chat`. Below: `page`, which is imported with the first word: commands that have none start faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tale.cli.render import Screen, clean

if TYPE_CHECKING:
    from tale.cli.page import Page

__all__ = ["AnswerWriter", "answer_lines", "begin_imports"]

_DRAWN_SECONDS: Final = 0.06
"""Between two drawings of what is not finished: the eye sees no more, and the model wants the
processor."""


def answer_lines(answer: str, screen: Screen) -> list[str]:
    """Set a whole answer."""
    answer = clean(answer).strip("\n")
    if not screen.redraws:
        return answer.split("\n") if answer else []
    from tale.cli.page import page_lines  # noqa: PLC0415

    return page_lines(answer, screen)


def begin_imports() -> None:
    """Import what setting needs: a fifth of a second, best while nobody waits for it."""
    import_module("tale.cli.page")
    import_module("tale.cli.rich_markdown")


class AnswerWriter:
    """One answer on its way to standard output."""

    def __init__(self, screen: Screen, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._page: Page | None = None
        self._shown = ""
        self._drawn = 0.0

    @property
    def began(self) -> bool:
        """Whether something stands on the screen already."""
        return bool(self._shown)

    def token(self, text: str) -> None:
        """Take a piece as it is generated."""
        text = clean(text)
        # Leading blank lines would push the answer away from the question.
        text = text if self._shown else text.lstrip("\n")
        if not (self._screen.out_is_terminal and text):
            return
        self._shown += text
        if not self._screen.redraws:
            self._screen.write(text)
            return
        self._page = self._page or _page(self._screen)
        self._page.take(text)
        if (now := self._clock()) - self._drawn >= _DRAWN_SECONDS:
            self._drawn = now
            self._page.draw()

    def moved(self) -> None:
        """Hear that somebody else has written on the screen."""
        if self._page is not None:
            self._page.region.forget()

    def restart(self) -> None:
        """Forget the pieces so far: the answer is generated anew."""
        self.end_line()
        self._shown = ""

    def end_line(self) -> None:
        """Finish what is there, and bring the cursor to the beginning of a line."""
        if self._page is not None:
            self._page.finish()
            self._page = None
        elif self._shown and not self._shown.endswith("\n"):
            self._screen.write("\n")
        if self._shown and not self._shown.endswith("\n"):
            self._shown += "\n"

    def finish(self, answer: str) -> None:
        """Take the whole answer and write what is not there yet."""
        answer, shown = clean(answer).strip("\n"), self._shown
        if answer and answer.strip() in shown:
            self.end_line()
        elif shown.strip() and answer.startswith(shown.rstrip("\n")):
            rest = answer[len(shown.rstrip("\n")) :]
            rest = rest[1:] if shown.endswith("\n") and rest[:1] == "\n" else rest
            self._write(rest)
        else:
            self.end_line()
            if answer:
                self._write(answer)
        self._shown = ""

    def _write(self, text: str) -> None:
        if not self._screen.redraws:
            self._screen.print(text)
            return
        page, self._page = self._page or _page(self._screen), None
        page.take(text)
        page.finish()


def _page(screen: Screen) -> Page:
    from tale.cli.page import Page  # noqa: PLC0415

    return Page(screen)
