"""Brings a database to the newest schema; a glance when it is there already.

The numbers of the migrations are their file names', so the usual start needs neither alembic (a
second of imports) nor a lock. Where something is to do, processes that start at the same time take
turns, and the migration is one transaction: a crash in the middle leaves the old schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from tale.errors import StorageError
from tale.telemetry import get_logger

__all__ = ["current_revision", "is_current", "newest_revision", "upgrade"]

log = get_logger(__name__)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 0x7A1E
"""Any number that is ours: PostgreSQL's lock for migrations, held until the transaction ends."""


def newest_revision() -> str:
    """Look up the number of the newest migration this tale has."""
    return max(file.name[:4] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(connection: Connection) -> str | None:
    """Look up the number of the migration that a database is at; None for a blank one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def is_current(engine: Engine, where: str) -> bool:
    """Tell whether the schema is the newest.

    Raises:
        StorageError: A newer tale wrote the database.
    """
    with engine.connect() as connection:
        found = current_revision(connection)
    newest = newest_revision()
    if found is not None and (not found.isdecimal() or int(found) > int(newest)):
        raise StorageError(
            f"{where} was written by a newer tale: its schema is {found}, this one knows {newest}.",
            hint="Upgrade tale, or set TALE_HOME to another folder.",
        )
    return found == newest


def upgrade(engine: Engine, where: str, *, to: str = "head") -> None:
    """Run the migrations that are missing.

    Args:
        engine: Its transactions must exclude other writers (`BEGIN IMMEDIATE`).
        where: The database, as the log names it.
        to: Number of the migration to stop at.
    """
    # A second of imports that only a new database or a new version of tale pays.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        before = current_revision(connection)
        config = Config(attributes={"connection": connection})
        # `%` is interpolated in alembic's options.
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        command.upgrade(config, to)
        after = current_revision(connection)
    log.info("database.upgraded", database=where, before=before or "blank", after=after)
