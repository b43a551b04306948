"""Questions of how the work stands are told from all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.memory.how_far import Asked, asked_how_far
from test_talk_or_work import rows

ROMAN = "Write a Python module that converts Roman numerals both ways, with tests"


@pytest.mark.parametrize(
    "text",
    [
        "how far are you?",
        "How far are you with it",
        "how far along are you now?",
        "how far is it",
        "so, how far have you got?",
        "Is it done?",
        "is it done yet",
        "is that finished already?",
        "Are you done with that?",
        "are you still working on it?",
        "are we there yet?",
        "Have you finished?",
        "did you finish it",
        "done yet?",
        "Done?",
        "ready?",
        "what are you doing?",
        "what are you doing right now?",
        "what's happening?",
        "What\N{RIGHT SINGLE QUOTATION MARK}s the status?",
        "status?",
        "status update please",
        "any progress?",
        "any news on the task?",
        "when will it be finished?",
        "when will you be done?",
        "when is it ready",
        "how long will it take?",
        "how long will it still take?",
        "how much longer?",
        "how long until it is done?",
        "how's it going?",
        "how is the task going?",
        "how is it coming along",
        "eta?",
        "is my script finished?",
        "almost done?",
        "will it be done soon?",
        "when do you think it will be ready?",
        "how long do you think it will take?",
        "did it work?",
        "what's the eta",
        "can you tell me how far you are?",
        "do you know when it will be done?",
        "hey tale, is everything done now?",
        "how much is left?",
        "wie weit bist du?",
        "Ist es schon fertig?",
        "Wie lange noch?",
        # typos
        "how far aer you?",
        "hwo far are yuo",
        "is it doen yet?",
        "are you finishd?",
        "waht are you doing",
        "whats the progres?",
        "when wlil it be finised?",
        "how muhc longer",
    ],
)
def test_questions_of_how_it_stands_are_known(text: str) -> None:
    assert asked_how_far(text) == Asked()


@pytest.mark.parametrize(
    "text",
    [
        "how far is Rome",
        "How far is it to Rome?",
        "how far is it from the sun to the earth?",
        "is it done in Python by calling sorted?",
        "is it done with a loop?",
        "how are you?",
        "how are you doing?",
        "how old are you?",
        "what are you?",
        "what can you do?",
        "what are you doing on Sunday with your family?",
        "what is a status code?",
        "what is the state of matter of water at 20 degrees?",
        "how long does it take to boil an egg?",
        "when was the tower finished?",
        "when will the next eclipse be?",
        "what is happening in the French Revolution?",
        "is this sentence complete without a verb?",
        "tell me when it is done",
        "let me know when you are done",
        "done",
        "ready",
        "it is done",
        "I am done",
        "thanks, that is all",
        "write a function that says how far it is",
        "are you ready to write a poem?",
        "what time is it?",
        "",
        "?",
        "is it done? " * 20,
    ],
)
def test_other_questions_are_left_alone(text: str) -> None:
    assert asked_how_far(text) is None


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("is the module done?", True),
        ("how far are you with the Roman numerals?", True),
        ("is the python module with tests ready yet?", True),
        ("how is the Roman module coming along?", True),
        ("is the website done?", False),
        ("how far is the moon?", False),
        ("how long is the Nile?", False),
        ("when will the war be over?", False),
        ("when will the tests be finished?", True),
    ],
)
def test_what_it_names_has_to_be_the_task(text: str, means: bool) -> None:
    asked = asked_how_far(text)
    assert (asked is not None and asked.means(ROMAN)) is means


def test_no_request_for_talk_or_work_is_taken_for_one() -> None:
    hits = [row.text for row in rows() if asked_how_far(row.text) == Asked()]
    assert hits == []


@given(st.text(max_size=200))
def test_any_text_can_be_judged_whatever_space_is_around_it(text: str) -> None:
    assert asked_how_far(f"  {text}\n") == asked_how_far(text)
