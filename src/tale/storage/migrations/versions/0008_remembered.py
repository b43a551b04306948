"""What memory looks things up by: the words of turns, and what each is about.

Turns already there are marked as pending, so that they are taken into the index little by little.
A turn that is changed gets a new number: what was loaded by the old one finds nothing then.
SQLite's full-text table keeps no copy of the texts: it reads them through a view.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SQLITE = (
    """CREATE VIEW remembered_texts AS
       SELECT remembered.id AS id, turns.speaker AS speaker, turns.text AS text
       FROM remembered JOIN turns ON turns.session = remembered.session
       AND turns.seq = remembered.seq""",
    """CREATE VIRTUAL TABLE remembered_words USING fts5(
       speaker, text, content='remembered_texts', content_rowid='id',
       tokenize='porter unicode61 remove_diacritics 2')""",
    # A turn must be recorded though the full-text table be damaged: it is not touched here.
    """CREATE TRIGGER remembered_said AFTER INSERT ON turns BEGIN
       INSERT INTO remembered (session, seq, pending) VALUES (NEW.session, NEW.seq, 1);
       END""",
    """CREATE TRIGGER remembered_forgotten BEFORE DELETE ON turns BEGIN
       INSERT INTO remembered_words (remembered_words, rowid, speaker, text)
       SELECT 'delete', id, OLD.speaker, OLD.text FROM remembered
       WHERE session = OLD.session AND seq = OLD.seq AND NOT pending;
       END""",
    """CREATE TRIGGER remembered_changed AFTER UPDATE OF speaker, text ON turns
       WHEN OLD.speaker <> NEW.speaker OR OLD.text <> NEW.text BEGIN
       INSERT INTO remembered_words (remembered_words, rowid, speaker, text)
       SELECT 'delete', id, OLD.speaker, OLD.text FROM remembered
       WHERE session = OLD.session AND seq = OLD.seq AND NOT pending;
       DELETE FROM remembered WHERE session = OLD.session AND seq = OLD.seq;
       INSERT INTO remembered (session, seq, pending) VALUES (NEW.session, NEW.seq, 1);
       END""",
)
# PostgreSQL takes at most a megabyte of words for one text.
_POSTGRESQL = (
    """CREATE INDEX ix_turns_words ON turns USING gin
       (to_tsvector('english', speaker || ' ' || left(text, 100000)))""",
    """CREATE FUNCTION remembered_said() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       DELETE FROM remembered WHERE session = NEW.session AND seq = NEW.seq;
       INSERT INTO remembered (session, seq, pending) VALUES (NEW.session, NEW.seq, true);
       RETURN NULL; END $$""",
    """CREATE TRIGGER remembered_said AFTER INSERT OR UPDATE OF text ON turns
       FOR EACH ROW EXECUTE FUNCTION remembered_said()""",
)


def upgrade() -> None:
    op.create_table(
        "remembered",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("pending", sa.Boolean, nullable=False),
        sa.Column("vector", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_remembered"),
        sa.UniqueConstraint("session", "seq", name="uq_remembered_session_seq"),
        sa.ForeignKeyConstraint(
            ["session", "seq"],
            ["turns.session", "turns.seq"],
            name="fk_remembered_session_seq",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_remembered_pending",
        "remembered",
        ["id"],
        sqlite_where=sa.text("pending"),
        postgresql_where=sa.text("pending"),
    )
    op.create_index("ix_turns_at", "turns", ["at"])
    dialect = op.get_bind().dialect.name
    for statement in _SQLITE if dialect == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute(
        "INSERT INTO remembered (session, seq, pending) "
        "SELECT session, seq, TRUE FROM turns ORDER BY at, session, seq"
    )
