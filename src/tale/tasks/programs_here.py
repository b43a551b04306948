"""Which commands this machine can run: their programs, and modules of the Python that runs tale.

The sandbox has the same programs and the same Python. Above: `servers.gateway`. Below: nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

__all__ = ["can_run"]

_BUILT_IN: Final = frozenset(
    {
        *("!", ".", ":", "[", "alias", "break", "case", "cd", "command", "continue", "do", "done"),
        *("echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fi", "for"),
        *("if", "printf", "pwd", "read", "return", "set", "shift", "test", "then", "trap", "true"),
        *("type", "ulimit", "umask", "unset", "until", "wait", "while", "{", "}"),
    }
)
"""What a shell runs itself (POSIX.1-2017, XCU 2.4, 2.14 and 1.6)."""
_PYTHON: Final = re.compile(r"python[\d.]*")


def can_run(words: Sequence[str]) -> bool:
    """Tell whether there is what a command runs; of its file names nothing is known here.

    Args:
        words: The program and its arguments.
    """
    program = words[0]
    if program in _BUILT_IN:
        return True
    if _PYTHON.fullmatch(program) and len(words) > 2 and words[1] == "-m":
        return _has_module(words[2].partition(".")[0])
    return _PYTHON.fullmatch(program) is not None or shutil.which(program) is not None


def _has_module(name: str) -> bool:
    try:
        return name in sys.stdlib_module_names or find_spec(name) is not None
    except (ImportError, ValueError):  # it is there, but can't be asked
        return False
