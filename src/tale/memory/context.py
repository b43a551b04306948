"""What a model is sent of a conversation: a window of its turns, under a budget of tokens.

Pure. The system prompt comes first and the window begins at the same turn for many turns in a row,
because a prompt whose beginning did not change is answered from the prefix cache. Where it moves,
it does so after an answer and before it is full, so that the next one can be computed meanwhile
(see `windows`). Long-term memory and summaries will be further parts, between the two. Above:
`windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

from tale.models.backend import Message

__all__ = [
    "MESSAGE_TOKENS",
    "CountTokens",
    "Said",
    "beginning",
    "estimate_tokens",
    "first_needed",
    "room_after",
    "tokens_from",
    "window",
]

CountTokens = Callable[[str], int]

_KEPT_SHARE: Final = 2
"""A full window is emptied to one part in so many, so that it next moves only after as many turns
as fill the rest, instead of at every turn."""
_SPARE_SHARE: Final = 4
"""One part in so many is left for what is said while the window that follows is being computed."""
MESSAGE_TOKENS: Final = 5
"""What a chat template adds to each message: <|im_start|>, the role, <|im_end|>, line breaks."""
_BYTES_PER_TOKEN: Final = 3
"""Prose has about 4 bytes a token in Qwen's tokenizer, code and other scripts about 3."""
_BLOCK: Final = 256


class Said(Protocol):
    """A turn, as far as the window looks at it."""

    @property
    def seq(self) -> int:
        """Its number in the conversation, from 1."""
        ...

    @property
    def speaker(self) -> Literal["user", "assistant"]:
        """Who said it."""
        ...

    @property
    def text(self) -> str:
        """What was said."""
        ...

    @property
    def task(self) -> str | None:
        """The task that tale, in this turn, said it has begun."""
        ...


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text has, rather too many than too few."""
    return len(text.encode(errors="replace")) // _BYTES_PER_TOKEN + 1


def first_needed(turns: int) -> int:
    """Tell after which turn of a conversation of so many the window has to be computed.

    It moves in large steps: computed from another beginning the window may begin elsewhere too.
    """
    return max(0, turns // _BLOCK - 1) * _BLOCK


def room_after(system: str, budget: int, count_tokens: CountTokens = estimate_tokens) -> int:
    """Give the tokens that a conversation has after a system prompt, of `budget` for the prompt."""
    return budget - MESSAGE_TOKENS - count_tokens(system)


def beginning(
    turns: Sequence[Said], *, room: int, count_tokens: CountTokens = estimate_tokens
) -> int:
    """Say with which turn the window begins; it then has at most `room` tokens.

    After an answer it moves already where less than a quarter of the room is left: there is time
    then. The last turn is always in it, whatever it takes.

    Args:
        turns: The conversation, oldest first.
        room: Tokens that its turns may have.
        count_tokens: Counts the tokens of a text.

    Returns:
        The number of that turn.
    """
    said = _said(turns)
    costs = [_cost(one, count_tokens) for one in said]
    start, used = 0, 0
    for position, cost in enumerate(costs):
        used += cost
        answered = said[position].speaker == "assistant"
        if used > (room - room // _SPARE_SHARE if answered else room):
            while start < position and used > room // _KEPT_SHARE:
                used -= costs[start]
                start += 1
    while start < len(said) - 1 and said[start].speaker != "user":
        start += 1
    return said[start].seq


def tokens_from(
    begins: int, turns: Sequence[Said], count_tokens: CountTokens = estimate_tokens
) -> int:
    """Count the tokens of the window that begins with this turn, the system prompt apart."""
    return sum(_cost(one, count_tokens) for one in _said(turns) if one.seq >= begins)


def window(system: str, turns: Sequence[Said], *, begins: int = 0) -> tuple[Message, ...]:
    """Give what a model is sent: the system prompt, and the turns from the one numbered `begins`.

    Args:
        system: The system prompt.
        turns: The conversation, oldest first; the last one is the user's, to be answered.
        begins: As `beginning` gave it.
    """
    messages = [Message(one.speaker, one.text) for one in _said(turns) if one.seq >= begins]
    return (Message("system", system), *_alternating(messages))


def _cost(one: Said, count_tokens: CountTokens) -> int:
    return MESSAGE_TOKENS + count_tokens(one.text)


def _said(turns: Sequence[Said]) -> list[Said]:
    """Leave out the requests that became tasks, and what was said to them.

    Small models take the acknowledgements in their window for an example: after six of them the
    0.5B "had started on" the questions and texts that came next, too. The tasks have a list of
    their own, and each has its whole request.
    """
    last = len(turns) - 1
    return [
        turn
        for position, turn in enumerate(turns)
        if turn.task is None and (position == last or turns[position + 1].task is None)
    ]


def _alternating(said: Iterable[Message]) -> Iterable[Message]:
    """Join what one speaker said in a row (an answer failed): many templates insist on turns."""
    messages: list[Message] = []
    for message in said:
        if messages and messages[-1].role == message.role:
            joined = f"{messages.pop().content}\n\n{message.content}"
            messages.append(Message(message.role, joined))
        else:
            messages.append(message)
    return messages
