"""The models server's figures: requests, tokens and times by model, and the models as they stand.

Above: `exposition`, through `WireMetrics.show`; `chat_completions` notes each request here on its
way to the ledger. Below: `ModelPool.status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tale.models.entry import Entry
from tale.models.ledger import Noting
from tale.models.model_pool import ModelPool
from tale.models.pool_stats import ModelStatus
from tale.wire.figures import Figure, Histogram, Sample, Tally

__all__ = ["ModelFigures"]

# OpenTelemetry's for `gen_ai.server.time_to_first_token` and `gen_ai.server.request.duration`,
# without those that no local model reaches, and with some more for long prompts on a CPU.
_FIRST_TOKEN: Final = (0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
_DURATION: Final = (0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68)
_MODEL: Final = ("model", "role")

_Level = Callable[[ModelStatus], float | None]
_LEVELS: Final[tuple[tuple[str, str, _Level], ...]] = (
    (
        "tale_model_ready",
        "1 where a model is in memory and answers.",
        lambda one: float(one.state == "ready" and one.resident),
    ),
    ("tale_model_memory_bytes", "Real memory of a model's process.", lambda one: one.memory_bytes),
    (
        "tale_model_in_flight",
        "Requests that a model answers now, or that wait for it.",
        lambda one: one.in_flight,
    ),
    (
        "tale_model_waiting",
        "Requests that wait for one of a model's slots.",
        lambda one: one.waiting,
    ),
    ("tale_model_slots", "Requests that a model answers side by side.", lambda one: one.slots),
    (
        "tale_model_tokens_per_second",
        "Median speed of generation over the last 200 requests.",
        lambda one: one.tokens_per_second,
    ),
    ("tale_model_load_seconds", "How long the last load took.", lambda one: one.load_seconds),
)
_COUNTS: Final[tuple[tuple[str, str, _Level], ...]] = (
    ("tale_model_starts", "How often a model's process was started.", lambda one: one.starts),
    ("tale_model_recoveries", "How often a model was brought back.", lambda one: one.recoveries),
    (
        "tale_model_fallbacks",
        "Requests meant for a model that another answered.",
        lambda one: one.fallbacks,
    ),
)


class ModelFigures:
    """Counts requests, and shows the models."""

    def __init__(self, pool: ModelPool, ledger: Noting | None = None) -> None:
        """What is noted here goes on to the ledger."""
        self._pool = pool
        self._ledger = ledger
        self._requests = Tally(
            "tale_model_requests",
            "Requests that ended, by how: stop, length, tool_calls, or the error's code.",
            *(*_MODEL, "kind", "outcome"),
        )
        self._tokens = Tally(
            "tale_model_tokens",
            "Tokens of prompts that were computed, of prompts that came from the cache, and "
            "generated.",
            *(*_MODEL, "type"),
        )
        self._first_token = Histogram(
            "tale_model_first_token_seconds", "Time to the first token.", _FIRST_TOKEN, *_MODEL
        )
        self._duration = Histogram(
            "tale_model_request_seconds", "Time to the end of an answer.", _DURATION, *_MODEL
        )

    def note(self, entry: Entry) -> None:
        """Count a request that has ended, and hand it on."""
        model = (entry.model, entry.role or "")
        usage = entry.usage
        self._requests.add(*model, entry.kind, entry.error or entry.finish or "")
        for kind, count in (
            ("computed", usage.prompt - usage.cached),
            ("cached", usage.cached),
            ("generated", usage.completion),
        ):
            self._tokens.add(*model, kind, count=count)
        if entry.first_token is not None:
            self._first_token.add(entry.first_token, *model)
        if not entry.error:
            self._duration.add(entry.seconds, *model)
        if self._ledger is not None:
            self._ledger.note(entry)

    async def figures(self) -> Iterable[Figure]:
        """Give all of them, after a look at the models."""
        status = await self._pool.status()
        available = (Sample((), status.available_bytes),)
        return (
            self._requests.figure(),
            self._tokens.figure(),
            self._first_token.figure(),
            self._duration.figure(),
            *(_levels(name, text, level, status.models) for name, text, level in _LEVELS),
            *(_counts(name, text, level, status.models) for name, text, level in _COUNTS),
            Figure(
                "tale_memory_available_bytes",
                "gauge",
                "Memory that the machine could still give.",
                (),
                available,
            ),
        )


def _levels(name: str, text: str, level: _Level, models: Iterable[ModelStatus]) -> Figure:
    return Figure(name, "gauge", text, _MODEL, _samples(level, models))


def _counts(name: str, text: str, level: _Level, models: Iterable[ModelStatus]) -> Figure:
    return Figure(name, "counter", text, _MODEL, _samples(level, models))


def _samples(level: _Level, models: Iterable[ModelStatus]) -> tuple[Sample, ...]:
    return tuple(
        Sample((one.name, one.role or ""), value)
        for one in models
        if (value := level(one)) is not None
    )
