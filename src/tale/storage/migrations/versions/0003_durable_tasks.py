"""Tasks of several parts, and events that are recognised when they are told again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("task_events", sa.Column("key", sa.String(128)))
    op.create_index("ix_task_events_task_key", "task_events", ["task", "key"], unique=True)
    op.create_table(
        "subtasks",
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("depends_on", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("task", "id", name="pk_subtasks"),
        sa.ForeignKeyConstraint(
            ["task"], ["tasks.id"], name="fk_subtasks_task", ondelete="CASCADE"
        ),
    )
