"""`tale dashboard --web`: the link, and when it is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_daemon import FakeDaemon
from tale.cli.connection import Connection
from tale.cli.dashboard_web import has_desktop, open_in_browser
from tale.cli.render import Screen


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path).running() as fake:
        made = {"path": "/login?key=once", "seconds": 120.0}
        fake.loads["/api/login-keys"] = lambda _: made
        yield fake


def test_the_link_alone_is_printed_so_that_it_can_be_passed_on(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    open_in_browser(Connection(daemon.paths), Screen.detect())
    said = capsys.readouterr()
    assert said.out == f"{daemon.url}/login?key=once\n"
    assert "once, within 2 minutes" in said.err


def test_as_json_it_says_for_how_long_it_is_good(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    open_in_browser(Connection(daemon.paths), Screen.detect(), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"url": f"{daemon.url}/login?key=once", "seconds": 120.0}


@pytest.mark.parametrize(
    ("platform", "environment", "there"),
    [
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":10", "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, False),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    platform: str, environment: dict[str, str], there: bool
) -> None:
    assert has_desktop(platform, environment) == there
