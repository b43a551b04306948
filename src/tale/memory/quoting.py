"""Memory as a model is shown it: quoted, between marks that nothing inside can end. Pure.

What was said once is data. It may say "ignore what you were told"; between the marks that is a
thing somebody said. Above: `context`, `summary`, `recall`, `referring`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["harmless", "middle_left_out", "quoted"]

_MARK: Final = re.compile(r"<(?=\s*/?\s*(?:memory|data)\b)|<\|(?=[\w ]{1,32}\|?>)", re.IGNORECASE)
"""What would begin or end a quote, or a message in a chat template (`<|im_end|>`)."""
_LEFT_OUT: Final = "\n[…]\n"


def harmless(text: str) -> str:
    """Give a text in which nothing looks like a mark any more; everything else is as it was."""
    return _MARK.sub(lambda found: "\u2039" + found[0][1:], text)


def quoted(sections: Sequence[str], mark: str = "memory") -> str:
    """Quote texts as one block; an empty text where there is nothing to quote.

    Args:
        sections: What is quoted; those that are empty are left out.
        mark: What the block is called; the system prompt says what it means.
    """
    # Joined first: a mark could else be put together from two of them.
    inside = harmless("\n".join(one.strip() for one in sections if one.strip()))
    return f"<{mark}>\n{inside}\n</{mark}>" if inside else ""


def middle_left_out(text: str, most_bytes: int) -> str:
    """Shorten a text to so many bytes of UTF-8: its beginning and its end say most.

    Args:
        text: The text; one that is short enough is given as it is.
        most_bytes: Of which the mark for what is left out takes seven.
    """
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        return text
    kept = max(0, most_bytes - len(_LEFT_OUT.encode()))
    first = kept - kept // 3
    head = data[:first].decode(errors="ignore")
    tail = data[len(data) - kept // 3 :].decode(errors="ignore") if kept >= 3 else ""
    return f"{head}{_LEFT_OUT}{tail}" if kept else _LEFT_OUT.strip()[:most_bytes]
