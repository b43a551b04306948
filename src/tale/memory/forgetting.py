"""Forgets what was said: the turns, what was noted of them, and whatever else was made of them.

What goes is decided on the rows as they are, in the transaction that takes them out; then it is
taken out of SQLite's log of writes and of the backups. Tasks, their workspaces and logs are not
touched, nor work that still waits for the gateway: it was promised. Above: `servers.memory_tools`.
Below: `index`, `summaries`, `recalling`, `storage.database`, `storage.backup`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final, TypeAlias
from unicodedata import normalize

import anyio.to_thread
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import DBAPIError

from tale.errors import SessionNotFound, StorageError
from tale.memory.index import begin_anew, purge
from tale.memory.notes import Note, load_note, note_of
from tale.memory.recalling import forget_recalled, forget_recalled_note
from tale.memory.summaries import forget_summaries
from tale.memory.turns import title_of
from tale.memory.without_index import is_of_index
from tale.storage.backup import back_up, backups_of
from tale.storage.database import Database
from tale.storage.schema import notes, outbox, sessions, turns
from tale.telemetry import get_logger

__all__ = [
    "ByNote",
    "BySession",
    "ByText",
    "ByTurn",
    "Doomed",
    "Forgetting",
    "Gone",
    "What",
    "without_typed",
]

log = get_logger(__name__)

_AT_ONCE: Final = 500
"""Values in one statement; SQLite takes 32,766."""


@dataclass(frozen=True, slots=True)
class ByNote:
    """A note, the turns that it came from, and the answers to them."""

    note: str


@dataclass(frozen=True, slots=True)
class ByTurn:
    """A turn, and the answer to it."""

    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class BySession:
    """A whole conversation."""

    session: str


@dataclass(frozen=True, slots=True)
class ByText:
    """Every turn and note in which this stands, in upper or lower case."""

    text: str


What: TypeAlias = ByNote | ByTurn | BySession | ByText


@dataclass(frozen=True, slots=True)
class Doomed:
    """What goes.

    Attributes:
        turns: Numbers of the turns that go, of each conversation.
        sessions: The conversations of which nothing stays.
        notes: Ids of the notes.
        texts: What the user said in these turns, for what was typed.
        waiting: Pieces of work from these turns that still wait for the gateway; they stay.
    """

    turns: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    sessions: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    texts: frozenset[str] = frozenset()
    waiting: int = 0

    @property
    def count(self) -> int:
        """How many turns go."""
        return sum(map(len, self.turns.values()))


@dataclass(frozen=True, slots=True)
class Gone:
    """What went; `left` says where it may still be found, in words."""

    doomed: Doomed
    left: Sequence[str] = ()


class _DamagedIndex(Exception):
    """Rolls back what was being taken out when the index turned out to be damaged."""


class Forgetting:
    """The one place that takes turns and notes out."""

    def __init__(self, database: Database) -> None:
        """`database` is where they are."""
        self._database = database

    async def doomed(self, what: What) -> Doomed:
        """Say what would go.

        Raises:
            NoteNotFound: There is no such note.
            SessionNotFound: There is no such conversation, or turn.
        """
        return await self._database.read(lambda connection: _doomed(connection, what))

    async def forget(self, what: What) -> Gone:
        """Take it out, for good; what was made of it goes in the same transaction.

        A damaged index of words is thrown away with it: who keeps it makes it anew.

        Raises:
            NoteNotFound: There is no such note.
            SessionNotFound: There is no such conversation, or turn.
            StorageError: It can't be taken out now; nothing has gone.
        """

        def work(connection: Connection, *, afresh: bool) -> Doomed:
            try:
                if afresh:
                    begin_anew(connection)
                found = _doomed(connection, what)
                _take_out(connection, found)
                _take_out_what_was_made(connection, found)
            except DBAPIError as error:
                if afresh or not is_of_index(error, triggered=True):
                    raise
                raise _DamagedIndex from error
            return found

        try:
            found = await self._database.write(partial(work, afresh=False))
        except _DamagedIndex:
            log.warning("memory.index_damaged")
            found = await self._database.write(partial(work, afresh=True))
        left: list[str] = []
        if not await self._database.scrub():
            left.append("the database's log of writes: somebody reads it; it goes when they end")
        left += await self._renew_backups()
        log.info("memory.forgot", turns=found.count, notes=len(found.notes), left=len(left))
        return Gone(found, left)

    async def _renew_backups(self) -> list[str]:
        """Put new backups in the place of those in which it stands; name what can't be renewed."""
        file = self._database.file
        if file is None:
            return []
        left = [str(one) for one in sorted(file.parent.glob(f"{file.name}.damaged-*"))]
        for _ in backups_of(file):
            try:
                await anyio.to_thread.run_sync(back_up, file)
            except StorageError as error:
                log.warning("memory.backups_kept", reason=error.message)
                return [*left, *(str(one) for one in backups_of(file) if one.exists())]
        return left


def without_typed(history: str, texts: frozenset[str]) -> str:
    """Take what was said out of the history of a prompt, as prompt_toolkit keeps it. Pure.

    Args:
        history: Entries, each with a comment line, then its lines behind `+`.
        texts: What goes, without white space around it.
    """
    kept: list[str] = []
    for entry in f"\n{history}".split("\n# ")[1:]:
        lines = [line[1:] for line in entry.split("\n") if line.startswith("+")]
        if "\n".join(lines).strip() not in texts:
            kept.append(entry.strip("\n"))
    return "".join(f"\n# {entry}\n" for entry in kept)


