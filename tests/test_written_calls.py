"""A tool call that a model wrote as text reaches the client as a call; other text isn't touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tale.models.answer import merge_tool_calls
from tale.models.backend import ChatRequest, Chunk, FinishReason, Message
from tale.models.written_calls import CallReader, offered_tools, read_calls

TOOL: dict[str, object] = {"type": "function", "function": {"name": "weather"}}
OFFERED = frozenset({"weather", "time"})
BARE = '{"name": "weather", "arguments": {"city": "Köln"}}'


class Function(BaseModel):
    name: str
    arguments: str


class Call(BaseModel):
    id: str
    function: Function


def asked(**options: object) -> ChatRequest:
    return ChatRequest((Message("user", "hi"),), options=options)


def passed_on(*pieces: str, finish: FinishReason | None = "stop") -> list[Chunk]:
    """Have an answer of these pieces read."""
    reader = CallReader(OFFERED)
    given = [Chunk(text=piece) for piece in pieces]
    given += [Chunk(finish=finish)] if finish else []
    read = [reader.take(chunk) for chunk in given]
    while (last := reader.take(None)) is not None:
        read.append(last)
    return [chunk for chunk in read if chunk is not None]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def calls_of(chunks: list[Chunk]) -> list[Call]:
    merged = merge_tool_calls(delta for chunk in chunks for delta in chunk.tool_calls)
    return [Call.model_validate(call) for call in merged]


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        f"```json\n{BARE}\n```",
        f"```\n{BARE}```\n",
        f"<tool_call>\n{BARE}\n</tool_call>",
        f"```xml\n<tools>\n{BARE}\n</tools>\n```",
        f"[{BARE}]",
        '{"arguments": {"city": "Köln"}, "name": "weather"}',
    ],
)
def test_a_call_in_any_dress_is_a_call(text: str) -> None:
    chunks = passed_on(*text)
    (call,) = calls_of(chunks)
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Köln"}
    assert call.id.startswith("call_")
    assert text_of(chunks) == ""
    assert chunks[-1].finish == "tool_calls"


def test_a_fence_within_an_argument_is_part_of_it() -> None:
    text = "```python\nprint(1)\n```"
    written = json.dumps({"name": "weather", "arguments": {"city": text}})
    (call,) = calls_of(passed_on(f"```json\n{written}\n```"))
    assert json.loads(call.function.arguments) == {"city": text}


def test_several_calls_have_an_index_and_an_id_each() -> None:
    second = '{"name": "time", "arguments": {}}'
    calls = calls_of(passed_on(f"```json\n{BARE}\n{second}\n```"))
    assert [call.function.name for call in calls] == ["weather", "time"]
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It rains.",
        f"You would call {BARE}",
        f"{BARE} and so on",
        '{"name": "shell", "arguments": {}}',
        '{"name": "weather", "arguments": "{}"}',
        '{"name": "weather", "arguments": {}, "age": 3}',
        '{"name": "weather"',
        "```python\nprint(1)\n```",
        "[1, 2]",
        f"```json```json{BARE}",
    ],
)
def test_what_is_no_call_of_an_offered_tool_stays_text(text: str) -> None:
    chunks = passed_on(*text)
    assert text_of(chunks) == text
    assert calls_of(chunks) == []
    assert chunks[-1].finish == "stop"


@pytest.mark.parametrize("finish", ["length", None])
def test_an_answer_that_was_cut_off_stays_text(finish: FinishReason | None) -> None:
    chunks = passed_on(BARE, finish=finish)
    assert text_of(chunks) == BARE
    assert calls_of(chunks) == []


def test_text_that_can_be_no_call_passes_at_once() -> None:
    reader = CallReader(OFFERED)
    assert reader.take(Chunk(text="It")) == Chunk(text="It")
    assert reader.take(Chunk(text=BARE)) == Chunk(text=BARE)


def test_what_is_held_back_leaves_signs_of_life() -> None:
    reader = CallReader(OFFERED)
    assert reader.take(Chunk(text="```json\n")) == Chunk()
    assert reader.take(Chunk(text="[3]")) == Chunk(text="```json\n[3]")


def test_calls_of_the_server_itself_pass_as_they_came() -> None:
    reader = CallReader(OFFERED)
    delta = Chunk(tool_calls=({"index": 0, "id": "a"},))
    assert reader.take(Chunk(text="{")) == Chunk()
    assert reader.take(delta) == Chunk(text="{", tool_calls=delta.tool_calls)
    assert reader.take(Chunk(finish="tool_calls")) == Chunk(finish="tool_calls")


def test_tools_are_offered_where_the_answer_may_be_a_call() -> None:
    assert offered_tools(asked(tools=[TOOL, 3, None])) == {"weather"}
    assert offered_tools(asked(tools=[TOOL], tool_choice="none")) == frozenset()
    assert offered_tools(asked(tools=[TOOL], response_format={})) == frozenset()
    assert offered_tools(asked()) == frozenset()


def test_where_no_tools_are_offered_nothing_is_held() -> None:
    reader = CallReader(frozenset())
    assert reader.take(Chunk(text="{")) == Chunk(text="{")
    assert reader.take(None) is None


@given(
    st.lists(st.sampled_from(["```json", "```", "\n", BARE, "{", '"name"', ":", "[", " a", "}"]))
)
def test_no_text_is_lost_or_changed(pieces: list[str]) -> None:
    chunks = passed_on(*pieces)
    whole = "".join(pieces)
    calls = calls_of(chunks)
    assert text_of(chunks) == ("" if calls else whole)
    assert bool(calls) == bool(read_calls(whole, OFFERED))
