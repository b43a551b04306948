"""The end of all servers' logs, as it grows. Reads files only, so it works when nothing else does.

Above: `app`, which asks once a second. Below: `cli.log_files`, `cli.log_tail`.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from tale.cli.log_files import Entry, last_entries
from tale.cli.log_tail import LogTail
from tale.paths import Paths

__all__ = ["LogFiles", "Logs"]

_KEPT: Final = 400
_AT_FIRST: Final = 200


class Logs(Protocol):
    """Tells the end of the log."""

    def latest(self) -> tuple[Entry, ...]:
        """Give the latest lines, oldest first."""
        ...


class LogFiles:
    """The log files of an installation."""

    def __init__(self, paths: Paths) -> None:
        """Keep the folder; nothing is read yet."""
        self._paths = paths
        self._tails: dict[str, LogTail] = {}
        self._entries: deque[Entry] | None = None
        self._shown: tuple[Entry, ...] = ()

    def latest(self) -> tuple[Entry, ...]:
        """Give the latest lines, oldest first; the same tuple where nothing came."""
        names = self._paths.log_names()
        if self._entries is None:
            self._tails = {name: LogTail(self._paths.log_of(name)) for name in names}
            self._entries = deque(last_entries(self._paths, names, _AT_FIRST), maxlen=_KEPT)
            self._shown = tuple(self._entries)
            return self._shown
        new: list[tuple[str, Entry]] = []
        for name in names:
            tail = self._tails.get(name)
            if tail is None:
                tail = self._tails[name] = LogTail(self._paths.log_of(name), from_start=True)
            stamp = ""
            for line in tail.new_lines():
                # What has no stamp of its own stays behind the line it belongs to.
                stamp = line.split(" ", 1)[0] if line[:4].isdigit() else stamp
                new.append((stamp, Entry(name, line)))
        if new:
            self._entries.extend(entry for _, entry in sorted(new, key=lambda pair: pair[0]))
            self._shown = tuple(self._entries)
        return self._shown
