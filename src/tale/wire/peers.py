"""Who serves where, as seen by a caller: the seam between the leash and whoever follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import anyio

from tale.wire.leash import FailedStart, Peer, Peers

__all__ = ["FixedPeers", "PeerSource"]


class PeerSource(Protocol):
    """A picture of the ready processes that changes; `wire.child.Leash` is one."""

    peers: Peers

    async def wait_change(self) -> Peers:
        """Wait until the picture changes, and give the new one."""
        ...


class FixedPeers:
    """Peers set by hand: the in-memory twin of the leash."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = Peers(peers=peers)
        self._changed = anyio.Event()

    def set(self, *peers: Peer, failed: Sequence[FailedStart] = ()) -> None:
        """Change the picture."""
        self.peers = Peers(peers=peers, failed=tuple(failed))
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def wait_change(self) -> Peers:
        """Wait until `set` is called."""
        await self._changed.wait()
        return self.peers
