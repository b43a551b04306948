"""Recalling for a conversation: looks things up for a request, and keeps what the window was given.

A turn that was answered with something recalled has it in every window that follows, also after a
restart. Above: `windows`. Below: `recall` (chooses), a `Finder`, `storage.database`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import anyio
from sqlalchemy import Connection, delete, insert, select

from tale.errors import TaleError
from tale.memory.finding import Finder
from tale.memory.recall import CLEAR, Recalled, is_worth_a_look, recall, written
from tale.memory.turns import Turn
from tale.storage.database import Database, storable
from tale.storage.schema import notes, recalled, turns
from tale.telemetry import get_logger

__all__ = ["Recalling", "forget_recalled", "forget_recalled_note"]

log = get_logger(__name__)

_LIMIT: Final = 20
"""Finds that are looked at; a window of two thousand tokens has room for half of them."""
_SECONDS: Final = 0.3
"""Nobody waits longer than that for a memory; it takes some 20 ms."""


class Recalling:
    """Looks up what a request is about."""

    def __init__(
        self,
        database: Database,
        memory: Finder,
        *,
        least: float = CLEAR,
        now: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
        seconds: float = _SECONDS,
    ) -> None:
        """Make one.

        Args:
            database: Where it is kept what was recalled.
            memory: Who finds things.
            least: Score from which on a find is clearly about the question.
            now: The present time, in the zone of whoever asks.
            seconds: How long a request waits for it.
        """
        self._database = database
        self._memory = memory
        self._least = least
        self._now = now
        self._seconds = seconds

    async def before(self, session: str, after: int = 0) -> dict[int, str]:
        """Give what was recalled for the turns of a conversation beyond number `after`.

        Returns:
            The quotes by the numbers of the turns.
        """
        mine = (recalled.c.session == session) & (recalled.c.seq > after)
        query = select(recalled).where(mine).order_by(recalled.c.seq, recalled.c.position)

        def work(connection: Connection) -> dict[int, str]:
            lines: defaultdict[int, list[Recalled]] = defaultdict(list)
            for row in connection.execute(query).mappings():
                one = Recalled(row["source"], row["source_seq"], row["text"], row["score"])
                lines[row["seq"]].append(one)
            return {seq: written(found) for seq, found in lines.items()}

        return await self._database.read(work)

    async def of(
        self, turn: Turn, shown: Sequence[Turn], quoted: str, tokens: int
    ) -> tuple[Recalled, ...]:
        """Recall something for a request and keep it; nothing where nothing is to the point.

        Args:
            turn: The request.
            shown: The turns that the window has.
            quoted: What the window has in front of them, and what was recalled for them.
            tokens: What the quote may take.
        """
        if not is_worth_a_look(turn.text):
            return ()
        there = {(one.session, one.seq) for one in shown} | {(turn.session, turn.seq)}
        found: tuple[Recalled, ...] = ()
        try:
            with anyio.move_on_after(self._seconds) as waiting:
                finds = await self._memory.find(turn.text, limit=_LIMIT, now=self._now(), around=1)
                found = recall(
                    turn.text,
                    finds,
                    tokens=tokens,
                    least=self._least,
                    shown=there,
                    quoted=quoted,
                )
            if waiting.cancelled_caught:
                log.info("memory.too_slow", session=turn.session)
            if found:
                found = await self._keep(turn, found)
        except TaleError as error:
            log.info("memory.not_recalled", session=turn.session, reason=error.message)
            return ()
        if found:
            log.info("memory.recalled", session=turn.session, seq=turn.seq, lines=len(found))
        return found

    async def _keep(self, turn: Turn, found: Sequence[Recalled]) -> tuple[Recalled, ...]:
        """Keep what was found, but for what was forgotten meanwhile; gives what is kept."""
        mine = (recalled.c.session == turn.session) & (recalled.c.seq == turn.seq)

        def record(connection: Connection) -> tuple[Recalled, ...]:
            there = _places(connection, found)
            kept = tuple(one for one in found if (one.source, one.source_seq) in there)
            connection.execute(delete(recalled).where(mine))
            if kept:
                connection.execute(insert(recalled), _rows(turn, kept))
            return kept

        return await self._database.write(record)


def _places(connection: Connection, found: Sequence[Recalled]) -> set[tuple[str, int]]:
    """Give the places of turns and notes among which those are that were found, if they are."""
    sources, seqs = {one.source for one in found}, {one.source_seq for one in found}
    said = select(turns.c.session, turns.c.seq).where(
        turns.c.session.in_(sources), turns.c.seq.in_(seqs)
    )
    noted = select(notes.c.id).where(notes.c.id.in_(sources))
    places = {(session, seq) for session, seq in connection.execute(said)}
    return places | {(note, 0) for note in connection.scalars(noted)}


def _rows(turn: Turn, found: Sequence[Recalled]) -> list[dict[str, object]]:
    return [
        {
            "session": turn.session,
            "seq": turn.seq,
            "position": position,
            "source": one.source,
            "source_seq": one.source_seq,
            "text": storable(one.text),
            "score": one.score,
        }
        for position, one in enumerate(found)
    ]


def forget_recalled(connection: Connection, session: str, first: int, last: int) -> None:
    """Remove what turns `first` to `last` were recalled as, inside somebody's transaction."""
    of = recalled.c.source == session
    between = (recalled.c.source_seq >= first) & (recalled.c.source_seq <= last)
    connection.execute(delete(recalled).where(of & between))


def forget_recalled_note(connection: Connection, note: str) -> None:
    """Remove what a note that came from no turn was recalled as; likewise."""
    connection.execute(delete(recalled).where(recalled.c.source == note))
