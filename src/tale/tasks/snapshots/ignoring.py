"""The `.gitignore` files that hold in a folder, as git reads them.

Each entry is asked about by itself and ignored folders are not entered, which is git's own way: a
file in an ignored folder can't be taken back in. The patterns are dulwich's: in 250 random trees
and pattern files they agreed with `git ls-files` each time, `pathspec` in 229. Above: `scan`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dulwich.ignore import Pattern

__all__ = ["MAX_RULES_BYTES", "Rules"]

MAX_RULES_BYTES: Final = 1 << 20
"""A larger `.gitignore` is no list of patterns."""
_MAX_PATH: Final = 1024
"""Longer paths are never ignored."""
_MAX_STARS: Final = 3
"""Stars in one name of a pattern, and `**` in all of it: each multiplies the time of a match by the
length of the path, and a `.gitignore` may come from a model or from another machine."""
_STARS: Final = re.compile(rb"\*+")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Rules:
    """All patterns that hold in one folder.

    Attributes:
        key: Equal for equal patterns; what was decided by them need not be decided again.
    """

    __slots__ = ("_levels", "key")

    def __init__(
        self, levels: tuple[tuple[int, list[Pattern]], ...] = (), key: bytes = b""
    ) -> None:
        self._levels = levels
        self.key = key

    def inside(self, folder: bytes, content: bytes) -> Rules:
        """Add a folder's own file; `folder` is its path, empty or ending in a slash."""
        key = hashlib.sha256(b"%s\0%s\0%s" % (self.key, folder, content)).digest()
        patterns = _patterns(content)
        return Rules((*self._levels, (len(folder), patterns)), key)

    def ignores(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether an entry is left out; the innermost file's last word counts."""
        if len(path) > _MAX_PATH:
            return False
        for skipped, patterns in reversed(self._levels):
            for pattern in reversed(patterns):
                if pattern.matches(path[skipped:], is_folder):
                    return pattern.is_exclude
        return False


@lru_cache(maxsize=64)
def _patterns(content: bytes) -> list[Pattern]:
    # Here, not above: it takes a tenth of a second, and most workspaces have no such file.
    from dulwich.ignore import IgnoreFilter, read_ignore_patterns  # noqa: PLC0415

    lines = read_ignore_patterns(BytesIO(content.removeprefix(_BYTE_ORDER_MARK)))
    return IgnoreFilter(line for line in lines if _is_quick(line)).patterns


def _is_quick(line: bytes) -> bool:
    names = line.split(b"/")
    return names.count(b"**") <= _MAX_STARS and all(
        len(_STARS.findall(name)) <= _MAX_STARS for name in names
    )
