"""What a model wrote as its plan is read leniently, and brought into form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.prompts import PLAN_SYSTEM, REPAIR_SYSTEM
from tale.tasks.plan_answers import Draft, checked, read_draft
from tale.tasks.task import Subtask


def read(*parts: object, request: str = "", root: str = "/w") -> Draft:
    return read_draft(json.dumps({"reasoning": "why", "subtasks": parts}), request, root)


def needs(draft: Draft) -> dict[str, tuple[str, ...]]:
    return {one.id: one.depends_on for one in draft.parts}


def test_the_worked_examples_are_read_as_they_are() -> None:
    draft = read_draft(PLAN_SYSTEM[PLAN_SYSTEM.index("\n{") :])
    assert [one.id for one in draft.parts] == ["store", "cli", "test-store", "readme"]
    assert draft.parts[1].depends_on == ("store",)
    assert draft.parts[3].kind == "write"
    assert draft.reasoning.startswith("Storage comes first")
    assert (draft.changes, draft.faults) == ((), ())
    assert checked(draft.parts) == (draft.parts, ())
    repaired = read_draft(REPAIR_SYSTEM[REPAIR_SYSTEM.index("\n{") :], there=("data",))
    assert repaired.reasoning.startswith("pandas is not installed")
    assert (repaired.changes, repaired.drops) == ((), ())


def test_ids_are_made_safe_and_references_follow() -> None:
    draft = read(
        {"id": "Database Schema", "title": "Schema", "instructions": "do"},
        {"id": "+plan", "instructions": "do", "depends_on": ["database schema", "Schema"]},
        {"instructions": "Write the API", "depends_on": "1, plan"},
        {"id": "_", "title": "…", "instructions": "do", "depends_on": [3]},
    )
    assert needs(draft) == {
        "database-schema": (),
        "plan": ("database-schema",),
        "write-the-api": ("database-schema", "plan"),
        "part-4": ("write-the-api",),
    }


def test_a_file_that_is_waited_for_means_whoever_writes_it() -> None:
    draft = read(
        {"id": "a", "instructions": "do", "writes": ["a.py"]},
        {"id": "b", "instructions": "do", "writes": "b.py", "depends_on": ["a.py", "data.csv"]},
    )
    assert needs(draft) == {"a": (), "b": ("a",)}
    assert draft.parts[1].reads == ("a.py", "data.csv")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("cleaned-sales", "clean"),  # by the file that it writes
        ("import", "import-script"),  # by a word that no other id has
        ("script", "script"),  # two have it
        ("nobody", "nobody"),  # the rules of plans tell the model
    ],
)
def test_a_part_is_found_by_what_it_may_be_called(said: str, meant: str) -> None:
    draft = read(
        {"id": "clean", "instructions": "i", "writes": ["cleaned_sales.csv"]},
        {"id": "import-script", "instructions": "i", "writes": ["load.py"]},
        {"id": "export-script", "instructions": "i", "writes": ["dump.py"]},
        {"id": "last", "instructions": "i", "depends_on": [said], "writes": ["a.md"]},
    )
    assert needs(draft)["last"] == (meant,)


def test_nobody_waits_for_a_file_that_is_there() -> None:
    one = {"id": "docs", "instructions": "i", "depends_on": ["textkit"], "writes": ["a.md"]}
    draft = read_draft(json.dumps({"subtasks": [one]}), present=["textkit.py"])
    assert needs(draft) == {"docs": ()}
    assert draft.changes == ("docs: textkit is there, so it does not wait for it.",)


def test_a_second_part_of_a_name_is_renamed_unless_somebody_may_mean_it() -> None:
    twice = ({"id": "a", "instructions": "one"}, {"id": "a", "instructions": "two"})
    draft = read(*twice)
    assert [one.id for one in draft.parts] == ["a", "a-2"]
    assert draft.changes == ("a: there is one of this name already, so it is called a-2.",)
    meant = read(*twice, {"id": "b", "instructions": "do", "depends_on": ["a"]})
    assert [one.id for one in meant.parts] == ["a", "a", "b"]


def test_what_bears_a_name_that_was_given_up_gets_another() -> None:
    text = json.dumps(
        {
            "diagnosis": "because",
            "subtasks": [
                {"id": "api", "instructions": "again", "depends_on": ["db"]},
                {"id": "docs", "instructions": "do", "depends_on": ["api"]},
            ],
            "drop": ["extra", "none"],
        }
    )
    draft = read_draft(text, there=("db",), spent=("db", "api"))
    assert needs(draft) == {"api-2": ("db",), "docs": ("api-2",)}
    assert (draft.drops, draft.reasoning) == (("extra",), "because")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("./a.py", "a.py"),
        ("a\\b.py", "a/b.py"),
        ("/w/a.py", "a.py"),
        ("/src/a.py", "src/a.py"),
        ("../a.py", "a.py"),
        ("~/a.py", "a.py"),
        ("`a.py`", "a.py"),
        ("docs/", "docs/"),
    ],
)
def test_paths_are_made_relative(given: str, path: str) -> None:
    draft = read({"id": "a", "instructions": "do", "writes": [given, path]})
    assert draft.parts[0].writes == (path,)


def test_a_path_outside_that_the_request_names_is_meant_so_and_is_no_file_of_the_plan() -> None:
    draft = read(
        {"id": "a", "instructions": "Copy a.txt to /etc/a.txt", "writes": ["/etc/a.txt"]},
        request="Copy it to /etc/a.txt",
    )
    assert draft.parts[0].writes == ("a.txt",)
    assert draft.changes == (
        "a: /etc/a.txt is outside of the workspace, so it is no file of the plan.",
    )


def test_words_that_are_unknown_or_missing_take_what_is_usual() -> None:
    draft = read(
        {"title": "Docs", "type": "documentation", "size": "XL", "priority": "high"},
        {"name": "Go", "description": "run it", "kind": "command", "priority": 1e9},
        {"id": "b", "instructions": "bake", "kind": "baking", "size": "big", "priority": True},
    )
    kinds = [(one.kind, one.size, one.priority, one.writes) for one in draft.parts]
    assert kinds == [
        ("write", "medium", 0, ("docs.md",)),
        ("act", "medium", 100, ()),
        ("code", "large", 0, ()),
    ]


def test_a_part_that_names_no_file_writes_the_one_that_its_words_name() -> None:
    draft = read(
        {"id": "a", "instructions": "Write app.py, which reads conf.toml.", "reads": ["conf.toml"]},
        {"id": "b", "instructions": "Sum it up.", "kind": "summarise"},
    )
    assert [one.writes for one in draft.parts] == [("app.py",), ("b.md",)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('{"tasks": [{"id": "a", "task": "do"}]}', ["a"]),
        ('{"plan": {"subtasks": [{"id": "a", "text": "do"}]}}', ["a"]),
        ('{"subtasks": {"a": {"text": "do"}, "b": {"text": "do"}}}', ["a", "b"]),
        ('{"subtasks": ["Do this", "Do that"]}', ["do-this", "do-that"]),
        ('{"id": "a", "instructions": "do"}', ["a"]),
        ("Here is the plan:\n```json\n{'subtasks': [{'id': 'a', 'text': 'do',}]", ["a"]),
        ('{"subtasks": [{"id": "a", "instructions": "do"}, {}, 7, {"id": "b"}]}', ["a"]),
    ],
)
def test_plans_in_other_forms_are_plans(text: str, ids: list[str]) -> None:
    assert [one.id for one in read_draft(text).parts] == ids


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I can't do that.", "There is no JSON object"),
        ('{"reasoning": "hm"}', "There is no subtask"),
        ('{"subtasks": []}', "There is no subtask"),
        ("", "There is no JSON object"),
    ],
)
def test_what_is_no_plan_says_what_is_missing(text: str, fault: str) -> None:
    draft = read_draft(text)
    assert draft.parts == ()
    assert draft.faults[0].startswith(fault)


def test_checks_may_use_what_is_written_before_and_no_more() -> None:
    plan = (
        Subtask("a", "A", "t", writes=("a.py",), check="python a.py"),
        Subtask("b", "B", "t", ("a",), writes=("b.py",), check="python a.py b.py"),
        Subtask("c", "C", "t", writes=("c.py",), check="python a.py"),
        Subtask("d", "D", "t", state="done", check="nonsense"),
    )
    parts, told = checked(plan)
    assert [one.check for one in parts] == [
        "python a.py",
        "python a.py b.py",
        "python -m py_compile c.py",
        "nonsense",
    ]
    assert told == (
        "c: another check took the place of `python a.py`: it needs a.py, which is not there then.",
    )
    assert checked(plan, {"a.py"})[0][2].check == "python a.py"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "id",
        "title",
        "instructions",
        "kind",
        "depends_on",
        "reads",
        "writes",
        "check",
        "size",
        "priority",
    ]
)


@given(st.lists(st.dictionaries(fields, values), max_size=5))
def test_any_json_is_read_and_whatever_comes_is_in_form(parts: list[dict[str, object]]) -> None:
    draft = read_draft(json.dumps({"subtasks": parts}), there=("old",), spent=("spent",))
    for one in checked(draft.parts)[0]:
        assert one.id
        assert one.id != "spent"
        assert not one.id.startswith("+")
        assert one.text
        assert one.title
        assert one.check
        assert one.id not in one.depends_on
        assert not any(path.startswith("/") or ".." in path.split("/") for path in one.writes)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    draft = read_draft(text)
    assert bool(draft.parts) != bool(draft.faults)
