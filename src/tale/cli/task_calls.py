"""How a task stands, asked of the gateway.

Above: all that follows or answers tasks. Below: `connection`.
"""

from __future__ import annotations

from tale.cli.connection import Connection
from tale.cli.record import JsonObject
from tale.cli.views import Task

__all__ = ["show_task"]


def show_task(connection: Connection, task: str, *, reasoning: bool = False) -> Task:
    """Ask how a task stands, and with `reasoning` what the model thought of its plan."""
    asked: JsonObject = {"id": task, "reasoning": True} if reasoning else {"id": task}
    return Task.read(connection.call("gateway", "show", asked, idempotent=True))
