"""Which step begins next: `tasks.scheduler`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.scheduler import Queued, Schedule
from tale.tasks.task import Role, Subtask

LANES: dict[Role, int] = {"ux": 1, "task": 2}
PLAN = (
    Subtask("a", "a", "do a"),
    Subtask("b", "b", "do b"),
    Subtask("c", "c", "do c", ("a", "b")),
)


def begun(schedule: Schedule) -> list[str]:
    """Begin all that can begin."""
    found: list[str] = []
    while one := schedule.next():
        found.append(one.id)
    return found


def test_a_short_answer_does_not_wait_behind_work() -> None:
    schedule = Schedule(LANES)
    for number in range(3):
        schedule.add(f"work{number}", 0, "task")
    schedule.add("talk", 0, "ux")
    assert begun(schedule) == ["talk", "work0", "work1"]
    schedule.end("work0")
    assert begun(schedule) == ["work2"]


def test_what_is_more_urgent_begins_first() -> None:
    schedule = Schedule({"ux": 1, "task": 1})
    schedule.add("usual", 0, "task")
    schedule.add("urgent", -5, "task")
    assert begun(schedule) == ["urgent"]


def test_a_part_begins_once_all_that_it_needs_is_done() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    assert begun(schedule) == ["t.a", "t.b"]
    schedule.part_done(Queued(0, "t", 0, "task", "a"), "A", ())
    schedule.end("t.a")
    assert begun(schedule) == []
    schedule.part_done(Queued(0, "t", 1, "task", "b"), "B", ("b.py",))
    schedule.end("t.b")
    assert begun(schedule) == ["t.c"]
    assert schedule.plan("t")["b"].files == ("b.py",)


def test_what_was_cut_off_begins_again_only_when_nothing_of_it_goes_on() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    begun(schedule)
    assert schedule.drop("t") == ["t.a", "t.b"]
    schedule.add("t", 0, "task", PLAN)
    assert begun(schedule) == []
    schedule.end("t.b")
    assert begun(schedule) == ["t.b"]


def test_a_part_that_fails_ends_the_others_and_not_itself() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    begun(schedule)
    assert schedule.drop("t", but="t.a") == ["t.b"]


def test_nothing_of_a_task_that_is_held_begins() -> None:
    schedule = Schedule(LANES)
    schedule.hold("t")
    schedule.add("t", 0, "task")
    schedule.add("other", 1, "task")
    assert begun(schedule) == ["other"]
    schedule.release("t")
    assert begun(schedule) == ["t"]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_no_lane_is_ever_over_full_and_nothing_is_lost(tasks: list[tuple[int, bool]]) -> None:
    schedule = Schedule(LANES)
    for number, (rank, talk) in enumerate(tasks):
        schedule.add(f"t{number}", rank, "ux" if talk else "task")
    done: list[str] = []
    running: list[Queued] = []
    while True:
        while one := schedule.next():
            running.append(one)
        if not running:
            break
        for role, room in LANES.items():
            assert sum(one.role == role for one in running) <= room
        done.append(running[0].id)
        schedule.end(running.pop(0).id)
    assert sorted(done) == sorted(f"t{number}" for number in range(len(tasks)))
