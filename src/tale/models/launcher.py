"""Who starts the processes that hold models, seen from where models are used.

The models server may not start processes; it asks the supervisor over its leash. Above: `embedded`.
Below: `wire.child.Leash`. Operations and their arguments: `orchestration`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from pydantic import JsonValue

from tale.wire.leash import Peer
from tale.wire.peers import FixedPeers, PeerSource

__all__ = ["InMemoryLauncher", "Launcher", "LeashLauncher", "Supervision", "same_process"]


class Launcher(Protocol):
    """Starts model processes and knows where the ready ones are."""

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process if it isn't running with these arguments; returns once it is started."""
        ...

    async def restart(self, name: str, reason: str) -> None:
        """Kill a process and start it again; returns once it is started."""
        ...

    async def stop(self, name: str) -> None:
        """End a process for good."""
        ...

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until a process is ready; `after` is one that doesn't count any more."""
        ...

    def peer(self, name: str) -> Peer | None:
        """Look up a ready process."""
        ...


class Supervision(PeerSource, Protocol):
    """What `LeashLauncher` needs of the leash."""

    async def call(self, operation: str, **arguments: JsonValue) -> JsonValue:
        """Have the supervisor do something."""
        ...


class LeashLauncher:
    """Has the supervisor do it."""

    def __init__(self, leash: Supervision) -> None:
        self._leash = leash

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process if it isn't running with these arguments."""
        await self._leash.call("start_model", name=name, module_args=list(module_args), nice=nice)

    async def restart(self, name: str, reason: str) -> None:
        """Kill a process and start it again, without the pause that follows a crash."""
        await self._leash.call("restart_server", name=name, reason=reason)

    async def stop(self, name: str) -> None:
        """End a process for good."""
        await self._leash.call("stop_server", name=name)

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until the supervisor announces a process other than `after`."""
        while (peer := self.peer(name)) is None or same_process(peer, after):
            await self._leash.wait_change()
        return peer

    def peer(self, name: str) -> Peer | None:
        """Look up a ready process in what the supervisor announced last."""
        return next(iter(self._leash.peers.of(name)), None)


def same_process(one: Peer, other: Peer | None) -> bool:
    """Say whether two announcements are of the same start of a process."""
    return other is not None and (one.pid, one.starts) == (other.pid, other.starts)


class InMemoryLauncher:
    """Processes that are only announcements: the twin of `LeashLauncher` for tests.

    Attributes:
        calls: What was asked for, in order: operation and name.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._source = FixedPeers()
        self._urls: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        self._pids: dict[str, int] = {}

    def comes_up(self, name: str, url: str, *, pid: int | None = None) -> None:
        """Have a process be announced at `url` when it is started; `pid` is ours by default."""
        self._urls[name] = url
        self._pids[name] = os.getpid() if pid is None else pid

    def stays_down(self, name: str) -> None:
        """Have a process that is started never get ready."""
        self._urls.pop(name, None)

    def goes_down(self, name: str) -> None:
        """Take a process out of what is announced."""
        self._source.set(*(peer for peer in self._source.peers.peers if peer.name != name))

    def announce(self, name: str) -> None:
        """Announce a start of a process, as the supervisor does when it comes up by itself."""
        self.goes_down(name)
        starts = self._starts[name] = self._starts.get(name, 0) + 1
        if url := self._urls.get(name):
            peer = Peer(service=name, name=name, url=url, pid=self._pids[name], starts=starts)
            self._source.set(*self._source.peers.peers, peer)

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process unless it is announced."""
        del module_args, nice
        self.calls.append(("start", name))
        if self.peer(name) is None:
            self.announce(name)

    async def restart(self, name: str, reason: str) -> None:
        """Start a process anew."""
        del reason
        self.calls.append(("restart", name))
        self.announce(name)

    async def stop(self, name: str) -> None:
        """Take a process away."""
        self.calls.append(("stop", name))
        self.goes_down(name)

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until a process other than `after` is announced."""
        while (peer := self.peer(name)) is None or same_process(peer, after):
            await self._source.wait_change()
        return peer

    def peer(self, name: str) -> Peer | None:
        """Look up an announced process."""
        return next(iter(self._source.peers.of(name)), None)
