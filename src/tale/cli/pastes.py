"""Long texts that are shown as a word, `[pasted 120 lines]`, and sent whole.

Above: `chat_prompt`. Below: nothing of tale's.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Pastes"]

_LINES: Final = 10
_CHARACTERS: Final = 1500
"""What is longer would push the conversation off the screen: 1,500 characters are 20 lines."""
_SIGN: Final = re.compile(r"\[pasted (?:\d+ lines|\d+ characters)(?: #\d+)?\]")


class Pastes:
    """The texts that are folded, by what stands for them."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def folded(self, text: str) -> str:
        """Give what stands for a text: itself, unless it is long."""
        lines = text.count("\n") + 1
        if lines <= _LINES and len(text) <= _CHARACTERS:
            return text
        size = f"{lines} lines" if lines > _LINES else f"{len(text)} characters"
        number = 1
        while True:
            sign = f"[pasted {size}{f' #{number}' if number > 1 else ''}]"
            if self._texts.setdefault(sign, text) == text:
                return sign
            number += 1

    def whole(self, text: str) -> str:
        """Put back what was folded."""
        return _SIGN.sub(lambda sign: self._texts.get(sign[0], sign[0]), text)

    def ending(self, text: str) -> int:
        """Count the characters of the sign with which a text ends; 0 if it ends with none."""
        for sign in self._texts:
            if text.endswith(sign):
                return len(sign)
        return 0
