"""Summaries of conversations, and what was recalled for their turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "summaries",
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("prose", sa.Text, nullable=False),
        sa.Column("kept", sa.JSON, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("session", "level", "first", name="pk_summaries"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_summaries_session", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "recalled",
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("source_seq", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("session", "seq", "position", name="pk_recalled"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_recalled_session", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_recalled_source_source_seq", "recalled", ["source", "source_seq"])
