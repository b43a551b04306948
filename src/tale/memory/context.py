"""What a model is sent of a conversation: a window, under a budget of tokens.

Pure. In this order, so that what changes stands behind what doesn't and the prefix cache has all
but the end: the system prompt; the facts that are always there and the summary of what was said
before, quoted in front of the first turn; the turns, each with what was recalled for it when it was
asked, for good; the request. The window begins at the same turn for many turns in a row. Where it
moves, it does so after an answer and before it is full, so that the next one can be computed
meanwhile (see `windows`). Above: `windows`. Below: `talk`, `sizes`, `quoting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tale.memory.quoting import quoted
from tale.memory.sizes import Sizes
from tale.memory.talk import (
    JOINT_TOKENS,
    MESSAGE_TOKENS,
    CountTokens,
    Said,
    cost_of,
    estimate_tokens,
    fitting,
    room_after,
    talk_of,
)
from tale.models.backend import Message

__all__ = ["Head", "Part", "PartName", "Window", "assemble"]

PartName = Literal["system", "facts", "summary", "turns", "recalled", "request"]


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the turns of a window, until it moves.

    Attributes:
        begins: Number of the turn that the window begins with; 0 for the first.
        facts: Facts, preferences and decisions that are always there, in lines.
        summary: What was said before that turn.
    """

    begins: int = 0
    facts: str = ""
    summary: str = ""

    @property
    def block(self) -> str:
        """The quote in front of the first turn; empty where nothing is remembered."""
        facts = f"What is known:\n{self.facts}" if self.facts else ""
        summary = f"Earlier in this conversation:\n{self.summary}" if self.summary else ""
        return quoted([facts, summary])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a window.

    Attributes:
        name: Which one.
        tokens: How many it has, with what the chat template adds.
        stable: It was there at the last answer already, so that the prefix cache has it.
        text: What it says, as it is sent.
        count: How many turns it is made of.
    """

    name: PartName
    tokens: int
    stable: bool
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """What a model is sent.

    Attributes:
        messages: The prompt.
        parts: What it is made of, in its order.
        begins: Number of the first turn in it.
        left_out: Turns before that one, of which at most the summary tells.
        shortened: Numbers of the turns whose middle is left out.
        tokens: Of the whole prompt.
    """

    messages: tuple[Message, ...]
    parts: tuple[Part, ...]
    begins: int
    left_out: int
    shortened: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class _Told:
    """A turn as it is sent."""

    said: Said
    text: str
    quote: str
    tokens: int

    @property
    def whole(self) -> str:
        return f"{self.quote}\n\n{self.text}" if self.quote else self.text


@dataclass(slots=True)
class _Room:
    """Tokens that are left while a window is put together."""

    left: int
    count: CountTokens
    turn: int
    quotes: Mapping[int, str] = field(default_factory=dict[int, str])

    def request(self, said: Said) -> _Told:
        """Take room for the request, which is sent whatever else has to go."""
        most = self.turn
        told = self._told(said, most, "")
        while told.tokens > self.left and most:
            most = min(most // 2, max(0, self.left))
            told = self._told(said, most, "")
        self.left -= told.tokens
        return told

    def recent(self, said: Sequence[Said]) -> list[_Told]:
        """Take room for as many of the last turns as it has, beginning with one of the user's."""
        taken: list[_Told] = []
        for one in reversed(said):
            told = self._told(one, self.turn, self.quotes.get(one.seq, ""))
            if told.tokens > self.left:
                break
            self.left -= told.tokens
            taken.append(told)
        while taken and taken[-1].said.speaker != "user":
            self.left += taken.pop().tokens
        return taken[::-1]

    def quote(self, text: str) -> str:
        """Take room for a quote; an empty text where there is none for it."""
        cost = self.cost(text)
        if cost > self.left:
            return ""
        self.left -= cost
        return text

    def cost(self, quote: str) -> int:
        return self.count(quote) + JOINT_TOKENS if quote else 0

    def _told(self, said: Said, most: int, quote: str) -> _Told:
        text = fitting(said.text, most)
        return _Told(said, text, quote, cost_of(text, quote, self.count))


def assemble(
    system: str,
    turns: Sequence[Said],
    *,
    budget: int,
    sizes: Sizes,
    head: Head | None = None,
    quotes: Mapping[int, str] | None = None,
    count_tokens: CountTokens = estimate_tokens,
) -> Window:
    """Put a window together; it has at most `budget` tokens, if the system prompt leaves any room.

    What has no room is left out, in this order: the oldest turns, what was recalled for the
    request, the summary with the facts, the middle of the request.

    Args:
        system: The system prompt.
        turns: The conversation, oldest first. Where the last one is the user's, it is the request.
        budget: Tokens that the whole prompt may have.
        sizes: What each part may have of it.
        head: Where the window begins, and what stands before.
        quotes: What was recalled for turns, by their numbers; each is quoted in front of its turn.
        count_tokens: Counts the tokens of a text.
    """
    head, quotes = head or Head(), quotes or {}
    room = _Room(room_after(system, budget, count_tokens), count_tokens, sizes.turn, quotes)
    said = [one for one in talk_of(turns) if one.seq >= head.begins]
    asked = room.request(said.pop()) if said and said[-1].speaker == "user" else None
    block = room.quote(head.block)
    recalled = room.quote(quotes.get(asked.said.seq, "")) if asked else ""
    told = room.recent(said)
    parts = [Part("system", MESSAGE_TOKENS + count_tokens(system), True, system)]
    parts += _remembered(head, block, room)
    if told:
        text = "\n".join(f"{one.said.speaker}: {one.whole}" for one in told)
        parts.append(Part("turns", sum(one.tokens for one in told), True, text, len(told)))
    if recalled:
        parts.append(Part("recalled", room.cost(recalled), False, recalled))
    if asked:
        parts.append(Part("request", asked.tokens, False, asked.text))
        told.append(_Told(asked.said, asked.text, recalled, asked.tokens))
    messages = [Message(one.said.speaker, one.whole) for one in told]
    if messages and block:
        first = messages[0]
        messages[0] = Message(first.role, f"{block}\n\n{first.content}")
    begins = told[0].said.seq if told else head.begins
    return Window(
        (Message("system", system), *_alternating(messages)),
        tuple(parts),
        begins,
        sum(one.seq < begins for one in turns),
        tuple(one.said.seq for one in told if one.text != one.said.text),
        sum(part.tokens for part in parts),
    )


def _remembered(head: Head, block: str, room: _Room) -> list[Part]:
    """Describe the quote in front of the turns, of which the facts are the first part."""
    if not block:
        return []
    whole = room.cost(block)
    facts = min(whole, room.cost(Head(facts=head.facts).block)) if head.summary else whole
    parts: list[Part] = []
    if head.facts:
        parts.append(Part("facts", facts, True, head.facts))
    if head.summary:
        parts.append(Part("summary", whole - facts, True, head.summary))
    return parts


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
