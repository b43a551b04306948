"""Plans are drawn so that people see what waits for what, in a terminal's width."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.cli.record import Record
from tale.cli.task_lines import asked_lines, event_line
from tale.cli.views import Event, Task
from tale.tasks.plan_policy import usual_seconds
from tale.tasks.plan_text import write_plan_text
from tale.tasks.plan_tree import plan_lines, wide
from tale.tasks.task import Subtask

WEB = (
    Subtask("schema", "Database schema", "t", writes=("schema.sql",), check="test -s schema.sql"),
    Subtask("auth", "Login", "t", ("schema",), reads=("schema.sql",), writes=("auth.py",)),
    Subtask("tests", "Tests of the login", "t", ("auth", "schema"), writes=("test_auth.py",)),
    Subtask("api", "REST API", "t", ("schema",), writes=("api.py",)),
    Subtask("readme", "README", "t", ("api", "tests")),
)


def test_parts_stand_below_what_they_wait_for_and_name_the_rest() -> None:
    assert plan_lines(WEB, {"schema": 20, "tests": 200}, detailed=False, columns=60) == [
        "schema  Database schema                                 20 s",
        "├ auth  Login (after schema)",
        "│ tests  Tests of the login (after auth, schema)       3 min",
        "│ readme  README (after api, tests)",
        "└ api  REST API (after schema)",
    ]


def test_few_parts_are_shown_with_their_files_and_checks() -> None:
    assert plan_lines(WEB[:2]) == [
        "schema  Database schema",
        "  writes schema.sql",
        "  check: test -s schema.sql",
        "auth  Login (after schema)",
        "  reads schema.sql",
        "  writes auth.py",
    ]


def test_a_long_chain_is_not_moved_in_and_has_a_line_for_each_part() -> None:
    chain = [
        Subtask(f"p{number}", f"Part {number}", "t", (f"p{number - 1}",) if number else ())
        for number in range(200)
    ]
    lines = plan_lines(chain)
    assert len(lines) == 200
    assert lines[-1] == "p199  Part 199 (after p198)"


def test_parts_show_how_they_stand() -> None:
    parts = [
        Subtask("a", "A", "t", state="done"),
        Subtask("b", "B", "t", state="failed"),
        Subtask("c", "C", "t", state="running"),
        Subtask("d", "D", "t", state="cancelled"),
        Subtask("e", "", "t"),
    ]
    assert plan_lines(parts) == ["✓ a  A", "✗ b  B", "… c  C", "- d  D", "e"]


def test_what_would_steer_a_terminal_is_not_drawn() -> None:
    [line] = plan_lines([Subtask("a", "\x1b[31mred\nnext", "t")])
    assert line == "a   [31mred next"


@pytest.mark.parametrize("needs", [("a",), ("b",), ("gone",)])
def test_a_plan_with_a_circle_or_a_gap_is_drawn_all_the_same(needs: tuple[str, ...]) -> None:
    lines = plan_lines([Subtask("a", "A", "t", needs), Subtask("b", "B", "t", ("a",))])
    assert sorted(line.split("(")[0].strip("├└│ ") for line in lines) == ["a  A", "b  B"]


@pytest.mark.parametrize("detail", [write_plan_text(WEB[:2]), "no plan: ["])
def test_a_plan_that_waits_for_its_user_is_shown_as_a_tree_where_it_can_be_read(
    detail: str,
) -> None:
    data = {"action": "ApprovePlan", "text": "May it?", "detail": detail}
    line = event_line(Event.read(Record({"task": "t-1", "kind": "approval", "data": data})))
    drawn = plan_lines(WEB[:2], {one.id: usual_seconds(one) for one in WEB[:2]})
    shown = "\n".join(drawn) if detail.startswith("#") else detail
    assert line.startswith(f"waits for your word: May it?\n{shown}\n`tale approve t-1`")


def test_a_plan_that_waits_for_its_user_says_how_long_each_part_takes_and_on_what_it_rests() -> (
    None
):
    detail, seconds = write_plan_text(WEB[:1]), {WEB[0].id: 240.0}
    facts = {"seconds": seconds, "used": ["shop.py", "a.md"]}
    data = {"action": "ApprovePlan", "text": "May it?", "detail": detail, **facts}
    line = event_line(Event.read(Record({"task": "t-1", "kind": "approval", "data": data})))
    tree = "\n".join(plan_lines(WEB[:1], seconds))
    assert tree.splitlines()[0].endswith("4 min")
    assert f"{tree}\n  it rests on shop.py, a.md\n" in line


def test_a_task_that_waits_for_a_yes_to_its_plan_shows_how_long_each_part_takes() -> None:
    seconds = {WEB[0].id: 240.0}
    task = Task.read(
        Record(
            {
                "id": "t-1",
                "state": "waiting",
                "plan": write_plan_text(WEB[:1]),
                "planning": [{"changes": ["older"]}, {"seconds": seconds}],
                "progress": {"state": "approval", "question": "May it?"},
            }
        )
    )
    lines = asked_lines("May it?", task.plan, task.planning[-1], 80)
    assert lines == ["May it?", *plan_lines(WEB[:1], seconds, columns=80)]


@st.composite
def plans(draw: st.DrawFn) -> list[Subtask]:
    ids = [f"part-{number}" for number in range(draw(st.integers(1, 25)))]
    parts = [
        Subtask(
            one,
            draw(st.text(max_size=60)),
            "t",
            tuple(sorted(draw(st.sets(st.sampled_from(ids[:number]), max_size=4))))
            if number
            else (),
            writes=tuple(draw(st.lists(st.text(min_size=1, max_size=50), max_size=3))),
        )
        for number, one in enumerate(ids)
    ]
    return draw(st.permutations(parts))


@given(plans(), st.integers(40, 120), st.booleans())
def test_every_part_has_one_line_after_what_it_waits_for_and_no_line_is_too_wide(
    plan: Sequence[Subtask], columns: int, detailed: bool
) -> None:
    lines = plan_lines(plan, {one.id: 60.0 for one in plan}, columns=columns, detailed=detailed)
    heads = [line.lstrip("├└│ ").split()[0] for line in lines if line.endswith("60 s")]
    assert sorted(heads) == sorted(one.id for one in plan)
    at = {one: place for place, one in enumerate(heads)}
    for one in plan:
        above = [at[other] for other in one.depends_on]
        assert not above or min(above) < at[one.id]
    assert all(wide(line) <= columns for line in lines)
