"""How a task stands, asked of the gateway.

Above: all that follows or answers tasks. Below: `connection`.
"""

from __future__ import annotations

from tale.cli.connection import Connection
from tale.cli.views import Task

__all__ = ["show_task"]


def show_task(connection: Connection, task: str) -> Task:
    """Ask how a task stands."""
    return Task.read(connection.call("gateway", "show", {"id": task}, idempotent=True))
