"""What is expected of a model begins at its role's prior and follows what happened."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.assess import BANDS, Band, Kind
from tale.models.backend import FinishReason, Role
from tale.models.estimates import Estimate, Estimates, Outcome, prior

DAY = 86_400.0
KINDS: tuple[Kind, ...] = get_args(Kind)
ROLES: tuple[Role, ...] = get_args(Role)
GOOD = Outcome(
    at=0.0,
    model="small",
    kind="code",
    band="easy",
    ok=True,
    prompt=500,
    completion=200,
    cached=480,
    first_token=0.2,
    seconds=5.2,
    finish="stop",
)
BAD = replace(GOOD, ok=False)


def learned(*outcomes: Outcome, band: Band = "easy", kind: Kind = "code") -> Estimate:
    estimates = Estimates()
    for outcome in outcomes:
        estimates.learn(outcome)
    return estimates.of("small", "ux", kind, band)


def test_nothing_seen_is_the_prior() -> None:
    expected, before = learned(), prior("ux", "code", "easy")
    assert expected.weight == 0
    for name in ("success", "completion", "completion_most", "first_token", "per_token"):
        assert getattr(expected, name) == pytest.approx(getattr(before, name))


@pytest.mark.parametrize("kind", KINDS)
def test_the_prior_takes_the_large_model_for_better_and_hard_requests_for_harder(
    kind: Kind,
) -> None:
    for role in ROLES:
        chances = [prior(role, kind, band).success for band in BANDS]
        assert chances == sorted(chances, reverse=True)
    for band in BANDS:
        assert prior("task", kind, band).success > prior("ux", kind, band).success


def test_one_outcome_moves_little_and_many_convince() -> None:
    before = prior("ux", "code", "easy").success
    assert before < learned(GOOD).success < before + 0.06
    assert learned(*[GOOD] * 200).success > 0.97
    assert learned(*[BAD] * 200).success < 0.04


def test_an_outcome_that_nobody_judged_says_nothing_about_success() -> None:
    unjudged = learned(*[replace(GOOD, ok=None)] * 50)
    assert unjudged.success == pytest.approx(prior("ux", "code", "easy").success)
    assert unjudged.completion > prior("ux", "code", "easy").completion


def test_the_other_bands_of_a_kind_learn_a_little_and_other_kinds_nothing() -> None:
    before = prior("ux", "code", "hard").success
    outcomes = [GOOD] * 20
    assert before < learned(*outcomes, band="hard").success < learned(*outcomes).success
    assert learned(*outcomes, kind="plan").success == prior("ux", "plan", "easy").success


def test_a_model_learns_nothing_from_another() -> None:
    estimates = Estimates()
    estimates.learn(replace(GOOD, model="other"))
    assert estimates.of("small", "ux", "code", "easy") == learned()


def test_what_is_long_ago_counts_less() -> None:
    failed = [replace(BAD, at=n) for n in range(20)]
    months_later = replace(GOOD, at=120 * DAY, kind="talk")
    at_once = learned(*failed)
    later = learned(*failed, months_later)
    assert at_once.success < later.success < prior("ux", "code", "easy").success
    assert later.weight < 1


def test_a_model_that_got_better_is_believed_again() -> None:
    failed = [replace(BAD, at=0.0)] * 100
    better = [replace(GOOD, at=90 * DAY)] * 20
    assert learned(*failed, *better).success > 0.7


def test_lengths_follow_what_was_answered() -> None:
    expected = learned(*[replace(GOOD, completion=900)] * 50)
    assert 750 < expected.completion < 900
    assert expected.completion < expected.completion_most < 1500
    scattered = [replace(GOOD, completion=n) for n in (100, 300, 900, 2700)] * 10
    assert learned(*scattered).completion_most > expected.completion_most


def test_an_answer_that_was_cut_off_would_have_been_longer() -> None:
    cut = learned(*[replace(GOOD, finish="length", ok=None)] * 50)
    whole = learned(*[replace(GOOD, ok=None)] * 50)
    assert cut.completion > whole.completion * 1.4


def test_an_answer_that_failed_has_no_length() -> None:
    failed = learned(*[replace(BAD, finish=None, completion=1)] * 50)
    assert failed.completion == pytest.approx(prior("ux", "code", "easy").completion)


def test_speeds_are_the_models_whatever_it_was_asked() -> None:
    cold = replace(GOOD, cached=0, first_token=5.0, seconds=10.0)
    expected = learned(*[GOOD] * 50, *[cold] * 50, kind="talk")
    assert expected.per_token == pytest.approx(5 / 199, rel=0.05)
    assert expected.first_token == pytest.approx(0.2, rel=0.1)
    assert expected.per_prompt_token == pytest.approx(0.01, rel=0.1)


def test_prompts_are_measured_against_what_they_were_estimated() -> None:
    expected = learned(*[replace(GOOD, estimated=650)] * 100)
    assert expected.prompt_scale == pytest.approx(500 / 650, rel=0.02)
    assert learned(GOOD).prompt_scale == 1.0


def test_an_old_speed_does_not_hide_a_new_one() -> None:
    slow = replace(GOOD, seconds=0.2 + 199.0)
    expected = learned(*[GOOD] * 5000, *[slow] * 800)
    assert expected.per_token == pytest.approx(1.0, rel=0.15)


ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
OUTCOMES = st.builds(
    Outcome,
    at=ANYTHING,
    model=st.just("small"),
    kind=st.sampled_from(KINDS),
    band=st.sampled_from(BANDS),
    ok=st.sampled_from([True, False, None]),
    prompt=st.integers(-10, 10**9),
    completion=st.integers(-10, 10**9),
    cached=st.integers(-10, 10**9),
    first_token=st.none() | ANYTHING,
    seconds=ANYTHING,
    finish=st.sampled_from([None, *get_args(FinishReason)]),
    estimated=st.integers(-10, 10**9),
)


def test_a_time_too_short_to_be_one_teaches_nothing() -> None:
    short = replace(GOOD, prompt=100, cached=0, first_token=5e-324, seconds=1.0)
    assert learned(short).per_prompt_token == learned().per_prompt_token


@given(st.lists(OUTCOMES, max_size=30), st.sampled_from(KINDS), st.sampled_from(BANDS))
def test_whatever_is_learned_estimates_stay_figures_one_can_use(
    outcomes: list[Outcome], kind: Kind, band: Band
) -> None:
    expected = learned(*outcomes, kind=kind, band=band)
    assert expected == learned(*outcomes, kind=kind, band=band)
    assert 0 < expected.success < 1
    assert 0 < expected.completion <= expected.completion_most < math.inf
    for seconds in (expected.first_token, expected.per_prompt_token, expected.per_token):
        assert 0 < seconds < math.inf
    assert 0 < expected.prompt_scale < math.inf
