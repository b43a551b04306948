"""A database for tests of the memory: SQLite, and PostgreSQL where the environment names one."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql

from tale.config import Settings
from tale.paths import Paths
from tale.storage.database import Database

__all__ = ["KINDS", "opened", "paths_in"]

KINDS = ("sqlite", "postgresql")
_POSTGRESQL = os.environ.get("TALE_TEST_POSTGRESQL", "")
_SCHEMA = f"tale_memory_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
"""One for each process that runs tests: it is made blank for each of them."""


def paths_in(home: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(home)})


@asynccontextmanager
async def opened(kind: str, home: Path) -> AsyncGenerator[Database]:
    """Open a blank database of that kind; the test is skipped where there is none."""
    settings = Settings()
    if kind == "postgresql":
        if not _POSTGRESQL:
            pytest.skip("TALE_TEST_POSTGRESQL names no database")
        await anyio.to_thread.run_sync(_blank_schema)
        url = f"{_POSTGRESQL}?options=-csearch_path%3D{_SCHEMA}"
        settings = Settings(database_url=url)
    async with Database.open(paths_in(home), settings) as database:
        yield database


def _blank_schema() -> None:
    engine = create_engine(_POSTGRESQL.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sql(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE"))
        connection.execute(sql(f"CREATE SCHEMA {_SCHEMA}"))
    engine.dispose()
