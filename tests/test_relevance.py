"""What was said is weighed share by share."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import ModelFileDamaged
from tale.memory.dates import spans
from tale.memory.meaning import closeness, pack, shipped, unpack
from tale.memory.relevance import REACH, Hit, Shares, recent, said_then, spread, telling
from tale.memory.terms import asked, match_any
from tale.memory.vectors import Vectors
from tale.memory.word_pieces import pieces

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_a_hit_counts_for_its_neighbours_and_half_as_much_for_theirs() -> None:
    near = spread([Hit("a", 5, 0.8)])
    assert near.turns["a", 5] == 0.8
    assert near.turns["a", 4] == near.turns["a", 6] == 0.4
    assert near.turns["a", 3] == 0.2
    assert ("a", 5 + REACH + 1) not in near.turns
    assert near.best(1) == [("a", 5)]


def test_nothing_stands_before_the_first_turn() -> None:
    assert min(seq for _, seq in spread([Hit("a", 1, 1.0)]).turns) == 1


def test_a_conversation_counts_by_its_best_hits() -> None:
    near = spread([Hit("long", at, 0.1) for at in range(1, 100)] + [Hit("short", 1, 0.6)])
    assert near.places["short"] > near.places["long"]


HITS = st.lists(
    st.builds(Hit, st.sampled_from("ab"), st.integers(1, 20), st.floats(0, 1)), max_size=20
)


@given(HITS)
def test_a_turn_is_worth_at_least_what_it_has_itself(hits: list[Hit]) -> None:
    near = spread(hits)
    for hit in hits:
        assert near.turns[hit.session, hit.seq] >= hit.score
    assert all(math.isfinite(value) for value in near.turns.values())


def test_a_score_is_the_sum_of_its_shares() -> None:
    assert Shares(words=0.5, date=0.25, recency=0.125).total == 0.875


def test_what_tells_something_is_told_from_what_asks_and_thanks() -> None:
    tells = telling("I moved to Lisbon last week and started at the harbour office with my sister.")
    assert tells > telling("Wow, that sounds great! How do you like it?")
    assert tells > telling("Thanks!")


@given(st.text())
def test_how_much_a_turn_tells_is_between_0_and_1(text: str) -> None:
    assert 0 <= telling(text) <= 1


def test_what_was_said_on_the_day_or_soon_after_fits_a_date() -> None:
    then = spans("on 7 May 2023", NOW)
    day = datetime(2023, 5, 7, 9, tzinfo=UTC)
    assert said_then(day, then) == 1
    assert 0 < said_then(day + timedelta(days=3), then) < 1
    assert said_then(day - timedelta(days=1), then) == 0
    assert said_then(day + timedelta(days=30), then) == 0
    assert said_then(day, ()) == 0


def test_what_was_said_lately_is_worth_more_and_a_clock_that_jumped_does_no_harm() -> None:
    assert recent(NOW, NOW) == 1
    assert recent(NOW - timedelta(days=30), NOW) == pytest.approx(0.5)
    assert recent(NOW + timedelta(days=4000), NOW) == 1
    assert recent(datetime(1970, 1, 1, tzinfo=UTC), NOW) >= 0


def test_a_question_is_about_its_words_that_carry_something() -> None:
    assert asked("What did I tell you about Café-Racer, and about my café?") == ["cafe", "racer"]
    assert asked("what did I say") == ["what", "did", "i", "say"]
    assert asked("?!") == []


@given(st.text())
def test_nothing_in_a_question_is_syntax(question: str) -> None:
    chosen = asked(question)
    assert all(word.isalnum() for word in chosen)
    assert match_any(chosen).count('"') == 2 * len(chosen)


def test_texts_about_the_same_thing_are_closer() -> None:
    cat = shipped().of("the cat sat on the mat")
    kitten = shipped().of("a kitten was sitting on the rug")
    stock = shipped().of("stock markets fell again")
    assert cat
    assert kitten
    assert stock
    assert closeness(cat, kitten) > 0.4 > closeness(cat, stock)


def test_a_text_without_a_known_word_has_no_meaning() -> None:
    assert shipped().of("") is None
    assert shipped().of("\N{SNOWMAN} \N{CJK UNIFIED IDEOGRAPH-4E00}") is None


@given(st.text(max_size=200))
def test_any_text_has_a_vector_of_the_same_length_or_none(text: str) -> None:
    vector = shipped().of(text)
    assert vector is None or len(vector) == shipped().dimensions


def test_words_are_read_in_the_longest_pieces_that_are_known() -> None:
    known = {"un": 0, "##believ": 1, "##able": 2, "!": 3, "a": 4, "##a": 5}
    assert pieces("Unbelievable !", known, 9) == [0, 1, 2, 3]
    assert pieces("\N{LATIN CAPITAL LETTER A WITH ACUTE} xyz a", known, 9) == [4, 4]
    assert pieces("a a a a", known, 2) == [4, 4]
    assert pieces("a" * 1000, known, 9) == []


def test_vectors_come_back_as_they_were_written() -> None:
    read = unpack(pack(["one", "two"], [[1.0, 0.0], [0.0, -0.5]]))
    assert read.of("one") == struct.pack("2b", 127, 0)
    assert read.of("two") == struct.pack("2b", 0, -127)


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x04\0\0\0null"])
def test_vectors_that_are_damaged_are_refused(content: bytes) -> None:
    with pytest.raises(ModelFileDamaged):
        unpack(content)
    with pytest.raises(ModelFileDamaged):
        unpack(pack(["one"], [[1.0, 0.0]])[:-1])


VECTORS = st.lists(
    st.lists(st.integers(-127, 127), min_size=3, max_size=3), min_size=1, max_size=30
)


@given(VECTORS, st.integers(1, 5))
def test_all_vectors_are_compared_as_each_would_be_alone(rows: list[list[int]], most: int) -> None:
    vectors = Vectors(3)
    packed = [(7 * at, struct.pack("3b", *row)) for at, row in enumerate(rows, start=1)]
    vectors.add(packed[:1])
    vectors.add([(10_000, b"too long for this"), *packed[1:]])
    assert len(vectors) == len(rows)
    assert vectors.last == 7 * len(rows)
    question = struct.pack("3b", 1, -2, 3)
    found = vectors.closeness(question)
    of_each = found.of([at for at, _ in packed])
    for at, vector in packed:
        assert of_each[at] == pytest.approx(closeness(vector, question), abs=1e-5)
    best = found.best(most)
    assert len(best) == min(most, len(rows))
    left_out = [value for at, value in of_each.items() if at not in best]
    assert max(left_out, default=-2) <= min(of_each[at] for at in best)
    assert found.of([3, 10_000]) == {}
