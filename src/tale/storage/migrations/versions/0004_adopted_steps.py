"""What steps of imported tasks did on the machine that they come from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "adopted_steps",
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("part", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task", "part", "position", name="pk_adopted_steps"),
        sa.ForeignKeyConstraint(
            ["task"], ["tasks.id"], name="fk_adopted_steps_task", ondelete="CASCADE"
        ),
    )
