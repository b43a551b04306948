"""What is to be expected of a model for a kind of request, learned from what happened. Pure.

Above: `ledger`, which keeps what happened, and `router`, which decides by these. Below: `assess`,
for kinds and bands.
"""

from __future__ import annotations

from dataclasses import dataclass

from tale.models.assess import Band, Kind
from tale.models.backend import FinishReason

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        at: Unix time in seconds.
        model: The real name of the model that answered.
        kind: What was asked for.
        band: How hard it was taken to be.
        ok: Whether the answer was good, as far as anybody can tell: False where it failed its
            check, ran out of time, fell back, or the user asked again; None where nobody said.
        prompt: Tokens of the prompt.
        completion: Tokens of the answer.
        cached: Tokens of the prompt that were not computed.
        first_token: Seconds to the first token; None where none came.
        seconds: Seconds to the end.
        finish: Why it ended; None where it failed.
    """

    at: float
    model: str
    kind: Kind
    band: Band
    ok: bool | None
    prompt: int
    completion: int
    cached: int
    first_token: float | None
    seconds: float
    finish: FinishReason | None
