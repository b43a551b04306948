"""`python -m training.assess`: train the weights that ship, and write them to the package."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tale.models.assess import KINDS
from tale.models.features import CUE_BUCKETS, GRAM_BUCKETS, Shown, matter, request
from tale.models.orders import find_order, instruction
from tale.models.weights import CUE_VALUE, WEIGHTS_FILE, pack
from training.linear import Array, Rows, fit_logistic
from training.requests import Example, examples

__all__ = [
    "SETS",
    "Prompt",
    "asked",
    "data_folder",
    "fit_hard",
    "fit_requests",
    "fit_work",
    "prompts",
    "rows_of",
]

SETS = ("gsm8k", "mmlu")
_REQUEST_PENALTY = 0.15
_HARD_PENALTY = 0.25
_GAINS = {1: 1.0, 0: 0.0, -1: -0.5}
# As many prompts of the mean of all are added to each subject's.
_PRIOR = 10
_WIDTH = GRAM_BUCKETS + CUE_BUCKETS


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that two models answered.

    Attributes:
        text: The prompt.
        weak: Whether the small model answered right.
        strong: Whether the large one did.
        subject: What it is about.
    """

    text: str
    weak: bool
    strong: bool
    subject: str


def data_folder() -> Path:
    """Give where the data is: `TALE_BENCH_DATA`, or `../shared/data` beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("TALE_BENCH_DATA", beside))


def prompts(name: str) -> list[Prompt]:
    """Read one of `SETS`.

    Raises:
        FileNotFoundError: The data isn't here.
    """
    with gzip.open(data_folder() / "routing" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Prompt(row["prompt"], row["weak"], row["strong"], row["subject"]) for row in rows]


def rows_of(shown: Sequence[Shown]) -> Rows:
    """Make what texts show into what is trained on: as `weights` adds it up."""
    return Rows.of([_row(each) for each in shown], _WIDTH)


def _row(shown: Shown) -> dict[int, float]:
    length = len(shown.grams) ** 0.5
    row = {bucket: count / length for bucket, count in Counter(shown.grams).items()}
    return row | {GRAM_BUCKETS + bucket: CUE_VALUE for bucket in shown.cues}


def fit_hard(rows: Rows, known: Sequence[Prompt]) -> Array:
    """Fit the head that says how probably a weak model fails where a strong one doesn't."""
    return fit_logistic(rows, _hardness(known), penalty=_HARD_PENALTY)


def _hardness(known: Sequence[Prompt]) -> Array:
    """Give what is learned: 1 where only the strong model was right, below 0 where only the weak.

    One answer is mostly luck, so that it is drawn half-way to the mean of its subject, where there
    are several subjects. The text alone must tell the subject afterwards.
    """
    hard = np.array([_GAINS[prompt.strong - prompt.weak] for prompt in known])
    subjects = {subject: at for at, subject in enumerate(sorted({each.subject for each in known}))}
    if len(subjects) == 1:
        return hard
    of = np.array([subjects[prompt.subject] for prompt in known])
    sums = np.bincount(of, weights=hard) + _PRIOR * hard.mean()
    means: Array = sums / (np.bincount(of) + _PRIOR)
    mixed: Array = 0.5 * hard + 0.5 * means[of]
    return mixed


def asked(text: str) -> Shown:
    """Show what a text asks for, as `assess` looks at it."""
    text = text.strip()
    text = instruction(text)
    return request(text, find_order(text))


def fit_work(known: Sequence[Example], rows: Rows) -> Array:
    """Fit the head for work alone."""
    return _fit_requests(known, rows, "work")


def fit_requests(known: Sequence[Example]) -> tuple[list[str], list[Array]]:
    """Fit the heads for each kind, and for work."""
    rows = rows_of([asked(each.text) for each in known])
    names: list[str] = [*KINDS, "work"]
    # The heads know nothing of each other.
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return names, list(pool.map(partial(_fit_requests, known, rows), names))


def _fit_requests(known: Sequence[Example], rows: Rows, name: str) -> Array:
    labels = np.array(
        [each.work if name == "work" else each.kind == name for each in known], dtype=float
    )
    counts = np.array([each.weight for each in known])
    if name == "work":
        # There is as much of both that is judged: more talk was written down than work.
        half = counts.sum() / 2
        for side in (0.0, 1.0):
            counts[labels == side] *= half / counts[labels == side].sum()
    return fit_logistic(rows, labels, penalty=_REQUEST_PENALTY, weights=counts)


def main() -> int:
    """Train on all there is."""
    try:
        known = [prompt for name in SETS for prompt in prompts(name)]
    except FileNotFoundError as missing:
        print(f"{missing.filename} isn't here; see training/README.md", file=sys.stderr)
        return 1
    hard = fit_hard(rows_of([matter(prompt.text) for prompt in known]), known)
    names, heads = fit_requests(examples())
    content = pack(
        {
            "request": (names, [list(map(float, head)) for head in heads]),
            "matter": (["hard"], [list(map(float, hard))]),
        }
    )
    WEIGHTS_FILE.write_bytes(content)
    print(f"{WEIGHTS_FILE}: {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
