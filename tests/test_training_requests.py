"""What is trained on, against what it is judged by: the two sets have no request in common."""

from __future__ import annotations

import json
import re
from pathlib import Path

from training.requests import examples, whole
from training.validate import families

_JUDGED = Path(__file__).parent / "data" / "talk_or_work.jsonl"
# Two requests with so many of their words in common are the same one, but for a name or a sign.
_NEAR = 0.8
# Of the shortest there are only so many: "thanks" is said by everybody.
_LONG_ENOUGH = 4


def judged() -> list[str]:
    return [json.loads(line)["text"] for line in _JUDGED.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def test_no_request_is_written_down_twice() -> None:
    texts = [" ".join(text.lower().split()) for *_, text in whole()]

    assert len(set(texts)) == len(texts)


def test_nothing_that_is_judged_by_was_trained_on() -> None:
    trained = {plain(each.text) for each in examples()}

    assert [
        text for text in judged() if len(words(text)) >= _LONG_ENOUGH and plain(text) in trained
    ] == []


def test_nothing_that_is_judged_by_is_nearly_what_was_written_down() -> None:
    trained = [words(text) for *_, text in whole()]
    near: list[str] = []
    for text in judged():
        mine = words(text)
        if len(mine) >= _LONG_ENOUGH:
            near += [text for other in trained if len(mine & other) >= _NEAR * len(mine | other)]

    assert near == []


def test_near_copies_are_of_one_family_and_others_are_not() -> None:
    first, copy, other = families(
        ["fix the login page please", "fix the login page now please", "how old is the moon"]
    )

    assert first == copy
    assert first != other
