"""Whether the terminal's ground is light: asked of the terminal itself, before anything is drawn.

OSC 11 asks for the colour, and most terminals answer; those that don't know it still answer the
question behind it (DA1, which every terminal knows), so nobody waits for an answer that never
comes. Over a slow line the wait has a bound. Above: `run`. Below: nothing of tale's.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = ["is_light", "light_from_answer", "light_from_environment"]

_QUESTION: Final = b"\x1b]11;?\x1b\\\x1b[c"
_COLOR: Final = re.compile(
    rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})"
)
_END: Final = re.compile(rb"\x1b\[\?[0-9;]*c")
_SECONDS: Final = 2.0
"""A later answer would be taken for keys, so this is longer than a slow line takes."""


def is_light(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal's ground is light; where it doesn't say, it is dark."""
    told: bool | None = None
    # No terminal, or a system without termios: then the environment may know.
    with suppress(ImportError, OSError, ValueError):
        told = light_from_answer(_ask(sys.stdin.fileno(), sys.stdout.fileno()))
    return told if told is not None else light_from_environment(environ)


def light_from_answer(answer: bytes) -> bool | None:
    """Read a terminal's answer; None where it didn't say."""
    found = _COLOR.search(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    # How bright it looks (ITU-R BT.709).
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5


def light_from_environment(environ: Mapping[str, str]) -> bool:
    """Read `COLORFGBG` (`15;0`: the ground's number comes last), which some terminals set."""
    ground = environ.get("COLORFGBG", "").rpartition(";")[2]
    return ground in {"7", "15"}


def _ask(source: int, target: int) -> bytes:
    """Ask the terminal, without echo, and give all that it says in time."""
    import termios  # noqa: PLC0415 - not on Windows
    import tty  # noqa: PLC0415

    if not (os.isatty(source) and os.isatty(target)):
        return b""
    before = termios.tcgetattr(source)
    answer = b""
    try:
        tty.setcbreak(source, termios.TCSANOW)
        os.write(target, _QUESTION)
        deadline = time.monotonic() + _SECONDS
        while not _END.search(answer) and (left := deadline - time.monotonic()) > 0:
            if select.select([source], [], [], left)[0]:
                answer += os.read(source, 1024)
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)
    return answer
