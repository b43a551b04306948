"""When a task will be done: learned durations, the plan played through, and percent."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.durations import Durations, Expected, prior_duration
from tale.tasks.estimate import Progress, Work, WorkState, eta, fraction

DAY = 86_400.0
SURE = Expected(60.0, spread=0.21, error=0.01, weight=20)
STATES: tuple[WorkState, ...] = ("waiting", "running", "done")


def learned(*seconds: float, kind: str = "code", model: str = "m") -> Durations:
    durations = Durations()
    for number, each in enumerate(seconds):
        durations.learn(kind, model, each, at=number)
    return durations


def chain(count: int, expected: Expected = SURE) -> list[Work]:
    return [
        Work(str(number), expected, (str(number - 1),) if number else (), kind="code")
        for number in range(count)
    ]


@st.composite
def plans(draw: st.DrawFn) -> list[Work]:
    works: list[Work] = []
    for number in range(draw(st.integers(1, 8))):
        before = draw(st.sets(st.integers(0, number - 1))) if number else set[int]()
        expected = Expected(
            draw(st.floats(0.01, 1e5)), draw(st.floats(0.01, 2.0)), draw(st.floats(0.01, 2.0))
        )
        state = draw(st.sampled_from(STATES))
        elapsed = 0.0 if state == "waiting" else draw(st.floats(0.0, 1e6))
        works.append(Work(str(number), expected, tuple(map(str, before)), state, elapsed, "k"))
    return works


# -- durations -------------------------------------------------------------------------------------


def test_nothing_seen_is_the_prior_of_the_kind() -> None:
    found = Durations().of("code", "m")
    assert found.median == pytest.approx(prior_duration("code").median)
    assert found.weight == 0


def test_twenty_steps_outweigh_the_prior_and_are_known_well() -> None:
    random_ = random.Random(1)
    found = learned(*(100 * math.exp(random_.gauss(0, 0.3)) for _ in range(20))).of("code", "m")
    assert 80 < found.median < 125
    assert found.error < 0.15
    assert 0.2 < found.spread < 0.5


def test_one_step_moves_the_expectation_and_leaves_it_wide() -> None:
    before, after = Durations().of("code", "m"), learned(200).of("code", "m")
    assert before.median < after.median < 200
    assert 0.3 < after.error < before.error


def test_what_another_model_took_is_told_but_leaves_doubt() -> None:
    durations = learned(*[100.0] * 20)
    own, others = durations.of("code", "m"), durations.of("code", "other")
    assert others.median == pytest.approx(100, rel=0.2)
    assert others.error > 3 * own.error
    assert others.weight == 0


def test_a_slow_machine_is_seen_in_kinds_that_were_never_done() -> None:
    slow = learned(*[prior_duration("code").median * 5] * 10)
    for _ in range(10):
        slow.learn("plan", "m", prior_duration("plan").median * 5, at=0)
    before = Durations().of("write", "m")
    assert slow.of("write", "m").median > 2 * before.median
    assert slow.of("write", "m").error < before.error


def test_a_greeting_that_took_no_time_says_little_of_code() -> None:
    durations = Durations()
    for _ in range(20):
        durations.learn("talk", "ux", prior_duration("talk").median / 5, at=0)
    before, after = Durations().of("code", "m"), durations.of("code", "m")
    assert before.median / 2 < after.median < before.median


def test_a_machine_that_became_fast_is_seen_after_some_dozens_of_steps() -> None:
    durations = learned(*[100.0] * 500, *[10.0] * 100)
    assert durations.of("code", "m").median < 20


def test_what_was_seen_long_ago_counts_less() -> None:
    durations = Durations()
    for _ in range(4):
        durations.learn("code", "m", 1000, at=0)
    before = durations.of("code", "m")
    durations.learn("write", "m", 10, at=365 * DAY)
    assert durations.of("code", "m").weight < before.weight / 1000


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True))
def test_figures_that_cannot_be_are_not_believed(seconds: float, at: float) -> None:
    durations = learned(60.0, 60.0)
    durations.learn("code", "m", seconds, at=at)
    found = durations.of("code", "m")
    assert 0 < found.median < math.inf
    assert 0 < found.spread < math.inf
    assert 0 < found.error < math.inf


# -- the end ---------------------------------------------------------------------------------------


def test_a_chain_takes_the_sum_and_lanes_do_not_help_it() -> None:
    assert eta(chain(5), lanes=1).median == pytest.approx(300, rel=0.1)
    assert eta(chain(5), lanes=4).median == pytest.approx(300, rel=0.1)


def test_independent_subtasks_share_the_lanes() -> None:
    works = [replace(work, depends_on=()) for work in chain(8)]
    one, four = eta(works, lanes=1), eta(works, lanes=4)
    assert one.median == pytest.approx(480, rel=0.1)
    assert 120 < four.median < 160


def test_the_range_is_wide_before_there_is_history_and_narrow_after() -> None:
    first = eta(chain(3, Durations().of("code", "m")))
    later = eta(chain(3, learned(*[60.0 * 1.2 ** (n % 3) for n in range(20)]).of("code", "m")))
    assert first.high / first.low > 8
    assert later.high / later.low < 3
    assert "nothing like it" in first.why
    assert "learned from 20 like steps" in later.why


def test_a_subtask_that_runs_longer_than_expected_is_expected_to_last_longer_still() -> None:
    def left(elapsed: float) -> float:
        return eta([Work("a", SURE, state="running", elapsed=elapsed)]).median

    assert left(0) == pytest.approx(60, rel=0.1)
    assert left(30) == pytest.approx(30, rel=0.3)
    assert 0 < left(60) < left(0)
    assert left(60) < left(120) < left(600) < left(6000)


def test_a_task_whose_subtasks_took_twice_as_long_is_expected_to_go_on_like_that() -> None:
    first, *others = chain(6)
    usual = eta([replace(first, state="done", elapsed=60), *others])
    slow = eta([replace(first, state="done", elapsed=180), *others])
    assert slow.median > 1.15 * usual.median


def test_fewer_tokens_a_second_than_usual_put_the_end_off() -> None:
    assert eta(chain(3), pace=2).median > 1.3 * eta(chain(3)).median


def test_nothing_left_is_no_time() -> None:
    found = eta([replace(work, state="done", elapsed=50) for work in chain(3)])
    assert (found.low, found.median, found.high) == (0, 0, 0)
    assert eta([]).high == 0


def test_a_plan_that_goes_in_circles_still_has_an_end() -> None:
    works = [Work("a", SURE, ("b",)), Work("b", SURE, ("a",))]
    assert eta(works).median == pytest.approx(120, rel=0.1)


@given(plans(), st.integers(1, 4), st.floats(0.1, 10))
def test_every_plan_has_an_end_within_its_range(works: list[Work], lanes: int, pace: float) -> None:
    found = eta(works, lanes=lanes, pace=pace)
    assert 0 <= found.low <= found.median <= found.high < math.inf
    assert eta(works, lanes=lanes, pace=pace) == found


@given(plans())
def test_more_of_the_plan_done_is_a_larger_share(works: list[Work]) -> None:
    share = fraction(works)
    assert 0 <= share <= 1
    for number, work in enumerate(works):
        done = [*works]
        done[number] = replace(work, state="done")
        assert fraction(done) >= share - 1e-9


def test_a_running_subtask_counts_for_part_and_never_for_the_whole() -> None:
    def share(elapsed: float, expected: Expected = SURE) -> float:
        return fraction([Work("a", expected, state="running", elapsed=elapsed)])

    shares = [share(elapsed) for elapsed in (0, 10, 30, 60)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert share(30) == pytest.approx(0.5, rel=0.1)
    assert share(60) < 0.9
    assert share(6000) < 1


def test_where_little_is_known_a_running_subtask_is_not_said_to_be_nearly_done() -> None:
    unknown = Durations().of("code", "m")
    late = Work("a", unknown, state="running", elapsed=6 * unknown.median)
    assert fraction([late]) < 0.75


# -- percent ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-1, 2), st.sampled_from(["", "a new plan"]))))
def test_percent_goes_back_only_for_a_reason_that_is_told(
    shares: list[tuple[float, str]],
) -> None:
    shown = Progress()
    for share, reason in shares:
        after = shown.advance(share, reason=reason)
        if after.percent < shown.percent:
            assert reason
            assert after.setback == reason
        assert 0 <= after.percent <= 99
        shown = after


def test_only_what_is_done_is_a_hundred_percent() -> None:
    assert Progress().advance(1.0).percent == 99
    assert Progress(40).advance(0.5, done=True).percent == 100
