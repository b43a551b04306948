"""The models server's report on its pool, as the commands show it.

The same fields as `models.pool_stats.PoolStatus` (a test compares them), read without importing it:
see `record`. Above: `status`, `models`, `bench`, `connection`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tale.cli.record import Record
from tale.cli.spinner import Waiting

__all__ = ["ModelView", "PoolView", "SwitchingView"]

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model. Times to first token are medians in milliseconds; None where not yet measured."""

    role: str | None
    name: str
    backend: str
    state: str
    detail: str
    resident: bool
    memory_bytes: float | None
    pid: int | None
    starts: int
    context: int
    slots: int
    load_seconds: float | None
    ttft_cold_ms: float | None
    ttft_warm_ms: float | None
    tokens_per_second: float | None
    requests: int
    fallbacks: int
    recoveries: int
    last_error: str
    in_flight: int
    waiting_requests: int

    @classmethod
    def read(cls, record: Record) -> ModelView:
        """Read it from the report."""
        return cls(
            role=record.text("role") or None,
            name=record.text("name"),
            backend=record.text("backend"),
            state=record.text("state"),
            detail=record.text("detail"),
            resident=record.flag("resident"),
            memory_bytes=record.number("memory_bytes"),
            pid=record.integer("pid") or None,
            starts=record.integer("starts"),
            context=record.integer("context"),
            slots=record.integer("slots"),
            load_seconds=record.number("load_seconds"),
            ttft_cold_ms=record.number("ttft_cold_ms"),
            ttft_warm_ms=record.number("ttft_warm_ms"),
            tokens_per_second=record.number("tokens_per_second"),
            requests=record.integer("requests"),
            fallbacks=record.integer("fallbacks"),
            recoveries=record.integer("recoveries"),
            last_error=record.text("last_error"),
            in_flight=record.integer("in_flight"),
            waiting_requests=record.integer("waiting"),
        )

    @property
    def is_ready(self) -> bool:
        """Whether it answers without loading."""
        return self.state == "ready"

    @property
    def waiting(self) -> Waiting:
        """What a person waits for while it isn't ready."""
        found = _PERCENT.search(self.detail)
        if found:
            said = _PERCENT.sub("", self.detail).strip(" :,.")
            return Waiting(f"{said} {self.name}", float(found[1]) / 100)
        detail = f": {self.detail}" if self.detail else ""
        return Waiting(f"{self.state} {self.name}{detail}")


@dataclass(frozen=True, slots=True)
class SwitchingView:
    """What changing between the resident models costs one of them, in milliseconds."""

    role: str
    same_ms: float | None
    switched_ms: float | None
    reload_ms: float | None

    @classmethod
    def read(cls, record: Record) -> SwitchingView:
        """Read it from the report."""
        return cls(
            record.text("role"),
            record.number("same_ms"),
            record.number("switched_ms"),
            record.number("reload_ms"),
        )


@dataclass(frozen=True, slots=True)
class PoolView:
    """The pool as it stands."""

    models: tuple[ModelView, ...]
    switching: tuple[SwitchingView, ...]
    available_bytes: int
    reserve_bytes: int

    @classmethod
    def read(cls, record: Record) -> PoolView:
        """Read it from the report."""
        return cls(
            tuple(map(ModelView.read, record.records("models"))),
            tuple(map(SwitchingView.read, record.records("switching"))),
            record.integer("available_bytes"),
            record.integer("reserve_bytes"),
        )

    @property
    def core(self) -> tuple[ModelView, ...]:
        """The models of the core roles."""
        return tuple(model for model in self.models if model.role)
