"""W3C trace context: taken in, handed on, never trusted."""

from __future__ import annotations

from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale import trace
from tale.trace import Trace

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_callers_trace_goes_on_under_a_span_of_its_own() -> None:
    def hop() -> str:
        trace.enter(HEADER)
        return trace.outgoing()

    sent = Trace.read(copy_context().run(hop))
    seen = Trace.read(HEADER)
    assert sent
    assert seen
    assert (sent.id, sent.flags) == (seen.id, seen.flags)
    assert sent.span != seen.span


def test_without_a_trace_one_begins() -> None:
    first, second = copy_context().run(trace.enter, None), copy_context().run(trace.enter, "")
    assert first.id != second.id
    assert Trace.read(first.write()) == first


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        HEADER.upper(),
        HEADER.replace("00-", "ff-", 1),
        HEADER + "-more",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
def test_what_is_no_trace_is_passed_over(header: str) -> None:
    assert Trace.read(header) is None
    assert copy_context().run(trace.enter, header).id not in header or not header


def test_a_later_version_may_say_more() -> None:
    assert Trace.read(HEADER.replace("00-", "01-", 1) + "-more") is not None


@given(st.text())
def test_reading_never_fails(header: str) -> None:
    found = Trace.read(header)
    assert found is None or Trace.read(found.write()) == found
