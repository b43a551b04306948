"""The agent goes on until its work holds, and knows when to stop; it only decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripted_hands import ScriptedHands
from tale.errors import TaskError
from tale.prompts import THIS_PART
from tale.tasks.agent import work
from tale.tasks.attempts import Limits
from tale.tasks.fenced import AFTERWORD
from tale.tasks.fences import NamedFile, closed, parse_fences
from tale.tasks.hands import (
    Action,
    AskUser,
    CallTool,
    ListFiles,
    Outcome,
    Reply,
    RunCommand,
    RunPython,
)
from tale.tasks.task import Form, Step, TokensSpent, ToolOffer

pytestmark = pytest.mark.anyio

REQUEST = "Write a Python function f that doubles: f(2) == 4"


def step(text: str = REQUEST, form: Form = "fences", check: str | None = None) -> Step:
    return Step("t-1", text, "/w", "task", "work", check=check, form=form)


def wrote(code: str, name: str = "f.py") -> str:
    return f"FILE: {name}\n```python\n{code}\n```\n"


GOOD = wrote("def f(x):\n    return 2 * x")
BAD = wrote("def f(x):\n    return x")
WORSE = wrote("def f(x):\n    return None")


def examples(action: Action, files: object) -> Outcome:
    """Stand in for the sandbox: the examples hold where the code says `2 *`."""
    said = str(files)
    if "2 *" in said:
        return Outcome(ok=True, text="1 of 1 examples hold.", exit=0)
    return Outcome(ok=False, text="f(2) returned 2, but must return 4.", exit=1)


_FAILS = Outcome(ok=False, text="0 of 1 examples hold.", exit=1)


def _graded(files: object) -> Outcome:
    held = 1 if "x + 1" in str(files) else 0
    return Outcome(ok=False, text=f"{held} of 2 examples hold.", exit=1)


# -- files in fences -----------------------------------------------------------------------------


async def test_work_that_holds_at_once_takes_one_question() -> None:
    hands = ScriptedHands(GOOD, runs=examples)
    result = await work(step(), hands)
    assert (result.turns, result.holds, result.files) == (1, True, ("f.py",))
    assert result.check == "the request's example holds"
    assert hands.asked[0].temperature == 0
    assert all(action.repeatable for action in hands.acted if isinstance(action, RunPython))


async def test_a_failed_check_goes_back_with_its_error_and_freer() -> None:
    hands = ScriptedHands(BAD, GOOD, runs=examples)
    result = await work(step(), hands)
    assert (result.turns, result.holds) == (2, True)
    assert hands.files["f.py"] == "def f(x):\n    return 2 * x\n"
    [first, second] = hands.asked
    assert second.messages[: len(first.messages)] == first.messages
    assert [message.content for message in second.messages[-2:-1]] == [BAD]
    assert "f(2) returned 2, but must return 4." in second.messages[-1].content
    assert (first.temperature, second.temperature) == (0.0, 0.7)
    assert result.usage == TokensSpent(200, 20, 100)
    assert (first.role, second.role) == ("auto", "task")
    assert any("f(2) returned 2" in note for note in hands.notes)


async def test_the_attempt_that_passed_most_is_kept() -> None:
    def graded(action: Action, files: object) -> Outcome:
        held = 1 if "return x" in str(files) else 0
        return Outcome(ok=False, text=f"{held} of 2 examples hold.", exit=1)

    text = f"{REQUEST}, f(0) == 0"
    hands = ScriptedHands(BAD, WORSE, endless=True, runs=graded)
    result = await work(step(text), hands)
    assert result.turns == 4
    assert hands.files["f.py"] == "def f(x):\n    return x\n"
    assert result.answer == BAD
    assert result.holds is False
    assert any("fails still" in note for note in hands.notes)


async def test_the_users_check_decides() -> None:
    def make(action: Action, files: object) -> Outcome:
        ok = not isinstance(action, RunCommand) or "2 *" in str(files)
        return Outcome(ok=ok, text="" if ok else "make: *** broken", exit=0 if ok else 2)

    hands = ScriptedHands(BAD, GOOD, runs=make)
    result = await work(step("Write a function", check="make"), hands)
    assert (result.turns, result.holds) == (2, True)
    assert RunCommand("make", repeatable=True) in hands.acted
    assert "broken" in hands.asked[1].messages[-1].content


async def test_after_two_failures_its_own_test_is_questioned() -> None:
    def tests_fail(action: Action, files: object) -> Outcome:
        if isinstance(action, RunPython) and action.code.rstrip().endswith("['test_f.py'])))"):
            return Outcome(ok=False, text="assert f(2) == 5", exit=1)
        return Outcome(ok=True, text="1 of 1 examples hold.", exit=0)

    both = GOOD + wrote("from f import f\ndef test_f(): assert f(2) == 5", "test_f.py")
    hands = ScriptedHands(both, both + "again", both + "and again", endless=True, runs=tests_fail)
    result = await work(step(f"{REQUEST}. With tests."), hands)
    assert result.holds is False
    _, second, third, *_ = hands.asked
    assert "correct the test" not in second.messages[-1].content
    assert "correct the test" in third.messages[-1].content


async def test_where_nothing_can_run_it_goes_on_without_checks_and_says_so() -> None:
    def refused(action: Action, files: object) -> Outcome:
        return Outcome(ok=False, text="bubblewrap is not there", exit=None)

    hands = ScriptedHands(BAD, runs=refused)
    result = await work(step(), hands)
    assert (result.turns, result.holds, result.check) == (1, None, "nothing could be run")
    assert "Nothing could be checked: bubblewrap is not there." in hands.notes


async def test_what_the_user_forbids_to_run_is_not_asked_for_in_another_way() -> None:
    def forbidden(action: Action, files: object) -> Outcome:
        return Outcome(ok=False, text="The user did not allow this.", forbidden=True)

    hands = ScriptedHands(GOOD, runs=forbidden)
    result = await work(step(), hands)
    assert (result.turns, result.holds, result.check) == (1, None, "you did not allow it")
    assert len(hands.of(RunPython)) == 1


async def test_files_that_nobody_can_run_say_so() -> None:
    hands = ScriptedHands("FILE: tea.md\n```\nTea is a drink.\n```\n")
    result = await work(step("Write an essay about tea into tea.md"), hands)
    assert (result.holds, result.check) == (None, "there is nothing in it to run")


async def test_code_that_never_ends_fails_its_check_where_others_can_run() -> None:
    def hangs(action: Action, files: object) -> Outcome:
        if action == RunPython("", repeatable=True) or "2 *" in str(files):
            return Outcome(ok=True, text="", exit=0)
        return Outcome(ok=False, text="It was stopped after 60 s.", exit=None)

    hands = ScriptedHands(BAD, GOOD, runs=hangs)
    result = await work(step(), hands)
    assert (result.turns, result.holds) == (2, True)
    assert "stopped after 60 s" in hands.asked[1].messages[-1].content


async def test_an_answer_without_a_file_is_told_what_is_missing() -> None:
    hands = ScriptedHands("I would write a function.", GOOD, runs=examples)
    result = await work(step(), hands)
    assert result.files == ("f.py",)
    assert "There is no file in the answer" in hands.asked[1].messages[-1].content


async def test_prose_that_was_asked_for_needs_no_file() -> None:
    hands = ScriptedHands("Tea is a drink.")
    result = await work(step("Write an essay about tea"), hands)
    assert (result.turns, result.files, result.holds) == (1, (), None)
    assert hands.acted == [ListFiles()]


async def test_what_the_model_asks_to_run_is_run_and_told() -> None:
    def counts(action: Action, files: object) -> Outcome:
        return Outcome(ok=True, text="3 notes.txt", exit=0)

    hands = ScriptedHands("RUN: wc -l notes.txt", "It has 3 lines.", runs=counts)
    result = await work(step("Rename notes.txt and count its lines"), hands)
    assert RunCommand("wc -l notes.txt") in hands.acted
    assert "`wc -l notes.txt` gave:\n3 notes.txt" in hands.asked[1].messages[-1].content
    assert (result.answer, result.turns) == ("It has 3 lines.", 2)


async def test_files_that_the_request_names_are_shown_to_the_model() -> None:
    old = {"f.py": "def f(x): return x\n", "other.py": "secret"}
    hands = ScriptedHands(GOOD, files=old, runs=examples)
    await work(step("Mend the function in f.py. f(2) == 4"), hands)
    prompt = hands.asked[0].messages[-1].content
    assert "FILE: f.py\n```\ndef f(x): return x\n```" in prompt
    assert "other.py" in prompt
    assert "secret" not in prompt


async def test_tests_that_the_request_names_are_run_though_the_user_wrote_them() -> None:
    old = {"test_f.py": "from f import f\ndef test_f(): assert f(2) == 4\n"}
    hands = ScriptedHands(GOOD, files=old, runs=examples)
    result = await work(step("Write f.py so that the tests in test_f.py pass"), hands)
    assert result.check == "its tests passed"
    assert result.files == ("f.py",)


async def test_what_the_user_edits_meanwhile_is_kept_and_told() -> None:
    hands = ScriptedHands(BAD, GOOD, GOOD, runs=examples)

    def edit(number: int) -> None:
        if number == 1:
            hands.files["f.py"] = "def f(x):\n    return x  # mine\n"

    hands.before_ask = edit
    await work(step(), hands)
    assert "f.py was changed meanwhile; it is kept as it is now." in hands.notes
    told = hands.asked[2].messages[-1].content
    assert "The user has changed f.py" in told
    assert "# mine" in told


async def test_an_earlier_attempt_is_not_put_back_over_what_the_user_edited() -> None:
    hands = ScriptedHands(BAD, GOOD, WORSE, endless=True, runs=lambda action, files: _FAILS)

    def edit(number: int) -> None:
        if number == 1:
            hands.files["f.py"] = "mine\n"

    hands.before_ask = edit
    await work(step(), hands)
    assert hands.files["f.py"] == "def f(x):\n    return None\n"


async def test_a_file_that_was_there_is_replaced_and_noted_once() -> None:
    hands = ScriptedHands(BAD, GOOD, files={"f.py": "old"}, runs=examples)
    await work(step("Write f: f(2) == 4"), hands)
    assert hands.notes.count("f.py was there already; it was replaced.") == 1


async def test_answers_without_end_fail_with_the_transcript() -> None:
    endless = Reply("x = 1\n" * 50, "m", "task", finish="length", ran_away=True)
    hands = ScriptedHands(endless, endless=True)
    with pytest.raises(TaskError) as caught:
        await work(step(), hands)
    assert "4 times" in caught.value.message
    assert ".tale/t-1.md" in (caught.value.hint or "")
    assert REQUEST in hands.files[".tale/t-1.md"]
    assert "x = 1" in hands.files[".tale/t-1.md"]


async def test_no_question_is_asked_past_the_tokens() -> None:
    hands = ScriptedHands(BAD, endless=True, runs=examples)
    result = await work(step(), hands, Limits(tries=50, tokens=220))
    assert result.turns == 2


async def test_every_second_correction_begins_anew_and_the_tries_are_counted() -> None:
    codes = [wrote(f"def f(x):\n    return x + {number}") for number in range(9)]
    hands = ScriptedHands(*codes, runs=lambda action, files: _FAILS)
    result = await work(step(), hands, Limits(tries=5))
    assert result.turns == 5
    assert [len(question.messages) for question in hands.asked] == [2, 4, 2, 4, 2]
    assert [question.temperature for question in hands.asked] == [0.0, 0.7, 0.7, 0.7, 1.0]
    assert "by hand" in hands.asked[2].messages[-1].content
    assert hands.files["f.py"] == "def f(x):\n    return x + 0\n"


async def test_an_answer_that_was_given_before_is_asked_for_more_freely() -> None:
    hands = ScriptedHands(BAD, endless=True, runs=examples)
    result = await work(step(), hands)
    assert result.turns == 4
    assert [question.temperature for question in hands.asked] == [0.0, 0.7, 1.0, 1.0]
    assert [len(question.messages) for question in hands.asked] == [2, 4, 2, 2]


async def test_a_program_that_is_written_anew_keeps_its_name() -> None:
    anew = wrote("def f(x):\n    return 2 * x", "other.py")
    hands = ScriptedHands(BAD, anew, runs=examples)
    result = await work(step(), hands)
    assert result.files == ("f.py",)
    assert hands.files == {"f.py": "def f(x):\n    return 2 * x\n"}


async def test_a_correction_is_not_told_of_the_corrections_before_it() -> None:
    codes = [wrote(f"def f(x):\n    return x + {number}") for number in range(9)]
    hands = ScriptedHands(*codes, runs=lambda action, files: _graded(files))
    await work(step(), hands, Limits(tries=4))
    told = hands.asked[3].messages
    assert [each.content for each in told[2:3]] == [codes[1]]
    assert len(told) == 4


# -- one action a turn as JSON -------------------------------------------------------------------


def does(action: str, **fields: str) -> str:
    return json.dumps({"why": "so", "action": action, **fields})


async def test_actions_are_done_one_by_one_until_the_work_holds() -> None:
    hands = ScriptedHands(
        does("write", path="f.py", content="def f(x): return x"),
        does("done", answer="f doubles."),
        does("edit", path="f.py", old="return x", new="return 2 * x"),
        does("done", answer="Now it does."),
        runs=examples,
    )
    result = await work(step(form="json"), hands)
    assert (result.answer, result.holds, result.turns) == ("Now it does.", True, 4)
    assert result.files == ("f.py",)
    assert "f(2) returned 2, but must return 4." in hands.asked[2].messages[-1].content
    assert all(question.schema for question in hands.asked)
    assert hands.asked[3].messages[: len(hands.asked[2].messages)] == hands.asked[2].messages


async def test_a_reply_that_is_no_action_goes_back_with_its_fault() -> None:
    hands = ScriptedHands("Let me think.", does("done", answer="Yes."))
    result = await work(step("Explain it", form="json"), hands)
    assert "no JSON object" in hands.asked[1].messages[-1].content
    assert hands.asked[1].temperature > 0
    assert result.answer == "Yes."


async def test_garbage_for_ever_fails_with_the_transcript() -> None:
    hands = ScriptedHands("blah", endless=True)
    with pytest.raises(TaskError, match="could not be understood, 4 times"):
        await work(step(form="json"), hands)
    assert "blah" in hands.files[".tale/t-1.md"]


async def test_the_same_action_with_the_same_result_is_told_and_then_ended() -> None:
    hands = ScriptedHands(does("read", path="x"), endless=True)
    with pytest.raises(TaskError, match="again and again"):
        await work(step(form="json"), hands)
    assert len(hands.asked) == 3
    assert "the same again" in hands.asked[2].messages[-1].content


async def test_what_only_the_user_knows_is_asked() -> None:
    def user(action: Action, files: Mapping[str, str]) -> Outcome:
        del files
        return Outcome(action == AskUser("Which port?"), "8080")

    hands = ScriptedHands(does("ask", question="Which port?"), does("done", answer="x"), runs=user)
    await work(step(form="json"), hands)
    assert "8080" in hands.asked[1].messages[-1].content


async def test_tools_of_others_are_offered_and_called() -> None:
    called = json.dumps({"why": "", "action": "web.get", "arguments": {"url": "u"}})
    hands = ScriptedHands(called, does("done", answer="Got it."))
    offer = ToolOffer("web", "get", "Gets a page.")
    given = Step("t-1", "Get the page", "/w", "task", "work", form="json", tools=(offer,))
    await work(given, hands)
    assert CallTool("web", "get", {"url": "u"}) in hands.acted
    assert "web.get {}: Gets a page." in hands.asked[0].messages[0].content


async def test_a_step_that_uses_up_its_turns_ends_with_what_is_there() -> None:
    reads = [does("read", path=f"{number}") for number in range(5)]
    hands = ScriptedHands(does("write", path="a.txt", content="x"), *reads)
    result = await work(step("Do it", form="json"), hands, Limits(turns=6))
    assert (result.turns, result.files) == (6, ("a.txt",))
    assert "It was ended: the step used up what it may take." in hands.notes


# -- whatever is replied -------------------------------------------------------------------------

_REPLIES = st.lists(
    st.sampled_from(
        [
            GOOD,
            BAD,
            WORSE,
            "",
            "words",
            "RUN: ls",
            wrote("x", "../x.py"),
            does("read", path="f.py"),
            does("write", path="f.py", content="2 * x"),
            does("run", command="ls"),
            does("done", answer="x"),
            does("ask", question="x?"),
        ]
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(_REPLIES, st.sampled_from(["fences", "json"]))
async def test_whatever_is_replied_it_ends_within_its_limits_and_replays_alike(
    replies: list[str], form: Form
) -> None:
    told: list[object] = []
    for _ in range(2):
        hands = ScriptedHands(*replies, endless=True, runs=examples)
        try:
            result: object = await work(step(form=form), hands, Limits(turns=8))
        except TaskError as error:
            result = error.message
        assert len(hands.asked) <= 8
        told.append((result, hands.asked, hands.acted, hands.notes))
    assert told[0] == told[1]


# -- what comes after the last file ----------------------------------------------------------------

HEAD = 'Complete this function:\n\ndef f(x: int) -> int:\n    """Doubles it."""'


async def test_an_answer_with_one_function_ends_with_its_file() -> None:
    hands = ScriptedHands(BAD, GOOD, runs=examples)
    await work(step(f"{HEAD}\n\nf(2) == 4"), hands)
    assert [each.stop for each in hands.asked] == [AFTERWORD, AFTERWORD]
    assert len(AFTERWORD) <= 4, "OpenAI takes no more"


@pytest.mark.parametrize(
    "text",
    [
        REQUEST,
        f"{HEAD}\n\nWith tests.",
        f"{HEAD}\n\ndef g(x: int) -> int:\n    return f(f(x))",
    ],
)
async def test_an_answer_that_may_need_more_than_one_file_goes_on(text: str) -> None:
    hands = ScriptedHands(GOOD, runs=examples)
    await work(step(text), hands)
    assert hands.asked[0].stop == ()


@pytest.mark.parametrize("end", AFTERWORD)
def test_a_file_that_the_answer_ends_with_is_whole(end: str) -> None:
    answer = (
        f"It is twice x.\n\n{GOOD}\nThis works: \n\nTests:\n\nExplained.\n\n### In this\n\nIn all"
    )
    said, _, _ = f"{answer}{end}".partition(end)
    assert parse_fences(closed(said)).files == (NamedFile("f.py", "def f(x):\n    return 2 * x\n"),)


def test_a_following_file_does_not_end_the_answer() -> None:
    assert not any(end in f"{GOOD}\n{wrote('x = 1', 'g.py')}" for end in AFTERWORD)


@given(st.text(st.sampled_from("`~a\n #py FILE:.")))
def test_nothing_is_open_once_it_is_closed(text: str) -> None:
    whole = closed(text)
    assert whole.startswith(text)
    assert closed(whole) == whole


# -- parts of plans --------------------------------------------------------------------------------


CONTEXT = "Others do the rest of a larger task, of which you do one part:\nA library, f(2) == 4"


def part_step(text: str, **more: object) -> Step:
    return replace(step(text), subtask="a", wanted="code", context=CONTEXT, **more)  # pyright: ignore[reportArgumentType]


async def test_a_part_is_asked_for_behind_the_files_that_it_builds_on() -> None:
    hands = ScriptedHands(GOOD, files={"model.py": "x = 1\n"}, runs=examples)
    await work(part_step("Write f.py, which uses model.py"), hands)
    assert hands.asked[0].messages[-1].content == (
        f"{CONTEXT}\n\nFiles in the workspace:\nmodel.py\n\n"
        "FILE: model.py\n```\nx = 1\n```\n\n"
        f"{THIS_PART}\nWrite f.py, which uses model.py"
    )


@pytest.mark.parametrize("form", ["fences", "json"])
async def test_a_part_is_not_tried_on_the_examples_of_the_whole(form: Form) -> None:
    fenced = "FILE: f.py\n```python\ndef f(x):\n    return x\n```"
    put = {"action": "write", "path": "f.py", "content": "def f(x):\n    return x\n"}
    said = (
        (fenced,)
        if form == "fences"
        else (json.dumps(put), json.dumps({"action": "done", "answer": "Made."}))
    )
    of_the_whole = ScriptedHands(*said)
    await work(replace(part_step("Write f.py"), form=form), of_the_whole)
    [tried] = [each for each in of_the_whole.acted if isinstance(each, RunPython)]
    assert "f(2)" not in tried.code
    its_own = ScriptedHands(*said)
    await work(replace(part_step("Write f.py, where f(3) == 6"), form=form), its_own)
    [tried] = [each for each in its_own.acted if isinstance(each, RunPython)]
    assert "f(3)" in tried.code


async def test_a_name_of_the_whole_is_not_that_of_a_parts_file() -> None:
    hands = ScriptedHands("```python\ndef g(x):\n    return x\n```")
    headed = replace(part_step("Write g"), context="Others do the rest:\ndef f(x):\n    ...")
    result = await work(headed, hands)
    assert result.files == ("main.py",)


async def test_a_block_without_a_name_is_the_file_that_a_part_was_to_write() -> None:
    hands = ScriptedHands("```python\ndef f(x):\n    return 2 * x\n```", runs=examples)
    result = await work(part_step("Write api.py", writes=("api.py",)), hands)
    assert result.files == ("api.py",)
    several = ScriptedHands("```python\nx = 1\n```")
    result = await work(part_step("Write both", writes=("a.py", "b.py")), several)
    assert result.files == ("main.py",)
