"""Writing an answer: as it comes on a terminal, whole and plain into a pipe.

What is streamed may differ from the answer in the end (tokens of an outage are lost, a step that
was resumed begins anew, a final answer may be a summary), so the end completes or repeats it.
Above: `follow`, `chat`. Below: `render`.
"""

from __future__ import annotations

from tale.cli.render import Screen, clean

__all__ = ["AnswerWriter"]


class AnswerWriter:
    """One answer on its way to standard output."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown = ""

    @property
    def began(self) -> bool:
        """Whether something stands on the screen already."""
        return bool(self._shown)

    def token(self, text: str) -> None:
        """Take a piece as it is generated."""
        text = clean(text)
        if self._screen.out_is_terminal and text:
            # Leading blank lines would push the answer away from the question.
            text = text if self._shown else text.lstrip("\n")
            self._screen.write(text)
            self._shown += text

    def restart(self) -> None:
        """Forget the pieces so far: the answer is generated anew."""
        self.end_line()
        self._shown = ""

    def end_line(self) -> None:
        """Bring the cursor to the beginning of a line."""
        if self._shown and not self._shown.endswith("\n"):
            self._screen.write("\n")
            self._shown += "\n"

    def finish(self, answer: str) -> None:
        """Take the whole answer and write what is not there yet."""
        answer, shown = clean(answer).strip("\n"), self._shown
        if answer and answer.strip() in shown:
            self.end_line()
        elif shown.strip() and answer.startswith(shown.rstrip("\n")):
            rest = answer[len(shown.rstrip("\n")) :]
            self._screen.print(rest[1:] if shown.endswith("\n") and rest[:1] == "\n" else rest)
        else:
            self.end_line()
            if answer:
                self._screen.print(answer)
        self._shown = ""
