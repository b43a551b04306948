"""Whether the database is as it was left, and what was set aside where not. See `checks`."""

from __future__ import annotations

from datetime import UTC, datetime

from tale.cli.check import Check
from tale.paths import Paths
from tale.storage.set_aside import rescues

__all__ = ["check_database"]


def check_database(paths: Paths) -> Check:
    """Tell of damaged files that were set aside, and how old the backup is."""
    found = rescues(paths.data)
    if not found:
        return Check("database", "ok", _backup(paths))
    asides = " ".join(str(one.aside) for one in found)
    return Check(
        "database",
        "warn",
        "\n".join(map(str, found)),
        "Look at `tale tasks`: what rests or failed says why. Check the disk. Delete the damaged "
        f"files once you need nothing of them any more: {asides}",
    )


def _backup(paths: Paths) -> str:
    if not paths.database.exists():
        return f"{paths.database} (not made yet)"
    backup = paths.database.with_name(f"{paths.database.name}.backup")
    if not backup.exists():
        return f"{paths.database}, no backup yet"
    made = datetime.fromtimestamp(backup.stat().st_mtime, UTC).astimezone()
    return f"{paths.database}, backed up {made:%Y-%m-%d %H:%M}"
