"""What a model is told of its earlier turns, and what is read out of its answers in fences."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.backend import Message
from tale.tasks.fenced import read_fenced
from tale.tasks.fences import NamedFile
from tale.tasks.hands import Reply
from tale.tasks.transcript import Turn, for_model, for_reader

CODE = "```python\ndef f(): ...\n```"


@given(st.lists(st.builds(Turn, st.text(max_size=900), st.text(max_size=900)), max_size=20))
def test_turns_fit_their_room_and_the_last_is_whole(turns: list[Turn]) -> None:
    messages = for_model(turns, room=4_000)
    assert [each.role for each in messages] == ["assistant", "user"] * len(turns)
    if turns:
        assert messages[-2:] == (
            Message("assistant", turns[-1].said),
            Message("user", turns[-1].told),
        )
        size = sum(len(each.content) for each in messages)
        assert size <= 4_000 + 20 * 2 * 230  # what is cut keeps a beginning and an end


@given(st.lists(st.text(max_size=40), min_size=2, max_size=30))
def test_while_there_is_room_turns_are_only_appended(said: list[str]) -> None:
    turns = [Turn(each, each) for each in said]
    assert for_model(turns)[: 2 * len(turns) - 2] == for_model(turns[:-1])


def test_what_was_cut_stays_cut_for_many_turns() -> None:
    turns = [Turn("x" * 500, "y" * 500) for _ in range(40)]
    heads = [for_model(turns[:number], room=8_000)[:6] for number in range(12, 40)]
    changes = sum(one != other for one, other in pairwise(heads))
    assert changes <= 3


def test_a_reader_finds_all_that_was_said() -> None:
    text = for_reader([Message("user", "Do it")], [Turn("No.", "Why?")])
    assert [each for each in ("Do it", "No.", "Why?") if each not in text] == []


def test_the_block_with_the_function_is_the_file_among_blocks_without_names() -> None:
    text = f"Sure:\n{CODE}\nUse it:\n```python\nf()\n```"
    assert read_fenced(Reply(text, "m", "task")).files == ()
    [file] = read_fenced(Reply(text, "m", "task"), "f").files
    assert file == NamedFile("main.py", "def f(): ...\n")


def test_a_name_with_nothing_under_it_is_that_of_the_code_before_it() -> None:
    text = f"Sure:\n{CODE}\nFile: f.py\n```python\nFILE: f.py\n```"
    assert read_fenced(Reply(text, "m", "task")).files == (NamedFile("f.py", "def f(): ...\n"),)
    [empty] = read_fenced(Reply("FILE: pkg/__init__.py\n```python\n```", "m", "task")).files
    assert empty == NamedFile("pkg/__init__.py", "")


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("RUN: ls -l", ("ls -l",)),
        ("**RUN:** `ls -l`", ("ls -l",)),
        ("- RUN: ls -l\n- RUN: pwd\nRUN: pwd", ("ls -l", "pwd")),
        ("```\nRUN: ls\n```", ()),
        ("Run: ls, or RUN it", ()),
        ("I RUN: no", ()),
        ("RUN:", ()),
    ],
)
def test_only_lines_that_say_run_are_run(text: str, commands: tuple[str, ...]) -> None:
    assert read_fenced(Reply(text, "m", "task")).commands == commands


@given(st.text())
def test_any_answer_has_a_result(text: str) -> None:
    read_fenced(Reply(f"{text}\nRUN: {text}\n```{text}", "m", "task", finish="length"), "f")
