"""A conversation is packed into a window: what stays, what goes, and in which steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from tale.models.backend import Message
from tale.models.fitting import Fitted, fit, too_long

Role = Literal["system", "user", "assistant", "tool"]
ROLES: Sequence[Role] = ("system", "user", "assistant", "tool")


def talk(turns: int) -> list[Message]:
    """A system message, so many turns, and a last question."""
    said = [Message("system", "be brief")]
    for number in range(turns):
        said += [Message("user", f"question {number}"), Message("assistant", f"answer {number}")]
    return [*said, Message("user", "last")]


def test_what_fits_is_sent_whole() -> None:
    said = talk(3)
    assert fit(said, [10] * 8, window=100, answer=20) == Fitted(tuple(said), 80)


def test_the_oldest_turns_go_first_and_whole() -> None:
    said = talk(3)
    fitted = fit(said, [10] * 8, window=80, answer=10)
    assert fitted == Fitted((said[0], *said[3:]), 60, left_out=2)


def test_a_tools_result_goes_with_its_call() -> None:
    said = [
        Message("user", "look"),
        Message("assistant", "", {"tool_calls": []}),
        Message("tool", "found"),
        Message("assistant", "here"),
        Message("user", "again"),
        Message("assistant", "", {"tool_calls": []}),
        Message("tool", "found again"),
    ]
    fitted = fit(said, [10] * 7, window=65, answer=0)
    assert fitted is not None
    assert fitted.messages == tuple(said[4:])


def test_a_conversation_that_grows_keeps_its_beginning_for_many_turns() -> None:
    starts: list[Message] = []
    for turns in range(1, 200):
        said = talk(turns)
        fitted = fit(said, [10] * len(said), window=1000, answer=100)
        assert fitted is not None
        starts.append(fitted.messages[1])
    moves = sum(before != after for before, after in pairwise(starts))
    # 3,980 tokens pass a window that has room for 880; each step frees a quarter of the window.
    assert moves <= 14


def test_what_must_stay_and_does_not_fit_is_refused_with_figures() -> None:
    assert fit(talk(2), [10, 1, 1, 1, 1, 50], window=64, answer=5) is None
    error = too_long(12_000, 512, {"small": 4096, "large": 8192})
    assert "12,000 tokens" in error.message
    assert "small 4,096, large 8,192" in error.message
    assert error.code == "context_exceeded"


MESSAGES = st.lists(st.tuples(st.sampled_from(ROLES), st.integers(0, 50)), max_size=30)


@given(MESSAGES, st.integers(1, 600), st.integers(0, 100))
def test_a_window_is_never_exceeded_and_nothing_that_must_stay_goes(
    drawn: list[tuple[Role, int]], window: int, answer: int
) -> None:
    messages = [Message(role, str(number)) for number, (role, _) in enumerate(drawn)]
    tokens = [size for _, size in drawn]
    users = [number for number, (role, _) in enumerate(drawn) if role == "user"]
    last = users[-1] if users else max(0, len(drawn) - 1)
    must = {n for n, (role, _) in enumerate(drawn) if role == "system" or n >= last}
    fitted = fit(messages, tokens, window, answer)
    if fitted is None:
        assert sum(tokens[number] for number in must) + answer > window
        return
    kept = [int(message.content) for message in fitted.messages]
    assert kept == sorted(kept)
    assert must <= set(kept)
    assert fitted.tokens == sum(tokens[number] for number in kept)
    assert fitted.tokens + answer <= window
    assert fitted.left_out == len(messages) - len(kept)
    # The oldest go first: whatever was left out came before all that was kept and might have gone.
    gone = set(range(len(messages))) - set(kept)
    assert all(out < stays for out in gone for stays in set(kept) - must)
