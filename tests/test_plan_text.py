"""A plan that a person edits is read back as it was written, or its faults are told by line."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import PromptRejected, TaskError
from tale.tasks.plan_digest import check_seen, difference, digest_of
from tale.tasks.plan_text import (
    looks_like_plan,
    read_plan_text,
    write_plan_text,
)
from tale.tasks.task import Subtask

PLAN = (
    Subtask("store", "Todo store", "Write store.py.", writes=("store.py",), size="small"),
    Subtask(
        "cli",
        "Command line: the todo list",
        "Write todo.py.\n\n  It has subcommands:\n- add\n- list",
        ("store",),
        reads=("store.py",),
        writes=("todo.py",),
        check="python todo.py --help | grep -q 'add'",
        priority=3,
    ),
)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: bool(text.strip())
)
lists = st.lists(words, max_size=3).map(tuple)
parts = st.builds(
    Subtask,
    words,
    words,
    st.one_of(words, st.lists(words, min_size=1, max_size=4).map("\n".join)),
    lists,
    kind=st.sampled_from(["code", "write", "act", "extract"]),
    reads=lists,
    writes=lists,
    check=st.one_of(st.just(""), words),
    size=st.sampled_from(["small", "medium", "large"]),
    priority=st.integers(-9, 99),
)


@given(st.lists(parts, min_size=1, max_size=4), words)
def test_what_is_written_is_read_back_the_same(plan: Sequence[Subtask], title: str) -> None:
    assert read_plan_text(write_plan_text(plan, title)) == tuple(plan)


@pytest.mark.parametrize("word", ["on", "no", "null", "~", "1", "1.5", "2024-01-01", "0x1f", "- a"])
def test_what_yaml_takes_for_something_else_stays_the_word_that_it_is(word: str) -> None:
    [read] = read_plan_text(write_plan_text([Subtask(word, word, word, writes=(word, "a, b"))]))
    assert (read.id, read.title, read.text, read.writes) == (word, word, word, (word, "a, b"))
    if word not in {"null", "~", "- a"}:
        [read] = read_plan_text(f"- id: {word}\n  text: do")
        assert read.id == word


def test_a_plan_reads_well_and_says_what_its_fields_mean() -> None:
    written = write_plan_text(PLAN, "Build a\ntodo list")
    assert written.startswith("# Build a todo list\n# Change what you like;")
    assert "depends_on  ids of those" in written
    assert (
        """
  - id: cli
    title: "Command line: the todo list"
    kind: code
    size: medium
    priority: 3
    depends_on: [store]
    reads: [store.py]
    writes: [todo.py]
    check: "python todo.py --help | grep -q 'add'"
    text: |-
      Write todo.py.

        It has subcommands:
      - add
      - list
