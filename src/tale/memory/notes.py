"""Notes: facts, preferences and decisions that outlast the conversation in which they came up.

Each says when it was said and which turns it came from. A newer note about the same thing marks the
older one as superseded; none is ever overwritten. What came of a task stays true, whatever is said
later. What a note says is data, whoever said it: who shows one to a model quotes it (`quoting`).
Only the ux server writes here. Above: `hearing` (rules), `distilling` (a model), `remembering`
(tasks), `note_search`, `windows`, `servers.memory_tools`. Below: `same_subject`, `words`,
`storage.database`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Connection, RowMapping, Select, func, insert, or_, select, update

from tale.errors import NoteNotFound
from tale.ids import next_id
from tale.memory.same_subject import replaced_in, subject_of, supersedes
from tale.memory.words import words
from tale.storage.database import Database, storable
from tale.storage.schema import notes

__all__ = [
    "RULE_IMPORTANCE",
    "Draft",
    "Kind",
    "Note",
    "NoteStore",
    "Origin",
    "Source",
    "add_note",
    "is_newer",
    "load_note",
    "note_of",
]

Kind = Literal["fact", "preference", "decision"]
Source = Literal["conversation", "user", "task"]
"""Distilled from a conversation, added by the user, or the result of a task."""

RULE_IMPORTANCE: Final = 0.8
"""From which on a preference was said as a rule: "from now on", "always", "remember that"."""
_PREFIX: Final = "n-"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be noted.

    Attributes:
        kind: What sort of thing it is.
        text: The note, in the words of who said it.
        importance: From 0 to 1.
        about: What a model says it is about; empty where only the text tells.
        pinned: Whether every conversation is to know it.
    """

    kind: Kind
    text: str
    importance: float = 0.5
    about: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a note comes from.

    Attributes:
        source: How it came to be.
        said: When it was said.
        session: The conversation.
        turns: Numbers of the turns.
        task: The task whose result it is.
    """

    source: Source
    said: datetime
    session: str | None = None
    turns: tuple[int, ...] = ()
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A note as the database has it.

    Attributes:
        subject: What it is about, as `same_subject.subject_of` gives it.
        replaces: What it says to hold no longer.
        recorded: When it was noted, which may be long after it was said.
        superseded_by: The newer note about the same thing; None where that was forgotten.
        superseded_at: When it lost its place; None while it holds.
    """

    id: str
    kind: Kind
    text: str
    subject: str
    replaces: str
    importance: float
    pinned: bool
    said: datetime
    recorded: datetime
    source: Source
    session: str | None = None
    turns: tuple[int, ...] = ()
    task: str | None = None
    superseded_by: str | None = None
    superseded_at: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether no newer note has taken its place."""
        return self.superseded_at is None


class NoteStore:
    """The one place that reads notes, and writes those that nobody said in a conversation."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now

    async def add(self, draft: Draft, origin: Origin | None = None) -> Note:
        """Note something; without an origin it is the user who asks for it.

        Returns:
            The note; the one that says so already, if there is one.
        """
        at = self._now()
        return await self._database.write(
            lambda connection: add_note(connection, draft, origin or Origin("user", at), at)
        )

    async def get(self, identity: str) -> Note:
        """Look up a note.

        Raises:
            NoteNotFound: There is none of that id.
        """
        return await self._database.read(lambda connection: load_note(connection, identity))

    async def listed(self, limit: int, *, outdated: bool = False) -> list[Note]:
        """List notes, pinned ones first, then the last said; what came of tasks at the end.

        Args:
            limit: At most so many.
            outdated: Whether those are listed, too, whose place a newer one has taken.
        """
        query = select(notes)
        if not outdated:
            query = query.where(notes.c.superseded_at.is_(None))
        told = (notes.c.task.is_not(None), notes.c.said.desc(), notes.c.id.desc())
        return await self._all(query.order_by(notes.c.pinned.desc(), *told), limit)

    async def pinned(self, limit: int) -> list[Note]:
        """List those that every conversation is to know, the most important first."""
        query = select(notes).where(notes.c.pinned, notes.c.superseded_at.is_(None))
        order = (notes.c.importance.desc(), notes.c.said.desc(), notes.c.id.desc())
        return await self._all(query.order_by(*order), limit)

    async def standing(self, limit: int) -> list[Note]:
        """List what counts for any work: what is pinned, and preferences said as a rule."""
        rule = (notes.c.kind == "preference") & (notes.c.importance >= RULE_IMPORTANCE)
        query = select(notes).where(notes.c.pinned | rule, notes.c.superseded_at.is_(None))
        order = (notes.c.pinned.desc(), notes.c.said.desc(), notes.c.id.desc())
        return await self._all(query.order_by(*order), limit)

    async def _all(self, query: Select[tuple[object, ...]], limit: int) -> list[Note]:
        return await self._database.read(
            lambda connection: [
                note_of(row) for row in connection.execute(query.limit(limit)).mappings()
            ]
        )


