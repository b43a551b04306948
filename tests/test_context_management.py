"""What a model is sent of a conversation fits, keeps its beginning, and quotes memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said import Said, said, talk
from tale.memory.context import Head, Window, assemble
from tale.memory.quoting import quoted
from tale.memory.sizes import Sizes, sizes_of
from tale.memory.talk import (
    beginning,
    cost_of,
    estimate_tokens,
    first_needed,
    fitting,
    room_after,
    tokens_from,
)
from tale.models.backend import Message

SYSTEM = "be kind"


def window_of(
    turns: Sequence[Said],
    budget: int,
    *,
    head: Head | None = None,
    quotes: dict[int, str] | None = None,
) -> Window:
    """Put a window together whose tokens are characters."""
    sizes = sizes_of(room_after(SYSTEM, budget, len))
    return assemble(
        SYSTEM, turns, budget=budget, sizes=sizes, head=head, quotes=quotes, count_tokens=len
    )


def sent(turns: Sequence[Said], budget: int) -> tuple[Message, ...]:
    """Give the window of a conversation that moved whenever it had to."""
    sizes = sizes_of(room_after(SYSTEM, budget, len))
    begins = beginning(turns, room=sizes.turns, turn=sizes.turn, count_tokens=len)
    return window_of(turns, budget, head=Head(begins)).messages


def taken(messages: Sequence[Message]) -> int:
    return sum(len(one.content) + 5 for one in messages)


def test_a_short_conversation_is_sent_whole_after_the_system_prompt() -> None:
    assert window_of(said("hi", "hello", "how are you?"), 400).messages == (
        Message("system", SYSTEM),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "how are you?"),
    )


def test_what_is_stable_comes_first_and_the_request_last() -> None:
    turns = said("hi", "hello", "how are you?")
    head = Head(1, facts="- likes tea", summary="They met.")
    window = window_of(turns, 900, head=head, quotes={1: quoted(["old"]), 3: quoted(["new"])})
    assert [(part.name, part.stable) for part in window.parts] == [
        ("system", True),
        ("facts", True),
        ("summary", True),
        ("turns", True),
        ("recalled", False),
        ("request", False),
    ]
    first, _, last = (one.content for one in window.messages[1:])
    assert first == (
        "<memory>\nWhat is known:\n- likes tea\nEarlier in this conversation:\nThey met.\n</memory>"
        "\n\n<memory>\nold\n</memory>\n\nhi"
    )
    assert last == "<memory>\nnew\n</memory>\n\nhow are you?"


def test_what_one_said_in_a_row_is_one_message() -> None:
    turns = [Said(1, "user", "a"), Said(2, "user", "b"), Said(3, "assistant", "c")]
    turns.append(Said(4, "user", "d"))
    assert [one.content for one in window_of(turns, 1000).messages[1:]] == ["a\n\nb", "c", "d"]


def test_what_became_a_task_is_not_sent_with_the_talk_that_follows() -> None:
    talked = [Said(3, "user", "thanks"), Said(4, "assistant", "My pleasure."), Said(5, "user", "b")]
    turns = [Said(1, "user", "Write a poem"), Said(2, "assistant", "I've begun.", "t-1"), *talked]
    messages = window_of(turns, 2000).messages
    assert [one.content for one in messages[1:]] == [one.text for one in talked]


def test_a_request_too_long_for_any_window_is_sent_without_its_middle() -> None:
    request = "Begin. " + "x" * 5000 + " End?"
    window = window_of(said("hi", "hello", request), 400)
    asked = window.messages[-1]
    assert asked.content.startswith("Begin. ")
    assert asked.content.endswith(" End?")
    assert "[…]" in asked.content
    assert window.shortened == (3,)
    assert window.tokens <= 400


def test_without_room_what_was_recalled_goes_before_the_request_does() -> None:
    turns = said("q" * 100)
    quote = quoted(["y" * 80])
    assert "y" in window_of(turns, 300, quotes={1: quote}).messages[-1].content
    assert "y" not in window_of(turns, 190, quotes={1: quote}).messages[-1].content


SIZES = st.lists(st.integers(0, 60), min_size=1, max_size=80).filter(lambda s: len(s) % 2 == 1)
LONG = st.lists(st.integers(0, 4000), min_size=1, max_size=9)
QUOTES = st.dictionaries(st.integers(1, 80), st.text(max_size=60).map(lambda t: quoted([t])))
HEADS = st.builds(Head, st.integers(0, 9), st.text(max_size=90), st.text(max_size=90))


@given(SIZES | LONG, st.integers(24, 900), QUOTES, HEADS)
def test_a_window_never_has_more_tokens_than_its_budget(
    sizes: list[int], budget: int, quotes: dict[int, str], head: Head
) -> None:
    window = window_of(talk(sizes), budget, head=head, quotes=quotes)
    assert taken(window.messages) <= budget
    assert taken(window.messages) <= window.tokens <= budget
    assert window.messages[0] == Message("system", SYSTEM)


@given(SIZES, st.integers(200, 900))
def test_the_request_is_sent_whole_where_it_has_its_share_of_room(
    sizes: list[int], budget: int
) -> None:
    turns = talk(sizes)
    messages = sent(turns, budget)
    assert messages[-1] == Message("user", turns[-1].text)
    assert [one.content for one in messages[1:]] == [t.text for t in turns[1 - len(messages) :]]


@given(SIZES, st.integers(200, 900), QUOTES)
def test_a_window_only_grows_at_its_end_until_it_is_moved(
    sizes: list[int], budget: int, quotes: dict[int, str]
) -> None:
    turns, head = talk(sizes), Head(1, "- a fact", "what was")
    before: tuple[Message, ...] = ()
    room = sizes_of(room_after(SYSTEM, budget, len)).room - len(head.block) - 2
    for end in range(1, len(turns) + 1, 2):
        if tokens_from(1, turns[:end], count_tokens=len, quotes=quotes) > room:
            break
        now = window_of(turns[:end], budget, head=head, quotes=quotes).messages
        assert now[: len(before)] == before
        before = now


@given(SIZES, st.integers(120, 600))
def test_a_window_keeps_its_beginning_for_many_turns(sizes: list[int], budget: int) -> None:
    turns = talk(sizes)
    moves = 0
    before: tuple[Message, ...] = ()
    for end in range(1, len(turns) + 1, 2):
        now = sent(turns[:end], budget)
        moves += before != now[: len(before)]
        before = now
    spent = sum(size + 5 for size in sizes)
    room = sizes_of(room_after(SYSTEM, budget, len)).turns
    # It moves once for each half of the room that is spent, not once for each turn.
    assert moves <= 2 * spent / room + 1


@given(SIZES, st.integers(120, 600))
def test_a_window_moves_after_an_answer_as_long_as_there_is_time(
    sizes: list[int], budget: int
) -> None:
    turns, room = talk(sizes), budget - 5

    def begins(end: int) -> int:
        return beginning(turns[:end], room=room, count_tokens=len)

    for end in range(3, len(turns) + 1, 2):
        request = len(turns[end - 1].text) + 5
        after_answer = begins(end - 1)
        # One that begins with the answer itself has nothing else that fits.
        if request < room // 4 and turns[after_answer - 1].speaker == "user":
            assert begins(end) == after_answer, "the request itself did not move it"


@given(st.text(st.characters()))
def test_every_text_has_some_tokens(text: str) -> None:
    assert estimate_tokens(text) >= 1 + len(text) // 3


@given(st.text(max_size=4000), st.integers(0, 800))
def test_a_shortened_turn_has_at_most_its_tokens(text: str, most: int) -> None:
    short = fitting(text, most)
    assert short == text or estimate_tokens(short) <= max(most, 1)


def test_a_conversation_about_work_alone_has_a_window_without_turns() -> None:
    turns = [Said(1, "user", "Write a poem"), Said(2, "assistant", "I'm on it.", "t-1")]
    assert beginning(turns, room=500) == 1
    assert beginning([], room=500) == 0
    assert window_of(turns, 500).messages == (Message("system", SYSTEM),)


def test_what_is_recalled_for_a_turn_is_counted_with_it() -> None:
    assert cost_of("four", "", len) == 9
    assert cost_of("four", "five!", len) == 16


def test_the_window_is_computed_from_a_turn_that_seldom_changes() -> None:
    assert first_needed(0) == first_needed(511) == 0
    assert first_needed(512) == first_needed(767) == 256
    assert all(count - first_needed(count) < 512 for count in range(5000))


@given(st.integers(-10, 200_000), st.none() | st.integers(0, 5000))
def test_the_parts_of_a_window_have_no_more_than_the_whole(room: int, fresh: int | None) -> None:
    sizes = sizes_of(room, fresh)
    assert sizes.facts + sizes.summary + sizes.turns == sizes.room == max(0, room)
    assert sizes.turn <= sizes.turns
    assert sizes.recalled <= sizes.room // 2
    assert fresh is None or sizes.recalled <= fresh


@pytest.mark.parametrize("room", [1000, 6000, 120_000])
def test_the_same_proportions_serve_small_windows_and_large_ones(room: int) -> None:
    sizes: Sizes = sizes_of(room)
    assert sizes.turns / room == pytest.approx(0.74, abs=0.01)
    assert sizes.summary / room == pytest.approx(0.2, abs=0.01)
