"""`python -m training.validate`: how well talk is told from work that was not trained on.

The requests of `requests_more.txt` are parted into folds, near copies of each other into the same,
and each is judged by heads that saw neither it nor what was made of it. What is written or changed
is chosen by this, and never by the requests in `tests/data`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from training.assess import asked, fit_work, rows_of
from training.requests import examples, whole

__all__ = ["families"]

_FOLDS = 5
# Of two requests with half of their words in common one tells too much of the other.
_ALIKE = 0.5
_WORD = re.compile(r"\w+")


def families(texts: Sequence[str]) -> list[int]:
    """Number the family that each text belongs to: those that are near copies share one."""
    words = [frozenset(_WORD.findall(text.lower())) for text in texts]
    having: dict[str, list[int]] = defaultdict(list)
    family = list(range(len(texts)))

    def root(at: int) -> int:
        while family[at] != at:
            at = family[at]
        return at

    for at, mine in enumerate(words):
        for other in {other for word in mine for other in having[word]}:
            if len(mine & words[other]) >= _ALIKE * len(mine | words[other]):
                family[root(at)] = root(other)
        for word in mine:
            having[word].append(at)
    return [root(at) for at in range(len(texts))]


def main() -> int:
    """Print the share told apart, of all and by language, and what was not."""
    known = examples()
    rows = rows_of([asked(each.text) for each in known])
    sources = whole()
    texts = [text for _, _, _, text in sources]
    fold_of = {
        text: crc32(str(family).encode()) % _FOLDS
        for text, family in zip(texts, families(texts), strict=True)
    }
    fold = np.array([fold_of.get(each.source, -1) for each in known])
    chance: dict[str, float] = {}
    for held in range(_FOLDS):
        kept = np.flatnonzero(fold != held)
        head = fit_work([known[at] for at in kept], rows.take(kept))
        mine = [text for text in texts if fold_of[text] == held]
        shown = rows_of([asked(text) for text in mine])
        chance.update(zip(mine, map(float, shown.dot(head)), strict=True))
    tally: dict[str, list[bool]] = defaultdict(list)
    for language, kind, work, text in sources:
        right = (chance[text] >= 0) == work
        tally["all"].append(right)
        tally[language].append(right)
        tally[f"{language} {kind}"].append(right)
        if not right:
            print(f"{language} {kind:10} {chance[text]:+.1f} {text[:110]}")
    for name, told in tally.items():
        print(f"{name:14} {100 * sum(told) / len(told):5.1f} % of {len(told)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
