"""What is recalled is little, to the point, and never what the window shows already."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tale.memory.finding import Found
from tale.memory.recall import is_worth_a_look, recall, written
from tale.memory.talk import estimate_tokens
from tale.memory.turns import Speaker, Turn

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def found(
    seq: int,
    text: str,
    score: float = 1.0,
    *,
    session: str | None = "s-1",
    by: Speaker = "user",
    around: tuple[Turn, ...] = (),
) -> Found:
    """Give a find; turn 1 was said at noon, each further one a day later."""
    at = NOON + timedelta(days=seq - 1)
    return Found(session, seq, by, text, at, score, around=around)


def turn(seq: int, text: str, by: Speaker = "assistant", task: str | None = None) -> Turn:
    return Turn("s-1", seq, by, text, NOON + timedelta(days=seq - 1), task=task)


def lines(question: str, *finds: Found, tokens: int = 64, quoted: str = "") -> list[str]:
    return [
        one.text
        for one in recall(
            question, finds, tokens=tokens, least=0.5, shown={("s-9", 9)}, quoted=quoted
        )
    ]


def test_what_was_said_is_quoted_with_its_day_and_speaker_in_the_order_of_time() -> None:
    later = found(2, "Her flat is in Oslo.", by="assistant")
    assert lines("where does Maja live?", later, found(1, "Maja moved.")) == [
        "2026-05-04 user: Maja moved.",
        "2026-05-05 tale: Her flat is in Oslo.",
    ]


def test_what_is_not_clearly_about_the_question_is_not_recalled() -> None:
    assert lines("where does Maja live?", found(1, "Maja moved.", 0.4)) == []


def test_what_the_window_shows_already_is_not_recalled() -> None:
    shown = found(9, "Maja moved.", session="s-9")
    assert lines("where does Maja live?", shown) == []
    [line] = lines("where does Maja live?", found(1, "Maja moved."))
    assert lines("and Maja?", found(1, "Maja moved."), quoted=f"<memory>\n{line}\n") == []


def test_a_note_from_no_conversation_is_recalled_as_the_users_and_a_result_as_a_tasks() -> None:
    note = found(1, "Maja moved.", session=None)
    assert lines("where does Maja live?", note) == ["2026-05-04 user: Maja moved."]
    result = replace(note, task="t-1")
    assert lines("where does Maja live?", result) == ["2026-05-04 task: Maja moved."]


def test_of_a_long_turn_the_sentences_that_matter_are_recalled() -> None:
    text = "It rained. " * 40 + "Maja lives in Göteborg. " + "Then it rained more. " * 40
    [line] = lines("where does Maja live, in Göteborg?", found(1, text), tokens=40)
    assert "Maja lives in Göteborg." in line


WHERE = "Where does Maja live?"


def test_with_a_question_that_was_asked_before_its_answer_is_recalled() -> None:
    answered = found(1, "where does Maja live?", around=(turn(2, "Maja does live in Oslo."),))
    assert lines(WHERE, answered) == ["2026-05-05 tale: Maja does live in Oslo."]
    short = found(1, "where does Maja live?", around=(turn(2, "In Oslo."),))
    assert lines(WHERE, short) == [
        "2026-05-04 user: where does Maja live?",
        "2026-05-05 tale: In Oslo.",
    ]


def test_an_answer_that_has_none_is_not_recalled() -> None:
    unknown = found(1, "where does Maja live?", around=(turn(2, "I don't know that."),))
    assert lines(WHERE, unknown) == []
    assert lines(WHERE, found(1, "where does Maja live?")) == [
        "2026-05-04 user: where does Maja live?"
    ]


def test_an_answer_comes_with_its_question_where_it_lacks_what_it_is_about() -> None:
    asked = turn(1, "Good to hear! Where does Maja live?")
    assert lines(WHERE, found(2, "In Oslo.", around=(asked,))) == [
        "2026-05-04 tale: Where does Maja live?",
        "2026-05-05 user: In Oslo.",
    ]
    whole = found(2, "Maja will live in Oslo.", around=(asked,))
    assert lines(WHERE, whole) == ["2026-05-05 user: Maja will live in Oslo."]


def test_thanks_are_not_recalled_and_a_yes_is_with_its_question() -> None:
    assert lines(WHERE, found(2, "Thanks, that's great!", around=(turn(1, "In Oslo."),))) == []
    asked = turn(1, "Does Maja live in Oslo?")
    assert lines(WHERE, found(2, "yes", around=(asked,))) == [
        "2026-05-04 tale: Does Maja live in Oslo?",
        "2026-05-05 user: yes",
    ]


def test_what_is_beside_a_find_is_not_recalled_otherwise() -> None:
    beside = (turn(1, "Is that so?", by="user"), turn(3, "I have started on it.", task="t-1"))
    assert lines(WHERE, found(2, "Maja moved.", around=beside)) == ["2026-05-05 user: Maja moved."]
    asked = turn(9, "Where does Maja live?")
    shown = Turn("s-9", 9, "assistant", asked.text, asked.at)
    assert lines(WHERE, found(10, "In Oslo.", session="s-9", around=(shown,))) == [
        "2026-05-13 user: In Oslo."
    ]


def test_thanks_is_nothing_to_look_up() -> None:
    assert not is_worth_a_look("ok, thank you!")
    assert is_worth_a_look("where does Maja live?")


@given(
    st.text(max_size=60),
    st.lists(
        st.builds(
            found,
            st.integers(1, 9),
            st.text(max_size=400) | st.just("Is it?"),
            around=st.tuples(st.builds(turn, st.integers(1, 9), st.text(max_size=400))),
        ),
        max_size=9,
    ),
    st.integers(0, 300),
)
def test_it_has_at_most_its_tokens(question: str, finds: list[Found], tokens: int) -> None:
    text = written(recall(question, finds, tokens=tokens, least=0.5))
    assert not text or estimate_tokens(text) <= tokens
