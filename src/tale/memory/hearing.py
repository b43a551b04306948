"""What is noted while a turn is recorded, in the same transaction: what the user says plainly.

Above: `turns.TurnStore`, which calls it. Below: `plain_notes` (decides), `notes`.
"""

from __future__ import annotations

from sqlalchemy import Connection

from tale.memory.notes import Origin, add_note
from tale.memory.plain_notes import plain_notes
from tale.memory.turns import Turn

__all__ = ["note_plainly"]


def note_plainly(connection: Connection, turn: Turn) -> None:
    """Note what a turn says plainly, where it is the user's."""
    if turn.speaker == "user":
        origin = Origin("conversation", turn.at, turn.session, (turn.seq,))
        for draft in plain_notes(turn.text):
            add_note(connection, draft, origin, turn.at)
