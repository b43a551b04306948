"""How figures, tables, answers and waiting look."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_daemon import task
from tale.cli.answer import AnswerWriter
from tale.cli.pool_view import ModelView, PoolView, SwitchingView
from tale.cli.record import Record
from tale.cli.render import (
    Column,
    Screen,
    clean,
    clip,
    display_width,
    human_bytes,
    human_seconds,
    paint,
    plural,
    table_lines,
)
from tale.cli.spinner import Spinner, Waiting
from tale.cli.task_lines import ago, event_line
from tale.cli.views import Eta, Event, Part, Planning, Progress, Reply, Task, Usage
from tale.models import pool_stats
from tale.wire import chat_contracts, contracts


def screen(*, terminal: bool, width: int = 40) -> Screen:
    return Screen(io.StringIO(), io.StringIO(), terminal, terminal, terminal, width)


def out(where: Screen) -> str:
    assert isinstance(where.out, io.StringIO)
    return where.out.getvalue()


def err(where: Screen) -> str:
    assert isinstance(where.err, io.StringIO)
    return where.err.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.42 s"),
        (3.14, "3.1 s"),
        (42.0, "42 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_durations_read_like_words(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (650 << 20, "650 MiB"),
        (3 << 29, "1.5 GiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_counts_agree_with_their_nouns() -> None:
    assert (plural(1, "task"), plural(2, "task")) == ("1 task", "2 tasks")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (30, "30 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (200000, "2 d ago")],
)
def test_ages_are_rounded(seconds: int, text: str) -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now) == text


@given(st.text(), st.integers(1, 20))
def test_a_clipped_text_is_never_too_wide(text: str, width: int) -> None:
    text = "".join(char for char in text if char.isprintable())
    assert display_width(clip(text, width)) <= width


@given(st.text())
def test_a_clean_text_can_not_steer_the_terminal(text: str) -> None:
    assert not set(clean(text + "\x1b]0;title\x07")) & {"\x1b", "\x07", "\r", "\x9b"}


def test_wide_characters_and_styles_keep_columns_aligned() -> None:
    rows = [["日本", paint("x", "red"), "1"], ["a\u0301b", "yy", "10"]]
    lines = table_lines([Column("A"), Column("B"), Column("N", "right")], rows)
    assert {display_width(line) for line in lines} == {4 + 2 + 2 + 2 + 2}


@pytest.mark.parametrize(("text", "cells"), [("हिन्दी", 5), ("ที่นี่", 2), ("e\u0301a\u200db", 3)])
def test_marks_on_letters_take_no_cell_of_their_own(text: str, cells: int) -> None:
    assert display_width(text) == cells


def test_the_flexible_column_gives_way_on_a_terminal_only() -> None:
    columns, rows = [Column("ID"), Column("TEXT", flexible=True)], [["a", "word " * 20]]
    assert max(map(len, table_lines(columns, rows, width=30))) <= 30
    assert max(map(len, table_lines(columns, rows))) > 90


def test_colour_needs_a_terminal_and_no_objection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" in screen(terminal=True).style("x", "red")
    assert screen(terminal=False).style("x", "red") == "x"
    assert Screen.detect({"NO_COLOR": "1"}).color is False
    assert Screen.detect({"TERM": "dumb"}).color is False
    assert Screen.detect({"TERM": "xterm"}).color is True


def test_json_is_indented_for_people_and_one_line_for_programs() -> None:
    person, program = screen(terminal=True), screen(terminal=False)
    person.json({"a": "ü"})
    program.json({"a": "ü"})
    assert out(person) == '{\n  "a": "ü"\n}\n'
    assert out(program) == '{"a": "ü"}\n'


class TestAnswer:
    def write(self, terminal: bool, tokens: list[str], answer: str) -> str:
        where = screen(terminal=terminal)
        writer = AnswerWriter(where)
        for token in tokens:
            writer.token(token)
        writer.finish(answer)
        return out(where)

    def test_in_a_pipe_it_comes_whole_at_the_end(self) -> None:
        assert self.write(False, ["Hel", "lo"], "Hello") == "Hello\n"

    def test_on_a_terminal_it_comes_as_it_is_made_and_once(self) -> None:
        assert self.write(True, ["Hel", "lo"], "Hello") == "Hello\n"

    def test_tokens_that_were_lost_are_made_up_for(self) -> None:
        assert self.write(True, ["Hel"], "Hello\nyou") == "Hello\nyou\n"
        assert self.write(True, ["Hello\n"], "Hello\nyou") == "Hello\nyou\n"

    def test_an_answer_that_differs_is_written_whole(self) -> None:
        assert self.write(True, ["FILE: a.py"], "I made a.py") == "FILE: a.py\nI made a.py\n"

    def test_a_summary_that_was_streamed_is_not_repeated(self) -> None:
        assert self.write(True, ["FILE: a\n", "Made it."], "Made it.") == "FILE: a\nMade it.\n"

    def test_an_empty_answer_is_no_line(self) -> None:
        assert self.write(True, [], "") == ""
        assert self.write(False, [], "") == ""

    def test_one_that_begins_anew_is_written_anew(self) -> None:
        where = screen(terminal=True)
        writer = AnswerWriter(where)
        writer.token("\n\nHel")
        writer.restart()
        writer.token("Hello")
        writer.finish("Hello")
        assert out(where) == "Hel\nHello\n"


def _stop_interrupted(moment: int) -> bool:
    """Stop a spinner, and again where Ctrl-C came at that step of it; tells whether one did."""
    left = moment

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        nonlocal left
        del event, argument
        if frame.f_globals["__name__"] not in {"tale.cli.spinner", "threading"}:
            return None
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return trace

    with Spinner(screen(terminal=True), "starting") as spinner:
        sys.settrace(trace)
        try:
            spinner.stop()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
    return False


class TestSpinner:
    def test_it_turns_on_a_terminal_and_leaves_nothing(self) -> None:
        where, looked = screen(terminal=True), threading.Event()

        def look() -> Waiting:
            looked.set()
            return Waiting("loading tiny", 0.43)

        with Spinner(where, "starting", look) as spinner:
            assert looked.wait(10)
            spinner.say(Waiting("nearly"))
        spinner.stop()
        assert "starting" in err(where)
        assert err(where).endswith("\r\x1b[K")

    def test_whoever_is_interrupted_as_they_stop_it_can_stop_it_once_more(self) -> None:
        moments = iter(range(1000))

        def at_every_moment() -> None:
            while _stop_interrupted(next(moments)):
                pass

        tried = threading.Thread(target=at_every_moment, daemon=True)
        tried.start()
        tried.join(30)
        assert not tried.is_alive(), "it hangs"
        assert 10 < next(moments) < 1000

    def test_elsewhere_only_progress_is_told_once_for_ten_percent(self) -> None:
        where = screen(terminal=False)
        with Spinner(where, "starting") as spinner:
            for percent in range(25):
                spinner.say(Waiting("downloading tiny", percent / 100))
            spinner.say(Waiting("loading"))
        assert err(where) == "downloading tiny 0%\ndownloading tiny 10%\ndownloading tiny 20%\n"

    def test_a_note_stays_above_what_is_waited_for(self) -> None:
        where = screen(terminal=True)
        with Spinner(where, "starting") as spinner:
            spinner.note("no server\x1b[2J")
        assert "\r\x1b[K\x1b[2mno server[2J\x1b[0m\n" in err(where)

    def test_a_note_is_a_line_elsewhere(self) -> None:
        where = screen(terminal=False)
        with Spinner(where, "starting") as spinner:
            spinner.note("no server")
        assert err(where) == "no server\n"


class TestViews:
    def test_they_have_the_fields_of_the_contracts(self) -> None:
        for view, shape in (
            (Task, contracts.TaskView),
            (Event, contracts.Event),
            (Reply, chat_contracts.ChatReply),
            (Usage, contracts.UsageView),
            (Progress, contracts.ProgressView),
            (Part, contracts.PartView),
            (Eta, contracts.EtaView),
            (Planning, contracts.PlanningView),
        ):
            ours = set(view.__dataclass_fields__) - {"record"}
            assert ours == set(shape.model_fields)

    def test_they_have_the_fields_of_the_pool(self) -> None:
        for view, shape in (
            (ModelView, pool_stats.ModelStatus),
            (SwitchingView, pool_stats.Switching),
            (PoolView, pool_stats.PoolStatus),
        ):
            ours = {f.replace("waiting_requests", "waiting") for f in view.__dataclass_fields__}
            assert ours == set(shape.__dataclass_fields__)

    def test_a_task_reads_what_the_contract_writes(self) -> None:
        shape = contracts.TaskView.model_validate(task(files=["a"]))
        view = Task.read(Record.parse(shape.model_dump_json()))
        assert (view.created, view.files, view.seconds) == (shape.created, ("a",), 2.5)
        assert view.usage == Usage(12, 5, 3)

    def test_what_has_the_wrong_type_is_empty(self) -> None:
        view = Task.read(Record({"id": 5, "files": "x", "usage": [], "created": "soon"}))
        assert (view.id, view.files, view.usage, view.created) == ("", (), Usage(), None)
        assert Record([1]).raw == {}
        assert [key for key, _ in Record({"a": {}, "b": 1}).entries()] == ["a"]

    def test_unknown_kinds_of_events_have_a_line_too(self) -> None:
        assert event_line(Event.read(Record({"kind": "paused"}))) == "paused"
        failed = Event.read(Record({"kind": "failed", "data": {"error": "why"}}))
        assert event_line(failed) == "failed: why"

    def test_a_percentage_in_a_detail_becomes_progress(self) -> None:
        found = ModelView.read(Record({"name": "tiny", "detail": "downloading: 43%"})).waiting
        assert found == Waiting("downloading tiny", 0.43)
        other = ModelView.read(Record({"name": "tiny", "state": "loading", "detail": "disk"}))
        assert other.waiting == Waiting("loading tiny: disk")
