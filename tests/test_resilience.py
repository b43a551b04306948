"""Breakers, retry budgets and the choice of an instance, without a clock."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tale.wire.resilience import (
    Breaker,
    BreakerPolicy,
    HedgePolicy,
    RetryBudget,
    RetryPolicy,
    admitted,
    hedge_after,
    pick,
)

BREAKER = BreakerPolicy(failures=3, open_seconds=1, longest_seconds=5)
RETRY = RetryPolicy(ratio=0.2, per_second=0.5, reserve=4)


def opened(now: float = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(BREAKER.failures):
        breaker = breaker.called(now).failed(now, BREAKER)
    return breaker


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(BREAKER.failures - 1):
        breaker = breaker.failed(0, BREAKER)
        assert breaker.admits(0, BREAKER)
    assert not breaker.failed(0, BREAKER).admits(0, BREAKER)


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker().failed(0, BREAKER).failed(0, BREAKER).succeeded()
    assert breaker.failed(0, BREAKER).failed(0, BREAKER).closed


def test_an_open_breaker_lets_one_probe_through_once_its_time_is_up() -> None:
    breaker = opened()
    assert not breaker.admits(0.99, BREAKER)
    assert breaker.admits(1, BREAKER)
    probing = breaker.called(1)
    assert not probing.admits(1, BREAKER)
    assert probing.succeeded() == Breaker()


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    breaker, now = opened(), 0.0
    lengths: list[float] = []
    for _ in range(4):
        now = breaker.until
        breaker = breaker.called(now).failed(now, BREAKER)
        lengths.append(breaker.opened_for)
    assert lengths == [2, 4, 5, 5]


def test_calls_from_before_it_opened_do_not_keep_it_open_for_longer() -> None:
    breaker = opened()
    assert breaker.failed(0.5, BREAKER).until == breaker.until


def test_a_probe_that_its_caller_gave_up_makes_room_for_another() -> None:
    probing = opened().called(0)
    assert probing.left().admits(1, BREAKER)
    assert not Breaker().left().probing


class BreakerLife(RuleBasedStateMachine):
    """Any order of calls and verdicts."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.calls = 0

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now, BREAKER))
    @rule()
    def call(self) -> None:
        self.breaker = self.breaker.called(self.now)
        self.calls += 1

    @precondition(lambda self: self.calls)
    @rule(verdict=st.sampled_from(["answer", "failure", "given up"]))
    def end(self, verdict: str) -> None:
        self.calls -= 1
        match verdict:
            case "answer":
                self.breaker = self.breaker.succeeded()
            case "failure":
                self.breaker = self.breaker.failed(self.now, BREAKER)
            case _:
                self.breaker = self.breaker.left()

    @invariant()
    def nobody_is_shut_out_for_good(self) -> None:
        later = self.now + BREAKER.longest_seconds
        assert self.breaker.probing or self.breaker.admits(later, BREAKER)
        assert 0 <= self.breaker.probing <= BREAKER.probes
        assert self.breaker.opened_for <= BREAKER.longest_seconds


TestBreakerLife = BreakerLife.TestCase


def test_a_budget_pays_for_its_reserve_and_then_for_a_fifth_of_the_calls() -> None:
    budget = RetryBudget.full(0, RETRY)
    for _ in range(4):
        spent = budget.retried(0, RETRY)
        assert spent is not None
        budget = spent
    assert budget.retried(0, RETRY) is None
    for _ in range(5):
        budget = budget.called(0, RETRY)
    assert budget.retried(0, RETRY) is not None


def test_time_gives_rare_callers_retries_too() -> None:
    budget = RetryBudget(0, 0)
    assert budget.retried(1.9, RETRY) is None
    assert budget.retried(2, RETRY) == RetryBudget(0, 2)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=200))
