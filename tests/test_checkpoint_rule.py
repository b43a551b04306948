"""When a checkpoint is taken and which are kept, and that each answer says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.checkpoint import Checkpoint, from_message, to_message
from tale.tasks.checkpoint_rule import Cadence, Retention, Situation, due, retained
from tale.tasks.snapshots.scan import LeftOut

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def checkpoint(number: int, age: timedelta, *, stored: int = 0, pinned: bool = False) -> Checkpoint:
    return Checkpoint(
        "0" * 40, "t-1", number, NOON - age, "why", "1" * 40, stored=stored, pinned=pinned
    )


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "take", "why"),
    [
        (Situation("subtask", 0, 100), False, "nothing has changed since the last one"),
        (Situation("effect", 0, 9999), False, "nothing has changed since the last one"),
        (Situation("subtask", 1, 0), True, "a subtask is done, and files may have changed"),
        (Situation("pause", None, 0), True, "the task stops, and files may have changed"),
        (Situation("end", 3, 0), True, "the task ends, and files may have changed"),
        (Situation("effect", 1, 5), False, "little has changed; the next in 15 s"),
        (Situation("effect", 1, 21), True, "files may have changed, and the last one is 21 s old"),
        (Situation("effect", None, 12, step=300), True, "the step is long, and the last one is 12"),
        (Situation("effect", 8, 3), True, "8 files have changed"),
        (Situation("effect", 8, 3, cost=0.5), False, "the last one took 0.5 s; the next in 22 s"),
    ],
)
def test_a_checkpoint_is_taken_when_it_is_worth_its_cost(
    now: Situation, take: bool, why: str
) -> None:
    answer = due(now)
    assert answer.take == take
    assert answer.why.startswith(why)


@given(
    changed=st.none() | st.integers(1, 100),
    cost=st.floats(0.001, 60),
    since=st.floats(0, 3600),
    step=st.floats(0, 7200),
)
def test_effects_never_cost_more_than_their_share(
    changed: int | None, cost: float, since: float, step: float
) -> None:
    cadence = Cadence()
    if due(Situation("effect", changed, since, step, cost), cadence).take:
        assert cost <= since * cadence.share * 1.000001


@given(changed=st.none() | st.integers(1, 100), step=st.floats(0, 7200))
def test_a_checkpoint_that_is_due_stays_due(changed: int | None, step: float) -> None:
    answers = [due(Situation("effect", changed, since, step)).take for since in range(60)]
    assert answers == sorted(answers)
    assert answers[-1]


# -- which -----------------------------------------------------------------------------------------


def test_the_newest_then_the_last_of_each_hour_then_of_each_day_are_kept() -> None:
    ages = [
        timedelta(days=40),
        timedelta(days=3, hours=2),
        timedelta(days=3, hours=1),
        timedelta(hours=5, minutes=50),
        timedelta(hours=5, minutes=10),
        timedelta(minutes=3),
        timedelta(minutes=2),
        timedelta(minutes=1),
    ]
    checkpoints = [checkpoint(number, age) for number, age in enumerate(ages, 1)]
    verdicts = retained(checkpoints, Retention(newest=2), NOON)
    assert [(one.number, one.kept, one.why) for one in verdicts] == [
        (1, False, "a later one stands for its time"),
        (2, False, "a later one stands for its time"),
        (3, True, "it is the last of 2026-05-01"),
        (4, False, "a later one stands for its time"),
        (5, True, "it is the last of the hour 2026-05-04 06:00 UTC"),
        (6, False, "a later one stands for its time"),
        (7, True, "it is one of the newest 2"),
        (8, True, "it is the newest"),
    ]


def test_pinned_and_needed_ones_are_kept_whatever_the_rule_says() -> None:
    old = timedelta(days=400)
    checkpoints = [
        checkpoint(1, old, stored=10**9, pinned=True),
        checkpoint(2, old, stored=10**9),
        checkpoint(3, old, stored=10**9),
        checkpoint(4, old, stored=10**9),
    ]
    verdicts = retained(checkpoints, Retention(newest=1, max_bytes=1), NOON, needed=[2])
    assert [(one.kept, one.why) for one in verdicts] == [
        (True, "it is pinned"),
        (True, "the running task needs it"),
        (False, "a later one stands for its time"),
        (True, "it is the newest"),
    ]


def test_the_oldest_go_first_when_they_take_too_much() -> None:
    checkpoints = [checkpoint(number, timedelta(), stored=40_000_000) for number in range(1, 6)]
    verdicts = retained(checkpoints, Retention(max_bytes=130_000_000), NOON)
    assert [one.kept for one in verdicts] == [False, False, True, True, True]
    assert verdicts[0].why == "the task's share of 130 MB is used up"


lists = st.lists(
    st.tuples(st.integers(0, 60 * 24 * 30), st.integers(0, 10**9), st.booleans()), max_size=40
).map(
    lambda rows: [
        checkpoint(number, timedelta(minutes=age), stored=stored, pinned=pinned)
        for number, (age, stored, pinned) in enumerate(sorted(rows, reverse=True), 1)
    ]
)
rules = st.builds(
    Retention, st.integers(0, 10), st.integers(0, 48), st.integers(0, 30), st.integers(0, 10**10)
)


@given(checkpoints=lists, rule=rules, needed=st.sets(st.integers(1, 40)))
def test_no_rule_drops_the_newest_a_pinned_or_a_needed_one(
    checkpoints: list[Checkpoint], rule: Retention, needed: set[int]
) -> None:
    kept = {one.number for one in retained(checkpoints, rule, NOON, needed) if one.kept}
    firm = {one.number for one in checkpoints if one.pinned or one.number in needed}
    assert firm | {one.number for one in checkpoints[-1:]} <= kept


@given(checkpoints=lists, rule=rules)
def test_thinning_out_twice_drops_no_more_than_once(
    checkpoints: list[Checkpoint], rule: Retention
) -> None:
    kept = {one.number for one in retained(checkpoints, rule, NOON) if one.kept}
    left = [one for one in checkpoints if one.number in kept]
    assert all(one.kept for one in retained(left, rule, NOON))


@given(checkpoints=lists, rule=rules)
def test_what_is_kept_by_the_rule_is_bounded(
    checkpoints: list[Checkpoint], rule: Retention
) -> None:
    verdicts = {one.number: one for one in retained(checkpoints, rule, NOON)}
    newest = len(checkpoints)
    firm = [one for one in checkpoints if one.pinned or one.number == newest]
    kept = [one for one in checkpoints if verdicts[one.number].kept]
    assert len(kept) <= len(firm) + rule.newest + rule.hours + rule.days + 2
    assert sum(one.stored for one in kept) <= max(rule.max_bytes, sum(one.stored for one in firm))
    assert all(one.why for one in verdicts.values())


# -- its words ------------------------------------------------------------------------------------


@given(
    why=st.text(),
    number=st.integers(1),
    names=st.lists(st.text(), max_size=3),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_commits_message_holds_all_of_a_checkpoint(
    why: str, number: int, names: list[str], at: datetime
) -> None:
    written = replace(
        checkpoint(number, timedelta()),
        at=at,
        why=why,
        changed=tuple(names),
        left_out=tuple(LeftOut(name, why) for name in names),
        parent=number - 1 or None,
    )
    read = from_message(bytes(20), bytes.fromhex(written.tree), to_message(written))
    assert read == written
