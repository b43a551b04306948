"""Who may start and who may stop, by who depends on whom: pure looks at specs and children.

Above: `server_manager`, which asks whenever anything changed, and `own_servers`, which checks.
Dependencies are declared in `specs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from tale.errors import ConfigError
from tale.orchestration.specs import Dependency, ServerSpec

if TYPE_CHECKING:
    from tale.orchestration.child import Child

__all__ = ["alive", "check_order", "may_start", "may_stop"]


def check_order(specs: Sequence[ServerSpec]) -> None:
    """See that the servers can be told apart, and started one after the other.

    Raises:
        ConfigError: A name stands twice, a dependency is missing, or they wait for each other.
    """
    repeated = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"Two servers are called {repeated[0]!r}.",
            hint="Give the one under [servers] another name; tale's own keep theirs.",
        )
    services = {spec.service for spec in specs}
    known = {spec.name: spec.service for spec in specs} | {name: name for name in services}
    graph: dict[str, set[str]] = {service: set() for service in services}
    for spec in specs:
        for dependency in spec.depends_on:
            if dependency.name not in known:
                raise ConfigError(
                    f"servers.{spec.service}.depends_on names {dependency.name!r}, which is none.",
                    hint=f"There are: {', '.join(sorted(services - {spec.service}))}.",
                )
            # Replicas of one service may wait for each other: the first one is up to nobody.
            if known[dependency.name] != spec.service or dependency.name == spec.service:
                graph[spec.service].add(known[dependency.name])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        raise ConfigError(
            f"The servers {' → '.join(reversed(cycle))} wait for each other for ever.",
            hint="Take one depends_on away from them, under [servers] in tale.toml.",
        ) from None


def alive(children: Mapping[str, Child]) -> list[Child]:
    """List those that are not stopped."""
    return [child for child in children.values() if child.process.state != "stopped"]


def may_start(child: Child, children: Mapping[str, Child]) -> bool:
    """Whether a child that waits has nobody to wait for any more."""
    waiting = child.process.state == "waiting"
    return waiting and all(_met(dependency, children) for dependency in child.spec.depends_on)


def may_stop(child: Child, children: Mapping[str, Child]) -> bool:
    """Whether nobody that lives needs a child any more."""
    return not any(other.needs(child) for other in alive(children) if other is not child)


def _met(dependency: Dependency, children: Mapping[str, Child]) -> bool:
    """Whether a dependency is there; once there, its absence later holds nobody up."""
    named = [child for child in children.values() if child.answers_to(dependency.name)]
    return not named or any(
        child.process.was_ready or (dependency.after == "spawn" and child.process.starts > 0)
        for child in named
    )