"""
        in written
    )


def test_what_is_left_out_takes_what_is_usual() -> None:
    [part] = read_plan_text("subtasks:\n- {id: a, text: do it, depends_on: b, priority: '2'}")
    assert part == Subtask("a", "a", "do it", ("b",), priority=2)
    [part] = read_plan_text("- id: a\n  text: do it\n  check:\n  writes: ~\n")
    assert part == Subtask("a", "a", "do it")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "There is no part under `subtasks:`"),
        ("subtasks:", "There is no part under `subtasks:`"),
        ("just words", "Line 1: a plan begins with `subtasks:`"),
        ("subtask:\n- id: a", "Line 1: the plan has no `subtask`; did you mean `subtasks`?"),
        ("subtasks: no", "Line 1: `subtasks` is to be a list"),
        ("subtasks:\n- a", "Line 2: a part is to have fields"),
        ("- id: a\n  text: do\n  need: [b]", "Line 3: a part has no `need`; it has id, title"),
        ("- id: a\n  text: do\n  depend_on: [b]", "Line 3: .* did you mean `depends_on`"),
        ("- id: a\n  text: do\n  id: b", "Line 3: `id` stands here a second time"),
        ("- id: a\n\n  title: do", "Line 1: `text` is missing"),
        ("- text: do", "Line 1: `id` is missing"),
        ("- id: a\n  text: do\n  kind: bake", "Line 3: `kind` is to be one of code, write"),
        ("- id: a\n  text: do\n  size: big", "Line 3: `size` is to be one of small, medium"),
        ("- id: a\n  text: do\n  priority: soon", "Line 3: `priority` is to be a whole number"),
        ("- id: a\n  text: do\n  writes: {a: b}", "Line 3: `writes` is to be a list"),
        ("- id: a\n  text: [do]", "Line 2: `text` is to be a text"),
        ("- id: a\n  text: 'do", "Line .*: this is no YAML"),
        ("- id: a\n text: do", "Line 2: this is no YAML"),
        ("- id: a\n  text: do\n---\n- id: b", "Line 3: a second document"),
        ("- id: a\x00", "This is no YAML"),
        ("x" * 1_000_001, "1,000,001 characters"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_do(text: str, says: str) -> None:
    with pytest.raises(PromptRejected, match=says) as caught:
        read_plan_text(text)
    assert caught.value.hint


def test_many_faults_are_told_at_once_and_no_flood_of_them() -> None:
    with pytest.raises(PromptRejected) as caught:
        read_plan_text("\n".join(f"- text: {number}" for number in range(30)))
    assert caught.value.message.count("is missing") == 10
    assert caught.value.message.endswith("… and 20 more.")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nsubtasks: [*b, *b]",
        "- &a {id: a, text: do}\n- *a",
        "- {id: a, text: do, writes: " + "[" * 20 + "]" * 20 + "}",
        "- {id: a, text: do, writes: " + "[" * 10_000 + "]" * 10_000 + "}",
    ],
)
def test_texts_that_grow_when_they_are_read_are_refused(text: str) -> None:
    with pytest.raises(PromptRejected, match=r"Line .*: .*(aren't taken|too deeply|depth)"):
        read_plan_text(text)


def test_a_tag_makes_nothing_but_text() -> None:
    [part] = read_plan_text(
        "- id: a\n  text: !!python/object/apply:os.abort 'now'\n  check: !!int 5"
    )
    assert (part.text, part.check) == ("now", "5")


@given(st.text(max_size=60))
def test_any_text_is_a_plan_or_is_refused_in_words(text: str) -> None:
    try:
        assert read_plan_text(text)
    except PromptRejected as error:
        assert error.message  # noqa: PT017 - both outcomes are right


def test_a_plan_is_told_from_a_remark() -> None:
    assert looks_like_plan(write_plan_text(PLAN))
    assert looks_like_plan("- id: a\n  [")
    assert looks_like_plan("subtasks: nothing")
    assert not looks_like_plan("Yes, but use Flask: it is smaller.")


def test_plans_that_differ_have_other_names_and_the_difference_can_be_shown() -> None:
    before, after = write_plan_text(PLAN), write_plan_text(PLAN[:1])
    assert digest_of(before) != digest_of(after)
    assert digest_of(before) == digest_of(write_plan_text(PLAN))
    assert "-  - id: cli" in difference(before, after).splitlines()
    assert difference(before, before) == ""


def test_a_yes_is_to_the_plan_that_was_seen_or_is_refused_with_the_difference() -> None:
    before, after = write_plan_text(PLAN), write_plan_text(PLAN[:1])
    asked = [{"digest": digest_of(plan), "detail": plan} for plan in (after, before)]
    check_seen("", asked)
    check_seen(digest_of(after), asked)
    with pytest.raises(TaskError, match=r"(?s)saw it.*-  - id: cli") as caught:
        check_seen(digest_of(before), asked)
    assert caught.value.hint
    with pytest.raises(TaskError, match="has changed since you saw it"):
        check_seen("unknown", asked)
    with pytest.raises(TaskError, match="no longer asks about a plan"):
        check_seen(digest_of(before), [{"id": "t-1:1"}, *asked])
