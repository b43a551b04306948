"""Databases for tests: SQLite, and PostgreSQL where `TALE_TEST_POSTGRESQL` names one."""

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

__all__ = ["KINDS", "blank_schema", "drop_schema", "opened", "paths_in"]

KINDS = ("sqlite", "postgresql")


def paths_in(home: Path) -> Paths:
    return Paths.from_environment({"TALE_HOME": str(home)})


@asynccontextmanager
async def opened(kind: str, home: Path) -> AsyncGenerator[Database]:
    """Open a blank database of that kind; the test is skipped where there is none."""
    settings = Settings()
    if kind == "postgresql":
        settings = Settings(database_url=await blank_schema("memory"))
    async with Database.open(paths_in(home), settings) as database:
        yield database


async def blank_schema(name: str) -> str:
    """Make a schema of PostgreSQL blank and give its address, or skip the test.

    Each process that runs tests has a schema of its own of that name.
    """
    schema = f"tale_{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    url = await drop_schema(schema, make=True)
    return f"{url}?options=-csearch_path%3D{schema}"


async def drop_schema(schema: str, *, make: bool = False) -> str:
    """Forget what is in a schema of PostgreSQL and give the server's address, or skip the test."""
    url = os.environ.get("TALE_TEST_POSTGRESQL", "")
    if not url:
        pytest.skip("TALE_TEST_POSTGRESQL names no database")

    def work() -> None:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.execute(sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
            if make:
                connection.execute(sql(f"CREATE SCHEMA {schema}"))
        engine.dispose()

    await anyio.to_thread.run_sync(work)
    return url
