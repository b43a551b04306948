"""Alembic's entry: runs the migrations on the connection that `storage.database` hands over.

There is no alembic.ini and no offline mode: tale migrates its own database when it opens it.
"""

from __future__ import annotations

from alembic import context

from tale.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
