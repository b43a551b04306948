"""Plans as people write them: YAML or JSON, and what is wrong with one is said in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tale.cli.plan_file import read_plan
from tale.errors import PromptRejected

PLAN = """
- id: draft
  text: |
    Write a draft
- id: review
  title: The review
  text: Review it
  depends_on: draft
"""
TAKEN: list[dict[str, object]] = [
    {"id": "draft", "title": "draft", "text": "Write a draft", "depends_on": []},
    {"id": "review", "title": "The review", "text": "Review it", "depends_on": ["draft"]},
]


def test_yaml_and_json_give_the_same_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "plan.json").write_text(json.dumps({"subtasks": TAKEN}))
    assert read_plan(tmp_path / "plan.yaml") == TAKEN
    assert read_plan(tmp_path / "plan.json") == TAKEN


def test_what_is_said_of_a_part_is_taken_and_what_is_not_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "- {id: a, text: do, writes: ./x.py, check: ' make ', size: large, priority: -3, "
        "kind: write, reads: [in.md]}\n- {id: b, text: do}"
    )
    assert read_plan(tmp_path / "plan.yaml") == [
        {
            "id": "a",
            "title": "a",
            "text": "do",
            "depends_on": [],
            "kind": "write",
            "reads": ["in.md"],
            "writes": ["x.py"],
            "check": "make",
            "size": "large",
            "priority": -3,
        },
        {"id": "b", "title": "b", "text": "do", "depends_on": []},
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no list of subtasks"),
        ("[]", "no list of subtasks"),
        ("text: no parts", "no list of subtasks"),
        ("- only words", "subtask 1 is no mapping"),
        ("- id: a", "subtask 1 has no text"),
        ("- text: do", "subtask 1 has no id"),
        ("- {id: a, text: do, needs: b}", "unknown field 'needs'"),
        ("- {id: a, text: do, depends_on: {b: c}}", "depends_on is no list"),
        ("- {id: a, text: do, kind: plan}", "kind is none of code, write"),
        ("- {id: a, text: do, size: [huge]}", "size is none of small, medium, large"),
        ("- {id: a, text: do, priority: true}", "priority is no number from -100 to 100"),
        ("- {id: a, text: do, priority: 101}", "priority is no number from -100 to 100"),
        ("- {id: a, text: do, check: [make]}", "check is no shell line"),
        ("- {id: a, text: do, writes: 5}", "writes is no list"),
        ("- {id: a, text: do, check: make &&}", "nothing follows `&&`"),
        ("- {id: a, text: do, depends_on: [b]}", "depends on 'b', which is not there"),
        ("- {id: a, text: do, depends_on: [a]}", "wait for each other"),
        ("- {id: a, text: do}\n- {id: a, text: do}", "Two subtasks have the id 'a'"),
        ("- [unclosed", "is no YAML"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_what_is_no_plan_is_refused_in_words(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "plan.yaml").write_text(content)
    with pytest.raises(PromptRejected, match=says) as caught:
        read_plan(tmp_path / "plan.yaml")
    assert caught.value.hint


def test_a_file_that_is_not_there_or_not_text_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(PromptRejected, match="No such file"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptRejected, match="not UTF-8"):
        read_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(PromptRejected, match="is no JSON"):
        read_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_bytes(b"x" * (3 << 20))
    with pytest.raises(PromptRejected, match="larger than 2 MiB"):
        read_plan(tmp_path / "plan.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_file_is_a_plan_or_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.yaml").write_text(content)
    try:
        assert read_plan(tmp_path / "plan.yaml")
    except PromptRejected as error:
        assert error.message  # noqa: PT017 - both outcomes are right
