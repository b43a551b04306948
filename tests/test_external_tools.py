"""Tools of the user's MCP servers: what a model is shown of them, and how it calls them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted_hands import ScriptedHands
from tale.errors import ServiceUnavailable
from tale.prompts import WORK_SYSTEM, actions_system
from tale.tasks.agent import work
from tale.tasks.calls import call_line, is_call, read_calls
from tale.tasks.durable import Json, MemoryJournal, Recorder
from tale.tasks.equip import Equipping, Listed
from tale.tasks.hands import Action, CallTool, Outcome, RunCommand
from tale.tasks.moves import Garbled, read_move
from tale.tasks.offers import bounded, choose, find_tool, in_words, wants_tools
from tale.tasks.task import Form, Kind, Report, Step, ToolOffer
from tale.tasks.tool_schema import arguments_in_words, plain_schema

pytestmark = pytest.mark.anyio

ZONE = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
TIME = ToolOffer("clock", "now", "Gives the time. Slowly.", ZONE, read_only=True)
MANY = [
    ToolOffer("shop", f"item_{number}", f"About item {number}. " + "x" * 60, ZONE)
    for number in range(200)
]


def step(text: str, form: Form = "fences", kind: Kind = "work", *tools: ToolOffer) -> Step:
    return Step("t-1", text, "/w", "task", kind, form=form, tools=tools or (TIME,))


def noon(action: Action, files: object) -> Outcome:
    assert action == CallTool("clock", "now", {"zone": "UTC"})
    return Outcome(ok=True, text="12:00")


# -- what is shown -------------------------------------------------------------------------------


def test_a_tool_is_shown_in_a_line() -> None:
    assert in_words(TIME) == ('clock.now {"zone": string}', "Gives the time.")
    long = in_words(ToolOffer("a", "b", "word " * 100))[1]
    assert long.endswith("word …")
    assert len(long) <= 162


def test_all_tools_are_shown_where_they_fit_whatever_is_asked() -> None:
    choice = choose([TIME, *MANY[:3]], "Sort my photos", "json")
    assert (choice.shown, choice.left_out) == ((TIME, *MANY[:3]), 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sort my photos", ()),
        ("Slowly sort my photos", ()),
        ("Tell the time slowly", (TIME,)),
        ("Ask the clock", (TIME,)),
    ],
)
def test_a_small_model_is_shown_only_what_the_request_is_about(
    text: str, shown: tuple[ToolOffer, ...]
) -> None:
    assert choose([*MANY, TIME], text, "fences").shown == shown


@pytest.mark.parametrize("form", ["json", "fences"])
def test_of_many_tools_those_that_the_request_is_about_are_shown(form: Form) -> None:
    choice = choose([*MANY, TIME], "Which times does the clock have for item 137?", form)
    assert TIME in choice.shown
    assert MANY[137] in choice.shown
    assert choice.left_out == 201 - len(choice.shown) > 50


@given(st.lists(st.integers(0, 199), unique=True), st.text(), st.sampled_from(["json", "fences"]))
def test_what_is_shown_fits_the_budget_and_the_rest_is_counted(
    numbers: list[int], text: str, form: Form
) -> None:
    tools = [MANY[number] for number in numbers]
    choice = choose(tools, text, form)
    assert sum(len(name) + len(said) for name, said in choice.lines()) <= 4_800
    assert len(choice.shown) + choice.left_out == len(tools)
    assert [tool for tool in tools if tool in choice.shown] == list(choice.shown)


def test_descriptions_and_lists_without_end_are_cut() -> None:
    [kept] = bounded([ToolOffer("a", "b", "x" * 100_000)])
    assert len(kept.description) == 1_000
    assert len(bounded([TIME] * 10_000)) == 400


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (ZONE, '{"zone": string}'),
        ({}, "{}"),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, '{"a"?: integer, "b"?: any}'),
        ({"properties": {"a": {"enum": [1, "x"]}}}, '{"a"?: 1 | "x"}'),
        ({"properties": {"a": {"type": "array", "items": {"type": "number"}}}}, '{"a"?: number[]}'),
        (
            {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
            '{"a"?: string | null}',
        ),
    ],
)
def test_arguments_are_told_in_a_few_words(schema: Mapping[str, object], words: str) -> None:
    assert arguments_in_words(schema) == words


def test_references_are_followed_and_what_no_grammar_knows_is_left_out() -> None:
    plain = plain_schema(
        {
            "type": "object",
            "$defs": {"Day": {"enum": ["mo", "tu"], "title": "Day"}},
            "properties": {
                "day": {"$ref": "#/$defs/Day"},
                "at": {"type": "string", "pattern": "(?<=x)[0-9]", "format": "time"},
                "else": {"$ref": "https://example.org/x"},
            },
            "required": ["day"],
            "additionalProperties": False,
        }
    )
    assert plain["required"] == ["day"]
    assert plain["properties"] == {
        "day": {"enum": ["mo", "tu"]},
        "at": {"type": "string"},
        "else": {"type": ["string", "number", "integer", "boolean", "object", "array", "null"]},
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop = {"$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}}
    assert "$ref" not in json.dumps(plain_schema({**loop, "$ref": "#/$defs/T"}))


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "$ref", "anyOf", "enum", "required"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "anyOf", "required"]), JSONS))
def test_any_schema_of_a_stranger_becomes_that_of_an_object(schema: dict[str, Any]) -> None:
    plain = plain_schema(schema)
    assert plain["type"] == "object"
    arguments_in_words(plain)


# -- how a model calls them ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'CALL: clock.now {"zone": "UTC"}',
        'First I ask.\n**CALL:** `clock.now {"zone": "UTC"}`\nThen I go on.',
        "- CALL: clock.now {zone: 'UTC'}",
        'CALL: clock/now\n{"zone":\n "UTC"}',
        'CALL: clock.now\n```json\n{"zone": "UTC"}\n```',
        'CALL: now(zone="UTC")',
        'CALL: clock.now({"zone": "UTC"})',
        'CALL: clock.now(zone: "UTC") {"time": 120}',
        "CALL: clock__now UTC",
        'RUN: clock.now {"zone": "UTC"}',
        'CALL: clock.now {"zone": "UTC"}\nCALL: clock.now {"zone": "UTC"}',
    ],
)
def test_a_call_is_read_in_whatever_form_it_stands(text: str) -> None:
    found = read_calls(text, [TIME])
    assert found.calls == (CallTool("clock", "now", {"zone": "UTC"}),)
    assert not found.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("CALL: clock.then {}", "There is no tool 'clock.then'. There are: clock.now."),
        ('CALL: clock.now {"zone"', "The arguments of clock.now can't be read"),
        (
            'CALL: clock.now {"time": 1}',
            'clock.now was not called: "zone" is missing; there is no "time". It takes {"zone": s',
        ),
    ],
)
def test_a_call_that_can_not_be_read_is_told_exactly(text: str, fault: str) -> None:
    found = read_calls(text, [TIME])
    assert not found.calls
    assert found.faults[0].startswith(fault)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    read_calls(f"CALL: clock.now {text}", [TIME])
    read_calls(text, [TIME])


def test_calls_in_code_are_none_and_commands_stay_commands() -> None:
    assert not read_calls("```\nCALL: clock.now {}\n```\nRUN: date", [TIME]).calls
    assert is_call("clock.now {}", [TIME])
    assert not is_call("date", [TIME])
    assert not is_call("clock.now {}", [])


def test_a_tool_is_found_by_a_part_of_its_name_only_if_one_has_it() -> None:
    other = ToolOffer("watch", "now")
    assert find_tool("Clock.now", [TIME, other]) == TIME
    assert find_tool("now", [TIME]) == TIME
    assert find_tool("now", [TIME, other]) is None


async def test_a_small_model_calls_a_tool_and_goes_on_with_what_it_gave() -> None:
    call = 'I ask.\nCALL: clock.now {"zone": "UTC"}'
    hands = ScriptedHands(call, "It is 12:00.", runs=noon)
    result = await work(step("Tell me the time of the clock"), hands)
    assert (result.answer, result.turns) == ("It is 12:00.", 2)
    [first, second] = hands.asked
    assert first.messages[0].content.endswith('\nclock.now {"zone": string}: Gives the time.')
    assert second.messages[-1].content == '`CALL: clock.now {"zone": "UTC"}` gave:\n12:00'


async def test_what_is_written_beside_a_call_is_not_trusted() -> None:
    both = 'CALL: clock.now {"zone": "UTC"}\nFILE: t.txt\n```\n11:11\n```'
    hands = ScriptedHands(both, "FILE: t.txt\n```\n12:00\n```", runs=noon)
    await work(step("Write the time of the clock into t.txt"), hands)
    assert hands.files == {"t.txt": "12:00\n"}


async def test_a_small_model_is_told_what_was_wrong_with_its_call() -> None:
    hands = ScriptedHands("CALL: clock.then {}", "I can't.", "I can't.", "I can't.", "I can't.")
    await work(step("Tell me the time of the clock"), hands)
    assert "There is no tool 'clock.then'" in hands.asked[1].messages[-1].content


async def test_the_same_call_again_and_again_is_corrected_and_ends() -> None:
    hands = ScriptedHands('CALL: clock.now {"zone": "UTC"}', endless=True, runs=noon)
    result = await work(step("Tell me the time of the clock"), hands)
    assert result.turns <= 8
    assert "This is the same again" in hands.asked[2].messages[-1].content
    assert hands.asked[2].temperature > 0


async def test_a_tool_after_run_is_no_command() -> None:
    hands = ScriptedHands('RUN: clock.now {"zone": "UTC"}', "It is 12:00.", runs=noon)
    await work(step("Tell me the time of the clock"), hands)
    assert not hands.of(RunCommand)


async def test_a_large_model_calls_a_tool_by_one_object() -> None:
    call = '{"why": "w", "action": "clock.now", "arguments": {"zone": "UTC"}}'
    done = '{"why": "w", "action": "done", "answer": "It is 12:00."}'
    hands = ScriptedHands(call, done, runs=noon)
    result = await work(step("Tell me the time", "json"), hands)
    assert result.answer == "It is 12:00."
    assert 'clock.now {"zone": string}: Gives the time.' in hands.asked[0].messages[0].content
    assert '"clock.now"' in json.dumps(hands.asked[0].schema)


async def test_a_tool_that_is_not_shown_can_be_called_all_the_same() -> None:
    tools = (*MANY, TIME)
    call = '{"why": "w", "action": "clock.now", "arguments": {"zone": "UTC"}}'
    done = '{"why": "w", "action": "done", "answer": "12:00"}'
    hands = ScriptedHands(call, done, runs=noon)
    await work(step("Sort items", "json", "work", *tools), hands)
    prompt = hands.asked[0].messages[0].content
    assert "clock.now" not in prompt
    assert "more tools are not shown" in prompt
    assert hands.of(CallTool)


def test_an_object_that_lacks_an_argument_is_told_so() -> None:
    move = read_move('{"action": "clock.now", "arguments": {}}', [TIME])
    assert isinstance(move, Garbled)
    assert '"zone" is missing' in move.fault


def test_a_tools_name_never_takes_an_action_of_the_agents() -> None:
    write = read_move('{"action": "write", "path": "a", "content": "b"}', [ToolOffer("x", "write")])
    assert not isinstance(write, (CallTool, Garbled))


async def test_talk_that_has_tools_may_call_them() -> None:
    hands = ScriptedHands('CALL: clock.now {"zone": "UTC"}', "Noon.", runs=noon)
    result = await work(step("What does clock say?", "fences", "talk"), hands)
    assert result.answer == "Noon."


async def test_without_tools_prompts_are_as_they_ever_were() -> None:
    hands = ScriptedHands("Nothing to do.", endless=True)
    await work(Step("t-1", "Explain the code", "/w", "task", "work"), hands)
    assert hands.asked[0].messages[0].content == WORK_SYSTEM
    done = ScriptedHands('{"why": "w", "action": "done", "answer": "x"}')
    await work(Step("t-1", "Explain the code", "/w", "task", "work", form="json"), done)
    assert done.asked[0].messages[0].content == actions_system()


# -- what there is, as recorded ------------------------------------------------------------------


class Servers:
    """Lists tools, or fails, and counts."""

    def __init__(self, listed: Listed | Exception) -> None:
        self.listed = listed
        self.asked = 0

    async def __call__(self, step: Step, report: Report) -> Listed:
        self.asked += 1
        if isinstance(self.listed, Exception):
            raise self.listed
        return self.listed


class Told:
    def __init__(self) -> None:
        self.texts: list[object] = []
        self.keys: set[str | None] = set()

    async def __call__(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        if key in self.keys:
            return False
        self.keys.add(key)
        self.texts.append(data["text"])
        return True


async def equipped(servers: Servers, journal: MemoryJournal, told: Told, text: str = "Do") -> Step:
    found: list[Step] = []

    async def run(recorder: Recorder) -> None:
        bare = Step("t-1", text, "/w", "task", "work")
        found.append(await Equipping(servers, ["clock"])(bare, recorder, told))

    await journal.run("t-1", run)
    return found[0]


async def test_a_replay_is_given_the_same_tools_without_asking_again() -> None:
    servers, journal, told = Servers(Listed((TIME,), {"web": "closed"})), MemoryJournal(), Told()
    first = await equipped(servers, journal, told)
    recorded: Json = json.loads(json.dumps(journal.records["t-1"][0][1]))
    journal.records["t-1"] = [("tools", recorded)]
    servers.listed = Listed()
    again = await equipped(servers, journal, told)
    assert first == again
    assert first.tools == (TIME,)
    assert servers.asked == 1
    assert told.texts == [
        "The MCP server 'web' can't be reached: closed. The task goes on without it."
    ]


async def test_servers_that_can_not_be_asked_cost_a_note_and_no_task() -> None:
    told = Told()
    failing = Servers(ServiceUnavailable("No execution server."))
    step = await equipped(failing, MemoryJournal(), told)
    assert step.tools == ()
    assert told.texts == [
        "The MCP servers can't be asked: No execution server. The task goes on without their tools."
    ]


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("Write a program", "work", True),
        ("Hello there", "talk", False),
        ("What does Clock say?", "talk", True),
        ("It works like clockwork", "talk", False),
    ],
)
def test_talk_is_kept_quick_unless_it_names_a_server(text: str, kind: Kind, wanted: bool) -> None:
    assert wants_tools(Step("t-1", text, "/w", "ux", kind), ["clock"]) is wanted


def test_a_call_is_shown_as_it_is_written() -> None:
    call = CallTool("clock", "now", {"zone": "Köln"})
    assert read_calls(call_line(call), [TIME]).calls == (call,)
