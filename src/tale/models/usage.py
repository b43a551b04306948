"""What the models took, summed: per model and kind, in all, and beside the naive loop. Pure.

Above: `servers.usage_api` and `tale usage`. Below: `entry` (rows) and `ledger_file` (older sums).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tale.models.backend import Role

if TYPE_CHECKING:
    from tale.models.entry import Row

__all__ = ["NaiveSum", "Tally", "UsageLine", "UsageReport", "merged", "report", "tally_of"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over requests of one model and kind; tokens unless said otherwise.

    Attributes:
        model: The model's real name.
        role: Its core role; None for a further one.
        kind: What was asked for.
        requests: How many.
        failed: How many of them ended with an error.
        prompt: Sent.
        cached: Of those, not computed, because the prefix cache had them.
        completion: Generated.
        naive_prompt: What a naive loop would have sent; see `naive`.
        naive_completion: What it would have generated.
        naive_computed: What it would have computed with a perfect prefix cache.
    """

    model: str
    role: Role | None
    kind: str
    requests: int = 0
    failed: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    naive_prompt: int = 0
    naive_completion: int = 0
    naive_computed: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What it sums over; sorts."""
        return (self.model, self.role or "", self.kind)

    def __add__(self, other: Tally) -> Tally:
        """Sum up two of the same model and kind."""
        return Tally(
            self.model,
            self.role,
            self.kind,
            self.requests + other.requests,
            self.failed + other.failed,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.naive_prompt + other.naive_prompt,
            self.naive_completion + other.naive_completion,
            self.naive_computed + other.naive_computed,
        )


@dataclass(frozen=True, slots=True)
class UsageLine:
    """A line of the report; `computed` is what of `prompt` the prefix cache didn't have."""

    model: str
    role: Role | None
    kind: str
    requests: int
    failed: int
    prompt: int
    cached: int
    computed: int
    completion: int


@dataclass(frozen=True, slots=True)
class NaiveSum:
    """What one loop on the large model with full history would have taken; see `naive`."""

    prompt: int
    completion: int
    computed: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The whole report.

    Attributes:
        since: Unix time from which on requests count; None for all.
        lines: One a model and kind, by model, the most tokens first.
        total: All of them; its model, role and kind are empty.
        large_computed: Tokens that the large model (role `task`) really computed, in and out.
        naive: The naive loop.
        sent_saved: Share of the loop's tokens, in and out, that weren't spent; below 0 where more
            were. None where the loop would have sent nothing.
        computed_saved: The same of the tokens that the large model computes.
    """

    since: float | None
    lines: tuple[UsageLine, ...]
    total: UsageLine
    large_computed: int
    naive: NaiveSum
    sent_saved: float | None
    computed_saved: float | None


def tally_of(row: Row) -> Tally:
    """Sum up one request."""
    return Tally(
        row.model,
        row.role,
        row.kind,
        1,
        int(bool(row.error)),
        row.prompt,
        row.cached,
        row.completion,
        row.naive.prompt,
        row.naive.completion,
        row.naive.computed,
    )


def merged(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    """Sum up those of the same model and kind, in the order of their keys."""
    sums: dict[tuple[str, str, str], Tally] = {}
    for tally in tallies:
        sums[tally.key] = sums[tally.key] + tally if tally.key in sums else tally
    return tuple(sums[key] for key in sorted(sums))


def report(tallies: Iterable[Tally], since: float | None) -> UsageReport:
    """Make the report out of sums, in whatever order they come."""
    parts = merged(tallies)
    total = Tally("", None, "")
    large, spent_by = 0, dict[str, int]()
    for part in parts:
        total += part
        spent_by[part.model] = spent_by.get(part.model, 0) + part.prompt + part.completion
        if part.role == "task":
            large += part.prompt - part.cached + part.completion
    ordered = sorted(
        parts, key=lambda t: (-spent_by[t.model], t.model, -(t.prompt + t.completion), t.key)
    )
    return UsageReport(
        since,
        tuple(map(_line, ordered)),
        _line(total),
        large,
        NaiveSum(total.naive_prompt, total.naive_completion, total.naive_computed),
        _saved(total.prompt + total.completion, total.naive_prompt + total.naive_completion),
        _saved(large, total.naive_computed),
    )


def _saved(spent: int, naive: int) -> float | None:
    return 1 - spent / naive if naive else None


def _line(tally: Tally) -> UsageLine:
    return UsageLine(
        tally.model,
        tally.role,
        tally.kind,
        tally.requests,
        tally.failed,
        tally.prompt,
        tally.cached,
        tally.prompt - tally.cached,
        tally.completion,
    )
