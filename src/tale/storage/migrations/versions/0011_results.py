"""Which tasks are private, in which order tasks ended, and how far that was followed.

Tasks that ended before have no number: nobody can tell any more which of them were private.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column(
        "tasks", sa.Column("private", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("tasks", sa.Column("ended", sa.Integer))
    op.create_index("ix_tasks_ended", "tasks", ["ended"], unique=True)
    # Those of a private conversation look like this; of others it does no harm.
    op.execute("UPDATE tasks SET private = TRUE WHERE session IS NULL AND finished IS NULL")
    op.create_table(
        "followed",
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("through", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_followed"),
    )
