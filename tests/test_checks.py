"""What is found wrong with a whole answer without asking a model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.answer import Completion
from tale.models.backend import ChatRequest, FinishReason, Message
from tale.models.checks import broken_format, check_for

SCHEMA: Mapping[str, object] = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"schema": {"type": "object", "required": ["name"]}},
    }
}
OBJECT: Mapping[str, object] = {"response_format": {"type": "json_object"}}
TOOLS: Mapping[str, object] = {"tools": [{"type": "function", "function": {"name": "look_up"}}]}


def said(
    text: str, finish: FinishReason = "stop", calls: tuple[Mapping[str, object], ...] = ()
) -> Completion:
    return Completion("small", "ux", False, "", text, calls, finish, None)


def called(name: str, arguments: str) -> Completion:
    call = {"index": 0, "id": "1", "function": {"name": name, "arguments": arguments}}
    return said("", "tool_calls", (call,))


def asked(options: Mapping[str, object], max_tokens: int | None = None) -> ChatRequest:
    return ChatRequest((Message("user", "go"),), max_tokens, options=options)


@pytest.mark.parametrize(
    ("options", "answer", "fault"),
    [
        ({}, said("{"), ""),
        ({"response_format": {"type": "text"}}, said("{"), ""),
        (OBJECT, said('{"a": [1, 2]}'), ""),
        (OBJECT, said('Here it is: {"a": 1}'), "gave invalid JSON"),
        (OBJECT, said("[1]"), "gave JSON that is no object"),
        (SCHEMA, said('{"name": "tale"}'), ""),
        (SCHEMA, said('{"title": "tale"}'), "gave JSON that breaks its schema at $"),
        ({"response_format": {"type": "json_schema"}}, said("1"), ""),
        (TOOLS, said("no tool is needed"), ""),
        (TOOLS, called("look_up", '{"word": "a"}'), ""),
        (TOOLS, called("look_up", ""), ""),
        (TOOLS, called("look_up", '{"word": '), "called look_up with invalid JSON"),
        (TOOLS, called("look_up", "[1]"), "called look_up with something else than an object"),
        (TOOLS, called("erase", "{}"), "called a tool that was not offered (erase)"),
    ],
)
def test_an_answer_has_the_form_that_was_asked_for(
    options: Mapping[str, object], answer: Completion, fault: str
) -> None:
    assert broken_format(asked(options), answer) == fault


def test_a_schema_that_is_none_is_not_the_models_fault() -> None:
    shape = {"type": "json_schema", "json_schema": {"schema": {"type": "no such type"}}}
    assert broken_format(asked({"response_format": shape}), said("1")) == ""


def test_an_answer_cut_off_by_the_callers_own_limit_is_not_judged() -> None:
    cut = said('{"a": ', "length")
    assert broken_format(asked(OBJECT, max_tokens=3), cut) == ""
    assert broken_format(asked(OBJECT), cut) == "gave invalid JSON"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I\u2019m sorry, but I can\u2019t help with that request.",
        "I am very sorry, but I cannot provide that.",
        "Sorry, I cannot help you.",
        "I cannot comply with this request.",
        "As an AI language model, I can't access files.",
        "Unfortunately, I am not able to do that.",
        "im sorry but i cant do that",
        "I'm unable to open links.",
        "I won't be able to help with this.",
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str) -> None:
    assert check_for("question")(said(text)) == "refused to answer"


@pytest.mark.parametrize(
    "text",
    [
        "I can't wait to hear more!",
        "I'm sorry to hear that you are ill. Rest well.",
        "I am glad you ask. It is 4.",
        "Sorry is an adjective.",
        "He said: I can't help it.",
        "I can help with that.",
        "Unfortunately, the train was late.",
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert check_for("question")(said(text)) == ""


def test_an_answer_must_say_something_and_come_to_an_end() -> None:
    check = check_for("write")
    assert check(said(" \n")) == "gave an empty answer"
    assert check(said("and so it", "length")) == "did not come to an end"
    assert check(said("step 1\n" * 40, "length")) == "repeated itself without end"
    assert check(said("".join(f"{n}\n" for n in range(40)))) == ""
    assert check(said("Once upon a time.")) == ""
    assert check(called("look_up", "{}")) == ""


def test_python_in_an_answer_must_parse_where_code_was_asked_for() -> None:
    good = "Here:\n```python\ndef f():\n    return 1\n```\nDone."
    indented = "1. First:\n   ```py\n   x = 1\n   ```"
    bad = "```python\ndef f(:\n```"
    other = "```sh\nls | (\n```\nplain text def f(:"
    assert [check_for("code")(said(text)) for text in (good, indented, other)] == ["", "", ""]
    assert check_for("code")(said(bad)) == "wrote Python that does not parse"
    assert check_for("code")(said(good + "\n" + bad)) == "wrote Python that does not parse"
    assert check_for("question")(said(bad)) == ""


@given(st.text(), st.sampled_from(("stop", "length")))
def test_checks_are_total(text: str, finish: FinishReason) -> None:
    for options in (OBJECT, SCHEMA):
        fault = broken_format(asked(options), said(text, finish))
        assert fault or isinstance(json.loads(text), dict)
    assert broken_format(asked(TOOLS), said(text, finish)) == "", "words are no call"
    assert check_for("code")(said(f"```python\n{text}\n```", "length"))
