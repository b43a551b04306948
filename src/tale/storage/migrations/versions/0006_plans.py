"""What the parts of a plan read and write, how they are checked, and how large they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # The defaults are for the parts that are there; whoever adds one says it.
    for column in (
        sa.Column("kind", sa.String(16), nullable=False, server_default="code"),
        sa.Column("reads", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("writes", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("check", sa.Text, nullable=False, server_default=""),
        sa.Column("size", sa.String(16), nullable=False, server_default="medium"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("subtasks", column)
