"""The examples of a request are found, and nothing that only looks like one."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.examples import Example, Signature, examples_in, signatures_in

HEAD = "def f(n, k=2):\n"


def read(text: str) -> list[tuple[str, str]]:
    return [(each.call, each.value) for each in examples_in(text, ["f"])]


@pytest.mark.parametrize(
    "line",
    [
        ">>> f(2)\n4",
        ">>> f(2) == 4\nTrue",
        "f(2) == 4",
        "f(2) = 4",
        "f(2) -> 4",
        "f(2) --> 4 because it is the square",
        "f(2) => 4.",
        "f(2) ==> 4",
        "f(2) ➞ 4  # a comment",
        "f(2) → 4, f(x) → x²",
        "f(2) # => 4",
        "f(2) returns 4",
        "f(2) should return 4;",
        "f(2) should be equal to 4",
        "f(2), should give 4!",
        "`f(2)` is not read, but f(2) is 4",
        "For n = 2 the output should be 4.",
        "when n = 2, the result is 4",
        "Example 1:\n    Input: n = 2\n    Output: 4",
        "Input: 2\nOutput: 4",
    ],
)
def test_an_example_is_found_in_whatever_form_it_stands(line: str) -> None:
    [(call, value)] = set(read(f"{HEAD}    {line}\n")) - {("f(2) == 4", "True")}
    assert call in {"f(2)", "f(n = 2)"}
    assert value == "4"


@pytest.mark.parametrize(
    "line",
    [
        "f(n) == n * n",
        "f(2) == 2 + 2",
        "f(2) == g(2)",
        "f(2) is fine",
        "f(2) -> x",
        "f(2) != 4",
        "f(2) <= 4",
        'f(2) == ""aaa"',
        "ff(2) == 4",
        "self.f(2) == 4",
        "f(2)",
        "f(2 == 4",
        "For m = 2 the output should be 4",
        "Input: a file\nOutput: 4",
        "Input: 1, 2, 3\nOutput: 4",
    ],
)
def test_what_is_not_certain_is_no_example(line: str) -> None:
    assert read(f"{HEAD}    {line}\n") == []


def test_words_for_constants_are_those_of_python() -> None:
    text = "f(1) => true\nf(2) => null\nf('a, b') returns ['x', (1, 2)]"
    assert read(text) == [("f(1)", "True"), ("f(2)", "None"), ("f('a, b')", "['x', (1, 2)]")]


def test_an_input_without_a_function_is_of_the_one_that_is_asked_for() -> None:
    text = "def g(x): ...\ndef f(items: list[int], k: int = 1):\n  Input: [1, 2], 3\n  Output: 4"
    assert examples_in(text, ["f", "g"]) == (Example("f", "f([1, 2], 3)", "4"),)


def test_heads_are_read_with_their_parameters() -> None:
    text = "def f(a: dict[str, int], b=(1, 2)) -> None:\nasync def g(): ...\ndef broken(:\ndef h("
    assert signatures_in(text) == (Signature("f", ("a", "b")), Signature("g", ()))


@given(st.text(), st.sampled_from(["", ">>> f(", "f(1) == ", "Input: ", "def f(", "for n = "]))
def test_any_text_has_a_result(text: str, before: str) -> None:
    for each in examples_in(f"{HEAD}{before}{text}", ["f"]):
        ast.literal_eval(each.value)
        ast.parse(each.call, mode="eval")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(st.lists(_VALUES, max_size=2), _VALUES, st.sampled_from([" == ", " -> ", " returns "]))
def test_what_is_written_as_a_call_and_its_value_is_read_as_that(
    arguments: list[object], value: object, arrow: str
) -> None:
    call = f"f({', '.join(map(repr, arguments))})"
    assert read(f"Examples:\n  {call}{arrow}{value!r}\n") == [(call, repr(value))]
