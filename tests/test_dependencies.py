"""Who waits for whom in a plan, as the files that its parts declare need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.dependencies import Settled, settle, shown
from tale.tasks.task import Subtask

FILES = ("app.py", "models.py", "tests/test_app.py", "docs/app.md", "data/in.csv", "README.md")


def part(
    identity: str,
    *needs: str,
    text: str = "do",
    reads: tuple[str, ...] = (),
    writes: tuple[str, ...] = (),
) -> Subtask:
    return Subtask(identity, f"Part {identity}", text, needs, reads=reads, writes=writes)


def before(settled: Settled) -> dict[str, tuple[str, ...]]:
    return {one.id: one.depends_on for one in settled.plan}


def waits(plan: Sequence[Subtask], second: str, first: str) -> bool:
    parts = {one.id: one for one in plan}
    ahead, seen = [second], set[str]()
    while ahead:
        for one in parts[ahead.pop()].depends_on:
            if one == first:
                return True
            if one not in seen:
                seen.add(one)
                ahead.append(one)
    return False


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (
            part("api", writes=("api.py",)),
            part("site", writes=("site.py",), reads=("api.py",)),
            "it reads api.py, which api writes",
        ),
        (
            part("api", writes=("src/api.py",)),
            part("site", writes=("site.py",), reads=("src/",)),
            "it reads src/api.py, which api writes",
        ),
        (
            part("api", writes=("src/api.py",)),
            part("site", writes=("site.py",), reads=("src/*.py",)),
            "it reads src/api.py, which api writes",
        ),
        (
            part("api", writes=("src/api.py",)),
            part("site", text="Call what ./src/api.py has.", writes=("site.py",)),
            "it names src/api.py, which api writes",
        ),
        (
            part("api", writes=("src/api.py",)),
            part("site", text="Call what `API.py` has.", writes=("site.py",)),
            "it names src/api.py, which api writes",
        ),
        (
            part("api", writes=("api.py",)),
            part("try", writes=("tests/test_api.py",)),
            "it tests api.py, which api writes",
        ),
        (
            part("api", writes=("api.ts",)),
            part("try", writes=("api.spec.ts",)),
            "it tests api.ts, which api writes",
        ),
        (
            part("api", writes=("parser.py",)),
            replace(part("try", text="Cover the parser."), title="Write tests"),
            "it tests parser.py, which api writes",
        ),
        (
            part("api", writes=("api.py",)),
            part("page", writes=("docs/api.md",)),
            "it documents api.py, which api writes",
        ),
        (
            part("api", writes=("app.py",)),
            part("more", writes=("./app.py",)),
            "both write app.py",
        ),
    ],
)
def test_an_edge_that_files_need_is_added_with_its_reason(
    one: Subtask, other: Subtask, says: str
) -> None:
    settled = settle([one, other], ())
    [change] = settled.changes
    assert (change.part, change.other, change.added, change.reason) == (
        other.id,
        one.id,
        True,
        says,
    )
    assert before(settled) == {one.id: (), other.id: (one.id,)}


def test_the_reader_of_a_file_that_nobody_has_yet_waits_although_it_comes_first_in_the_plan() -> (
    None
):
    reader = part("b", reads=("app.py",), writes=("out.txt",))
    settled = settle([reader, part("a", writes=("app.py",))], ())
    assert before(settled)["b"] == ("a",)


def test_the_reader_of_a_file_that_is_there_already_keeps_its_place_before_who_changes_it() -> None:
    reader = part("b", reads=("app.py",), writes=("out.csv",))
    settled = settle([reader, part("a", writes=("app.py",))], {"app.py"})
    assert before(settled) == {"b": (), "a": ("b",)}


def test_of_two_that_speak_of_each_others_files_the_first_in_the_plan_goes_first() -> None:
    one = part("a", text="app.py calls models.py", writes=("app.py",))
    other = part("b", text="models.py is called by app.py", writes=("models.py",))
    assert before(settle([one, other], ())) == {"a": (), "b": ("a",)}
    assert before(settle([other, one], ())) == {"b": (), "a": ("b",)}


def test_an_edge_between_parts_that_have_nothing_to_do_with_each_other_is_dropped() -> None:
    one = part("one", writes=("a.py",))
    other = part("two", "one", reads=("in.csv",), writes=("b.py",))
    settled = settle([one, other], {"in.csv"})
    [change] = settled.changes
    assert (change.added, change.part, change.other) == (False, "two", "one")
    assert "no file goes from one to two" in change.reason
    assert before(settled)["two"] == ()


@pytest.mark.parametrize(
    "other",
    [
        part("two", "one"),
        part("two", "one", writes=("b.py",)),  # it may read what it does not say
        part("two", "one", text="As in one.", reads=("in.csv",), writes=("b.py",)),
        part("two", "one", text="Go on from part  ONE", reads=("in.csv",), writes=("b.py",)),
        part("two", "one", text="See a.py", reads=("in.csv",), writes=("b.py",)),
        replace(part("two", "one", reads=("in.csv",), writes=("b.py",)), kind="act"),
        replace(part("two", "one", reads=("in.csv",), writes=("b.py",)), state="running"),
        replace(part("two", "one", reads=("in.csv",), writes=("b.py",)), state="done"),
        part("+whole", "one", reads=("in.csv",), writes=("b.py",)),
    ],
)
def test_an_edge_that_may_have_a_reason_stays(other: Subtask) -> None:
    plan = (part("one", writes=("a.py",)), other)
    assert settle(plan, ()) == Settled(plan, ())


def test_an_edge_stays_where_files_go_through_a_part_between() -> None:
    plan = (
        part("one", writes=("a.py",)),
        part("two", "one", reads=("a.py",), writes=("b.py",)),
        part("three", "one", "two", reads=("b.py",), writes=("c.py",)),
    )
    assert settle(plan, ()).plan == plan
    assert shown(plan) == {"one": (), "two": ("one",), "three": ("two",)}


def test_an_edge_the_wrong_way_round_is_turned() -> None:
    plan = [
        part("test", writes=("test_app.py",)),
        part("code", "test", writes=("app.py",)),
    ]
    settled = settle(plan, ())
    assert before(settled) == {"test": ("code",), "code": ()}
    assert [change.added for change in settled.changes] == [False, True]
    assert settled.changes[0].reason.startswith("it is the other way round: it tests app.py")


def test_a_cancelled_part_is_waited_for_by_nobody_new() -> None:
    gone = replace(part("a", writes=("app.py",)), state="cancelled")
    plan = (gone, part("b", reads=("app.py",), writes=("b.py",)))
    assert settle(plan, ()) == Settled(plan, ())


@st.composite
def plans(draw: st.DrawFn) -> list[Subtask]:
    ids = [f"p{number}" for number in range(draw(st.integers(1, 8)))]
    some = st.lists(st.sampled_from(FILES), max_size=2).map(tuple)
    texts = st.sampled_from(
        ["do", "See app.py.", "As p0 did", "Test the app", "models.py, README.md"]
    )
    parts = [
        replace(
            part(
                one,
                *sorted(draw(st.sets(st.sampled_from(ids[:number])))) if number else (),
                text=draw(texts),
                reads=draw(some),
                writes=draw(some),
            ),
            title=draw(st.sampled_from(["Tests", "Work", "Documentation"])),
            state=draw(st.sampled_from(["queued", "queued", "queued", "done", "cancelled"])),
            kind=draw(st.sampled_from(["code", "code", "act"])),
        )
        for number, one in enumerate(ids)
    ]
    return draw(st.permutations(parts))


PRESENT = st.sets(st.sampled_from(FILES))


@given(plans(), PRESENT)
def test_settling_never_makes_a_circle_and_doing_it_again_changes_nothing(
    plan: list[Subtask], present: set[str]
) -> None:
    settled = settle(plan, present)
    TopologicalSorter(before(settled)).prepare()
    assert settle(settled.plan, present) == Settled(settled.plan, ())


@given(plans(), PRESENT)
def test_the_changes_are_all_that_is_changed(plan: list[Subtask], present: set[str]) -> None:
    settled = settle(plan, present)
    edges = {(one.id, other) for one in plan for other in one.depends_on}
    for change in settled.changes:
        edge = (change.part, change.other)
        assert (edge in edges) is not change.added
        assert change.reason
        edges ^= {edge}
    assert edges == {(one.id, other) for one in settled.plan for other in one.depends_on}
    assert [replace(one, depends_on=()) for one in settled.plan] == [
        replace(one, depends_on=()) for one in plan
    ]
    assert all(
        new.depends_on == old.depends_on
        for new, old in zip(settled.plan, plan, strict=True)
        if old.state != "queued"
    )


@given(plans(), PRESENT)
def test_whoever_shares_a_file_that_is_written_is_in_order_with_its_writer(
    plan: list[Subtask], present: set[str]
) -> None:
    settled = settle(plan, present)
    alive = [one for one in settled.plan if one.state == "queued"]
    for one in alive:
        for other in alive:
            if one.id != other.id and set(one.writes) & {*other.reads, *other.writes}:
                assert waits(settled.plan, one.id, other.id) or waits(
                    settled.plan, other.id, one.id
                )


@given(plans(), PRESENT)
def test_parts_that_declare_nothing_keep_their_edges(
    plan: list[Subtask], present: set[str]
) -> None:
    bare = tuple(replace(one, reads=(), writes=()) for one in plan)
    assert settle(bare, present) == Settled(bare, ())


@given(plans())
def test_what_is_shown_orders_parts_as_the_plan_does(plan: list[Subtask]) -> None:
    less = tuple(replace(one, depends_on=shown(plan)[one.id]) for one in plan)
    for one in plan:
        assert all(waits(less, one.id, other) for other in one.depends_on)
    for one in less:
        for other in one.depends_on:
            without = tuple(
                replace(each, depends_on=tuple(need for need in each.depends_on if need != other))
                if each.id == one.id
                else each
                for each in less
            )
            assert not waits(without, one.id, other)
