"""Changes of what runs, while it runs: restarts, more or fewer replicas, other settings.

Replicas of a service are changed one at a time: the others answer meanwhile, and each drains before
it leaves. Above: `control`, `daemon`. Below: the manager's children, through `owned.Children`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import anyio

from tale.errors import DaemonError, ServiceUnavailable
from tale.orchestration.child import Child
from tale.orchestration.events import RestartRequested, StartRequested
from tale.orchestration.owned import Children
from tale.orchestration.specs import ServerSpec
from tale.telemetry import get_logger

__all__ = ["MOST_REPLICAS", "Changes", "apply", "restart", "scale"]

log = get_logger(__name__)

MOST_REPLICAS = 64
"""Of one service; the settings have the same limit."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a change of the settings led to, by the names of servers."""

    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()


async def restart(manager: Children, name: str | None = None) -> None:
    """Restart a server, a service's replicas one after the other, or everything at once.

    Returns once all of it is ready again.

    Raises:
        DaemonError: There is no such server.
        ServiceUnavailable: Everything is being stopped.
    """
    chosen = [child for child in manager.children.values() if child.answers_to(name)]
    if not chosen:
        raise manager.unknown(name or "")
    for together in [chosen] if name is None else [[child] for child in chosen]:
        await _replace(manager, together)
        _check_open(manager)


async def scale(manager: Children, service: str, count: int) -> None:
    """Have so many replicas of a service run; returns once they are ready and the others gone.

    It lasts until the daemon ends or its settings are read again.

    Raises:
        DaemonError: There is no such service, it is one process by its nature, or the number is
            none that can be had.
        ServiceUnavailable: Everything is being stopped.
    """
    _check_open(manager)
    now = [child for child in manager.children.values() if child.spec.service == service]
    if not now:
        raise manager.unknown(service)
    if not now[0].spec.scalable:
        services = {c.spec.service for c in manager.children.values() if c.spec.scalable}
        raise DaemonError(
            f"{service} is one process: it alone owns what it keeps.",
            hint=f"What can be scaled: {', '.join(sorted(services)) or 'nothing here'}.",
        )
    if not 1 <= count <= MOST_REPLICAS:
        raise DaemonError(f"{count} replicas can't be had: it may be 1 to {MOST_REPLICAS}.")
    names = [f"{service}-{number}" for number in range(1, count + 1)]
    last = now[-1].spec
    log.info("service.scaled", service=service, count=count, before=len(now))
    async with anyio.create_task_group() as tasks:
        for child in now:
            if child.spec.name not in names:
                tasks.start_soon(manager.retire, child)
        for name in names:
            _want(manager, replace(last, name=name))
        await manager.until(lambda: manager.closing or _ready(manager, names) or None)
    _check_open(manager)


async def apply(manager: Children, specs: Sequence[ServerSpec]) -> Changes:
    """Make what runs match other specs: only what is different is started, stopped or restarted.

    It may be cancelled, and applied again with other specs: what has not been restarted yet still
    counts as different.

    Returns:
        What is being done; it goes on in the order of dependencies by itself, except that replicas
        that change have been replaced one after the other.

    Raises:
        ServiceUnavailable: Everything is being stopped.
    """
    wanted = {spec.name: spec for spec in specs}
    ours = {name: child for name, child in manager.children.items() if not child.spec.owner}
    gone = [child for name, child in ours.items() if name not in wanted]
    changed = [child for name, child in ours.items() if child.spec != wanted.get(name, child.spec)]
    new = [spec for name, spec in wanted.items() if name not in ours]
    async with anyio.create_task_group() as tasks:
        for child in gone:
            tasks.start_soon(manager.retire, child)
        for spec in specs:
            _want(manager, spec)
        for service in dict.fromkeys(child.spec.service for child in changed):
            rolled = [child for child in changed if child.spec.service == service]
            tasks.start_soon(_roll, manager, rolled, wanted)
    _check_open(manager)
    return Changes(
        tuple(spec.name for spec in new),
        tuple(child.spec.name for child in gone),
        tuple(child.spec.name for child in changed),
    )


async def _roll(
    manager: Children, children: Sequence[Child], wanted: Mapping[str, ServerSpec]
) -> None:
    for child in children:
        child.spec = wanted[child.spec.name]
        await _replace(manager, [child])


def _want(manager: Children, spec: ServerSpec) -> None:
    """Have a server run: a new one, or one that was about to be taken away."""
    if child := manager.children.get(spec.name):
        manager.feed(child, StartRequested())
    else:
        manager.add(spec)


async def _replace(manager: Children, children: Sequence[Child]) -> None:
    """Restart servers side by side, and wait until those that are still wanted are ready again.

    Once everything is being stopped, none is restarted or waited for.
    """
    before = {child.spec.name: child.process.starts for child in children}
    for child in children:
        # One that was scaled away meanwhile would come back, and be nobody's.
        if not manager.closing and manager.children.get(child.spec.name) is child:
            manager.feed(child, RestartRequested())

    def renewed(child: Child) -> bool:
        now = manager.children.get(child.spec.name)
        if now is None:
            return True
        # One that was ended and begun anew under the same name counts its starts from zero.
        since = before[child.spec.name] if now is child else 0
        return now.process.state == "ready" and now.process.starts > since

    def again() -> bool | None:
        return manager.closing or all(map(renewed, children)) or None

    await manager.until(again)


def _check_open(manager: Children) -> None:
    """Raise `ServiceUnavailable` once everything is being stopped."""
    if manager.closing:
        raise ServiceUnavailable("tale is stopping.")


def _ready(manager: Children, names: Sequence[str]) -> bool:
    return all(
        name in manager.children and manager.children[name].process.state == "ready"
        for name in names
    )
