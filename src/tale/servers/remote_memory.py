"""The memory as the gateway sees it: who knows what may matter to a plan.

Above: `servers.gateway`. Below: the ux server's tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tale.servers.steps import ToolCaller
from tale.tasks.plan_memory import Remembered
from tale.wire.memory_contracts import RELATED, RelatedRequest

__all__ = ["RemoteMemory"]

_SECONDS: Final = 3.0
"""It takes some 50 ms; a ux server that was killed is back within that time, and one that isn't
must not hold a plan up."""
_CHARACTERS: Final = 8_000
"""Of a request that are asked about; what is longer has its material behind that."""


class RemoteMemory:
    """Asks the ux server."""

    def __init__(self, services: ToolCaller, *, deadline: float = _SECONDS) -> None:
        """`deadline` is how long to wait for it, in seconds."""
        self._services = services
        self._deadline = deadline

    async def related(self, request: str) -> Sequence[Remembered]:
        """Give what may matter to a request; see `plan_memory.Ask`."""
        asked = RelatedRequest(text=request[:_CHARACTERS])
        found = await self._services.call(RELATED, asked, deadline=self._deadline)
        return [
            Remembered(one.id, one.kind, f"{one.said.astimezone():%Y-%m-%d}", one.text)
            for one in found.lines
        ]
