"""The tables as the code sees them: SQLAlchemy Core, SQLite and PostgreSQL alike.

The migrations create them; this module only describes their present shape, and a test compares the
two. Above: `tasks.task_rows`, `tasks.records`, `tasks.adopted`, and in `memory` `turns`, `outbox`,
`index`, `notes`, `summaries` and `recalled`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy import text as sql_text

__all__ = [
    "Instant",
    "adopted_steps",
    "distilled",
    "followed",
    "metadata",
    "notes",
    "outbox",
    "recalled",
    "remembered",
    "sessions",
    "subtasks",
    "summaries",
    "task_events",
    "tasks",
    "turns",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, stored as whole microseconds since 1970.

    SQLite has no type for it and drops time zones; a number sorts and compares everywhere.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Write a moment; it must carry its zone."""
        del dialect
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Read a moment, in UTC."""
        del dialect
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    # Submitting the same key again gives the same task.
    Column("key", String(64), unique=True),
    Column("text", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("workspace", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    # No foreign key: a conversation may be forgotten while its tasks stay.
    Column("session", String(32)),
    Column("created", Instant, nullable=False),
    Column("started", Instant),
    Column("finished", Instant),
    Column("role", String(16)),
    Column("reason", Text),
    Column("model", Text),
    Column("answer", Text),
    Column("files", JSON),
    Column("prompt_tokens", Integer, nullable=False, default=0),
    Column("completion_tokens", Integer, nullable=False, default=0),
    Column("cached_tokens", Integer, nullable=False, default=0),
    Column("error", Text),
    Column("hint", Text),
    # The greatest `seq` of the task's events; kept here so that the next one costs no search.
    Column("last_event", Integer, nullable=False, default=0),
    # What it may do without a question; as the settings say where it is NULL.
    Column("permission", String(16)),
    # Whether its plan is put to its user; likewise.
    Column("approve", String(16)),
    # Nothing of it is remembered beside the task itself.
    Column("private", Boolean, nullable=False, default=False),
    # Its number among the tasks that have ended, so that who follows them can go on where it was.
    Column("ended", Integer),
    Index(None, "state"),
    Index(None, "ended", unique=True),
)

task_events = Table(
    "task_events",
    metadata,
    Column("task", String(32), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    # What is told again after a crash is recognised by it.
    Column("key", String(128)),
    Index(None, "task", "key", unique=True),
)

subtasks = Table(
    "subtasks",
    metadata,
    Column("task", String(32), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("depends_on", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("answer", Text, nullable=False, default=""),
    Column("files", JSON, nullable=False, default=list),
    Column("kind", String(16), nullable=False),
    Column("reads", JSON, nullable=False),
    Column("writes", JSON, nullable=False),
    Column("check", Text, nullable=False),
    Column("size", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
)

adopted_steps = Table(
    "adopted_steps",
    metadata,
    Column("task", String(32), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    # Empty where the task is one step.
    Column("part", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), nullable=False),
    # JSON text, so that what is read has never been anything else.
    Column("value", Text, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("title", Text, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Index(None, "updated"),
)

turns = Table(
    "turns",
    metadata,
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("speaker", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("model", Text),
    Column("task", String(32)),
    # The answer stops where its reader went away or its model failed.
    Column("interrupted", Boolean, nullable=False, default=False),
    Index(None, "at"),
)

# The database makes a row of it for each turn; where it has full-text tables of its own beside it,
# the migration says so.
remembered = Table(
    "remembered",
    metadata,
    # Never given again, so that what was loaded by it is not taken for something else.
    Column("id", Integer, primary_key=True),
    Column("session", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    # Not in the index yet.
    Column("pending", Boolean, nullable=False),
    # What the turn is about; none where no word of it is known.
    Column("vector", LargeBinary),
    ForeignKeyConstraint(["session", "seq"], ["turns.session", "turns.seq"], ondelete="CASCADE"),
    UniqueConstraint("session", "seq"),
    Index(
        "ix_remembered_pending",
        "id",
        sqlite_where=sql_text("pending"),
        postgresql_where=sql_text("pending"),
    ),
    sqlite_autoincrement=True,
)

notes = Table(
    "notes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("text", Text, nullable=False),
    # The words that say what it is about, in a form in which two notes' can be compared.
    Column("subject", Text, nullable=False),
    # The words of what it says to hold no longer, likewise.
    Column("replaces", Text, nullable=False),
    Column("importance", Float, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("said", Instant, nullable=False),
    Column("recorded", Instant, nullable=False),
    Column("source", String(16), nullable=False),
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE")),
    # Numbers of the turns that it came from.
    Column("turns", JSON, nullable=False),
    Column("task", String(32)),
    Column("superseded_by", String(32)),
    Column("superseded_at", Instant),
    Index(None, "subject"),
    Index(None, "session"),
)

distilled = Table(
    "distilled",
    metadata,
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    # The last turn that was gone through.
    Column("through", Integer, nullable=False),
)

followed = Table(
    "followed",
    metadata,
    # What is followed: `results`.
    Column("what", String(32), primary_key=True),
    # The number of the last of them that was taken in.
    Column("through", Integer, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    # Its order is the order of delivery.
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    # No foreign key: work that was promised is done though its conversation be forgotten.
    Column("session", String(32), nullable=False),
    # The turn that told the user; it gets the task's id.
    Column("turn", Integer, nullable=False),
    # Empty once it waits no more.
    Column("text", Text, nullable=False),
    Column("workspace", Text),
    Column("kept", Instant, nullable=False),
    # What became of it; while both are missing it waits.
    Column("task", String(32)),
    Column("refusal", Text),
)

summaries = Table(
    "summaries",
    metadata,
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
    Column("prose", Text, nullable=False),
    # Lists of kind, key and text.
    Column("kept", JSON, nullable=False),
    Column("made", Instant, nullable=False),
)

recalled = Table(
    "recalled",
    metadata,
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    # The turn that asked.
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    # Where it was said; no foreign key: whoever forgets that forgets this by the index.
    Column("source", String(32), nullable=False),
    Column("source_seq", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("score", Float, nullable=False),
    Index(None, "source", "source_seq"),
)
