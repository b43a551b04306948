"""Which step begins next: `tasks.scheduler`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.schedule_world import World

from tale.tasks.resources import Claim, Files, Room
from tale.tasks.scheduler import PATIENCE, Queued, Schedule, Waiting, pick
from tale.tasks.task import Role, Size, Subtask

LANES: dict[Role, int] = {"ux": 1, "task": 2}
ONE: dict[Role, int] = {"ux": 1, "task": 1}
PLAN = (
    Subtask("a", "a", "do a"),
    Subtask("b", "b", "do b"),
    Subtask("c", "c", "do c", ("a", "b")),
)


def dropped(one: Subtask) -> Subtask:
    return replace(one, state="cancelled")


def part(
    identity: str,
    *needs: str,
    size: Size = "medium",
    priority: int = 0,
    reads: Iterable[str] = (),
    writes: Iterable[str] = (),
) -> Subtask:
    return Subtask(
        identity,
        identity,
        "do",
        needs,
        size=size,
        priority=priority,
        reads=tuple(reads),
        writes=tuple(writes),
    )


def begun(schedule: Schedule) -> list[str]:
    """Begin all that can begin."""
    found: list[str] = []
    while one := schedule.next():
        found.append(one.id)
    return found


def done(schedule: Schedule, *steps: str) -> list[str]:
    """Have steps done, and begin what can begin then."""
    for step in steps:
        task, _, subtask = step.partition(".")
        schedule.part_done(Queued(task, "task", subtask), "A", ())
        schedule.end(step)
    return begun(schedule)


def in_turn(schedule: Schedule) -> list[str]:
    """Have all steps done, each as soon as it has begun."""
    order: list[str] = []
    while one := schedule.next():
        order.append(one.id)
        schedule.part_done(one, "A", ())
        schedule.end(one.id)
    return order


# -- tasks -----------------------------------------------------------------------------------------


def test_a_short_answer_does_not_wait_behind_work() -> None:
    schedule = Schedule(LANES)
    for number in range(3):
        schedule.add(f"work{number}", 0, "task")
    schedule.add("talk", 0, "ux")
    assert sorted(begun(schedule)) == ["talk", "work0", "work1"]
    schedule.end("work0")
    assert begun(schedule) == ["work2"]


def test_what_is_more_urgent_begins_first_then_what_is_older() -> None:
    schedule = Schedule(ONE)
    schedule.add("t-2", 0, "task")
    schedule.add("t-1", 0, "task")
    schedule.add("t-3", -5, "task")
    assert in_turn(schedule) == ["t-3", "t-1", "t-2"]


def test_what_is_more_urgent_overtakes_where_a_part_ends() -> None:
    schedule = Schedule(ONE)
    schedule.add("t-1", 0, "task", [part("a"), part("b", "a")])
    assert begun(schedule) == ["t-1.a"]
    schedule.add("t-2", -1, "task")
    assert begun(schedule) == []
    assert done(schedule, "t-1.a") == ["t-2"]
    assert done(schedule, "t-2") == ["t-1.b"]


def test_only_a_lane_with_room_is_picked_from() -> None:
    room, work, talk = Room(LANES), Claim("task"), Claim("ux")
    waiting = [Waiting(Queued("t-1", "task"), work), Waiting(Queued("t-2", "ux"), talk)]
    assert pick(waiting, [], room) == waiting[0]
    assert pick(waiting, [work, work], room) == waiting[1]
    assert pick(waiting, [work, work, talk], room) is None
    assert pick([], [], room) is None


def test_nothing_of_a_task_that_is_held_begins() -> None:
    schedule = Schedule(LANES)
    schedule.hold("t")
    schedule.add("t", 0, "task")
    schedule.add("other", 1, "task")
    assert begun(schedule) == ["other"]
    schedule.release("t")
    assert begun(schedule) == ["t"]


def test_what_was_cut_off_begins_again_only_when_nothing_of_it_goes_on() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    begun(schedule)
    assert schedule.drop("t") == ["t.a", "t.b"]
    schedule.add("t", 0, "task", PLAN)
    assert begun(schedule) == []
    schedule.end("t.b")
    assert begun(schedule) == ["t.b"]


def test_a_part_that_fails_its_task_ends_the_others_and_not_itself() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    begun(schedule)
    assert schedule.drop("t", but="t.a") == ["t.b"]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_no_lane_is_ever_over_full_and_nothing_is_lost(tasks: list[tuple[int, bool]]) -> None:
    schedule = Schedule(LANES)
    for number, (rank, talk) in enumerate(tasks):
        schedule.add(f"t{number}", rank, "ux" if talk else "task")
    ended: list[str] = []
    running: list[Queued] = []
    while True:
        while one := schedule.next():
            running.append(one)
        if not running:
            break
        for role, room in LANES.items():
            assert sum(one.role == role for one in running) <= room
        ended.append(running[0].id)
        schedule.end(running.pop(0).id)
    assert sorted(ended) == sorted(f"t{number}" for number in range(len(tasks)))


# -- parts -----------------------------------------------------------------------------------------


def test_a_part_begins_once_all_that_it_needs_is_done() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    assert begun(schedule) == ["t.a", "t.b"]
    assert done(schedule, "t.a") == []
    schedule.part_done(Queued("t", "task", "b"), "B", ("b.py",))
    schedule.end("t.b")
    assert begun(schedule) == ["t.c"]
    assert schedule.plan("t")["b"].files == ("b.py",)


def test_the_longest_path_goes_first_then_the_parts_priority_then_its_place() -> None:
    schedule = Schedule(ONE)
    plan = [
        part("last"),
        part("urgent", priority=1),
        part("large", size="large"),
        part("first", size="small"),
        part("then", "first", size="large"),
    ]
    schedule.add("t", 0, "task", plan)
    assert in_turn(schedule) == ["t.first", "t.large", "t.then", "t.urgent", "t.last"]


def test_how_long_parts_take_is_what_the_caller_expects() -> None:
    schedule = Schedule(ONE, seconds=lambda one: {"a": 1.0, "b": 2.0}[one.id])
    schedule.add("t", 0, "task", [part("a", size="large"), part("b", size="small")])
    assert in_turn(schedule) == ["t.b", "t.a"]


def test_a_part_that_fails_holds_up_only_what_needs_it() -> None:
    schedule = Schedule(ONE)
    schedule.add("t", 0, "task", [part("a"), part("b", "a"), part("c", "b"), part("d")])
    assert begun(schedule) == ["t.a"]
    assert schedule.part_failed(Queued("t", "task", "a")) == ("b", "c")
    schedule.end("t.a")
    assert in_turn(schedule) == ["t.d"]
    assert schedule.out_of_reach("t") == ("b", "c")
    assert schedule.plan("t")["a"].state == "failed"


def test_a_failed_part_may_be_tried_again_or_replaced() -> None:
    schedule = Schedule(ONE)
    plan = [part("a"), part("b", "a")]
    schedule.add("t", 0, "task", plan)
    begun(schedule)
    schedule.part_failed(Queued("t", "task", "a"))
    repair = part("+repair-1")
    schedule.replace_plan("t", [replace(plan[0], state="failed"), repair, plan[1]])
    schedule.end("t.a")
    assert begun(schedule) == ["t.+repair-1"]
    schedule.part_done(Queued("t", "task", "+repair-1"), "A", ())
    schedule.replace_plan("t", plan)
    schedule.end("t.+repair-1")
    assert in_turn(schedule) == ["t.a", "t.b"]


def test_a_planning_part_is_followed_by_what_it_planned() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", [part("+plan")])
    assert begun(schedule) == ["t.+plan"]
    schedule.part_done(Queued("t", "task", "+plan"), "planned", ())
    schedule.replace_plan("t", [part("+plan"), part("a", "+plan"), part("+whole", "a")])
    schedule.end("t.+plan")
    assert in_turn(schedule) == ["t.a", "t.+whole"]
    assert not schedule.plan("t")


def test_a_new_plan_keeps_what_is_done_and_what_runs() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", [part("a"), part("b"), part("c", "a"), part("d", "b")])
    assert begun(schedule) == ["t.a", "t.b"]
    assert done(schedule, "t.a") == ["t.c"]
    schedule.replace_plan("t", [part("a"), part("b", "e"), part("e", "a"), part("f", "b", "e")])
    states = {one.id: one.state for one in schedule.plan("t").values()}
    assert states == {"a": "done", "b": "running", "c": "running", "e": "queued", "f": "queued"}
    assert done(schedule, "t.c") == ["t.e"]
    assert done(schedule, "t.b", "t.e") == ["t.f"]
    assert done(schedule, "t.f") == []


def test_parts_that_are_needless_are_dropped_and_not_waited_for() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    schedule.replace_plan("t", [one if one.id != "b" else dropped(one) for one in PLAN])
    assert begun(schedule) == ["t.a"]
    assert done(schedule, "t.a") == ["t.c"]
    schedule.replace_plan("t", map(dropped, PLAN))
    assert schedule.plan("t")["a"].state == "done"


def test_a_task_whose_parts_are_all_over_is_forgotten() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    schedule.replace_plan("t", map(dropped, PLAN))
    assert schedule.plan("t") == {}
    assert begun(schedule) == []


def test_what_runs_of_an_earlier_plan_stays_until_it_ends() -> None:
    schedule = Schedule(LANES)
    schedule.add("t", 0, "task", PLAN)
    assert begun(schedule) == ["t.a", "t.b"]
    schedule.drop("t", but="t.b")
    schedule.add("t", 0, "task", [part("a"), part("d")])
    schedule.replace_plan("t", [part("a"), part("e")])
    schedule.end("t.a")
    assert begun(schedule) == ["t.a"]
    assert done(schedule, "t.b") == ["t.e"]


# -- resources -------------------------------------------------------------------------------------


def test_no_two_parts_write_a_file_at_once_also_of_tasks_in_one_folder() -> None:
    schedule = Schedule({"ux": 1, "task": 9})
    schedule.add("t-1", 0, "task", [part("a", writes=["x.py"])], folder="/w")
    schedule.add("t-2", 0, "task", [part("a", writes=["./x.py"]), part("b")], folder="/w")
    schedule.add("t-3", 0, "task", [part("a", reads=["w/x.py"])], folder="/")
    schedule.add("t-4", 0, "task", [part("a", writes=["x.py"])], folder="/other")
    assert begun(schedule) == ["t-1.a", "t-2.b", "t-4.a"]
    assert done(schedule, "t-1.a") == ["t-2.a"]
    assert done(schedule, "t-2.a") == ["t-3.a"]


def test_however_many_wait_for_one_file_all_begin_in_the_end() -> None:
    schedule = Schedule(LANES)
    schedule.add("t-1", -1, "task", [part("w", writes=["x.py"])], folder="/w")
    readers = [part(f"r{number}", reads=["x.py"]) for number in range(300)]
    for number in range(2, 6):
        schedule.add(f"t-{number}", 0, "task", readers, folder="/w")
    assert begun(schedule) == ["t-1.w"]
    schedule.part_done(Queued("t-1", "task", "w"), "", ())
    schedule.end("t-1.w")
    assert len(set(in_turn(schedule))) == 4 * 300


# -- nothing waits for ever ------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_no_stream_of_urgent_tasks_keeps_one_waiting_for_more_than_the_bound(
    random_: Random,
) -> None:
    schedule = Schedule({"ux": 1, "task": random_.randint(1, 2)})
    most = random_.randint(0, 3)
    waiting = {"t-0500": 1}
    schedule.add("t-0500", 0, "task")
    for number in range(random_.randint(1, 5)):
        # Older and newer ones, of one step and of many.
        name = f"t-{random_.choice([100, 800]) + number:04}"
        waiting[name] = random_.choice([1, 100])
        plan = [part(f"p{one}") for one in range(waiting[name])]
        schedule.add(name, -random_.randint(0, most), "task", plan)
    sure = PATIENCE * (most + 1)
    before, bound, running = 0, 0, list[Queued]()
    while waiting.get("t-0500"):
        while one := schedule.next():
            running.append(one)
            waiting[one.task] -= 1
            before += one.task != "t-0500"
            if before <= sure:
                bound = sure + sum(left > 0 for left in waiting.values())
        assert before <= bound
        ended = running.pop(random_.randrange(len(running)))
        schedule.part_done(ended, "A", ())
        schedule.end(ended.id)
        # With each that ends another one comes, as urgent as any.
        waiting[f"t-{901 + before:04}"] = 1
        schedule.add(f"t-{901 + before:04}", -most, "task")


def test_a_stream_of_urgent_tasks_takes_turns_with_one_that_is_not() -> None:
    schedule = Schedule(ONE)
    schedule.add("t-1", 0, "task", [part(f"p{number}") for number in range(20)])
    schedule.add("t-2000", -1, "task")
    order: list[str] = []
    for number in range(100):
        one = schedule.next()
        assert one
        order.append(one.task)
        if one.task != "t-1":
            schedule.add(f"t-2{number + 1:03}", -1, "task")
        schedule.part_done(one, "A", ())
        schedule.end(one.id)
    assert [step == "t-1" for step in order] == ([False] * PATIENCE + [True]) * 20


def begins_in_the_end(schedule: Schedule, plans: Iterable[Subtask]) -> bool:
    """Say whether t-00 begins beside urgent tasks of which there are always two that run."""
    running: list[Queued] = []
    for number, one in enumerate(plans, 1):
        schedule.add(f"t-{number:02}", -1, "task", [one], folder="/w")
        before = len(running)
        while step := schedule.next():
            running.append(step)
        if any(step.task == "t-00" for step in running):
            return True
        if len(running) > 1 or len(running) == before:
            ended = running.pop(0)
            schedule.part_done(ended, "A", ())
            schedule.end(ended.id)
    return False


def test_files_are_kept_free_for_what_has_waited_long() -> None:
    schedule = Schedule({"ux": 1, "task": 3})
    schedule.add("t-00", 0, "task", [part("a", writes=["x.py", "y.py"])], folder="/w")
    # They take turns, so that one of the two files is being written at any time.
    turns = [part("a", writes=["x.py"]), part("a", writes=["y.py"])] * PATIENCE * 2
    assert begins_in_the_end(schedule, turns)


def test_files_of_what_waits_in_a_full_lane_are_not_taken_in_another() -> None:
    room = Room(ONE)
    files = Files.of("/w", writes=["x.py"])
    waiting = [
        Waiting(Queued("t-1", "task"), Claim("task", files=files), overdue=True),
        Waiting(Queued("t-2", "ux"), Claim("ux", files=files)),
    ]
    assert pick(waiting, [Claim("task")], room) is None
    assert pick([replace(waiting[0], overdue=False), waiting[1]], [Claim("task")], room)


# -- all of it -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(0, 10**9))
def test_whatever_fails_or_is_killed_every_part_is_done_once_or_accounted_for(seed: int) -> None:
    World(Random(seed)).play()
