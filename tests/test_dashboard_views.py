"""What the dashboard shows of an overview, before it is drawn."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dashboard_world import (
    CHECKPOINTS,
    LOG,
    NOW,
    ago,
    busy,
    failing,
    model,
    overview,
    part,
    server,
    servers,
    task,
    tokens,
    waiting,
)
from tale.cli.log_files import Entry
from tale.dashboard.drawing import Line, clipped, draw, heights, width_of, wrapped
from tale.dashboard.said import clock, count_of, milliseconds, since
from tale.dashboard.shown import (
    Bar,
    Cell,
    Chart,
    Column,
    Note,
    Row,
    Span,
    Spark,
    Table,
    plain,
    text,
)
from tale.dashboard.view import PANELS, Panel, State, view
from tale.dashboard.view_tokens import by_the_hour
from tale.wire.overview_contracts import BreakerView, TrendPoint
from tale.wire.part_contracts import PlanningView, ProgressView


def said(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def lines_of(table: Table, width: int = 100) -> list[str]:
    drawn = draw(table, width)
    head = [said(drawn.head)] if drawn.head else []
    return [*head, *map(said, drawn.lines)]


def shown(state: State, panel: Panel, width: int = 100) -> str:
    return "\n".join(lines_of(view(state, NOW).panels[panel], width))


def live(**fields: object) -> State:
    return State(link="live", overview=busy(), **fields)  # pyright: ignore[reportArgumentType]


class TestTasks:
    def test_what_needs_a_person_comes_first_and_what_has_ended_last(self) -> None:
        keys = draw(view(live(), NOW).panels["tasks"], 100).keys
        assert keys[:4] == ("t-91c0", "t-7f3a", "t-55aa", "t-0a11")
        assert set(keys[4:]) == {"t-1234", "t-8888", "t-dead", "t-c0de"}

    def test_the_head_counts_what_goes_on(self) -> None:
        title = view(live(), NOW).panels["tasks"].title
        assert [span.text for span in title] == [
            "1 waits for you",
            "1 running",
            "1 paused",
            "1 queued",
        ]

    def test_each_row_says_the_one_thing_that_is_worth_knowing(self) -> None:
        drawn = shown(live(), "tasks", 120)
        assert "43 %  about 4 min left" in drawn
        assert "8 %     waits for you" in drawn
        assert "took 2 s" in drawn

    def test_the_first_one_is_chosen_where_none_is_or_the_chosen_one_is_gone(self) -> None:
        for chosen in ("", "gone"):
            first = live(chosen=chosen).task
            assert first is not None
            assert first.id == "t-91c0"

    def test_parts_stand_below_what_they_wait_for(self) -> None:
        lines = [line for line in shown(live(chosen="t-7f3a"), "task", 60).splitlines() if line]
        begun = lines.index(next(line for line in lines if "Database schema" in line))
        assert [line[:24].rstrip() for line in lines[begun : begun + 6]] == [
            "✓  Database schema",
            "✓  ├ User authentication",
            "▸  └ REST API",
            "·    ├ Pages and forms",
            "·    │ Tests of it all",
            "-    └ Deployment notes",
        ]

    def test_a_part_whose_check_fails_is_done_and_marked(self) -> None:
        made = part("tests", "Tests", "done", holds=False, check="2 of 2 tests failed")
        progress = ProgressView(state="running", parts=(made,))
        moves = task("t-1", "Do it", "running", progress=progress)
        assert "!  Tests" in shown(State(link="live", overview=busy(tasks=(moves,))), "task")

    def test_a_plan_that_waits_for_a_word_is_shown_by_its_parts(self) -> None:
        drawn = shown(live(), "task")
        assert "It asks: It planned 2 subtasks" in drawn
        assert "~20 s  writes shop/basket.py" in drawn
        assert "·  Mend the imports" in drawn

    def test_what_a_plan_rests_on_is_told_with_it(self) -> None:
        facts = PlanningView(used=("shop/cart.py",), remembered=("You prefer Flask.",))
        asks = waiting(planning=(facts,))
        drawn = shown(State(link="live", overview=busy(tasks=(asks,))), "task")
        assert "It rests on shop/cart.py." in drawn
        assert "It remembers: You prefer Flask." in drawn

    def test_a_plan_that_is_not_known_by_its_parts_is_shown_as_it_is_written(self) -> None:
        drawn = shown(State(link="live", overview=busy(plans=())), "task")
        assert "  title: Mend the imports" in drawn

    def test_what_a_permission_is_for_is_shown_with_its_spaces(self) -> None:
        asks = waiting(plan="", digest="", detail="def f():\n    return 1\n")
        state = State(link="live", overview=busy(tasks=(asks,)))
        assert "\n    return 1" in shown(state, "task")

    def test_what_came_of_a_task_stands_with_it(self) -> None:
        done = shown(live(chosen="t-8888"), "task")
        assert "Checked: 4 tests passed" in done
        assert "2 files in " in done
        assert "The scraper is in `scraper.py`." in done
        failed = shown(live(chosen="t-dead"), "task")
        assert "ffmpeg is not installed here." in failed
        assert "Install ffmpeg" in failed

    def test_a_check_that_failed_is_no_success(self) -> None:
        ended = task("t-1", "Do it", "done", holds=False, check="2 tests failed")
        state = State(link="live", overview=busy(tasks=(ended,)))
        assert "The check failed: 2 tests failed" in shown(state, "task")

    def test_a_setback_is_told(self) -> None:
        progress = ProgressView(state="running", percent=10, setback="a check failed")
        state = State(
            link="live", overview=busy(tasks=(task("t-1", "Do", "running", progress=progress),))
        )
        assert "It went back: a check failed" in shown(state, "task")

    def test_a_long_answer_is_cut_and_says_where_the_rest_is(self) -> None:
        answer = "\n".join(f"line {number}" for number in range(100))
        state = State(link="live", overview=busy(tasks=(task("t-1", "Do", "done", answer=answer),)))
        drawn = shown(state, "task")
        assert "line 39" in drawn
        assert "line 40" not in drawn
        assert "`tale show t-1` has all of it." in drawn


class TestMachine:
    def test_models_say_what_they_do_and_take(self) -> None:
        drawn = shown(live(), "models")
        assert "talks  641 MiB        91 ms  38 tok/s" in drawn
        assert "Changing models costs 18 ms; loading one anew would take 7.1 s." in drawn

    def test_a_model_that_is_away_says_why_and_its_memory_is_not_nothing(self) -> None:
        state = State(link="live", overview=failing())
        drawn = shown(state, "models")
        assert "recovering" in drawn
        assert "its process ended; started anew, 43 %" in drawn
        assert "5 fallbacks, 3 recoveries" in drawn
        assert "0 B" not in drawn

    def test_what_was_never_measured_is_left_out(self) -> None:
        fresh = model(
            "ux", tokens_per_second=None, ttft_warm_ms=None, ttft_cold_ms=None, switching=None
        )
        drawn = shown(State(link="live", overview=overview(models=(fresh,))), "models")
        assert "tok/s" not in drawn
        assert "Changing" not in drawn

    def test_a_server_that_keeps_failing_shows_how_it_ended(self) -> None:
        drawn = shown(State(link="live", overview=failing()), "servers")
        assert "crash-looping" in drawn
        assert "execution-1 ended: exit code 1 after 0.4 s" in drawn
        assert "No space left on device" in drawn
        assert "execution-1 is not called by gateway for now" in drawn

    @pytest.mark.parametrize(("state", "told"), [("closed", False), ("half-open", True)])
    def test_a_breaker_is_told_of_where_it_holds_calls_back(self, state: str, told: bool) -> None:
        one = server("execution-1", breakers=(BreakerView(caller="gateway", state=state),))
        drawn = shown(State(link="live", overview=overview(servers=(one,))), "servers")
        assert ("gateway" in drawn) is told

    def test_while_the_gateway_is_away_the_supervisor_is_believed(self) -> None:
        told = tuple(
            server(one.name, state="starting" if one.name == "gateway" else "ready")
            for one in servers()
        )
        state = State(link="away", overview=busy(), servers=told)
        assert "starting" in shown(state, "servers")
        assert "6 of 7 ready" in said(view(state, NOW).panels["servers"].title)
        assert "REST API" in shown(State(link="away", overview=busy(), chosen="t-7f3a"), "task")


class TestTokens:
    def test_what_was_saved_is_said_in_words(self) -> None:
        drawn = shown(live(), "tokens")
        assert "61 % fewer tokens than with one large model alone (1.2 M)." in drawn
        assert "169 k · 266 k saved" in drawn

    @pytest.mark.parametrize(
        ("saved", "words"),
        [(0.004, "As many tokens as with"), (-0.5, "50 % more tokens than with")],
    )
    def test_what_was_not_saved_is_said_too(self, saved: float, words: str) -> None:
        found = tokens().model_copy(update={"sent_saved": saved})
        assert words in shown(State(link="live", overview=busy(tokens=found)), "tokens")

    def test_nothing_asked_is_no_row_of_zeros(self) -> None:
        assert shown(State(link="live", overview=overview()), "tokens") == (
            "No model was asked anything yet."
        )

    def test_hours_without_a_request_are_there_and_older_ones_are_not(self) -> None:
        hour = NOW.timestamp() // 3600 * 3600
        points = tuple(
            TrendPoint(at=hour - 3600 * back, prompt=90, completion=10, naive=250)
            for back in (0, 3, 24)
        )
        spent, saved = by_the_hour(points, NOW)
        assert spent == (0.0,) * 20 + (100.0, 0.0, 0.0, 100.0)
        assert saved[-1] == 150.0


class TestFiles:
    def test_checkpoints_are_listed_newest_first(self) -> None:
        table = view(live(checkpoints=CHECKPOINTS), NOW).panels["checkpoints"]
        assert draw(table, 80).keys == ("4", "3", "2", "1")
        assert "kept" in lines_of(table)[2]

    def test_they_are_looked_for_before_it_is_said_that_there_are_none(self) -> None:
        assert shown(live(), "checkpoints") == "Looking …"
        assert "none yet" in shown(live(checkpoints=()), "checkpoints")
        assert "waited for" in shown(State(link="away", overview=busy()), "checkpoints")

    def test_a_log_line_is_its_time_its_server_and_what_it_says(self) -> None:
        drawn = shown(live(log=LOG), "log")
        assert "14:28:01  gateway      task.submitted task=t-7f3a" in drawn
        tones = [span.tone for span in draw(view(live(log=LOG), NOW).panels["log"], 99).lines[5]]
        assert "bad" in tones

    def test_times_are_told_in_the_zone_of_whoever_looks(self) -> None:
        there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert lines_of(view(live(log=LOG), there).panels["log"])[0].startswith("19:58:01")

    def test_what_a_program_wrote_without_a_stamp_stands_below_it(self) -> None:
        log = (Entry("models", "  File \x1b[31mx.py\x1b[0m"),)
        assert shown(live(log=log), "log").endswith("models    File [31mx.py[0m")


class TestHeader:
    def test_it_says_whether_all_is_well(self) -> None:
        header = view(live(), NOW).header
        assert (header.tone, header.verdict[:3]) == ("good", "All")
        assert [span.text for span in header.right] == ["1 task waits for you"]
        assert "61 % tokens saved" in said(header.vitals)

    def test_it_says_what_could_not_be_found_out(self) -> None:
        header = view(State(link="live", overview=failing()), NOW).header
        assert header.tone == "warn"
        assert "crash-looping" in header.verdict
        assert header.verdict.endswith("is recovering, and 1 more.")

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            (State(), "Looking for the daemon"),
            (State(link="stopped"), "tale is not running. Press s to start it."),
            (State(link="starting"), "tale is starting"),
            (State(link="away", why="It is full."), "It is full."),
            (State(link="live"), "first figures"),
        ],
    )
    def test_each_way_of_not_knowing_has_its_words(self, state: State, words: str) -> None:
        found = view(state, NOW)
        assert words in found.header.verdict
        assert all(found.panels[panel].empty for panel in PANELS)

    def test_up_is_told_in_whole_minutes(self) -> None:
        state = State(link="live", overview=overview())
        assert [span.text for span in view(state, NOW).header.right] == ["up 2 h 5 min"]


class TestWords:
    def test_what_could_steer_a_terminal_is_left_out(self) -> None:
        assert plain("a\x1b[31m\r\nb\u202e\u200bc\x07") == "a[31m bc"
        drawn = "\n".join(shown(live(chosen="t-c0de"), panel) for panel in PANELS)
        assert "[red]not markup[/red] [31mnor[0m an escape" in drawn
        assert all(sign.isprintable() or sign == "\n" for sign in drawn)

    def test_figures_are_as_short_as_they_can_be(self) -> None:
        assert [count_of(n) for n in (0, 9_999, 48_211, 999_499, 1_200_000)] == [
            "0",
            "9,999",
            "48 k",
            "999 k",
            "1.2 M",
        ]
        assert [milliseconds(n) for n in (None, 91.4, 1400.0)] == ["", "91 ms", "1.4 s"]
        assert [clock(n) for n in (0.2, 9.4, 75.0)] == ["0 s", "9 s", "1 min 15 s"]
        assert [since(when, NOW) for when in (None, ago(seconds=5), ago(minutes=3))] == [
            "",
            "just now",
            "3 min ago",
        ]


tones = st.sampled_from(("plain", "dim", "good"))
words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), max_size=30)
spans = st.builds(Span, words, tones)
cells: st.SearchStrategy[Cell] = st.one_of(
    st.lists(spans, max_size=3).map(tuple),
    st.builds(Bar, st.integers(-5, 120)),
    st.builds(Spark, st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=40).map(tuple)),
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    count = draw(st.integers(1, 5))
    flexible = draw(st.integers(0, count - 1))
    columns = tuple(
        Column(draw(words), draw(st.booleans()), at == flexible, draw(st.sampled_from((0, 60))))
        if at != flexible
        else Column(draw(words), flexible=True)
        for at in range(count)
    )
    row = st.lists(cells, min_size=count, max_size=count).map(lambda found: Row(tuple(found), "k"))
    chart = st.builds(Chart, words, st.lists(st.floats(0, 9), max_size=30).map(tuple), words)
    rows = draw(st.lists(st.one_of(row, st.builds(Note, words), chart), max_size=6))
    return Table(columns, tuple(rows), empty=draw(words))


class TestDrawing:
    @given(tables(), st.integers(150, 220))
    def test_every_line_is_as_wide_as_the_panel_or_less(self, table: Table, width: int) -> None:
        drawn = draw(table, width * 2)
        assert len(drawn.keys) == len(drawn.lines)
        for line in drawn.lines:
            assert width_of(line) <= width * 2

    @given(st.lists(spans, max_size=6), st.integers(0, 60))
    def test_a_cut_line_fits_and_says_that_it_is_cut(self, line: list[Span], width: int) -> None:
        cut = clipped(line, width)
        assert width_of(cut) <= width
        if width_of(line) > width > 1:
            assert said(cut).endswith("…")
        elif width_of(line) <= width:
            assert cut == tuple(line)

    @given(
        st.text(st.characters(codec="ascii", min_codepoint=32), max_size=200), st.integers(2, 50)
    )
    def test_wrapping_loses_nothing_but_spaces_at_the_breaks(self, line: str, width: int) -> None:
        lines = wrapped(line, width)
        assert all(cell_len(one) <= width for one in lines)
        assert "".join(lines).replace(" ", "") == line.replace(" ", "")

    def test_wrapping_keeps_the_spaces_that_a_line_begins_with(self) -> None:
        assert wrapped("    return 1", 40) == ["    return 1"]

    @given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=50))
    def test_a_curve_has_a_sign_for_each_value_and_shows_the_least_of_something(
        self, values: list[float | None]
    ) -> None:
        drawn = heights(values)
        assert len(drawn) == len(values)
        for sign, value in zip(drawn, values, strict=True):
            assert (sign == " ") == (value is None)
            assert (sign == "▁") == (value is not None and value == 0)

    def test_columns_that_need_room_are_shown_where_there_is_some(self) -> None:
        table = Table(
            (Column("name", flexible=True), Column("more", since=60)),
            (Row((text("a"), text("b"))),),
        )
        assert [said(line) for line in draw(table, 40).lines] == ["a"]
        assert "more" in said(draw(table, 60).head or ())

    def test_the_last_line_that_is_shown_of_a_long_note_says_that_there_is_more(self) -> None:
        lines = draw(Table(rows=(Note("word " * 50, most=2),)), 20).lines
        assert len(lines) == 2
        assert said(lines[1]).endswith("…")
