"""`tale watch`: lines, bars, and what happens when the other side goes away."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_daemon import FakeDaemon, event
from tale.cli.bars import Bars
from tale.cli.bell import ring
from tale.cli.connection import Connection
from tale.cli.events import events_of
from tale.cli.follow import follow_answer, follow_events
from tale.cli.progress_lines import left_text, progress_line, progress_lines
from tale.cli.record import Record
from tale.cli.render import Screen, display_width
from tale.cli.views import Eta, Event, Part, Progress
from tale.errors import DaemonUnreachable

PARTS = (
    Part("a", "Write it", "done", 100, 41.0, 38.0),
    Part("b", "Test it", "running", 63, 21.0, 34.0),
    Part("c", "Document it", "waiting", 0, 0.0, 22.0),
)
HALF = Progress("running", 48, "", 63.0, Eta(240, 120, 420), 22.3, 420, ("Test it",), parts=PARTS)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def progress(percent: int, **fields: Any) -> dict[str, Any]:
    data = {"state": "running", "percent": percent, "elapsed": 60.0, **fields}
    return event(2, "progress", "t1", **data)


def drawn(shown: Progress, *, tail: str = "", width: int = 100) -> list[str]:
    return progress_lines(shown, tail=tail, width=width, color=False)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    with FakeDaemon(tmp_path).running() as fake:
        yield fake


@pytest.fixture
def connection(daemon: FakeDaemon) -> Connection:
    return Connection(daemon.paths)


def screen(*, terminal: bool) -> tuple[Screen, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Screen(out, err, terminal, terminal, False, 100), out, err


# -- how it looks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eta", "text"),
    [
        (Eta(240, 120, 420), "about 4 min (2-7)"),
        (Eta(17, 9, 33), "about 17 s (9-35)"),
        (Eta(40, 8, 170), "about 40 s (8 s-3 min)"),
        (Eta(110, 70, 130), "about 2 min (1-2)"),
        (Eta(7200, 7000, 7300), "about 2 h"),
        (Eta(0.2, 0.1, 0.9), "about 1 s"),
    ],
)
def test_the_time_left_is_one_figure_and_a_range(eta: Eta, text: str) -> None:
    assert left_text(eta) == text


def test_each_subtask_has_a_line_and_the_whole_has_the_time_left() -> None:
    lines = drawn(HALF, tail="import pytest\n\ndef test_four():\n")
    assert [re.split("[━─]+", line)[0].strip() for line in lines[:4]] == [
        "✓ Write it",
        "▸ Test it",
        "· Document it",
        "total",
    ]
    assert "63 %        21 s  22 tok/s" in lines[1]
    assert lines[2].endswith("0 %       ~22 s")
    assert "48 %   1 min 3 s  about 4 min (2-7)" in lines[3]
    assert lines[4:] == ["  │ def test_four():"]


def test_a_setback_is_told_and_a_tool_takes_the_place_of_the_text() -> None:
    lines = drawn(Progress("running", 31, "It died.", tool="run pytest -q"), tail="def")
    assert lines[1:] == ["  went back: It died.", "  runs: run pytest -q"]


def test_many_subtasks_are_shown_around_those_that_run() -> None:
    parts = tuple(Part(str(n), f"part {n}", "done" if n < 20 else "waiting") for n in range(40))
    lines = drawn(Progress("running", 50, parts=parts))
    assert "part 18" in lines[0]
    assert lines[-2] == "  … and 28 more"


@given(
    st.integers(0, 100),
    st.integers(40, 200),
    st.text(max_size=300),
    st.lists(st.text(max_size=60), max_size=20),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    percent: int, width: int, tail: str, titles: list[str], color: bool
) -> None:
    parts = tuple(Part(title, title.replace("\n", " "), "running", percent) for title in titles)
    shown = Progress("running", percent, "", 1e5, Eta(50, 5, 9000), 22.3, parts=parts)
    for line in progress_lines(
        shown, tail="".join(filter(str.isprintable, tail)), width=width, color=color
    ):
        assert display_width(line) <= width


def test_bars_are_redrawn_in_place_below_lines_that_stay() -> None:
    where, _, err = screen(terminal=True)
    with Bars(where) as bars:
        bars.take(
            Event.read(Record(progress(40, parts=[{"title": "Test it", "state": "running"}])))
        )
        bars.note("wrote a.py")
        bars.take(Event.read(Record(event(2, "token", text="import os"))))
        bars.take(Event.read(Record(progress(70))))
    text = _ESCAPES.sub("", err.getvalue())
    assert "Test it" in text
    assert "wrote a.py\n" in text
    assert text.index(" 40 %") < text.index(" 70 %")


# -- following -------------------------------------------------------------------------------------


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_tenth(
    daemon: FakeDaemon, connection: Connection
) -> None:
    eta = {"median": 240, "low": 120, "high": 420}
    daemon.events["t1"] = [
        event(1, "queued"),
        event(2, "started", role="task", reason="work"),
        *(progress(percent, eta=eta) for percent in (3, 12, 14, 27)),
        event(3, "resumed", why="It died."),
        progress(11, setback="It died."),
        event(4, "done"),
    ]
    where, out, err = screen(terminal=False)
    follow_events(connection, where, "t1", as_json=False)
    told = [line.split("  ", 1)[1] for line in err.getvalue().splitlines()]
    assert told == [
        "queued",
        "started on the task model: work",
        "12 %, about 4 min (2-7) left",
        "27 %, about 4 min (2-7) left",
        "resumed: It died.",
        "11 %",
    ]
    assert out.getvalue() == "Hello there.\n"


def test_work_is_drawn_by_submit_and_its_answer_follows_once(
    daemon: FakeDaemon, connection: Connection
) -> None:
    daemon.events["t1"] = [
        event(1, "queued"),
        event(2, "started", role="task", reason="work"),
        progress(40),
        event(2, "token", text="Hello there."),
        event(3, "done"),
    ]
    where, out, err = screen(terminal=True)
    follow_answer(connection, where, "t1", quiet=False)
    assert " 40 %" in _ESCAPES.sub("", err.getvalue())
    assert out.getvalue() == "Hello there.\n"


def test_what_is_told_of_a_gap_stands_above_the_bars_that_submit_draws(
    daemon: FakeDaemon, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.events["t1"] = [
        event(1, "queued"),
        event(2, "started", role="task", reason="work"),
        progress(40),
        event(3, "done"),
    ]
    daemon.breaks = [3]
    above: list[str] = []

    def note(bars: Bars, text: str) -> None:
        del bars
        above.append(text)

    monkeypatch.setattr(Bars, "note", note)
    follow_answer(connection, screen(terminal=True)[0], "t1", quiet=False)
    assert above[-2:] == ["The gateway is gone; it is waited for.", "It is back."]


def test_watching_may_begin_anywhere(daemon: FakeDaemon, connection: Connection) -> None:
    where, _, err = screen(terminal=False)
    follow_events(connection, where, "t1", as_json=False, after=1)
    assert daemon.event_queries == [("t1", 1)]
    assert "queued" not in err.getvalue()


def test_a_stream_that_breaks_off_is_told_and_goes_on_without_a_gap(
    daemon: FakeDaemon, connection: Connection
) -> None:
    daemon.breaks = [2]
    told: list[str] = []
    seen = [each.seq for each in events_of(connection, "t1", on_gap=told.append)]
    assert sorted(set(seen)) == [1, 2, 3]
    assert told == ["The gateway is gone; it is waited for.", "It is back."]


def test_a_daemon_that_was_stopped_is_waited_for_by_who_has_the_patience(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path)
    daemon.breaks = [2]
    told: list[str] = []
    with daemon.running():
        follower = events_of(Connection(daemon.paths), "t1", on_gap=told.append, patience=60)
        assert [next(follower).seq, next(follower).seq] == [1, 2]
    again = FakeDaemon(tmp_path)

    def come_back(why: str) -> None:
        told.append(why)
        if "tale serve" in why:
            running.__enter__()

    running = again.running()
    follower = events_of(Connection(daemon.paths), "t1", after=2, on_gap=come_back, patience=60)
    assert [each.kind for each in follower] == ["done"]
    running.__exit__(None, None, None)
    assert told[-2:] == [
        "The daemon is gone; `tale serve` brings it back, and the task goes on then.",
        "It is back.",
    ]


def test_a_program_is_told_that_the_daemon_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable):
        list(events_of(Connection(FakeDaemon(tmp_path).paths), "t1"))


def test_how_far_it_is_fits_in_a_line() -> None:
    assert progress_line(HALF) == "48 %, about 4 min (2-7) left, Test it"


@pytest.mark.parametrize(
    ("settings", "environ", "rings"),
    [
        ("", {}, False),
        ("[notify]\nbell = true\n", {}, True),
        ('[notify]\nbell = true\non = ["failed"]\n', {}, False),
        ("[notify]\nbell = true\n", {"TALE_NOTIFY__BELL": "false"}, False),
        ("", {"TALE_NOTIFY__BELL": "true"}, True),
        ("[notify\n", {}, False),
    ],
)
def test_the_bell_rings_for_a_person_who_wants_it(
    tmp_path: Path, settings: str, environ: dict[str, str], rings: bool
) -> None:
    (tmp_path / "tale.toml").write_text(settings)
    for terminal in (True, False):
        where, _, err = screen(terminal=terminal)
        ring(where, tmp_path / "tale.toml", "done", environ)
        assert err.getvalue() == ("\a" if rings and terminal else "")
