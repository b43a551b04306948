"""Which step waits for which, judged by words, and a model's proposal as evidence beside them."""

from __future__ import annotations

from graphlib import TopologicalSorter
from itertools import combinations
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.edge_judge import (
    MAX_STEPS,
    Edge,
    chances,
    choose,
    find_edges,
    pack,
    reduced,
    unpack,
    weighed,
)
from training.step_cues import CUE_BUCKETS, WAYS, look, way

from tale.errors import ModelFileDamaged

TEA = (
    "Make a cup of tea",
    ["Boil the water.", "Find a cup.", "Pour the boiled water into the cup.", "Drink the tea."],
)
PAGES = (
    "Fetch three pages and compare them",
    ["Fetch page A", "Fetch page B", "Fetch page C", "Compare the pages"],
)


@st.composite
def judged(draw: st.DrawFn) -> tuple[int, dict[Edge, float]]:
    many = draw(st.integers(0, 6))
    chance = st.floats(0.001, 0.999)
    return many, {
        (first, second): draw(chance)
        for first in range(many)
        for second in range(many)
        if first != second
    }


def is_reduced_dag(many: int, edges: frozenset[Edge]) -> bool:
    assert all(0 <= first < many and 0 <= second < many for first, second in edges)
    before: dict[int, list[int]] = {at: [] for at in range(many)}
    for first, second in edges:
        before[second].append(first)
    TopologicalSorter(before).prepare()
    return reduced(edges) == edges


def test_what_is_gathered_side_by_side_is_joined_where_it_is_used() -> None:
    assert find_edges(*PAGES) == {(0, 3), (1, 3), (2, 3)}
    assert {(0, 2), (1, 2), (2, 3)} <= find_edges(*TEA)


@pytest.mark.parametrize(
    "steps",
    [[], ["one"], ["", "", ""], ["same", "same"], ["煮水", "泡茶", "喝茶"], ["\ud800", "b"]],
)
def test_any_steps_give_a_dag(steps: list[str]) -> None:
    assert is_reduced_dag(len(steps), find_edges("", steps))


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=7), st.data())
def test_any_text_and_any_proposal_give_a_dag_and_always_the_same(
    goal: str, steps: list[str], data: st.DataObject
) -> None:
    numbers = st.integers(-1, len(steps))
    proposed = data.draw(st.none() | st.sets(st.tuples(numbers, numbers), max_size=9))
    found = find_edges(goal, steps, proposed)
    assert is_reduced_dag(len(steps), found)
    assert find_edges(goal, list(steps), proposed) == found


def test_steps_past_those_that_are_judged_wait_for_the_one_before() -> None:
    many = MAX_STEPS + 3
    found = find_edges("count", [f"count to {number}" for number in range(many)])
    assert is_reduced_dag(many, found)
    assert {(at - 1, at) for at in range(MAX_STEPS, many)} <= found
    assert all(second < MAX_STEPS or second == first + 1 for first, second in found)


def test_a_proposal_makes_what_it_names_likelier_and_the_rest_less_likely() -> None:
    alone = chances(*TEA)
    with_it = weighed(alone, {(1, 0)})
    assert with_it[1, 0] > alone[1, 0]
    assert all(with_it[edge] < alone[edge] for edge in alone if edge != (1, 0))
    assert weighed(alone, None) == alone


def test_a_proposal_decides_where_words_do_not() -> None:
    steps = ["xyzzy", "plugh", "frotz"]
    edges = {(2, 1), (1, 0)}
    sure = choose(3, weighed(chances("", steps), edges, (9.0, -9.0)))
    assert sure == edges


@given(judged())
def test_what_is_chosen_is_a_dag_without_what_follows(
    given_: tuple[int, dict[Edge, float]],
) -> None:
    assert is_reduced_dag(given_[0], choose(*given_))


@given(judged())
def test_what_is_chosen_is_expected_to_be_as_good_as_the_likeliest_edge_and_as_none(
    given_: tuple[int, dict[Edge, float]],
) -> None:
    many, chance = given_
    chosen = choose(many, chance)
    every = sum(chance.values())
    none = prod(1 - each for each in chance.values())
    expected = 2 * sum(chance[edge] for edge in chosen) / (len(chosen) + every) if chosen else none
    likeliest = max(chance.values(), default=0.0)
    assert expected >= none
    if likeliest > 0.05:
        assert expected >= 2 * likeliest / (1 + every) - 1e-9


@given(st.sets(st.sampled_from(list(combinations(range(7), 2)))))
def test_reducing_keeps_what_is_reached(edges: set[Edge]) -> None:
    def reach(some: frozenset[Edge]) -> set[Edge]:
        found = set(some)
        while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
            found |= more
        return found

    less = reduced(edges)
    assert less <= edges
    assert reach(less) == reach(frozenset(edges))
    assert all(reach(less - {edge}) != reach(less) for edge in less)


def test_the_sums_that_are_shared_between_pairs_are_those_of_each_pair() -> None:
    seen = look(*TEA)
    for (first, second), both in seen.both.items():
        assert seen.of(first, second)[: len(both)] == both
    assert {way(0, 1), way(0, 2), way(1, 0)} == set(WAYS)


def test_weights_are_read_as_they_were_written() -> None:
    weights = [0.0] * CUE_BUCKETS
    weights[3], weights[5] = 1.27, -0.64
    constant, found = unpack(pack(-2.5, weights))
    assert constant == -2.5
    assert (found[3], found[5], found[0]) == pytest.approx((1.27, -0.64, 0.0))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "can't be read"),
        (b"\x05\x00\x00\x00hello", "can't be read"),
        (pack(0.0, [1.0] * CUE_BUCKETS)[:-1], "are cut off"),
        (pack(0.0, [1.0] * CUE_BUCKETS).replace(b'"cues": 1', b'"cues": 0'), "trained for cues 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_to_do(content: bytes, says: str) -> None:
    with pytest.raises(ModelFileDamaged, match=says) as caught:
        unpack(content)
    assert "training.edges" in caught.value.message
