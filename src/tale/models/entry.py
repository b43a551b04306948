"""One request in the ledger: as it is noted, and as it is kept. Values only.

Above: `servers.recording`, which notes; `ledger`, which keeps. Below: `estimates.Outcome`, which is
what the router learns from.
"""

from __future__ import annotations

from dataclasses import dataclass

from tale.models.assess import Band, Kind
from tale.models.backend import FinishReason, Role, Usage
from tale.models.estimates import Outcome
from tale.models.naive import Naive, Spent

__all__ = ["Entry", "Row", "outcome_of", "spent_of"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that has ended, as `Ledger.note` takes it.

    Attributes:
        id: Its id, by which a word about its outcome may come later.
        at: Unix time in seconds at which it came.
        session: The conversation that it is part of; None if the caller keeps its own history.
        own: Whether tale made it for itself: a summary, an answer of a cascade
            that was thrown away. A naive loop wouldn't.
        model: Real name of the model that answered, or that was to.
        role: Its core role; None for a further one.
        kind: What was asked for.
        band: How hard it was taken to be.
        usage: Tokens spent.
        said: The text that is new in it: what came after the last answer.
        estimated: Tokens that the prompt was taken to have before it was sent.
        prompt_bytes: Size of all its messages in UTF-8.
        first_token: Seconds to the first token; None where none came or nobody looked.
        seconds: Seconds to the end.
        finish: Why the answer ended; None where it failed.
        fell_back: Whether another model was asked for.
        error: Code of the error; empty where there was none.
        ok: Whether the answer was good; None until somebody says.
    """

    id: str
    at: float
    session: str | None
    own: bool
    model: str
    role: Role | None
    kind: Kind
    band: Band
    usage: Usage
    said: str
    prompt_bytes: int
    first_token: float | None
    seconds: float
    finish: FinishReason | None
    fell_back: bool = False
    error: str = ""
    ok: bool | None = None
    estimated: int = 0

    @property
    def estimated_said(self) -> int:
        """Tokens of `said`, from the tokens that this very prompt took per byte.

        Exact on average over a prompt's parts; used where the backend can't tokenize.
        """
        if not self.prompt_bytes:
            return 0
        size = len(self.said.encode(errors="replace"))
        return min(round(size * self.usage.prompt / self.prompt_bytes), self.usage.prompt)


@dataclass(frozen=True, slots=True)
class Row:
    """A request as the ledger keeps it: an `Entry` with tokens for its texts.

    Attributes:
        said: Tokens of what was new in it.
        naive: What a naive loop would have taken for it.
    """

    id: str
    at: float
    session: str | None
    own: bool
    model: str
    role: Role | None
    kind: Kind
    band: Band
    prompt: int
    completion: int
    cached: int
    said: int
    estimated: int
    first_token: float | None
    seconds: float
    finish: FinishReason | None
    fell_back: bool
    error: str
    ok: bool | None
    naive: Naive

    @classmethod
    def of(cls, entry: Entry, said: int, naive: Naive) -> Row:
        """Make the row of an entry."""
        return cls(
            entry.id,
            entry.at,
            entry.session,
            entry.own,
            entry.model,
            entry.role,
            entry.kind,
            entry.band,
            entry.usage.prompt,
            entry.usage.completion,
            entry.usage.cached,
            said,
            entry.estimated,
            entry.first_token,
            entry.seconds,
            entry.finish,
            entry.fell_back,
            entry.error,
            entry.ok,
            naive,
        )


def spent_of(entry: Entry, said: int) -> Spent:
    """Say what a request took, as the naive counterpart needs it."""
    usage = entry.usage
    return Spent(usage.prompt, said, usage.completion, entry.session is not None, entry.own)


def outcome_of(row: Row) -> Outcome:
    """Say how a request ended, as the router's estimates learn it."""
    return Outcome(
        at=row.at,
        model=row.model,
        kind=row.kind,
        band=row.band,
        ok=row.ok,
        prompt=row.prompt,
        completion=row.completion,
        cached=row.cached,
        first_token=row.first_token,
        seconds=row.seconds,
        finish=row.finish,
        estimated=row.estimated,
    )
