"""What a model writes as JSON becomes an action, whatever it got wrong, or an exact fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.hands import (
    CallTool,
    EditFile,
    ListFiles,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.lenient_json import Fault, read_object
from tale.tasks.moves import AskUser, Finish, Garbled, Move, move_schema, read_move
from tale.tasks.task import ToolOffer

OFFER = ToolOffer("web", "get", "Gets a page.", {"type": "object"})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "x", "b": [1, 2]}',
        'Sure!\n```json\n{"a": "x", "b": [1, 2]}\n```\nDone.',
        '```\n{"a": "x", "b": [1, 2]}',
        'I use {braces} here: {"a": "x", "b": [1, 2]} and there.',
        "{'a': 'x', 'b': [1, 2]}",
        '{a: "x", b: [1, 2]}',
        '{"a": "x", "b": [1, 2,],}',
        '{"a": "x" "b": [1 2]}',
        '{"a": "x", // said\n "b": [1, 2] /* so */}',
        '{"a": "x", "b": [1, 2',
        '{"a": "x", "b": [1, 2}',
        '{"a" = `x`, "b": [1, 2]}',
        '{"a": """x""", "b": [1, 2]}',
    ],
)
def test_an_object_is_read_in_whatever_form_it_stands(text: str) -> None:
    assert read_object(text) == {"a": "x", "b": [1, 2]}


def test_code_in_a_string_keeps_its_quotes_and_line_breaks() -> None:
    text = '{"code": "print("a", f(x["b"]))\nprint(\\"c\\")", "why": "it\'s so"}'
    assert read_object(text) == {
        "code": 'print("a", f(x["b"]))\nprint("c")',
        "why": "it's so",
    }


def test_constants_are_those_of_json_and_python() -> None:
    text = "{'a': True, 'b': None, 'c': false, 'd': 1.5, 'e': word}"
    assert read_object(text) == {"a": True, "b": None, "c": False, "d": 1.5, "e": "word"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no object", "no `{`"),
        ("", "no `{`"),
        ('{"a" 1}', 'colon is missing after "a" in line 1'),
        ('{\n"a": }', "value is missing in line 2, before `}`"),
        ("[" * 10 + "{" * 100, "name in quotes is missing"),
    ],
)
def test_what_can_not_be_read_is_told_exactly(text: str, fault: str) -> None:
    found = read_object(text)
    assert isinstance(found, Fault)
    assert fault in found.text


@given(st.text() | st.text("{}[]\"':,\\ \na1`/*"))
def test_any_text_has_a_result(text: str) -> None:
    assert isinstance(read_object(text), dict | Fault)
    assert read_move(text) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, min_size=1))
def test_strict_json_is_read_as_it_is(value: dict[str, object]) -> None:
    assert read_object(json.dumps(value)) == value
    assert read_object(json.dumps(value, ensure_ascii=False, indent=1)) == value


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ('{"action": "list"}', ListFiles(".")),
        ('{"action": "list", "path": "src"}', ListFiles("src")),
        ('{"action": "read", "path": "a"}', ReadFile("a")),
        ('{"action": "write", "path": "a", "content": ""}', WriteFile("a", "")),
        ('{"action": "write", "path": "a", "content": ["x", "y"]}', WriteFile("a", "x\ny\n")),
        ('{"action": "edit", "path": "a", "old": "x", "new": ""}', EditFile("a", "x", "")),
        ('{"action": "run", "command": "ls"}', RunCommand("ls")),
        ('{"action": "python", "code": "1"}', RunPython("1")),
        ('{"action": "done", "answer": "It is."}', Finish("It is.")),
        ('{"action": "DONE"}', Finish("")),
        ('{"action": "ask", "question": "Which?"}', AskUser("Which?")),
        ('{"tool": "bash", "cmd": "ls"}', RunCommand("ls")),
        ('{"name": "read_file", "arguments": {"filename": "a"}}', ReadFile("a")),
        ('{"action": "web.get", "arguments": {"url": "u"}}', CallTool("web", "get", {"url": "u"})),
    ],
)
def test_an_object_is_the_move_that_is_meant(text: str, move: Move) -> None:
    assert read_move(text, [OFFER]) == move


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"path": "a"}', '"action" is missing: it is one of list, read, '),
        ('{"action": "wrte", "path": "a"}', 'no action "wrte". Did you mean "write"?'),
        ('{"action": "read"}', '"read" needs "path"'),
        ('{"action": "read", "path": ""}', '"read" needs "path"'),
        ('{"action": "edit", "path": "a", "old": "", "new": "b"}', '"edit" needs "old"'),
        ('{"action": "write", "path": {}}', '"write" needs "path"'),
        ("I would read it.", "no JSON object"),
    ],
)
def test_what_is_no_move_is_told_exactly(text: str, fault: str) -> None:
    move = read_move(text)
    assert isinstance(move, Garbled)
    assert fault in move.fault


def test_the_schema_allows_each_move_with_all_it_needs_and_nothing_else() -> None:
    shapes = json.loads(json.dumps(move_schema([OFFER])))["anyOf"]
    by_name = {shape["properties"]["action"]["const"]: shape for shape in shapes}
    assert {"list", "read", "write", "edit", "run", "python", "done", "ask"} < set(by_name)
    assert by_name["write"]["required"] == ["why", "action", "path", "content"]
    assert by_name["web.get"]["required"] == ["why", "action", "arguments"]
    assert not any(shape["additionalProperties"] for shape in shapes)
