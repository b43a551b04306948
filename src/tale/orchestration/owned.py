"""The processes that a server has for itself: the models server's `model-…`.

What `leashes` asks for is done here. They are the supervisor's children like all others, so that
they outlive a crash of their owner. Above: `server_manager`, `leashes`. Below: `server_manager`'s
children, through `Children`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

import anyio

from tale.errors import DaemonError, ServiceUnavailable
from tale.orchestration.child import Child
from tale.orchestration.events import Event, RestartRequested, StartRequested
from tale.orchestration.specs import ServerSpec

__all__ = ["Children", "OwnedProcesses"]

_T = TypeVar("_T")


class Children(Protocol):
    """The part of the manager that is needed to change what runs."""

    children: dict[str, Child]
    closing: bool

    def feed(self, child: Child, event: Event) -> None:
        """Give an event to a child's state machine and perform what comes of it."""
        ...

    async def until(self, condition: Callable[[], _T | None]) -> _T:
        """Wait until a condition gives something, looked at whenever anything changes."""
        ...

    def add(self, spec: ServerSpec) -> Child:
        """Have one more server run."""
        ...

    async def retire(self, child: Child) -> None:
        """Stop a server and forget it, unless somebody wants it again meanwhile."""
        ...

    def unknown(self, name: str) -> DaemonError:
        """Say that there is no such server, and which there are."""
        ...


class OwnedProcesses:
    """Starts, replaces and ends processes on behalf of the server that owns them."""

    def __init__(self, manager: Children) -> None:
        self._manager = manager

    async def ensure(self, spec: ServerSpec) -> None:
        """Have a further process run as the spec says; returns once it is started.

        Raises:
            DaemonError: The name is another's, or the process can't be started.
        """
        if self._manager.closing:
            raise ServiceUnavailable("tale is stopping.")
        child = self._manager.children.get(spec.name)
        if child is None:
            child = self._manager.children[spec.name] = Child(spec)
        elif child.spec.owner != spec.owner:
            raise DaemonError(f"{spec.name} is the name of another server.")
        changed, child.spec = child.spec != spec, spec
        if not changed and child.process.state in ("starting", "ready"):
            return
        before = child.process.starts
        # Who asks heard of the failure before: it is not made to wait for a new attempt.
        anew = changed or child.process.state == "backoff"
        self._manager.feed(child, RestartRequested() if anew else StartRequested())
        await self._started(child, before)

    async def replace(self, name: str, owner: str) -> None:
        """Kill an owner's process and start a new one; returns once it is started.

        Raises:
            DaemonError: There is no such process, or it can't be started.
        """
        child = self._owned(name, owner)
        before = child.process.starts
        self._manager.feed(child, RestartRequested(kill=True))
        await self._started(child, before)

    async def remove(self, name: str, owner: str) -> None:
        """Stop an owner's process and forget it; one that isn't there is fine.

        Raises:
            DaemonError: The process is another's.
        """
        if name not in self._manager.children:
            return
        await self._manager.retire(self._owned(name, owner))

    async def keep_only(self, names: Collection[str], owner: str) -> None:
        """Stop all of an owner's processes but these, and forget them; returns once they are gone.

        One that was asked for before its owner was started anew is known to nobody else.
        """
        mine = [child for child in self._manager.children.values() if child.spec.owner == owner]
        async with anyio.create_task_group() as tasks:
            for child in mine:
                if child.spec.name not in names:
                    tasks.start_soon(self._manager.retire, child)

    async def _started(self, child: Child, before: int) -> None:
        def settled() -> bool | None:
            process = child.process
            return process.starts > before or process.state in ("backoff", "stopped") or None

        await self._manager.until(settled)
        if child.process.starts == before:
            reason = child.process.last_exit or "it was stopped"
            raise DaemonError(f"{child.spec.name} is not running: {reason}.")

    def _owned(self, name: str, owner: str) -> Child:
        child = self._manager.children.get(name)
        if child is None or child.spec.owner != owner:
            raise self._manager.unknown(name)
        return child
