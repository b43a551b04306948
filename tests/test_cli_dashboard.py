"""`tale dashboard` as a command: a terminal, a pipe, JSON."""

from __future__ import annotations

from pathlib import Path

from dashboard_world import busy
from fake_daemon import FakeDaemon
from terminal import Terminal
from test_cli import Tale, daemon, home, tale

__all__ = ["daemon", "home", "tale"]


def test_it_is_drawn_on_a_terminal_and_left_with_q(daemon: FakeDaemon, home: Path) -> None:
    daemon.frames = [("overview", busy().model_dump_json())]
    daemon.hold.clear()
    with Terminal(home, "dashboard") as terminal:
        terminal.until("waits for you", 60)
        terminal.type("q")
        assert terminal.end() == 0


def test_a_pipe_is_told_what_prints_the_same(tale: Tale, daemon: FakeDaemon) -> None:
    del daemon
    done = tale("dashboard")
    assert (done.code, done.out) == (2, "")
    assert "`tale status` and `tale tasks` print the same; so does --json." in done.err


def test_json_is_all_of_it_once(tale: Tale, daemon: FakeDaemon) -> None:
    daemon.overview = busy().model_dump(mode="json")
    assert tale("dashboard", "--json").json == daemon.overview
