"""The turns of a conversation as a window sees them: what each takes, and where the window begins.

Pure. Above: `context`, which puts the window together, `windows`, `summary`. Below: `quoting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from tale.memory.quoting import middle_left_out

__all__ = [
    "JOINT_TOKENS",
    "MESSAGE_TOKENS",
    "CountTokens",
    "Said",
    "beginning",
    "cost_of",
    "estimate_tokens",
    "first_needed",
    "fitting",
    "fitting_lines",
    "room_after",
    "talk_of",
    "tokens_from",
]

CountTokens = Callable[[str], int]

_KEPT_SHARE: Final = 2
"""A full window is emptied to one part in so many, so that it next moves only after as many turns
as fill the rest, instead of at every turn."""
_SPARE_SHARE: Final = 4
"""One part in so many is left for what is said while the window that follows is being computed."""
MESSAGE_TOKENS: Final = 5
"""What a chat template adds to each message: <|im_start|>, the role, <|im_end|>, line breaks."""
JOINT_TOKENS: Final = 2
"""The empty line between two texts of one message."""
_BYTES_PER_TOKEN: Final = 3
"""Prose has about 4 bytes a token in Qwen's tokenizer, code and other scripts about 3."""
_BLOCK: Final = 256
_NO_LIMIT: Final = 2**31
_NO_QUOTES: Final[Mapping[int, str]] = {}


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


def fitting(text: str, most: int = _NO_LIMIT) -> str:
    """Give a turn as it is sent: whole, or without its middle where it has more than `most` tokens.

    By the estimate alone: what a turn looks like must not change with who can count just now.
    """
    if estimate_tokens(text) <= most:
        return text
    return middle_left_out(text, max(0, most - 1) * _BYTES_PER_TOKEN)


def fitting_lines(lines: Sequence[str], tokens: int) -> str:
    """Give the lines that there are tokens for, by the estimate; the first ones go first."""
    kept: list[str] = []
    for line in lines:
        if (cost := estimate_tokens(line)) <= tokens:
            tokens -= cost
            kept.append(" ".join(line.split()))
    return "\n".join(kept)


def cost_of(text: str, quote: str, count_tokens: CountTokens) -> int:
    """Count the tokens of a message that is a text with, in front of it, what was recalled."""
    return MESSAGE_TOKENS + count_tokens(text) + (count_tokens(quote) + JOINT_TOKENS) * bool(quote)


def beginning(
    turns: Sequence[Said],
    *,
    room: int,
    turn: int = _NO_LIMIT,
    count_tokens: CountTokens = estimate_tokens,
    quotes: Mapping[int, str] = _NO_QUOTES,
) -> int:
    """Say with which turn the window begins; it then has at most `room` tokens.

    After an answer it moves already where less than a quarter of the room is left: there is time
    then. The last turn is always in it, whatever it takes.

    Args:
        turns: The conversation, oldest first.
        room: Tokens that its turns may have.
        turn: Tokens that one of them may have.
        count_tokens: Counts the tokens of a text.
        quotes: What was recalled for turns, by their numbers.

    Returns:
        The number of that turn; of the first one where nothing but work was spoken of.
    """
    said = talk_of(turns)
    if not said:
        return turns[0].seq if turns else 0
    costs = [
        cost_of(fitting(one.text, turn), quotes.get(one.seq, ""), count_tokens) for one in said
    ]
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
    begins: int,
    turns: Sequence[Said],
    *,
    turn: int = _NO_LIMIT,
    count_tokens: CountTokens = estimate_tokens,
    quotes: Mapping[int, str] = _NO_QUOTES,
) -> int:
    """Count the tokens of the turns from the one numbered `begins` on; as `beginning` counts."""
    return sum(
        cost_of(fitting(one.text, turn), quotes.get(one.seq, ""), count_tokens)
        for one in talk_of(turns)
        if one.seq >= begins
    )


def talk_of(turns: Sequence[Said]) -> list[Said]:
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
