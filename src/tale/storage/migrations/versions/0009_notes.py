"""What was noted of conversations, and how far each was gone through for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("replaces", sa.Text, nullable=False),
        sa.Column("importance", sa.Float, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("said", sa.BigInteger, nullable=False),
        sa.Column("recorded", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("session", sa.String(32)),
        sa.Column("turns", sa.JSON, nullable=False),
        sa.Column("task", sa.String(32)),
        sa.Column("superseded_by", sa.String(32)),
        sa.Column("superseded_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_notes_session", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_notes_subject", "notes", ["subject"])
    op.create_index("ix_notes_session", "notes", ["session"])
    op.create_table(
        "distilled",
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("through", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_distilled"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_distilled_session", ondelete="CASCADE"
        ),
    )
