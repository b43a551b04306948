"""What the panel of tokens shows: what was spent, what was saved, the last day. Pure.

Above: `view`. Below: `wire.overview_contracts` (facts), `shown`, `said`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from tale.cli.render import plural
from tale.dashboard.said import count_of
from tale.dashboard.shown import Chart, Column, Note, Row, Table, plain, text

if TYPE_CHECKING:
    from tale.wire.overview_contracts import ModelTokens, TokensView, TrendPoint

__all__ = ["by_the_hour", "tokens"]

_HOURS: Final = 24
_HOUR: Final = 3600.0


def tokens(found: TokensView | None, now: datetime) -> Table:
    """Show what the models took, and what one large model would have taken."""
    if found is None or not found.requests:
        return Table(empty="No model was asked anything yet." if found else "Not known yet.")
    spent, saved = by_the_hour(found.trend, now)
    return Table(
        columns=(
            Column("model", flexible=True),
            Column("requests", right=True),
            Column("in", right=True),
            Column("cached", right=True),
            Column("out", right=True),
        ),
        rows=(
            *map(_model_row, found.models),
            *_saving(found),
            *_day(spent, saved),
        ),
        title=text(f"{count_of(found.prompt + found.completion)} in all", "dim"),
    )


def by_the_hour(
    trend: tuple[TrendPoint, ...], now: datetime
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give for each of the last 24 hours the tokens that were spent, and those that were saved."""
    last = now.timestamp() // _HOUR
    spent, saved = [0.0] * _HOURS, [0.0] * _HOURS
    for point in trend:
        place = _HOURS - 1 - int(last - point.at // _HOUR)
        if 0 <= place < _HOURS:
            took = point.prompt + point.completion
            spent[place] += took
            saved[place] += max(0, point.naive - took)
    return tuple(spent), tuple(saved)


def _saving(found: TokensView) -> tuple[Note, ...]:
    said: list[Note] = []
    if found.sent_saved is not None:
        naive = count_of(found.naive_prompt + found.naive_completion)
        words = f"{_compared(found.sent_saved)} with one large model alone ({naive})."
        said.append(Note(words, "good" if found.sent_saved > 0 else "plain", 2))
    if found.computed_saved is not None and round(found.computed_saved * 100):
        share = round(abs(found.computed_saved) * 100)
        less = "less" if found.computed_saved > 0 else "more"
        said.append(Note(f"The large model computed {share} % {less}.", "dim", 2))
    if found.failed:
        said.append(Note(f"{plural(found.failed, 'request')} failed.", "warn"))
    return (Note(""), *said) if said else ()


def _compared(saved: float) -> str:
    share = round(abs(saved) * 100)
    if not share:
        return "As many tokens as"
    return f"{share} % {'fewer' if saved > 0 else 'more'} tokens than"


def _model_row(model: ModelTokens) -> Row:
    counts = (model.requests, model.prompt, model.cached, model.completion)
    return Row((text(plain(model.model)), *(text(count_of(count)) for count in counts)))


def _day(spent: tuple[float, ...], saved: tuple[float, ...]) -> tuple[Note | Chart, ...]:
    if not any(spent):
        return ()
    kept = f" · {count_of(round(sum(saved)))} saved" if any(saved) else ""
    return (Note(""), Chart("last day", spent, f"{count_of(round(sum(spent)))}{kept}"))
