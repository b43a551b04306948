"""Upward ranks, and the time below which no order of work can go."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.schedule_world import random_plan

from tale.tasks.critical_path import by_size, upward_ranks
from tale.tasks.task import Subtask

DIAMOND = (
    Subtask("end", "end", "do", ("left", "right")),
    Subtask("left", "left", "do", ("start",), size="large"),
    Subtask("right", "right", "do", ("start",), size="small"),
    Subtask("start", "start", "do"),
)


def test_a_part_is_as_urgent_as_it_and_the_longest_path_after_it_are_long() -> None:
    assert upward_ranks(DIAMOND) == {"end": 3, "left": 12, "right": 4, "start": 15}


def test_needs_that_are_not_there_and_times_that_can_not_be_count_nothing() -> None:
    seconds = {"a": math.nan, "b": -1.0, "c": math.inf, "d": 2.0}
    plan = [Subtask("a", "a", "do", ("gone",)), *(Subtask(one, one, "do", ("a",)) for one in "bcd")]
    assert upward_ranks(plan, lambda one: seconds[one.id]) == {"a": 2, "b": 0, "c": 0, "d": 2}


def test_a_circle_ends_nothing() -> None:
    plan = [Subtask("a", "a", "do", ("b",)), Subtask("b", "b", "do", ("a",)), DIAMOND[3]]
    assert upward_ranks(plan) == {"start": 3}


@given(st.integers(0, 10**9))
def test_what_is_needed_is_more_urgent_than_what_needs_it(seed: int) -> None:
    plan = random_plan(Random(seed))
    ranks = upward_ranks(plan)
    for one in plan:
        after = [ranks[other.id] for other in plan if one.id in other.depends_on]
        assert ranks[one.id] == pytest.approx(by_size(one) + max(after, default=0))
