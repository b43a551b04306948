"""Parts that are too big are split: which, into what, how often, and what waits for what then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import PlanRejected
from tale.tasks.ancestry import Ancestry
from tale.tasks.briefing import briefing
from tale.tasks.course import mended, opening, planned, split_up, without_needless
from tale.tasks.plan import afresh, faults, is_over, ready
from tale.tasks.plan_answers import Draft
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.plan_repair import another_try, left_of
from tale.tasks.planner import Planned
from tale.tasks.recompose import after_failure, failures_of, merge
from tale.tasks.split_policy import widened
from tale.tasks.splitting import (
    MAX_DEPTH,
    MAX_SPLITS,
    divided,
    in_step,
    joined,
    pieces_of,
    split_by,
    split_from,
    with_splits,
)
from tale.tasks.task import State, Subtask
from tale.tasks.too_big import too_big

ANSWER = 4096
SERVER = (
    "Build the complete backend: an API with endpoints for users and orders, the database, "
    "authentication and an admin area"
)


def part(identity: str, *needs: str, **more: object) -> Subtask:
    return replace(Subtask(identity, identity.upper(), f"Write {identity}", needs), **more)  # pyright: ignore[reportArgumentType]


def big(identity: str, *needs: str, **more: object) -> Subtask:
    return part(identity, *needs, **{"text": SERVER, "size": "large", **more})


PLANNING = replace(opening("A shop")[0], state="done")


def edges(plan: Sequence[Subtask]) -> dict[str, tuple[str, ...]]:
    return {one.id: one.depends_on for one in plan}


def states(plan: Sequence[Subtask]) -> dict[str, State]:
    return {one.id: one.state for one in plan}


def now(plan: Sequence[Subtask], identity: str, state: State) -> tuple[Subtask, ...]:
    return tuple(replace(one, state=state) if one.id == identity else one for one in plan)


# -- what is too big -------------------------------------------------------------------------------


def test_a_part_that_is_called_large_and_asks_for_a_system_is_too_big() -> None:
    assert too_big(big("a"), ANSWER).startswith("its plan calls it large: a whole backend")


@pytest.mark.parametrize("size", ["small", "medium"])
def test_what_the_plan_does_not_call_large_is_left_as_it_is(size: str) -> None:
    assert too_big(big("a", size=size), ANSWER) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Write store.py with load(path) and save(path, items), kept as JSON.",
        "Write the main application that wires the routes of users, posts and comments.",
        "Write test_api.py with pytest tests of the routes in api.py.",
    ],
)
def test_a_large_part_that_asks_for_one_thing_is_left_as_it_is(text: str) -> None:
    assert too_big(big("a", text=text, writes=("a.py",)), ANSWER) == ""


def test_a_part_whose_files_go_into_no_answer_is_too_big() -> None:
    many = tuple(f"{number}.py" for number in range(7))
    assert "tokens are expected" in too_big(part("a", size="large", writes=many), 2048)
    assert too_big(part("a", size="large", writes=many), 4096) == ""
    more = tuple(f"{number}.py" for number in range(12))
    assert too_big(part("a", size="small", writes=more), ANSWER) == "it writes 12 files"


def test_a_summary_is_not_split() -> None:
    assert too_big(big("a", kind="summarise"), ANSWER) == ""


# -- the split in the plan -------------------------------------------------------------------------


def test_a_part_that_is_too_big_waits_for_its_split_which_waits_for_what_it_needs() -> None:
    merged = planned(Planned((part("a"), big("b", "a"), part("c", "b"))), ANSWER)((PLANNING,))
    assert edges(merged.plan) == {
        "+plan": (),
        "a": (),
        "+split-b": ("a",),
        "b": ("a", "+split-b"),
        "c": ("b",),
        "+whole": ("c",),
    }
    assert any("'B' is to be split before it begins: " in each for each in merged.changes)
    assert faults(merged.plan, own=True) == ()


def test_a_plan_of_the_users_own_stays_as_they_divided_it() -> None:
    plan = (big("a"), big("b"))
    assert with_splits(plan, ANSWER).plan == plan


def test_only_the_biggest_are_split_and_none_is_judged_twice() -> None:
    files = tuple(f"{number}.py" for number in range(9))
    plan = [PLANNING, *(big(one, writes=(f"{one}.py",)) for one in "abc"), part("d", writes=files)]
    merged = with_splits(plan, ANSWER)
    splits = [one.id for one in merged.plan if one.id.startswith("+split-")]
    assert len(splits) == MAX_SPLITS
    assert "+split-d" in splits
    assert with_splits(merged.plan, ANSWER).plan == merged.plan


def test_the_split_of_a_part_that_is_needless_is_dropped_and_nothing_waits_for_it() -> None:
    plan = with_splits([PLANNING, big("a", writes=("a.py",)), part("b", "a")], ANSWER).plan
    made = replace(part("c"), state="done", files=("a.py",))
    merged = without_needless((*plan, made))
    assert states(merged.plan)["a"] == states(merged.plan)["+split-a"] == "cancelled"
    assert edges(merged.plan)["b"] == ()
    assert any("nothing left to split" in each for each in merged.changes)


def test_a_split_waits_while_what_its_part_needs_has_failed() -> None:
    plan = with_splits([PLANNING, part("a"), big("b", "a")], ANSWER).plan
    failed = after_failure(now(plan, "a", "failed"), "a", why="no").plan
    assert [one.id for one in ready({one.id: one for one in failed})] == ["+repair-1"]
    left = left_of(failed, "a")
    made = Planned(another_try(left, "no"))
    mending = mended(made, "+repair-1", ANSWER)(now(failed, "+repair-1", "done"))
    assert edges(mending.plan)["+split-b"] == ("a-2",)
    assert edges(mending.plan)["b"] == ("a-2", "+split-b")


def test_another_task_with_the_same_plan_waits_for_no_split() -> None:
    plan = with_splits([PLANNING, big("a")], ANSWER).plan
    assert edges(afresh(plan)) == {"a": ()}


# -- pieces ----------------------------------------------------------------------------------------

WHOLE = big("x", "a", writes=("m.py", "n.py"), check="python -m pytest -q", priority=4)


def drafted(*parts: Subtask) -> Draft:
    return Draft(parts)


def test_pieces_have_ids_under_that_of_their_part_and_wait_for_each_other_alone() -> None:
    draft = drafted(
        part("model", "a", writes=("m.py",)), part("name", "model", "c", writes=("n.py",))
    )
    pieces, wrong = pieces_of(WHOLE, draft, [part("a"), WHOLE, part("x-1")])
    assert edges(pieces) == {"x-2": (), "x-3": ("x-2",)}
    assert [one.priority for one in pieces] == [4, 4]
    assert wrong == ()


@pytest.mark.parametrize(
    ("draft", "fault"),
    [
        (drafted(part("m", writes=("m.py", "n.py"))), "one subtask only"),
        (drafted(part("m", writes=("m.py",)), part("o")), "No subtask writes n.py"),
        (
            drafted(part("m", writes=("m.py", "n.py"), size="large"), part("o")),
            "'m' is as large as the whole",
        ),
        (
            drafted(part("m", writes=("m.py", "n.py")), part("o", writes=("old.py",))),
            "old.py is there already",
        ),
        (
            drafted(part("m", writes=("m.py", "n.py")), part("o", writes=("b.py",))),
            "b.py is written by 'b'",
        ),
        (drafted(part("m", writes=("m.py",)), part("m", writes=("n.py",))), "have the id 'm'"),
        (drafted(*(part(f"p{n}", writes=WHOLE.writes) for n in range(9))), "5 at most"),
        (Draft(faults=("This is no JSON.",)), "This is no JSON."),
    ],
)
def test_what_is_no_better_than_the_part_is_a_fault(draft: Draft, fault: str) -> None:
    _, wrong = pieces_of(WHOLE, draft, [WHOLE, part("b", writes=("b.py",))], ["old.py"])
    assert any(fault in each for each in wrong), wrong


def test_a_folder_is_written_by_who_writes_into_it() -> None:
    whole = replace(WHOLE, writes=("pages/",))
    draft = drafted(part("m", writes=("pages/a.html",)), part("n", writes=("pages/b.html",)))
    assert pieces_of(whole, draft, [whole], ["pages/a.html"])[1] == ()


def test_the_first_pieces_wait_for_what_the_part_needed_and_the_last_has_its_check() -> None:
    pieces = joined(WHOLE, [part("x-1", check="try m.py"), part("x-2", "x-1"), part("x-3", "x-1")])
    assert edges(pieces) == {"x-1": ("a",), "x-2": ("x-1",), "x-3": ("x-1", "x-2")}
    assert [one.check for one in pieces] == ["try m.py", "", "python -m pytest -q"]
    both = joined(WHOLE, [part("x-1"), part("x-2", check="try n.py")])[-1]
    assert both.check == "try n.py && python -m pytest -q"


def test_a_check_that_only_says_that_files_are_there_holds_no_piece_up() -> None:
    whole = replace(WHOLE, check="python -m py_compile m.py n.py")
    pieces = joined(whole, [part("x-1", check="try m.py"), part("x-2", check="try n.py")])
    assert edges(pieces) == {"x-1": ("a",), "x-2": ("a",)}


def test_what_waited_for_the_part_waits_for_all_that_its_pieces_end_with() -> None:
    plan = [PLANNING, part("a", state="done"), WHOLE, part("b", "x"), part("c")]
    pieces = [part("x-1", "a"), part("x-2", "x-1"), part("x-3", "x-1")]
    merged = divided(plan, "x", pieces)
    assert edges(merged.plan)["b"] == ("x-2", "x-3")
    assert states(merged.plan)["x"] == "cancelled"
    assert merged.changes == (
        "'X' is replaced by 'X-1', 'X-2', 'X-3': it was too big to be done at once",
    )


def test_pieces_that_write_what_others_write_beside_them_are_refused() -> None:
    plan = [PLANNING, replace(WHOLE, depends_on=()), part("b", writes=("b.py",))]
    with pytest.raises(PlanRejected, match=r"both write 'b\.py'"):
        divided(plan, "x", [part("x-1", "b"), part("x-2", writes=("b.py",))])


def test_a_part_whose_split_gave_nothing_is_done_as_it_is_and_not_judged_again() -> None:
    plan = with_splits([PLANNING, big("a")], ANSWER).plan
    nothing = Planned((), "no better plan came of it.")
    whole = split_by({one.id: one for one in plan}, "+split-a")
    merged = split_up(nothing, "+split-a", whole, ANSWER)(now(plan, "+split-a", "done"))
    assert edges(merged.plan)["a"] == ()
    assert merged.changes == ("'A' is done as it is: no better plan came of it.",)
    assert with_splits(merged.plan, ANSWER).plan == merged.plan


def test_a_split_that_fails_leaves_its_part_as_it_is() -> None:
    plan = with_splits([PLANNING, part("b"), big("a", "b")], ANSWER).plan
    merged = after_failure(plan, "+split-a", why="others changed it.")
    assert states(merged.plan)["+split-a"] == "cancelled"
    assert edges(merged.plan)["a"] == ("b",)


def test_a_part_that_was_changed_meanwhile_is_not_replaced() -> None:
    plan = with_splits([PLANNING, big("a")], ANSWER).plan
    whole = split_by({one.id: one for one in plan}, "+split-a")
    other = tuple(replace(one, text="Something else") if one.id == "a" else one for one in plan)
    made = Planned((part("a-1"), part("a-2")))
    merged = split_up(made, "+split-a", whole, ANSWER)(now(other, "+split-a", "done"))
    assert [one.id for one in merged.plan] == ["+plan", "+split-a", "a"]
    assert ready({one.id: one for one in merged.plan})[0].text == "Something else"


def test_a_piece_is_told_what_it_is_a_piece_of() -> None:
    plan = [PLANNING, replace(WHOLE, depends_on=()), part("+split-x", kind="plan", state="done")]
    merged = divided(plan, "x", [part("x-1"), part("x-2")])
    parts = {one.id: one for one in merged.plan}
    told = briefing("the whole", parts["x-1"], parts)
    assert SERVER in told.context
    assert told.text == "Write x-1"


def test_the_whole_is_looked_at_where_the_only_part_was_split() -> None:
    plan = planned(Planned((big("all"),)), ANSWER)((PLANNING,)).plan
    assert [one.id for one in plan] == ["+plan", "+split-all", "all"]
    whole = split_by({one.id: one for one in plan}, "+split-all")
    made = Planned((part("all-1"), part("all-2")))
    after = split_up(made, "+split-all", whole, ANSWER)(now(plan, "+split-all", "done")).plan
    assert edges(after)["+whole"] == ("all-1", "all-2")


# -- what the user has agreed to -------------------------------------------------------------------


ALWAYS, AUTO, NEVER = PlanPolicy("always"), PlanPolicy(), PlanPolicy("never")
SAME = (part("x-1", writes=("m.py",)), part("x-2", writes=("n.py",)))
MORE = (*SAME, part("x-3", writes=("o.py",)))


def test_the_same_files_in_several_parts_need_no_second_yes() -> None:
    assert widened(WHOLE, SAME, [WHOLE], ALWAYS) == ()


def test_files_that_an_approved_plan_did_not_name_are_asked_about() -> None:
    assert widened(WHOLE, MORE, [WHOLE], ALWAYS) == (
        "it writes files that the plan did not name: o.py",
    )
    assert widened(WHOLE, MORE, [WHOLE], AUTO) == (), "nobody was asked about the plan"
    large = [WHOLE, *(part(f"p{number}") for number in range(9))]
    assert widened(WHOLE, MORE, large, AUTO) != (), "they were, as it is large"
    assert widened(WHOLE, MORE, large, NEVER) == ()


def test_what_reaches_out_of_the_workspace_is_asked_about_if_the_part_did_not() -> None:
    out = (*SAME, part("x-3", text="Write /etc/hosts"))
    [reason] = widened(WHOLE, out, [WHOLE], AUTO)
    assert "outside of the workspace: /etc/hosts" in reason
    assert widened(replace(WHOLE, text="Write /etc/hosts"), out, [WHOLE], AUTO) == ()
    assert widened(WHOLE, out, [WHOLE], NEVER) == ()


def test_a_kind_of_work_that_the_user_wants_to_be_asked_about_is_asked_about() -> None:
    policy = PlanPolicy("never", {"act": "always"})
    acts = (*SAME, part("x-3", kind="act"))
    assert widened(WHOLE, acts, [WHOLE], policy) == ("you want to be asked about plans with act",)
    assert widened(WHOLE, acts, [WHOLE, part("y", kind="act")], policy) == ()


# -- whatever the plan and the pieces --------------------------------------------------------------


def _before(number: int) -> st.SearchStrategy[set[int]]:
    if number == 0:
        return st.just(set[int]())
    return st.sets(st.integers(0, number - 1), max_size=3)


@st.composite
def drafts(draw: st.DrawFn, writes: tuple[str, ...]) -> tuple[Subtask, ...]:
    """Give what a model may make of a part: its files between them, some more, any order."""
    many = draw(st.integers(1, 4))
    owners = [draw(st.integers(0, many - 1)) for _ in writes]
    made: list[Subtask] = []
    for number in range(many):
        own = tuple(path for path, owner in zip(writes, owners, strict=True) if owner == number)
        more = draw(st.sampled_from([(), (), (f"more{number}.py",), ("p0.py",)]))
        needs = draw(_before(number))
        made.append(
            part(
                f"d{number}",
                *(f"d{other}" for other in sorted(needs)),
                text=draw(st.sampled_from([SERVER, "Write a function"])),
                size=draw(st.sampled_from(["small", "large"])),
                writes=(*own, *more),
            )
        )
    return tuple(made)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Subtask, ...]:
    made: list[Subtask] = []
    for number in range(draw(st.integers(1, 6))):
        needs = draw(_before(number))
        files = tuple(f"p{number}{end}.py" for end in ("", "b", "c")[: draw(st.integers(0, 3))])
        made.append(
            part(
                f"p{number}",
                *(f"p{other}" for other in sorted(needs)),
                text=draw(st.sampled_from([SERVER, "Write a function"])),
                size=draw(st.sampled_from(["medium", "large", "large"])),
                writes=files,
                check=draw(st.sampled_from(["", "make test"])),
            )
        )
    return tuple(made)


class Course:
    """A plan that is worked on, whatever happens in it, until nothing of it is left."""

    def __init__(self, made: tuple[Subtask, ...], data: st.DataObject) -> None:
        self.first = {one.id: one for one in made}
        self.data = data
        self.plan = planned(Planned(made), ANSWER)((PLANNING,)).plan
        self.done: list[str] = []

    def go_on(self) -> None:
        parts = {one.id: one for one in self.plan}
        begin = ready(parts)
        assert begin, "something may always begin"
        one = self.data.draw(st.sampled_from(begin))
        self.waited(one)
        self.plan = now(self.plan, one.id, "running")
        assert in_step(self.plan).plan == self.plan, "what is recorded is in step"
        if one.id.startswith("+split-"):
            self.split(one)
        elif one.id.startswith("+repair-"):
            self.repair(one)
        elif not one.id.startswith("+") and self.data.draw(st.integers(0, 9)) == 0:
            self.plan = after_failure(now(self.plan, one.id, "failed"), one.id, why="no").plan
        else:
            self.plan = without_needless(now(self.plan, one.id, "done")).plan
        self.done.append(one.id)

    def split(self, one: Subtask) -> None:
        whole = split_by({each.id: each for each in self.plan}, one.id)
        assert whole is not None
        draft = Draft(self.data.draw(drafts(whole.writes)))
        pieces, wrong = pieces_of(whole, draft, self.plan)
        made = Planned(() if wrong else joined(whole, pieces), "it is no better.")
        after = split_up(made, one.id, whole, ANSWER)
        try:
            self.plan = after(now(self.plan, one.id, "done")).plan
        except PlanRejected as error:
            failed = now(self.plan, one.id, "failed")
            self.plan = after_failure(failed, one.id, why=error.message).plan
            return
        if made.parts:
            ancestry = Ancestry(self.plan)
            for piece in made.parts:
                assert all(ancestry.comes_before(x, piece.id) for x in whole.depends_on)

    def repair(self, one: Subtask) -> None:
        failed = failures_of(self.plan, one.id)[0]
        made = Planned(another_try(left_of(self.plan, failed), "no"))
        after = mended(made, one.id, ANSWER)
        self.plan = after(now(self.plan, one.id, "done")).plan

    def waited(self, one: Subtask) -> None:
        """Make sure that all came before a part that its first plan has before it."""
        parts = {each.id: each for each in self.plan}
        for name in self.first[one.id].depends_on if one.id in self.first else ():
            for other in parts.values():
                whole = {other.id, *(each.id for each in split_from(other.id, parts))}
                if name in whole:
                    assert other.state in {"done", "cancelled"}, (one.id, other.id)


@given(plans(), st.data())
def test_whatever_is_split_the_plan_stays_sound_and_comes_to_its_end(
    made: tuple[Subtask, ...], data: st.DataObject
) -> None:
    course = Course(made, data)
    for _ in range(200):
        assert faults(course.plan, own=True) == ()
        if is_over(course.plan):
            break
        course.go_on()
    assert is_over(course.plan)
    parts = {one.id: one for one in course.plan}
    assert sum(one.startswith("+split-") for one in parts) <= MAX_SPLITS
    assert all(len(split_from(one, parts)) <= MAX_DEPTH for one in parts)
    assert len(course.done) == len(set(course.done)), "no part begins twice"


@given(plans(), st.data())
def test_splits_outlast_any_other_change_of_the_plan(
    made: tuple[Subtask, ...], data: st.DataObject
) -> None:
    plan = planned(Planned(made), ANSWER)((PLANNING,)).plan
    gone = data.draw(st.sets(st.sampled_from([one.id for one in made])))
    merged = merge(plan, (), dropped=dict.fromkeys(gone, "it is needless"))
    after = {one.id: one for one in in_step(merged.plan).plan}
    assert faults(tuple(after.values()), own=True) == ()
    for one in after.values():
        if one.id.startswith("+split-") and one.state == "queued":
            whole = after[one.id.removeprefix("+split-")]
            assert whole.depends_on == (*one.depends_on, one.id)
        elif one.id.startswith("+split-"):
            assert one.id.removeprefix("+split-") in gone
