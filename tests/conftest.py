"""What every test shares."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tale.storage.database import Database

# How long an example takes says more about the machine than about the code. CI judges changes by
# the same examples; every run by hand looks for new ones.
settings.register_profile(
    "tale", settings.get_profile("default"), deadline=None, derandomize="CI" in os.environ
)
settings.load_profile("tale")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background, and every program of a test would be deaf.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first: most mistakes show within seconds."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so on a database of each kind."""
    each = metafunc.definition.get_closest_marker("each_database")
    told = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if each and "database" in metafunc.fixturenames and "database" not in told:
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    """Give a blank database: SQLite, if the test isn't marked `each_database`."""
    from memory_database import opened  # noqa: PLC0415 - most tests need none

    async with opened(getattr(request, "param", "sqlite"), tmp_path) as found:
        yield found


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, as the servers do."""
    return "asyncio"
