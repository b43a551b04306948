"""Who starts the processes that hold models, seen from where models are used.

The models server may not start processes; it asks the supervisor over its leash. Above: `embedded`.
Below: `wire.child.Leash`. Operations and their arguments: `orchestration`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Protocol

from pydantic import JsonValue

from tale.errors import LoadFailed, TaleError
from tale.telemetry import get_logger
from tale.wire.leash import FailedStart, Fault, Peer
from tale.wire.peers import FixedPeers, PeerSource

__all__ = ["InMemoryLauncher", "Launcher", "LeashLauncher", "Supervision", "same_process"]

log = get_logger(__name__)


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

    async def keep_only(self, names: Collection[str]) -> None:
        """End all processes but these, as far as that can be done."""
        ...

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until a process is ready; `after` is one that doesn't count any more.

        Raises:
            TaleError: It ended before it was ready, since it was last asked for.
        """
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
        self._known: dict[str, int] = {}

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process if it isn't running with these arguments."""
        self._known[name] = _failures(self._leash, name)
        await self._leash.call("start_model", name=name, module_args=list(module_args), nice=nice)

    async def restart(self, name: str, reason: str) -> None:
        """Kill a process and start it again, without the pause that follows a crash."""
        self._known[name] = _failures(self._leash, name)
        await self._leash.call("restart_server", name=name, reason=reason)

    async def stop(self, name: str) -> None:
        """End a process for good."""
        await self._leash.call("stop_server", name=name)

    async def keep_only(self, names: Collection[str]) -> None:
        """End all processes but these; where that fails, models load beside what is left."""
        try:
            await self._leash.call("keep_models", names=[*sorted(names)])
        except TaleError as error:
            log.warning("models.others_not_ended", reason=str(error))

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until the supervisor announces a process other than `after`, or its failure."""
        return await _wait_ready(self._leash, name, after, self._known.get(name, 0))

    def peer(self, name: str) -> Peer | None:
        """Look up a ready process in what the supervisor announced last."""
        return next(iter(self._leash.peers.of(name)), None)


def same_process(one: Peer, other: Peer | None) -> bool:
    """Say whether two announcements are of the same start of a process."""
    return other is not None and (one.pid, one.starts) == (other.pid, other.starts)


def _failures(source: PeerSource, name: str) -> int:
    """Number the failure that is known already: the next attempt must not take it for its own."""
    failed = source.peers.failure(name)
    return failed.number if failed else 0


async def _wait_ready(source: PeerSource, name: str, after: Peer | None, known: int) -> Peer:
    while True:
        peer = next(iter(source.peers.of(name)), None)
        if peer is not None and not same_process(peer, after):
            return peer
        failed = source.peers.failure(name)
        if failed is not None and failed.number > known:
            raise failed.fault.error() if failed.fault else _silent(failed)
        await source.wait_change()


def _silent(failed: FailedStart) -> LoadFailed:
    """Speak for a process that ended without a word."""
    return LoadFailed(
        f"{failed.name} ended before it was ready: {failed.reason}.",
        hint=f"`tale logs {failed.name}` may say why; too little memory is the usual reason.",
    )


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
        self._faults: dict[str, Fault | None] = {}
        self._known: dict[str, int] = {}

    def comes_up(self, name: str, url: str, *, pid: int | None = None) -> None:
        """Have a process be announced at `url` when it is started; `pid` is ours by default."""
        self._urls[name] = url
        self._faults.pop(name, None)
        self._pids[name] = os.getpid() if pid is None else pid

    def stays_down(self, name: str) -> None:
        """Have a process that is started never get ready."""
        self._urls.pop(name, None)

    def fails(self, name: str, error: TaleError | None = None) -> None:
        """Have each start of a process fail, with these last words or without any."""
        self._urls.pop(name, None)
        self._faults[name] = Fault.of(error) if error else None

    def goes_down(self, name: str) -> None:
        """Take a process out of what is announced."""
        known = self._source.peers
        self._source.set(
            *(peer for peer in known.peers if peer.name != name),
            failed=[failed for failed in known.failed if failed.name != name],
        )

    def announce(self, name: str) -> None:
        """Announce a start of a process, as the supervisor does when it comes up by itself."""
        self.goes_down(name)
        starts = self._starts[name] = self._starts.get(name, 0) + 1
        known = self._source.peers
        if url := self._urls.get(name):
            peer = Peer(service=name, name=name, url=url, pid=self._pids[name], starts=starts)
            self._source.set(*known.peers, peer, failed=known.failed)
        elif name in self._faults:
            fault = self._faults[name]
            failed = FailedStart(name=name, number=starts, reason="exit 70", fault=fault)
            self._source.set(*known.peers, failed=[*known.failed, failed])

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process unless it is announced."""
        del module_args, nice
        self.calls.append(("start", name))
        self._known[name] = _failures(self._source, name)
        if self.peer(name) is None:
            self.announce(name)

    async def restart(self, name: str, reason: str) -> None:
        """Start a process anew."""
        del reason
        self.calls.append(("restart", name))
        self._known[name] = _failures(self._source, name)
        self.announce(name)

    async def stop(self, name: str) -> None:
        """Take a process away."""
        self.calls.append(("stop", name))
        self.goes_down(name)

    async def keep_only(self, names: Collection[str]) -> None:
        """Take all processes away but these."""
        for peer in self._source.peers.peers:
            if peer.name not in names:
                await self.stop(peer.name)

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until a process other than `after` is announced, or its failure."""
        return await _wait_ready(self._source, name, after, self._known.get(name, 0))

    def peer(self, name: str) -> Peer | None:
        """Look up an announced process."""
        return next(iter(self._source.peers.of(name)), None)
