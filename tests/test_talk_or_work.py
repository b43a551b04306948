"""The requests by which telling talk from work is judged: whether the set can judge.

The rows were written by hand, by somebody who saw none of what the classifier learned from. Work is
what needs files made or changed, a program written or changed, something done on the machine, or a
long piece produced; talk is what a few sentences in the conversation answer. How many are told
apart is measured in `benchmarks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, get_args

from pydantic import BaseModel, ConfigDict

from tale.models.assess import Kind

_FILE: Final = Path(__file__).parent / "data" / "talk_or_work.jsonl"


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    work: bool
    kind: Kind
    lang: str
    note: str


def rows() -> list[Row]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [Row.model_validate(json.loads(line)) for line in lines]


def test_no_request_is_empty_or_stands_twice() -> None:
    texts = [" ".join(row.text.lower().split()) for row in rows()]

    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_there_are_enough_requests_of_talk_and_of_work() -> None:
    work = [row.work for row in rows()]

    assert len(work) >= 320
    assert 0.4 <= sum(work) / len(work) <= 0.5


def test_small_talk_and_questions_are_never_work_and_acts_always() -> None:
    for row in rows():
        if row.kind in {"talk", "question"}:
            assert not row.work, row.text
        if row.kind in {"act", "code"}:
            assert row.work, row.text


def test_every_kind_is_there() -> None:
    assert {row.kind for row in rows()} == set(get_args(Kind))


def test_the_hard_cases_are_there() -> None:
    found = rows()

    assert sum("typo" in row.note for row in found) >= 40
    assert sum("trick" in row.note for row in found) >= 50
    assert sum(row.lang != "en" for row in found) >= 60
    assert len({row.lang for row in found}) >= 14
