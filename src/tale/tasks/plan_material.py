"""What a planner looks at before it plans: the names of the workspace's files, and a few of them.

Bounded, as a workspace may hold anything; folders of programs that others wrote are passed over.
Effects only through hands. Above: `tasks.planner`. Below: `tasks.plan_questions`, which quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from tale.tasks.hands import Hands, ListFiles, ReadFile
from tale.tasks.languages import is_file_name
from tale.tasks.plan_questions import Seen

__all__ = ["look", "named_in"]

_MOST_FILES: Final = 200
_MOST_LOOKS: Final = 16
"""Folders that are listed: each is an action that is recorded."""
_DEEPEST: Final = 3
_MOST_READ: Final = 2
_LOOKED_AT: Final = 20_000
"""Characters of a request in which files are looked for."""
_PASSED_OVER: Final = frozenset(
    {
        *("__pycache__", "node_modules", "venv", "env", "build", "dist", "target", "vendor"),
        *("site-packages", "coverage", "htmlcov"),
    }
)
_SIZE: Final = re.compile(r" \([\d,]+ bytes\)$")
_OTHER: Final = re.compile(r" \((?:a link|no plain file)\)$")
_WORD: Final = re.compile(r"[\w./-]+")


async def look(request: str, hands: Hands) -> Seen:
    """Look at the workspace, and read the files that the request names.

    Raises:
        TaleError: Nobody can look.
    """
    walk = _Walk()
    while folder := walk.next_folder():
        listed = await hands.act(ListFiles(folder))
        if listed.ok and not listed.text.endswith("is empty."):
            walk.take(listed.text)
    texts: dict[str, str] = {}
    for path in named_in(request, walk.files)[:_MOST_READ]:
        outcome = await hands.act(ReadFile(path))
        if outcome.ok and outcome.text.strip():
            texts[path] = outcome.text
    return Seen(tuple(walk.files), walk.more, texts)


class _Walk:
    """Which folder is listed next, and what was found: those nearer to the root come first."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.more = False
        self._left = [("", 0)]
        self._here = ("", 0)
        self._looks = 0

    def next_folder(self) -> str:
        """Give the folder to list; empty where that is enough."""
        if not self._left:
            return ""
        if self._looks >= _MOST_LOOKS or len(self.files) >= _MOST_FILES:
            self.more = True
            return ""
        self._looks += 1
        self._here = self._left.pop(0)
        return self._here[0] or "."

    def take(self, listing: str) -> None:
        """Take in what the folder holds."""
        folder, depth = self._here
        for line in listing.splitlines():
            name = _SIZE.sub("", line)
            if line.startswith("... and ") or len(self.files) >= _MOST_FILES:
                self.more = True
            elif name.endswith("/"):
                if depth + 1 < _DEEPEST and _is_looked_into(name[:-1]):
                    self._left.append((f"{folder}{name}", depth + 1))
                elif _is_looked_into(name[:-1]):
                    self.more = True
            elif name and not _OTHER.search(name):
                self.files.append(f"{folder}{name}")


def named_in(text: str, files: Collection[str]) -> list[str]:
    """Give those files that a text names, in its order: by path, or by a name that one has."""
    by_name: dict[str, list[str]] = {}
    for path in files:
        by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)
    found: dict[str, None] = {}
    for word in _WORD.findall(text[:_LOOKED_AT]):
        name = word.strip(".").removeprefix("./")
        if name in files:
            found[name] = None
        elif is_file_name(name) and len(alike := by_name.get(name.rsplit("/", 1)[-1], [])) == 1:
            found[alike[0]] = None
    return list(found)


def _is_looked_into(folder: str) -> bool:
    return not folder.startswith(".") and folder.lower() not in _PASSED_OVER
