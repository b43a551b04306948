"""What a task's events add up to, how far it is shown to be, and how that is said in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.durations import Expected
from tale.tasks.estimate import Eta, Progress
from tale.tasks.outlook import Outlook, checked, lessons, outlook
from tale.tasks.task import TaskEvent
from tale.tasks.view import Part, View, fold, replay
from tale.tasks.words import in_words, span

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
EXPECTED = Expected(60.0, spread=0.3, error=0.1, weight=20)
SUBTASKS: list[object] = [
    {"id": "a", "title": "Write it", "kind": "write", "depends_on": []},
    {"id": "b", "title": "Test it", "kind": "test", "depends_on": ["a"]},
]


class Log:
    """Events of one task, numbered as they come, at the seconds they are given."""

    def __init__(self) -> None:
        self.events: list[TaskEvent] = []
        self._seq = 0

    def add(self, second: float, kind: str, **data: object) -> Log:
        self._seq += kind != "token"
        self.events.append(TaskEvent("t-1", self._seq, self.at(second), kind, data))
        return self

    def at(self, second: float) -> datetime:
        return START + timedelta(seconds=second)

    @property
    def view(self) -> View:
        return replay(self.events)


def running() -> Log:
    return Log().add(0, "queued").add(1, "started", role="task", reason="work")


def planned() -> Log:
    return running().add(1, "plan", subtasks=SUBTASKS).add(2, "subtask", id="a", state="running")


def shown(log: Log, second: float, before: Progress | None = None, reason: str = "") -> Outlook:
    now = START + timedelta(seconds=second)
    found, _ = outlook(log.view, expect, now=now, progress=before, reason=reason)
    return found


def taught(view: View) -> list[tuple[str, str, float]]:
    return [(part.kind, model, seconds) for part, model, seconds in lessons(view)]


def expect(part: Part) -> Expected:
    del part
    return EXPECTED


# -- the fold --------------------------------------------------------------------------------------


def test_a_task_without_a_plan_is_one_subtask_that_runs_from_start_to_end() -> None:
    view = running().add(31, "done", answer="Done.", model="big").view
    assert view.state == "done"
    assert view.has_ended
    assert [(part.state, part.model) for part in view.parts] == [("done", "task")]
    assert taught(view) == [("", "task", 30.0)]


def test_subtasks_go_through_their_states_and_teach_how_long_they_took() -> None:
    log = planned().add(42, "subtask", id="a", state="done")
    log.add(42, "subtask", id="b", state="running").add(62, "subtask", id="b", state="done")
    assert taught(log.view) == [("write", "task", 40.0), ("test", "task", 20.0)]


def test_what_a_crash_cut_off_took_as_long_as_something_came_of_it() -> None:
    log = planned().add(50, "acting", action="run", what="pytest", subtask="a")
    log.add(100, "resumed", why="tale was started again.")
    log.add(103, "started", role="task").add(105, "subtask", id="a", state="running")
    log.add(135, "subtask", id="a", state="done")
    assert taught(log.view) == [("write", "task", 48.0 + 30.0)]
    assert log.view.setbacks == 1


def test_waiting_for_its_user_is_no_part_of_how_long_something_takes() -> None:
    log = planned().add(32, "approval", text="May it?", id="q")
    assert shown(log, 500).parts[0].elapsed == 30
    log.add(600, "approved").add(601, "started", role="task").add(
        601, "subtask", id="a", state="running"
    )
    assert shown(log, 605).parts[0].elapsed == 34
    log.add(606, "paused").add(690, "resumed", why="you resumed it")
    log.add(700, "started", role="task").add(700, "subtask", id="a", state="running")
    log.add(710, "subtask", id="a", state="done")
    assert shown(log, 900).parts[0].elapsed == 45
    assert taught(log.view) == [("write", "task", 45.0)]


def test_a_task_without_a_plan_goes_on_from_what_it_took_before_it_rested() -> None:
    log = running().add(5, "token", text="x").add(31, "approval", text="May it?", id="q")
    log.add(600, "approved", id="q").add(601, "started", role="task")
    assert (shown(log, 602).tokens, [part.seconds(log.at(602)) for part in log.view.parts]) == (
        1,
        [31.0],
    )
    log.add(603, "paused").add(690, "resumed", why="you resumed it")
    log.add(691, "started", role="task").add(700, "acting", action="run", what="pytest")
    log.add(900, "resumed", why="tale was started again.").add(901, "started", role="task")
    log.add(911, "done", model="m")
    assert taught(log.view) == [("", "task", 30.0 + 2.0 + 9.0 + 10.0)]


def test_what_ran_at_a_crash_begins_anew_and_what_was_done_stays_done() -> None:
    log = planned().add(10, "subtask", id="a", state="done")
    log.add(10, "subtask", id="b", state="running").add(20, "resumed", why="killed")
    view = log.view
    assert [part.state for part in view.parts] == ["done", "running"]
    assert view.parts[1].began == START + timedelta(seconds=20)
    assert (view.setback, view.setbacks) == ("killed", 1)


def test_what_was_checked_stays_with_its_part_and_adds_up() -> None:
    log = planned().add(10, "subtask", id="a", state="done", holds=True, check="2 tests passed")
    log.add(10, "subtask", id="b", state="running")
    assert [(part.holds, part.check) for part in log.view.parts] == [
        (True, "2 tests passed"),
        (None, ""),
    ]
    assert checked(log.view.parts) == (True, "1 of 2 parts")
    log.add(20, "subtask", id="b", state="done", holds=False, check="its tests failed")
    assert checked(log.view.parts) == (False, "Test it (its tests failed)")
    log.add(30, "subtask", id="b", state="running")
    assert log.view.parts[1].check == ""


def test_what_was_checked_of_a_task_without_a_plan_comes_with_its_end() -> None:
    view = running().add(9, "done", model="m", holds=None, check="nothing could be run").view
    assert checked(view.parts) == (None, "nothing could be run")


def test_a_new_plan_keeps_what_was_done_and_says_why_it_is_new() -> None:
    log = planned().add(10, "subtask", id="a", state="done")
    third = {"id": "c", "title": "Mend it", "depends_on": ["a"]}
    log.add(11, "plan", subtasks=[*SUBTASKS, third], why="the test failed")
    view = log.view
    assert [part.state for part in view.parts] == ["done", "waiting", "waiting"]
    assert view.setback == "the test failed"


def test_subtasks_are_learned_of_as_they_begin_where_nobody_told_the_plan() -> None:
    log = running().add(2, "subtask", id="a", title="Write it", state="running")
    log.add(9, "subtask", id="a", title="Write it", state="done")
    log.add(9, "subtask", id="b", title="Test it", state="queued")
    assert [(part.title, part.state) for part in log.view.parts] == [
        ("Write it", "done"),
        ("Test it", "waiting"),
    ]


def test_a_plan_may_come_with_the_task() -> None:
    log = Log().add(0, "queued", subtasks=SUBTASKS).add(1, "started", role="task")
    assert [part.id for part in log.view.parts] == ["a", "b"]
    assert log.view.setbacks == 0


def test_a_first_plan_is_no_setback() -> None:
    assert planned().view.setbacks == 0


PLANNING = {"id": "+plan", "title": "Plan it", "kind": "plan"}


def planning() -> Log:
    """A task that is planned by its first subtask."""
    log = Log().add(0, "queued", subtasks=[PLANNING]).add(1, "started", role="task")
    return log.add(1, "subtask", id="+plan", state="running")


def test_a_task_that_plans_itself_is_not_far_until_it_is_planned() -> None:
    log = planning()
    early = shown(log, 50)
    assert (early.percent, early.eta, early.doing) == (0, None, ("Plan it",))
    log.add(60, "subtask", id="+plan", state="done")
    assert shown(log, 60).percent == 0
    log.add(60, "plan", subtasks=[{**PLANNING, "state": "done"}, *SUBTASKS], why="in two steps")
    assert log.view.setbacks == 0
    assert [part.state for part in log.view.parts] == ["done", "waiting", "waiting"]
    assert shown(log, 60).eta is not None
    log.add(60, "subtask", id="a", state="running").add(120, "subtask", id="a", state="done")
    assert shown(log, 120).percent == 50
    assert taught(log.view) == [("plan", "task", 59.0), ("write", "task", 60.0)]


def test_what_is_planned_anew_takes_the_place_of_what_failed_and_goes_back_with_a_reason() -> None:
    log = planned().add(62, "subtask", id="a", state="failed", holds=False, check="it failed")
    repair = {"id": "+repair-1", "title": "Plan anew", "kind": "plan", "depends_on": ["a"]}
    failed = {**cast("dict[str, object]", SUBTASKS[0]), "state": "failed"}
    log.add(62, "plan", subtasks=[failed, repair, SUBTASKS[1]], why="it failed")
    assert log.view.setbacks == 0
    before, progress = outlook(log.view, expect, now=START + timedelta(seconds=62))
    assert before.parts[0].elapsed > 0
    again = {"id": "a-2", "title": "Write it again"}
    log.add(70, "subtask", id="+repair-1", state="done")
    log.add(
        70,
        "plan",
        subtasks=[{**failed, "state": "cancelled"}, repair, again, SUBTASKS[1]],
        why="the parser was missing",
    )
    view = log.view
    assert [part.state for part in view.parts] == ["dropped", "done", "waiting", "waiting"]
    assert (view.setback, view.setbacks) == ("the parser was missing", 1)
    after = shown(log, 70, progress, reason=view.setback)
    assert (before.percent, after.percent) == (50, 0)
    assert checked(view.parts) == (None, "")


def test_what_is_dropped_is_no_setback_and_leaves_less_to_do() -> None:
    log = planned().add(62, "subtask", id="a", state="done")
    dropped = {**cast("dict[str, object]", SUBTASKS[1]), "state": "cancelled"}
    log.add(63, "plan", subtasks=[SUBTASKS[0], dropped], why="a did it")
    assert log.view.setbacks == 0
    found = shown(log, 63)
    assert found.percent == 99
    assert [(one.part.state, one.percent) for one in found.parts] == [("done", 100), ("dropped", 0)]
    assert "(1 of 1 are done)" in in_words(replace(found, doing=("x",)))


def test_what_is_taken_as_it_is_is_done_and_its_check_does_not_hold() -> None:
    log = planned().add(62, "subtask", id="a", state="failed", holds=False, check="it failed")
    taken = {**cast("dict[str, object]", SUBTASKS[0]), "state": "done"}
    log.add(62, "plan", subtasks=[taken, SUBTASKS[1]], why="it failed")
    part = log.view.parts[0]
    assert (part.state, part.holds, part.check) == ("done", False, "it failed")
    assert checked(log.view.parts) == (False, "Write it (it failed)")


def test_a_subtask_that_a_later_plan_leaves_out_is_gone() -> None:
    log = planned().add(11, "plan", subtasks=[SUBTASKS[0]], why="one is enough")
    assert [part.id for part in log.view.parts] == ["a"]


def test_a_task_that_waited_at_a_restart_waits_on() -> None:
    view = Log().add(0, "queued").add(9, "resumed", why="tale was started again.").view
    assert (view.state, view.setbacks) == ("queued", 0)


def test_a_task_that_is_paused_asks_nothing_until_it_asks_again() -> None:
    log = running().add(2, "approval", text="May it?", id="q", action="RunCommand", digest="d")
    log.add(3, "paused")
    paused = shown(log, 4)
    assert (paused.state, paused.question, paused.asked, paused.digest) == ("paused", "", "", "")
    log.add(5, "resumed", why="It was paused.").add(6, "started", role="task")
    assert (shown(log, 7).state, shown(log, 7).question) == ("running", "")
    log.add(8, "approval", text="May it?", id="q", action="RunCommand")
    assert (shown(log, 9).state, shown(log, 9).question) == ("approval", "May it?")


def test_a_task_that_was_paused_before_it_began_waits_for_its_turn_once_it_is_resumed() -> None:
    log = Log().add(0, "queued").add(1, "paused").add(5, "resumed", why="It was paused.")
    assert (log.view.state, log.view.setbacks) == ("queued", 0)


def test_files_that_go_back_undo_what_they_held_and_what_was_under_way() -> None:
    log = planned().add(10, "subtask", id="a", state="done")
    log.add(10, "subtask", id="b", state="running").add(20, "paused")
    log.add(30, "restoring", number=1, subtasks=["a"]).add(31, "restored", number=1)
    view = log.view
    assert (view.state, [part.state for part in view.parts]) == ("paused", ["waiting", "waiting"])
    assert (view.setback, view.setbacks) == ("its files went back to checkpoint 1", 1)
    log.add(40, "resumed", why="It was paused.").add(41, "subtask", id="a", state="running")
    assert (log.view.parts[0].state, log.view.setbacks) == ("running", 1)


def test_files_that_go_back_change_nothing_of_what_a_task_came_to() -> None:
    ended = running().add(31, "done", answer="Done.").view
    after = running().add(31, "done", answer="Done.").add(40, "restoring", number=1).view
    assert (after.state, after.parts, after.setbacks) == ("done", ended.parts, 0)


def test_a_pause_of_the_users_is_no_setback() -> None:
    log = running().add(5, "paused")
    assert log.view.state == "paused"
    view = log.add(50, "resumed", why="you resumed it").view
    assert (view.state, view.setbacks) == ("running", 0)


def test_a_tool_is_shown_until_the_model_speaks_again() -> None:
    log = running().add(2, "acting", action="run", what="pytest\n  -q")
    assert log.view.tool == "run pytest -q"
    assert log.add(3, "token", text="All").view.tool == ""


def test_tokens_a_second_are_counted_over_a_window() -> None:
    log = running()
    for number in range(60):
        log.add(2 + number / 20, "token", text="word ")
    found = shown(log, 5)
    assert found.speed == pytest.approx(20, rel=0.1)
    assert found.tokens == 60
    assert shown(log, 60).speed is None


def test_an_approval_is_asked_for_until_it_is_given() -> None:
    log = running().add(3, "approval", text="Run it?")
    assert (log.view.state, log.view.question) == ("approval", "Run it?")
    assert log.add(9, "approved").view.state == "running"


@given(
    st.lists(
        st.sampled_from(
            ["queued", "started", "resumed", "plan", "subtask", "acting", "token", "note", "done"]
        )
    ),
    st.dictionaries(
        st.sampled_from(["id", "state", "why", "subtasks", "text", "role", "changes"]),
        st.none()
        | st.sampled_from(["a", "running", "done", ""])
        | st.lists(
            st.integers()
            | st.dictionaries(
                st.sampled_from(["id", "state", "kind", "writes", "priority"]),
                st.none() | st.sampled_from(["a", "b", "plan", "cancelled", "done"]),
            )
        ),
    ),
)
def test_any_events_in_any_order_give_a_view_and_old_ones_change_nothing(
    kinds: list[str], data: Mapping[str, object]
) -> None:
    log = Log()
    for number, kind in enumerate(kinds):
        log.add(number, kind, **data)
    view = log.view
    stored = [event for event in log.events if event.kind != "token"]
    assert replay(stored, view) == view
    assert 0 <= shown(log, 100).percent <= 100


def test_a_kind_that_is_not_known_changes_nothing_that_is_shown() -> None:
    log = planned()
    before = shown(log, 20)
    assert shown(log.add(3, "checkpoint", id="c1"), 20) == before


# -- what is shown ---------------------------------------------------------------------------------


def test_percent_grows_with_the_work_and_ends_at_a_hundred() -> None:
    log = planned()
    seen = [shown(log, second).percent for second in (2, 20, 50)]
    log.add(60, "subtask", id="a", state="done")
    seen.append(shown(log, 60).percent)
    log.add(60, "subtask", id="b", state="running")
    seen.append(shown(log, 110).percent)
    log.add(120, "done", answer="", model="m")
    seen.append(shown(log, 120).percent)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[3] == 50
    assert seen[-1] == 100


def test_percent_goes_back_after_a_crash_and_says_why() -> None:
    log = planned()
    before, progress = outlook(log.view, expect, now=START + timedelta(seconds=60))
    log.add(61, "resumed", why="Its server was started again.")
    kept = shown(log, 61, progress)
    after = shown(log, 61, progress, reason=log.view.setback)
    assert kept.percent == before.percent
    assert after.percent < before.percent
    assert after.setback == "Its server was started again."


def test_the_time_left_is_that_of_the_rest_of_the_plan() -> None:
    log = planned()
    left = shown(log, 2).eta
    assert left is not None
    assert left.median == pytest.approx(120, rel=0.2)
    log.add(62, "subtask", id="a", state="done").add(62, "subtask", id="b", state="running")
    later = shown(log, 62).eta
    assert later is not None
    assert later.median == pytest.approx(60, rel=0.2)


@pytest.mark.parametrize("kind", ["paused", "approval", "done", "failed", "cancelled"])
def test_what_does_not_run_has_no_time_left(kind: str) -> None:
    assert shown(running().add(9, kind), 10).eta is None


def test_a_task_that_has_ended_keeps_the_time_it_took() -> None:
    log = running().add(31, "failed", error="No.", hint="")
    assert shown(log, 31).elapsed == shown(log, 9000).elapsed == 30


# -- in words --------------------------------------------------------------------------------------


def test_a_running_task_is_told_with_share_rest_and_what_is_done_now() -> None:
    words = in_words(shown(planned(), 30))
    assert words.startswith("Task t-1 is being worked on: 23 % are done, about 2 min left")
    assert "Just now: Write it (0 of 2 are done)." in words


def test_a_wide_range_is_told_as_a_range() -> None:
    wide = replace(shown(planned(), 30), eta=Eta(60, 20, 400))
    assert "probably 20 s to 7 min left" in in_words(wide)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("done", {"model": "m"}, "Task t-1 is done after 8 s."),
        ("failed", {"error": "No room."}, "Task t-1 failed after 8 s: No room."),
        ("cancelled", {}, "Task t-1 was cancelled after 8 s."),
        ("approval", {"text": "Run it?"}, "Task t-1 waits for your approval: Run it?"),
    ],
)
def test_an_end_is_told_as_what_it_is(kind: str, data: Mapping[str, object], words: str) -> None:
    assert in_words(shown(running().add(9, kind, **data), 10)) == words


def test_a_task_that_waits_is_told_by_its_name() -> None:
    queued = shown(Log().add(0, "queued"), 5)
    assert in_words(queued, "Sort the list").startswith('"Sort the list" has not begun yet')


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (7, "7 s"), (43, "45 s"), (95, "2 min"), (5400, "1.5 h"), (7200, "2 h")],
)
def test_spans_are_as_rough_as_they_are_said(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_events_come_twice_and_count_once() -> None:
    log = planned()
    view = log.view
    assert fold(view, log.events[-1]) is view
