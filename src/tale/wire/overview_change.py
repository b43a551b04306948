"""What changed between two overviews, and how a change is put into the one before. Pure.

`merged(before, change_between(before, after))` is `after`. Above: `servers.overview`, which sends
changes, and the Textual dashboard, which takes them. Below: `overview_contracts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from tale.wire.contracts import TaskView
from tale.wire.overview_contracts import (
    Change,
    HistoryView,
    MemoryPoint,
    Overview,
    RequestPoint,
    ServerView,
)

__all__ = ["HISTORY_SECONDS", "MOST_REQUESTS", "change_between", "joined", "merged"]

_T = TypeVar("_T")

HISTORY_SECONDS: Final = 3600.0
"""How long ago the oldest point of a history may be."""
MOST_REQUESTS: Final = 720
"""Most requests in a history: one each five seconds."""


def change_between(before: Overview, after: Overview) -> Change:
    """Say what is different; `after` is the later one, and knows all that `before` knew."""
    return Change(
        at=after.at,
        daemon=_new(before.daemon, after.daemon),
        machine=_new(before.machine, after.machine),
        servers=_others(before.servers, after.servers, _name),
        server_order=_new(_order(before.servers, _name), _order(after.servers, _name)),
        models=_new(before.models, after.models),
        tasks=_others(before.tasks, after.tasks, _id),
        task_order=_new(_order(before.tasks, _id), _order(after.tasks, _id)),
        plans=_new(before.plans, after.plans),
        tokens=_new(before.tokens, after.tokens),
        history=_later(before.history, after.history),
        troubles=_new(before.troubles, after.troubles),
    )


def merged(before: Overview, change: Change) -> Overview:
    """Put a change into the overview that it follows."""
    return Overview(
        at=change.at,
        daemon=_or(change.daemon, before.daemon),
        machine=_or(change.machine, before.machine),
        servers=_placed(before.servers, change.servers, change.server_order, _name),
        models=_or(change.models, before.models),
        tasks=_placed(before.tasks, change.tasks, change.task_order, _id),
        plans=_or(change.plans, before.plans),
        tokens=_or(change.tokens, before.tokens),
        history=joined(before.history, change.history, change.at.timestamp()),
        troubles=_or(change.troubles, before.troubles),
    )


def joined(before: HistoryView, new: HistoryView | None, now: float) -> HistoryView:
    """Add what is new to a history, and leave out what is too old.

    Args:
        before: The history so far.
        new: What comes after it; None if nothing does.
        now: The present, Unix time.
    """
    oldest = now - HISTORY_SECONDS
    requests = (*before.requests, *(new.requests if new else ()))[-MOST_REQUESTS:]
    memory = (*before.memory, *(new.memory if new else ()))
    return HistoryView(
        requests=tuple(point for point in requests if point.at >= oldest),
        memory=tuple(point for point in memory if point.at >= oldest),
    )


def _later(before: HistoryView, after: HistoryView) -> HistoryView | None:
    number = max((point.number for point in before.requests), default=-1)
    at = max((point.at for point in before.memory), default=float("-inf"))
    requests: tuple[RequestPoint, ...] = tuple(p for p in after.requests if p.number > number)
    memory: tuple[MemoryPoint, ...] = tuple(p for p in after.memory if p.at > at)
    return HistoryView(requests=requests, memory=memory) if requests or memory else None


def _name(server: ServerView) -> str:
    return server.name


def _id(task: TaskView) -> str:
    return task.id


def _order(listed: Sequence[_T], key: Callable[[_T], str]) -> tuple[str, ...]:
    return tuple(map(key, listed))


def _new(before: _T, after: _T) -> _T | None:
    return None if before == after else after


def _or(new: _T | None, before: _T) -> _T:
    return before if new is None else new


def _others(before: Sequence[_T], after: Sequence[_T], key: Callable[[_T], str]) -> tuple[_T, ...]:
    known = {key(one): one for one in before}
    return tuple(one for one in after if known.get(key(one)) != one)


def _placed(
    before: Sequence[_T],
    changed: Sequence[_T],
    order: Sequence[str] | None,
    key: Callable[[_T], str],
) -> tuple[_T, ...]:
    known = {key(one): one for one in before} | {key(one): one for one in changed}
    names = [key(one) for one in before] if order is None else order
    return tuple(known[name] for name in names if name in known)