def _doomed(connection: Connection, what: What) -> Doomed:
    match what:
        case ByNote(identity):
            note = load_note(connection, identity)
            turns_of = {note.session: note.turns} if note.session else {}
            return _complete(connection, _with_answers(connection, turns_of), [note])
        case ByTurn(session, seq):
            found = _with_answers(connection, {session: (seq,)})
            if seq not in found[session]:
                raise SessionNotFound(
                    f"There is no turn {session}/{seq}.", hint=f"`tale sessions {session}`"
                )
            return _complete(connection, found, [])
        case BySession(session):
            if connection.scalar(select(sessions.c.id).where(sessions.c.id == session)) is None:
                raise SessionNotFound(
                    f"There is no conversation {session!r}.", hint="`tale sessions` lists them."
                )
            every = connection.scalars(select(turns.c.seq).where(turns.c.session == session))
            return _complete(connection, {session: set(every)}, [])
        case ByText(text):
            return _holding(connection, text)


def _holding(connection: Connection, text: str) -> Doomed:
    """Find a text in turns and notes; compared here, as SQLite's LIKE knows only ASCII's cases."""
    wanted = _folded(text)
    found: defaultdict[str, set[int]] = defaultdict(set)
    query = select(turns.c.session, turns.c.seq, turns.c.text).execution_options(yield_per=1000)
    for session, seq, said in connection.execute(query):
        if wanted in _folded(said):
            found[session].add(seq)
    noted = [
        note
        for note in map(note_of, connection.execute(select(notes)).mappings())
        if wanted in _folded(note.text)
    ]
    for note in noted:
        if note.session:
            found[note.session].update(note.turns)
    return _complete(connection, found, noted)


def _folded(text: str) -> str:
    """Give a text without its cases; a letter and its accent may be written as one or as two."""
    return normalize("NFC", normalize("NFD", text).casefold())


def _complete(
    connection: Connection, found: Mapping[str, set[int]], noted: Iterable[Note]
) -> Doomed:
    """Add what was noted of the turns that go, and see of which conversations nothing stays."""
    ids = {note.id for note in noted}
    ended: set[str] = set()
    there: dict[str, Sequence[int]] = {}
    texts: set[str] = set()
    waiting = 0
    for session, wanted in found.items():
        left = False
        gone: list[int] = []
        query = select(turns.c.seq, turns.c.speaker, turns.c.text)
        for seq, speaker, text in connection.execute(query.where(turns.c.session == session)):
            if seq not in wanted:
                left = True
                continue
            gone.append(seq)
            if speaker == "user":
                texts.add(text.strip())
        there[session] = sorted(gone)
        if not left:
            ended.add(session)
        of_session = connection.execute(select(notes).where(notes.c.session == session)).mappings()
        ids.update(
            note.id for note in map(note_of, of_session) if not left or wanted & {*note.turns}
        )
        keys = _keys(session, gone)
        waits = select(outbox.c.key).where(
            outbox.c.session == session, outbox.c.task.is_(None), outbox.c.refusal.is_(None)
        )
        waiting += sum(key in keys for key in connection.scalars(waits))
    return Doomed(there, frozenset(ended), sorted(ids), frozenset(texts), waiting)


def _take_out(connection: Connection, doomed: Doomed) -> None:
    for identity in doomed.notes:
        # What it had taken the place of gets its place: whatever it has lost that to, or none.
        row = connection.execute(select(notes).where(notes.c.id == identity)).mappings().one()
        connection.execute(
            update(notes)
            .where(notes.c.superseded_by == identity)
            .values(superseded_by=row["superseded_by"], superseded_at=row["superseded_at"])
        )
        connection.execute(delete(notes).where(notes.c.id == identity))
    for session, gone in doomed.turns.items():
        for start in range(0, len(gone), _AT_ONCE):
            some = gone[start : start + _AT_ONCE]
            these = (turns.c.session == session) & turns.c.seq.in_(some)
            connection.execute(delete(turns).where(these))
            settled = outbox.c.task.is_not(None) | outbox.c.refusal.is_not(None)
            kept = outbox.c.key.in_(_keys(session, some)) & settled
            connection.execute(delete(outbox).where(kept))
        if session in doomed.sessions:
            connection.execute(delete(sessions).where(sessions.c.id == session))
        elif gone:
            _retitle(connection, session)


def _take_out_what_was_made(connection: Connection, doomed: Doomed) -> None:
    """Take out what was made of what goes: words in the index, summaries, quotes."""
    purge(connection)
    for note in doomed.notes:
        forget_recalled_note(connection, note)
    for session, seqs in doomed.turns.items():
        # Turns that follow each other differ from their places in the list by the same number.
        for _, run in groupby(enumerate(sorted(seqs)), key=lambda each: each[1] - each[0]):
            [(_, first), *rest] = run
            last = rest[-1][1] if rest else first
            forget_summaries(connection, session, first, last)
            forget_recalled(connection, session, first, last)


def _retitle(connection: Connection, session: str) -> None:
    """Call a conversation after the first turn that stays: its title may be what was forgotten."""
    first = select(turns.c.text).where(turns.c.session == session).order_by(turns.c.seq).limit(1)
    title = title_of(connection.scalar(first) or "")
    connection.execute(update(sessions).where(sessions.c.id == session).values(title=title))


def _with_answers(
    connection: Connection, asked: Mapping[str, Sequence[int]]
) -> dict[str, set[int]]:
    """Add the answer to each turn: it may say the same again."""
    found: dict[str, set[int]] = {}
    for session, wanted in asked.items():
        found[session] = set()
        query = select(turns.c.seq, turns.c.speaker).where(turns.c.session == session)
        going = False
        for seq, speaker in connection.execute(query.order_by(turns.c.seq)):
            going = seq in wanted or (going and speaker == "assistant")
            if going:
                found[session].add(seq)
    return found


def _keys(session: str, seqs: Iterable[int]) -> set[str]:
    return {f"{session}/{seq}" for seq in seqs}
