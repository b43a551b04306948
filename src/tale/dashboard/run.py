"""Putting the dashboard together for a terminal, and running it.

Above: `cli.dashboard`. Below: `app`, and what it is made of.
"""

from __future__ import annotations

from tale.dashboard.actions import DaemonActions
from tale.dashboard.app import Dashboard
from tale.dashboard.ground import is_light
from tale.dashboard.logs import LogFiles
from tale.dashboard.source import DaemonSource
from tale.paths import Paths

__all__ = ["run_dashboard"]


def run_dashboard(paths: Paths) -> None:
    """Show the dashboard until its user leaves it.

    Args:
        paths: Of which installation.
    """
    light = is_light()
    Dashboard(DaemonSource(paths), DaemonActions(paths), LogFiles(paths), light=light).run()
