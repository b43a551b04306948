"""A PostgreSQL server, and how long its silence is taken for work.

A server whose machine or network is gone says nothing. Without limits the system waits a quarter of
an hour for what it has sent, and all later writes of tale's behind it. The limits are libpq's own
parameters: https://www.postgresql.org/docs/current/libpq-connect.html. Above: `storage.database`,
`tasks.steps_database`.
"""

from __future__ import annotations

import os
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine

__all__ = ["server_engine"]

_LIMITS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Seconds to connect in; seconds without a word until the server is asked for one, between two of
these questions, and how many stay without an answer; milliseconds until what was sent is confirmed.
"""
_LIBPQ: Final = {"psycopg", "psycopg2"}


def server_engine(url: URL, **options: Any) -> Engine:
    """Make an engine; what the URL or libpq's environment says of limits holds.

    Args:
        url: The database; a plain `postgresql:` is reached over psycopg.
        options: More of `create_engine`'s.

    Raises:
        ArgumentError, NoSuchModuleError: The URL names no driver that there is.
        ModuleNotFoundError: The driver is not installed.
    """
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    limits = _limits(url) if url.get_driver_name() in _LIBPQ else {}
    return create_engine(url, pool_pre_ping=True, connect_args=limits, **options)


def _limits(url: URL) -> dict[str, int]:
    given = {*url.query, *({"connect_timeout"} if "PGCONNECT_TIMEOUT" in os.environ else ())}
    return {name: value for name, value in _LIMITS.items() if name not in given}
