"""A labelled conversation of 200 turns: what is said of importance in it is known beforehand.

Made by a seeded script from templates: facts with names, numbers and code, and decisions, among
small talk. Each label is what a text has to say for the fact to be kept. Used by `windows`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Label", "Told", "conversation"]

Kind = Literal["name", "number", "decision", "code"]

_FIRST: Final = [
    "Maja",
    "Tomasz",
    "Aiko",
    "Bruno",
    "Leila",
    "Henrik",
    "Chidi",
    "Sofia",
    "Ravi",
    "Ingrid",
    "Mateo",
    "Yara",
]
_LAST: Final = [
    "Lindqvist",
    "Zielinski",
    "Tanaka",
    "Moretti",
    "Haddad",
    "Berg",
    "Okafor",
    "Petrova",
    "Iyer",
    "Dahl",
    "Ruiz",
]
_TOWNS: Final = [
    "Göteborg",
    "Kraków",
    "Nagoya",
    "Torino",
    "Beirut",
    "Bergen",
    "Lagos",
    "Plovdiv",
    "Chennai",
    "Odense",
]
_THINGS: Final = [
    "boat",
    "bakery",
    "greenhouse",
    "archive",
    "workshop",
    "choir",
    "garden",
    "radio",
    "library",
    "cinema",
]
_TOOLS: Final = [
    "PostgreSQL",
    "SQLite",
    "Redis",
    "Kafka",
    "FastAPI",
    "Django",
    "Svelte",
    "Caddy",
    "Nomad",
    "Ansible",
]
_COLOURS: Final = ["blue", "green", "amber", "crimson", "ivory", "teal"]
_VERBS: Final = ["parse", "load", "merge", "render", "sync", "validate", "export", "index"]
_NOUNS: Final = [
    "invoices",
    "readings",
    "tickets",
    "photos",
    "orders",
    "members",
    "routes",
    "recipes",
]

# What is said, with what of it has to be kept: the names of the fields, or words.
_FACTS: Final[tuple[tuple[str, tuple[tuple[Kind, str], ...]], ...]] = (
    (
        "My {kin} {person} lives in {town} and runs a {thing} there.",
        (("name", "{person}"), ("name", "{town}")),
    ),
    ("The {thing} costs {money} euros, which is more than we have.", (("number", "{money}"),)),
    (
        "By the way, {person} turns {age} on {day} {month}.",
        (("name", "{person}"), ("number", "{age}")),
    ),
    (
        "The server in {town} listens on port {port}.",
        (("name", "{town}"), ("number", "{port}")),
    ),
    (
        "The function is called {function} and stands in src/{noun}/{file}.",
        (("code", "{function}"), ("code", "src/{noun}/{file}")),
    ),
    ("I always start it with `{command}`.", (("code", "{command}"),)),
    ("We measured {measure} readings a minute on Tuesday.", (("number", "{measure}"),)),
    ("The order number is {order}, if anybody asks.", (("number", "{order}"),)),
)
_DECISIONS: Final[tuple[tuple[str, str], ...]] = (
    ("Let's go with {tool} for the {thing}.", "{tool} {thing}"),
    ("We decided to paint the {thing} {colour}.", "paint {thing} {colour}"),
    ("We'll use {tool} instead of {other} for the {noun}.", "{tool} {other} {noun}"),
    ("I'd prefer the {colour} cover for the {noun}.", "{colour} cover {noun}"),
    ("Never send the {noun} to {person}.", "{noun} {person}"),
    ("We agreed to meet in {town} on {day} {month}.", "{town} {day} {month}"),
)
_SMALL_TALK: Final = (
    "How was your day so far?",
    "It has been raining here since this morning.",
    "What makes a good soup, do you think?",
    "I slept badly and the coffee is weak.",
    "Tell me something about old lighthouses.",
    "Why do cats purr when they rest?",
    "I am reading a long novel about the sea.",
    "What would you cook with too many carrots?",
)
_ANSWERS: Final = (
    "That sounds good, thank you for telling me.",
    "I see. That is worth remembering.",
    "Understood. Is there anything else about it?",
    "It depends, but most people would say that patience helps more than anything else.",
    "Nobody knows for certain. It seems to calm them, and it may help them heal.",
    "Slow heat and a little salt early on do most of the work, the rest is a matter of taste.",
    "They were kept by families who lived far away from everybody else, often for generations.",
)


@dataclass(frozen=True, slots=True)
class Label:
    """Something that has to survive; `words` all have to be said, those of a decision together."""

    seq: int
    kind: Kind
    words: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Tell whether a text says it."""
        if self.kind != "decision":
            return self.words[0].lower() in text.lower()
        pieces = text.lower().replace("|", "\n").replace(". ", "\n").split("\n")
        return any(all(word.lower() in piece for word in self.words) for piece in pieces)


@dataclass(frozen=True, slots=True)
class Told:
    """A conversation, the user's turns and tale's in turn, and what is known of it."""

    texts: tuple[str, ...]
    labels: tuple[Label, ...]


def conversation(turns: int = 200, seed: int = 11) -> Told:
    """Make a conversation; every other turn of the user's says something that has to survive."""
    chance = random.Random(seed)
    texts: list[str] = []
    labels: list[Label] = []
    for seq in range(1, turns + 1, 2):
        said = [chance.choice(_SMALL_TALK)]
        if seq % 4 == 1:
            fields = _fields(chance)
            if chance.random() < 0.3:
                text, words = chance.choice(_DECISIONS)
                labels.append(Label(seq, "decision", tuple(words.format(**fields).split())))
            else:
                text, wanted = chance.choice(_FACTS)
                labels += [Label(seq, kind, (word.format(**fields),)) for kind, word in wanted]
            said.insert(chance.randrange(2), text.format(**fields))
        texts += [" ".join(said), chance.choice(_ANSWERS)]
    return Told(tuple(texts[:turns]), tuple(labels))


def _fields(chance: random.Random) -> dict[str, str]:
    verb, noun = chance.choice(_VERBS), chance.choice(_NOUNS)
    tool, other = chance.sample(_TOOLS, 2)
    return {
        "kin": chance.choice(("sister", "uncle", "neighbour", "colleague")),
        "person": f"{chance.choice(_FIRST)} {chance.choice(_LAST)}",
        "town": chance.choice(_TOWNS),
        "thing": chance.choice(_THINGS),
        "tool": tool,
        "other": other,
        "colour": chance.choice(_COLOURS),
        "noun": noun,
        "function": f"{verb}_{noun}",
        "file": f"{verb}.py",
        "command": f"make {verb}-{noun} --level {chance.randrange(2, 9)}",
        "money": f"{chance.randrange(1_000, 90_000):,}",
        "age": str(chance.randrange(30, 90)),
        "day": str(chance.randrange(1, 29)),
        "month": chance.choice(("March", "April", "June", "October")),
        "port": str(chance.randrange(2_000, 60_000)),
        "measure": str(chance.randrange(200, 9_000)),
        "order": f"{chance.randrange(10**6, 10**7)}",
    }
