"""Waiting for a service that is not there, and saying so once it takes longer than a restart.

A restart is over within a fraction of a second and is nobody's business; beyond it whoever waits
should know for what. Below: `peers`. Above: `servers.steps`, `models.client`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from tale.wire.peers import PeerSource

__all__ = ["absence_of", "presence_of"]


async def presence_of(
    source: PeerSource, service: str, late: Callable[[], Awaitable[None]], *, grace: float
) -> bool:
    """Wait, however long, until a process of a service is ready.

    Args:
        source: Who serves where.
        service: Whom to wait for.
        late: Called, once, if nobody was ready within the grace.
        grace: Seconds that a usual restart takes at most.

    Returns:
        Whether it was late.
    """
    with anyio.move_on_after(grace):
        while not source.peers.of(service):
            await source.wait_change()
        return False
    await late()
    while not source.peers.of(service):
        await source.wait_change()
    return True


async def absence_of(source: PeerSource, service: str) -> None:
    """Wait until no process of a service is ready."""
    while source.peers.of(service):
        await source.wait_change()
