"""The report on what the models took, as `tale usage` shows it.

The same fields as `models.usage.UsageReport` (a test compares them), read without importing it: see
`record`. Above: `usage`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tale.cli.record import Record

__all__ = ["NaiveView", "UsageLine", "UsageView"]


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Tokens of one model and kind, or of all where these are empty."""

    model: str
    role: str | None
    kind: str
    requests: int
    failed: int
    prompt: int
    cached: int
    computed: int
    completion: int

    @classmethod
    def read(cls, record: Record) -> UsageLine:
        """Read it from the report."""
        return cls(
            record.text("model"),
            record.text("role") or None,
            record.text("kind"),
            record.integer("requests"),
            record.integer("failed"),
            record.integer("prompt"),
            record.integer("cached"),
            record.integer("computed"),
            record.integer("completion"),
        )


@dataclass(frozen=True, slots=True)
class NaiveView:
    """What one loop on the large model with full history would have taken."""

    prompt: int
    completion: int
    computed: int

    @classmethod
    def read(cls, record: Record) -> NaiveView:
        """Read it from the report."""
        return cls(
            record.integer("prompt"), record.integer("completion"), record.integer("computed")
        )


@dataclass(frozen=True, slots=True)
class UsageView:
    """The whole report; shares are of the naive loop's tokens, None where it has none."""

    since: float | None
    lines: tuple[UsageLine, ...]
    total: UsageLine
    large_computed: int
    naive: NaiveView
    sent_saved: float | None
    computed_saved: float | None

    @classmethod
    def read(cls, record: Record) -> UsageView:
        """Read it from the report."""
        return cls(
            record.number("since"),
            tuple(map(UsageLine.read, record.records("lines"))),
            UsageLine.read(record.record("total")),
            record.integer("large_computed"),
            NaiveView.read(record.record("naive")),
            record.number("sent_saved"),
            record.number("computed_saved"),
        )