def add_note(connection: Connection, draft: Draft, origin: Origin, at: datetime) -> Note:
    """Note something inside somebody's transaction; see `NoteStore.add`.

    Whichever of two notes about one thing was said earlier is the one that is marked, also where it
    is the one that is noted later.
    """
    text = " ".join(storable(draft.text).split())
    note = Note(
        id=next_id(_PREFIX, at, connection.scalar(select(func.max(notes.c.id)))),
        kind=draft.kind,
        text=text,
        subject="" if origin.task else subject_of(text, draft.about),
        replaces="" if origin.task else replaced_in(text),
        importance=min(max(draft.importance, 0.0), 1.0),
        pinned=draft.pinned,
        said=origin.said,
        recorded=at,
        source=origin.source,
        session=origin.session,
        turns=origin.turns,
        task=origin.task,
    )
    others = _others(connection, note)
    if same := next((one for one in others if one.holds and words(one.text) == words(text)), None):
        return _said_again(connection, same, note)
    connection.execute(insert(notes).values(_row(note)))
    for other in others:
        newer, older = (note, other) if is_newer(note, other) else (other, note)
        if older.holds and supersedes(newer, older):
            _mark(connection, older, newer, at)
    return load_note(connection, note.id)


def load_note(connection: Connection, identity: str) -> Note:
    """Look up a note inside somebody's transaction; see `NoteStore.get`."""
    row = connection.execute(select(notes).where(notes.c.id == identity)).mappings().one_or_none()
    if row is None:
        raise NoteNotFound(f"There is no note {identity!r}.", hint="`tale memory show` lists them.")
    return note_of(row)


def is_newer(one: Note, other: Note) -> bool:
    """Tell whether a note was said after another; the clock is not asked within a conversation."""
    if one.session is not None and one.session == other.session and one.turns and other.turns:
        return (one.turns[-1], one.id) > (other.turns[-1], other.id)
    return (one.said, one.id) > (other.said, other.id)


def note_of(row: RowMapping) -> Note:
    """Read a note from its row."""
    note = Note(**row)
    return replace(note, turns=tuple(note.turns))


def _others(connection: Connection, note: Note) -> Sequence[Note]:
    """Give the notes that this one may take the place of, or that may say the same."""
    if note.task:
        return []
    near = [notes.c.text == note.text]
    if note.subject:
        near.append(notes.c.subject == note.subject)
    if note.replaces:
        near.append(notes.c.superseded_at.is_(None))
    told = select(notes).where(or_(*near), notes.c.task.is_(None)).order_by(notes.c.id)
    rows = connection.execute(told).mappings()
    return [note_of(row) for row in rows]


def _said_again(connection: Connection, known: Note, again: Note) -> Note:
    """Have a note tell when it was said last and how firmly, and pin it if that is asked for.

    What was said in between, and is noted only now, must not take its place.
    """
    turns = known.turns
    if known.session is not None and known.session == again.session:
        turns = tuple(sorted({*known.turns, *again.turns}))
    connection.execute(
        update(notes)
        .where(notes.c.id == known.id)
        .values(
            said=max(known.said, again.said),
            turns=list(turns),
            importance=max(known.importance, again.importance),
            pinned=known.pinned or again.pinned,
        )
    )
    return load_note(connection, known.id)


def _mark(connection: Connection, older: Note, newer: Note, at: datetime) -> None:
    connection.execute(
        update(notes)
        .where(notes.c.id == older.id, notes.c.superseded_at.is_(None))
        .values(superseded_by=newer.id, superseded_at=at)
    )


def _row(note: Note) -> dict[str, object]:
    values = {name: getattr(note, name) for name in notes.c.keys()}  # noqa: SIM118 - see `turns`
    return {**values, "turns": list(note.turns)}
