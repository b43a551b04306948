"""What two steps of a plan show about which of them comes first, as numbers of buckets. Pure.

Cues are of four kinds: where the two stand, what they have in common (words that few others have,
the same verb, "a base" and "the base"), what each says, and how the goal strings things together.
Each is told apart by whether the second follows at once, later, or stands before. Above:
`edge_judge`, and `edges`, which trains it and must see the same.

Whoever changes what comes out of here raises `CUES` and trains anew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal
from zlib import crc32

__all__ = ["CUES", "CUE_BUCKETS", "WAYS", "Cues", "Way", "look", "way"]

CUES: Final = 1
"""The version of what is computed here; weights carry the one they were trained with."""

CUE_BUCKETS: Final = 1 << 14

Way = Literal["next", "later", "back"]
"""Where the step that waits stands, as seen from the one that it waits for."""
WAYS: Final[tuple[Way, ...]] = ("next", "later", "back")

# Characters of the goal and of a step that are looked at: what a step is about stands in the first.
_GOAL: Final = 600
_STEP: Final = 300

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W\d_]+)*")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_EMPTY: Final = _set_of(
    "a an the of to in on at for from by with and or as is are be been it its this that these "
    "those them they your you my our his her their i we if into onto up out off so no not do does "
    "can will would should may any all some each every more most other such than then when while "
    "after before once until where which who what how there about over under again own very just "
    "only also both"
)
_POINTS_BACK: Final = _set_of("it them this these those result results both they")
_ORDER: Final = _set_of(
    "after before once then finally while when until first next last again continue repeat"
)
_ASKED: Final = _set_of(
    "additionally also furthermore moreover besides then after afterwards finally lastly first "
    "firstly next once before using based"
)
_BEFORE_THE_VERB: Final = _set_of("then first next finally please the a an your you to and now if")
_INTRODUCES: Final = _set_of("a an some your")
_REFERS: Final = _set_of("the this that these")
_ENDINGS: Final = ("ing", "ed", "es", "s", "er", "ly")


@dataclass(frozen=True, slots=True)
class Cues:
    """What is seen in the steps of a plan.

    Attributes:
        first: For each step and way, what it says as the one that is waited for.
        second: The same for each as the one that waits.
        both: For each two steps, the first of which may be waited for by the second.
    """

    first: tuple[dict[Way, tuple[int, ...]], ...]
    second: tuple[dict[Way, tuple[int, ...]], ...]
    both: dict[tuple[int, int], tuple[int, ...]]

    def of(self, first: int, second: int) -> tuple[int, ...]:
        """Give all that is seen of two steps."""
        of = way(first, second)
        return self.both[first, second] + self.first[first][of] + self.second[second][of]


@dataclass(frozen=True, slots=True)
class _Step:
    words: int
    stems: frozenset[str]
    verb: str
    opening: str
    last: str
    introduced: frozenset[str]
    referred: frozenset[str]
    ordering: frozenset[str]
    points_back: bool

    @classmethod
    def of(cls, text: str) -> _Step:
        words = _WORD.findall(text[:_STEP].lower())
        stems = [_stem(word) for word in words if word not in _EMPTY]
        led = [word for word in words if word not in _BEFORE_THE_VERB]
        pairs = list(pairwise(words))
        return cls(
            words=len(words),
            stems=frozenset(stems),
            verb=_stem(led[0]) if led else "",
            opening=" ".join(led[:2]),
            last=stems[-1] if stems else "",
            introduced=frozenset(_stem(word) for article, word in pairs if article in _INTRODUCES),
            referred=frozenset(_stem(word) for article, word in pairs if article in _REFERS),
            ordering=_ORDER.intersection(words),
            points_back=not _POINTS_BACK.isdisjoint(words),
        )


class _Plan:
    """The steps side by side.

    `told` counts the words that two share and that tell them from others: one of the goal tells
    nothing, unless no third step has it. `asked` is how the goal strings things together ("also",
    "then").
    """

    def __init__(self, goal: str, steps: Sequence[str]) -> None:
        self.steps = [_Step.of(text) for text in steps]
        self.verbs = Counter(step.verb for step in self.steps)
        said = _WORD.findall(goal[:_GOAL].lower())
        self.asked = tuple(f"goal says {word}" for word in sorted(_ASKED.intersection(said)))
        count = Counter(stem for step in self.steps for stem in step.stems)
        common = {_stem(word) for word in said}
        self.few = frozenset(stem for stem, many in count.items() if many == 2)
        self._telling = frozenset(count) - common | self.few
        many = range(len(steps))
        self.shared = [
            [self.steps[first].stems & self.steps[second].stems for second in many]
            for first in many
        ]
        self.told = [
            [
                len(self.shared[first][second] & self._telling) if first != second else 0
                for second in many
            ]
            for first in many
        ]


def way(first: int, second: int) -> Way:
    """Say where the second step stands, as seen from the first."""
    if second < first:
        return "back"
    return "next" if second == first + 1 else "later"


def look(goal: str, steps: Sequence[str]) -> Cues:
    """See what the steps of a plan show, each two of them both ways round."""
    plan = _Plan(goal, steps)
    asked = {of: tuple(_bucket(f"{of} {cue}") for cue in plan.asked) for of in WAYS}
    return Cues(
        tuple({of: _said(step, of, "first") + asked[of] for of in WAYS} for step in plan.steps),
        tuple({of: _said(step, of, "second") for of in WAYS} for step in plan.steps),
        {
            (first, second): tuple(map(_bucket, _both(plan, first, second)))
            for first in range(len(steps))
            for second in range(len(steps))
            if first != second
        },
    )


def _said(step: _Step, of: Way, side: str) -> tuple[int, ...]:
    forth = "back" if of == "back" else "forth"
    found = [f"{side} {of} {stem}" for stem in step.stems]
    found += [f"{side} {forth} {stem}" for stem in step.stems]
    found += [f"{side} {of} does {step.verb}", f"{side} {forth} does {step.verb}"]
    found += [f"{side} {of} order {word}" for word in step.ordering]
    found += [f"{side} {of} length {min(step.words // 5, 4)}"]
    found += [f"{side} {of} points back {step.points_back}"]
    return tuple(map(_bucket, sorted(found)))


def _both(plan: _Plan, first: int, second: int) -> Iterator[str]:
    of = way(first, second)
    yield from _standing(first, second, len(plan.steps), of)
    for cue in _common(plan, first, second):
        yield f"{of} {cue}"
    if first < second:
        for cue in _among(plan, first, second):
            yield f"{of} {cue}"
    one, other = plan.steps[first], plan.steps[second]
    yield f"{of} {one.verb}, {other.verb}"
    yield f"{one.verb}, {other.verb}"


def _standing(first: int, second: int, many: int, of: Way) -> Iterator[str]:
    apart = second - first
    last = many - 1 - second
    begins, ends = first == 0, last == 0
    yield "any"
    yield of
    yield f"apart {max(-3, min(apart, 5))}"
    yield f"{of} of {min(many, 8)}"
    yield f"{of} after {min(first, 3)}"
    yield f"{of} with {min(last, 3)} left"
    yield f"apart {max(-2, min(apart, 4))} {begins} {ends}"
    yield f"{of} {begins} {ends} of {min(many, 8)}"


def _common(plan: _Plan, first: int, second: int) -> Iterator[str]:
    one, other = plan.steps[first], plan.steps[second]
    shared, told = plan.shared[first][second], plan.told[first][second]
    same = one.verb == other.verb
    yield f"shares {min(len(shared), 3)}"
    yield f"tells {min(told, 3)}"
    yield f"alike {5 * len(shared) // (len(one.stems | other.stems) or 1)}"
    yield f"alone {not plan.few.isdisjoint(shared)}"
    yield f"same verb {same}"
    yield f"same verb {same} tells {told > 0}"
    yield f"same opening {one.opening == other.opening}"
    yield f"same last {one.last == other.last}"
    yield f"verb taken up {one.verb != other.verb and one.verb in other.stems}"
    yield f"verb before {one.verb != other.verb and other.verb in one.stems}"
    yield f"introduced {not one.introduced.isdisjoint(other.referred)}"
    yield f"points back {other.points_back} tells {told > 0}"
    yield f"like first {min(plan.verbs[one.verb], 3)}"
    yield f"like second {min(plan.verbs[other.verb], 3)}"
    yield f"like {min(plan.verbs[one.verb], 3)} {min(plan.verbs[other.verb], 3)} {same}"


def _among(plan: _Plan, first: int, second: int) -> Iterator[str]:
    """Look at the steps around the two: who else has something to do with them."""
    told, many = plan.told, len(plan.steps)
    linked = told[first][second] > 0
    nearest = not any(told[other][second] for other in range(first + 1, second))
    soonest = not any(told[first][other] for other in range(first + 1, second))
    others = any(told[other][second] for other in range(second) if other != first)
    uses = any(told[first][other] for other in range(first + 1, many) if other != second)
    yield f"nearest {nearest} {linked}"
    yield f"soonest {soonest} {linked}"
    yield f"nearest {nearest} soonest {soonest} {linked}"
    yield f"others {others} {linked}"
    yield f"uses {uses} {linked}"
    yield f"others {others} uses {uses} {linked}"
    verbs = [step.verb for step in plan.steps]
    one, other = verbs[first], verbs[second]
    if between := verbs[first + 1 : second]:
        yield f"between as first {all(verb == one for verb in between)}"
        yield f"between as second {all(verb == other for verb in between)}"
        yield f"between {one in between} {other in between}"
    if first:
        before = first - 1
        yield f"before as second {verbs[before] == other} {one == other}"
        yield f"before {told[before][second] > 0} {linked} {told[before][first] > 0}"
    if second < many - 1:
        after = second + 1
        yield f"after {told[first][after] > 0} {linked} {told[second][after] > 0}"


# The same few hundred cues are found in most plans.
@lru_cache(maxsize=1 << 14)
def _bucket(cue: str) -> int:
    return crc32(cue.encode("utf-8", "surrogatepass")) % CUE_BUCKETS


@lru_cache(maxsize=1 << 13)
def _stem(word: str) -> str:
    """Cut off what English words end with, roughly: only equal stems count, not right ones."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls"
            word = word[:-1] if doubled else word
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
