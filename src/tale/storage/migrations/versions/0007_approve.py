"""Whether a single task's plan is put to its user."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("approve", sa.String(16)))