def test_retries_stay_within_reserve_time_and_share(steps: list[tuple[bool, float]]) -> None:
    budget, now, calls, retries = RetryBudget.full(0, RETRY), 0.0, 0, 0
    for is_call, seconds in steps:
        now += seconds
        if is_call:
            budget = budget.called(now, RETRY)
            calls += 1
        elif paid := budget.retried(now, RETRY):
            budget = paid
            retries += 1
    bound = RETRY.reserve + RETRY.ratio * calls + RETRY.per_second * now
    assert retries <= bound + 1e-6


def test_a_clock_that_steps_back_takes_no_retries_away() -> None:
    assert RetryBudget(2, 100).called(0, RETRY).tokens == pytest.approx(2.2)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers())
def test_the_most_loaded_is_picked_only_against_its_like(loads: list[int], seed: int) -> None:
    chosen = pick(loads, float, random.Random(seed).random)
    assert chosen in loads
    if loads.count(max(loads)) == 1 and len(loads) > 1:
        assert chosen != max(loads)


def test_two_choices_spread_calls_nearly_evenly() -> None:
    loads = [0] * 8
    chance = random.Random(1).random
    for _ in range(8000):
        loads[pick(range(8), lambda instance: loads[instance], chance)] += 1
    assert max(loads) - min(loads) < 20


def test_one_finding_that_an_instance_hangs_opens_its_breaker() -> None:
    breaker = Breaker().tripped(10, BREAKER)
    assert not breaker.admits(10.5, BREAKER)
    assert breaker.admits(11, BREAKER)
    assert breaker.called(0).tripped(11, BREAKER).opened_for == 2


def test_all_instances_that_work_are_admitted() -> None:
    assert admitted([Breaker(), Breaker().failed(0, BREAKER)], 0, BREAKER) == ([0, 1], math.inf)


def test_up_to_half_of_the_instances_are_left_alone_until_their_time_is_up() -> None:
    assert admitted([opened(), opened(), Breaker(), Breaker()], 0.5, BREAKER) == ([2, 3], 1)


def test_instances_over_half_are_probed_as_often_as_after_their_first_failure() -> None:
    long_dead = Breaker(failures=9, opened_for=5, until=5)
    assert admitted([long_dead, long_dead, Breaker()], 0.9, BREAKER) == ([2], 1)
    may, _ = admitted([long_dead, long_dead, Breaker()], 1, BREAKER)
    assert len(may) == 2, "one of the two is over the half and is probed"


def test_a_service_that_fails_altogether_is_still_tried_by_a_few_calls_at_a_time() -> None:
    alone = Breaker(failures=9, opened_for=5, until=5)
    assert admitted([alone], 1, BREAKER) == ([0], math.inf)
    assert admitted([alone.called(1)], 1, BREAKER) == ([], 2)
    failed = alone.called(1).failed(1.1, BREAKER)
    assert admitted([failed], 1.1, BREAKER) == ([], 2), "and not again at once"
    assert admitted([failed], 2, BREAKER) == ([0], math.inf)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 10)), max_size=8), st.floats(0, 20))
def test_never_are_more_than_half_left_alone_for_longer_than_the_first_time(
    opened_at: list[tuple[float, float]], now: float
) -> None:
    breakers = [
        Breaker(3, seconds, at + seconds) if seconds else Breaker() for seconds, at in opened_at
    ]
    may, due = admitted(breakers, now, BREAKER)
    for place in may:
        assert breakers[place].probing < BREAKER.probes
    alone = [
        one
        for place, one in enumerate(breakers)
        if place not in may and now >= one.next_probe(BREAKER)
    ]
    assert len(alone) <= len(breakers) // 2
    assert due > now


HEDGE = HedgePolicy(samples=10, shortest=0.02)


def test_a_read_is_asked_elsewhere_after_the_time_that_most_take() -> None:
    assert hedge_after(100, 0.3, 2, HEDGE) == 0.3
    assert hedge_after(100, 0.001, 2, HEDGE) == HEDGE.shortest


def test_a_read_is_asked_once_where_nothing_is_known_of_it_or_nobody_else_is_there() -> None:
    assert hedge_after(HEDGE.samples - 1, 0.3, 2, HEDGE) is None
    assert hedge_after(100, 0.3, 1, HEDGE) is None
