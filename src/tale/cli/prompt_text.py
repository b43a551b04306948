"""The text of a task as the user gives it: words on the command line, or standard input.

Refuses what is no text before anything is started; how much text a task may have is the gateway's
rule. Above: `submit`, `chat`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import BinaryIO

from tale.errors import PromptRejected

__all__ = ["decode", "from_arguments", "from_stream"]

_MOST_BYTES = 2 * 1024 * 1024
"""More than the gateway takes: enough for it to say so, without reading a whole disk."""


def from_arguments(words: Sequence[str], stdin: BinaryIO | None = None) -> str:
    """Join the words of the command line; a last `-`, or no word in a pipe, reads standard input.

    Raises:
        PromptRejected: It is empty, too large, or not UTF-8.
    """
    stream = stdin or sys.stdin.buffer
    if not words and stream.isatty():
        raise PromptRejected(
            "There is no text.", hint='For example: tale submit "Write a haiku about tea"'
        )
    before, piped = list(words), not words or words[-1] == "-"
    if piped:
        before = before[:-1]
    # Python keeps bytes that are not UTF-8 as lone surrogates, which can't be encoded.
    text = " ".join(before).encode("utf-8", "surrogateescape")
    if not piped:
        return decode(text, "The text")
    return "\n\n".join([*([decode(text, "The text")] if text else []), from_stream(stream)])


def from_stream(stream: BinaryIO) -> str:
    """Read a whole stream."""
    data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise PromptRejected(
            "The text on standard input is larger than 2 MiB.",
            hint="Put the material in files in the task's --workspace and say what to do.",
        )
    return decode(data, "The text on standard input")


def decode(data: bytes, what: str) -> str:
    """Turn bytes into a text; `what` names it in the error."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PromptRejected(
            f"{what} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}.",
            hint="Convert it first (`iconv -f latin1 -t utf-8`), or name the file in the text.",
        ) from error
    if "\0" in text:
        raise PromptRejected(
            f"{what} is binary: it has a NUL byte at offset {text.index(chr(0))}.",
            hint="Put the file in the task's --workspace and say what to do with it.",
        )
    if not text.strip():
        raise PromptRejected(f"{what} is empty.", hint='For example: tale submit "hello world"')
    return text
