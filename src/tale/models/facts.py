"""The models as the router sees them, taken from those of the pool as they stand. Reads only.

Above: `model_pool`. Below: `roster` and its members, `prospects.ModelFacts`.
"""

from __future__ import annotations

from typing import Final

from tale.models.choice import patience_with
from tale.models.prospects import ModelFacts
from tale.models.resident import ResidentModel
from tale.models.roster import Roster

__all__ = ["facts_of"]

_WINDOW: Final = 8192
"""Tokens, where no core model says."""

_LOAD_SECONDS: Final = 20.0
"""What loading an optional model takes: some gigabytes from a disk at a few hundred MB/s."""


def facts_of(roster: Roster) -> tuple[ModelFacts, ...]:
    """Describe every model that may be asked for, the core ones first."""
    here = [_resident(model) for model in roster.models]
    named = {name for facts in here for name in facts.names}
    # Optional models get the window of the model that works.
    window = max((facts.context for facts in here if facts.role), default=_WINDOW)
    loadable = [
        ModelFacts(name, None, window, state="not loaded", ready_in=_LOAD_SECONDS)
        for name in roster.further.names()
        if name not in named
    ]
    remote = [
        ModelFacts(name, None, model.backend.context, local=False, learned_as=model.backend.model)
        for name, model in roster.remotes.items()
    ]
    return (*here, *loadable, *remote)


def _resident(model: ResidentModel) -> ModelFacts:
    seen = model.candidate()
    coming = (
        seen.state in {"loading", "recovering"}
        and seen.refusal is None
        and seen.down_for < seen.expected * patience_with(seen.role)
    )
    speed = model.stats.tokens_per_second
    return ModelFacts(
        model.backend.model,
        model.role,
        model.backend.context,
        up=model.ready or coming,
        state=seen.state,
        ready_in=max(0.0, seen.expected - seen.down_for) if coming else None,
        slots=model.slots,
        in_flight=model.in_flight - model.waiting,
        waiting=model.waiting,
        per_token=1 / speed if speed else None,
    )
