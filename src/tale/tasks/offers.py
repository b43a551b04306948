"""Which external tools a model is shown, and in which words. Pure.

A model that holds the form `json` is shown all of them, where they fit the budget; else those whose
names and descriptions share words with the request, and is told how many there are beside. A small
model is shown only those that the request is about: it copies the rest into its answer. A tool that
is not shown may be called all the same. Above: `tasks.by_json`, `tasks.by_fences`. Below:
`tasks.tool_schema`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tale.tasks.task import Form, Step, ToolOffer
from tale.tasks.tool_schema import arguments_in_words, plain_schema

__all__ = ["Choice", "bounded", "choose", "find_tool", "in_words", "wants_tools"]

_BUDGETS: Final[dict[Form, int]] = {"json": 4_800, "fences": 1_600}
"""Characters of all lines together: some 1,200 and 400 tokens, 8 s of the embedded task model's."""
_SHOWN_CHARACTERS: Final = 160
_KEPT_CHARACTERS: Final = 1_000
"""Of a description: what is shown, and what is kept to choose by."""
_MOST_TOOLS: Final = 400
_WORD: Final = re.compile(r"[^\W\d_]{3,}|\d+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ENDINGS: Final = ("ing", "ed", "es", "s")
_NAME_WORTH: Final = 3
_ENOUGH: Final = 2
"""Words of its description alone that make a request one about a tool."""
_SAY_NOTHING: Final = frozenset(
    {
        "and",
        "are",
        "can",
        "for",
        "from",
        "get",
        "give",
        "gives",
        "has",
        "have",
        "into",
        "its",
        "let",
        "make",
    }
    | {"not", "one", "our", "out", "put", "set", "that", "the", "them", "then", "this", "tool"}
    | {"use", "used", "using", "was", "what", "when", "which", "will", "with", "you", "your"}
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The tools that are shown.

    Attributes:
        shown: In the order in which they were listed.
        left_out: How many more there are.
    """

    shown: tuple[ToolOffer, ...] = ()
    left_out: int = 0

    def lines(self) -> list[tuple[str, str]]:
        """Give for each its name with its arguments, and what it is for."""
        return [in_words(each) for each in self.shown]


def bounded(tools: Sequence[ToolOffer]) -> tuple[ToolOffer, ...]:
    """Give the tools with no more words and schema than are of use, and no more than a limit."""
    return tuple(
        ToolOffer(
            each.server,
            each.tool,
            " ".join(each.description.split())[:_KEPT_CHARACTERS],
            plain_schema(each.schema),
            each.read_only,
        )
        for each in tools[:_MOST_TOOLS]
    )


def choose(tools: Sequence[ToolOffer], text: str, form: Form) -> Choice:
    """Choose what is shown for a request.

    Args:
        tools: All that there are.
        text: The request.
        form: How the model acts, which says how much it is shown.
    """
    budget = _BUDGETS[form]
    sizes = [sum(map(len, in_words(each))) + 3 for each in tools]
    if sum(sizes) <= budget and form == "json":
        return Choice(tuple(tools))
    worth, about = _worths(tools, _words(text))
    places = [place for place in range(len(tools)) if form == "json" or about[place]]
    order = sorted(places, key=lambda place: (-worth[place], place))
    taken: set[int] = set()
    for place in order:
        if sizes[place] <= budget:
            budget -= sizes[place]
            taken.add(place)
    shown = tuple(each for place, each in enumerate(tools) if place in taken)
    return Choice(shown, len(tools) - len(shown))


def in_words(tool: ToolOffer) -> tuple[str, str]:
    """Give a tool's name with its arguments, and what it is for in a line."""
    said = " ".join(tool.description.split())
    first = re.split(r"(?<=[.!?])\s", said, maxsplit=1)[0]
    if len(first) > _SHOWN_CHARACTERS:
        first = f"{first[:_SHOWN_CHARACTERS].rsplit(' ', 1)[0]} …"
    return f"{tool.name} {arguments_in_words(tool.schema)}", first


def find_tool(name: str, tools: Sequence[ToolOffer]) -> ToolOffer | None:
    """Find the tool that a model means: by its name, or by a part of it that only one has."""
    wanted = re.sub(r"[/:]|__", ".", name.strip()).lower()
    exact = [each for each in tools if each.name == name]
    alike = [each for each in tools if each.name.lower() == wanted]
    short = [each for each in tools if each.tool.lower() == wanted]
    for found in (exact, alike, short):
        if len(found) == 1:
            return found[0]
    return None


def wants_tools(step: Step, servers: Collection[str]) -> bool:
    """Say whether a step may need tools: any work, and talk that names one of the servers."""
    if step.kind == "work":
        return True
    words = set(re.findall(r"[\w-]+", step.text.lower()))
    return any(name.lower() in words for name in servers)


def _worths(tools: Sequence[ToolOffer], asked: set[str]) -> tuple[list[float], list[bool]]:
    """Say how well each tool fits the words that are asked for; what all share says little.

    Returns:
        How well, and whether the request is about it at all.
    """
    named = [_words(_HUMP.sub(" ", each.name).replace("_", " ")) for each in tools]
    said = [_words(each.description) for each in tools]
    share = Counter(word for one, other in zip(named, said, strict=True) for word in one | other)
    pairs = list(zip(named, said, strict=True))
    worth = [
        sum(
            (_NAME_WORTH if word in one else 1) / share[word]
            for word in sorted(asked & (one | other))
        )
        for one, other in pairs
    ]
    return worth, [bool(asked & one) or len(asked & other) >= _ENOUGH for one, other in pairs]


def _words(text: str) -> set[str]:
    found = {word.lower() for word in _WORD.findall(text)} - _SAY_NOTHING
    return {_stem(word) for word in found}


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word.rstrip("e")
