"""A PostgreSQL server that falls silent is given up, after as long as somebody has said."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

from tale.config import Settings
from tale.errors import StorageError
from tale.paths import Paths
from tale.storage.database import Database
from tale.storage.postgresql import server_engine

pytest.importorskip("psycopg", reason="the driver is an extra")


class Asked(Exception):
    """Ends a connection before it is made."""


def asked_of(url: str) -> dict[str, Any]:
    """Give the parameters with which a database would be connected to."""
    engine = server_engine(make_url(url))
    asked: dict[str, Any] = {}

    def connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        asked.update(parameters)
        raise Asked

    event.listen(engine, "do_connect", connect)
    with pytest.raises(Asked):
        engine.connect()
    return asked


def test_silence_is_waited_for_no_longer_than_a_minute() -> None:
    asked = asked_of("postgresql://me@db.example/tale")
    assert asked["connect_timeout"] == 10
    idle = asked["keepalives_idle"] + asked["keepalives_interval"] * asked["keepalives_count"]
    assert max(idle, asked["tcp_user_timeout"] / 1000) <= 60


def test_what_is_said_of_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://me@db.example/tale?tcp_user_timeout=1000&keepalives_idle=600"
    asked = asked_of(url)
    assert (asked["tcp_user_timeout"], asked["keepalives_idle"]) == ("1000", "600")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "60")
    assert "connect_timeout" not in asked_of(url)


@pytest.mark.anyio
async def test_a_server_that_takes_the_connection_and_says_nothing_is_told(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = Settings(database_url=f"postgresql://me@{where}/tale?connect_timeout=2")
        with pytest.raises(StorageError, match=where):
            async with Database.open(paths, settings):
                pass
