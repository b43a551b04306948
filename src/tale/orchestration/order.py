"""Who may start and who may stop, by who depends on whom: pure looks at the children.

Above: `server_manager`, which asks whenever anything changed. Dependencies are declared in `specs`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tale.orchestration.child import Child
from tale.orchestration.specs import Dependency

__all__ = ["alive", "may_start", "may_stop"]


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
    first = children.get(dependency.name)
    if first is None:
        return True
    return first.process.was_ready or (dependency.after == "spawn" and first.process.starts > 0)
