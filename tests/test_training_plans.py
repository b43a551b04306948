"""Plans that the judge of edges is trained on, against those that it is measured on."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest
from training.edge_judge import find_edges, reduced
from training.planning import SAMPLED, SETS, Plan, edge_f1, kin, measured, trained, written


def test_the_plans_that_were_written_are_dags_without_what_follows() -> None:
    plans = written()
    assert len({plan.goal for plan in plans}) == len(plans)
    for plan in plans:
        before: dict[int, list[int]] = {}
        for first, second in plan.edges:
            assert 0 <= first < len(plan.steps)
            assert 0 <= second < len(plan.steps)
            before.setdefault(second, []).append(first)
        TopologicalSorter(before).prepare()
        assert reduced(plan.edges) == plan.edges, plan.goal


def test_what_ships_is_nearer_to_the_written_plans_than_a_chain() -> None:
    plans = written()
    found = sum(edge_f1(find_edges(plan.goal, plan.steps), plan.edges) for plan in plans)
    assert found > sum(edge_f1(plan.chain, plan.edges) for plan in plans)


def test_plans_with_nearly_the_same_steps_or_one_goal_are_kin() -> None:
    plans = [
        Plan("", "Make tea", ("boil some water", "pour it on the leaves"), frozenset()),
        Plan("", "Tea", ("boil some water", "pour it on leaves"), frozenset()),
        Plan("", "tea.", ("call a waiter", "order"), frozenset()),
        Plan("", "Fly", ("jump", "flap"), frozenset()),
    ]
    one, near, same_goal, other = kin(plans)
    assert one == near == same_goal != other


def test_f1_is_of_edges() -> None:
    assert edge_f1({(0, 1), (1, 2)}, {(0, 1), (0, 2)}) == 0.5
    assert edge_f1(set(), {(0, 1)}) == 0
    assert edge_f1(set(), set()) == 1


@pytest.mark.parametrize("name", SETS)
def test_nothing_that_is_measured_is_trained_on(name: str) -> None:
    try:
        sampled, others = measured(name), trained(name)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing.filename} isn't here")
    assert len(sampled) == SAMPLED
    assert not {plan.steps for plan in sampled} & {plan.steps for plan in others}
    family = kin([*sampled, *others])
    assert not set(family[:SAMPLED]) & set(family[SAMPLED:])
