"""Which steps can go on side by side: `tasks.resources`."""

from __future__ import annotations

import pytest

from tale.tasks.resources import Claim, Files, Room, compete


@pytest.mark.parametrize(
    ("reads", "writes", "other_reads", "other_writes", "clash"),
    [
        ((), ("a",), (), ("a",), True),
        ((), ("a",), ("a",), (), True),
        (("a",), (), (), ("a",), True),
        (("a",), (), ("a",), (), False),
        ((), ("a",), (), ("b",), False),
        ((), ("a/b",), (), ("a/c",), False),
        ((), ("a",), (), ("a/c",), True),
        ((), ("a/c",), ("a",), (), True),
        ((), ("ab",), (), ("a/b",), False),
        ((), ("./x/../a",), (), ("a/",), True),
        ((), ("/f/a",), (), ("a",), True),
        ((), (".",), ("deep/below",), (), True),
        ((), (), (), (), False),
    ],
)
def test_a_file_is_written_by_one_alone(
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    other_reads: tuple[str, ...],
    other_writes: tuple[str, ...],
    clash: bool,
) -> None:
    one = Files.of("/f", reads=reads, writes=writes)
    other = Files.of("/f", reads=other_reads, writes=other_writes)
    assert one.clash(other) == other.clash(one) == clash


def test_folders_that_lie_in_each_other_share_their_files() -> None:
    assert Files.of("/f", writes=["g/a"]).clash(Files.of("/f/g", writes=["a"]))
    assert not Files.of("t-1", writes=["a"]).clash(Files.of("t-2", writes=["a"]))


def test_lanes_are_limits() -> None:
    room = Room({"ux": 1, "task": 2})
    assert room.free([Claim("task"), Claim("ux")]) == {"task"}
    assert room.fits(Claim("task"), [Claim("task")])
    assert not room.fits(Claim("task"), [Claim("task"), Claim("task")])
    assert room.fits(Claim("ux"), [Claim("task"), Claim("task")])


def test_what_is_kept_for_another_is_not_taken() -> None:
    room = Room({"ux": 1, "task": 2})
    kept = Claim("task", Files.of("/f", writes=["a"]))
    assert room.fits(Claim("ux", Files.of("/f", reads=["b"])), [], [kept])
    assert not room.fits(Claim("ux", Files.of("/f", reads=["a"])), [], [kept])


def test_two_compete_where_one_may_leave_too_little_for_the_other() -> None:
    assert not compete(Claim("ux"), Claim("task"))
    assert compete(Claim("ux"), Claim("ux"))
    file = Files.of("/f", writes=["a"])
    assert compete(Claim("ux", file), Claim("task", file))
