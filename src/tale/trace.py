"""Which request a line of log and a call between processes belong to: W3C trace context.

Each server's door takes the caller's `traceparent` in, or begins a trace where there is none; every
call behind it carries it on. The identifier stands in each log line, so that one `grep` shows a
request's way through all processes. Standard library only: the command line carries it too.
After https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Final

__all__ = ["TRACEPARENT", "Trace", "current", "enter", "outgoing", "span_here", "within"]

TRACEPARENT: Final = "traceparent"
"""The header's name, and its key in the `_meta` of an MCP request."""

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace.

    Attributes:
        id: The whole request, through all processes: 32 hexadecimal digits.
        span: One process's part of it: 16.
        flags: Two digits, handed on as they came; 01 says that the trace is recorded.
        begun: Whether it began here: then nobody has made a span of it before.
    """

    id: str
    span: str
    flags: str = "01"
    begun: bool = field(default=False, compare=False)

    @classmethod
    def begin(cls) -> Trace:
        """Begin a trace."""
        return cls(_hex(128), _hex(64), begun=True)

    @classmethod
    def read(cls, header: str) -> Trace | None:
        """Read a `traceparent`; None where it is not one, which the standard says to pass over."""
        found = _FORM.fullmatch(header.strip())
        if found is None:
            return None
        version, trace, span, flags, more = found.groups()
        # Later versions may add fields; this one has none.
        wrong = version == "ff" or (version == "00" and more)
        return None if wrong or trace == _NO_TRACE or span == _NO_SPAN else cls(trace, span, flags)

    def child(self) -> Trace:
        """Give the place of a call made from here."""
        return replace(self, span=_hex(64))

    def write(self) -> str:
        """Write it as a `traceparent`."""
        return f"00-{self.id}-{self.span}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
_find: Callable[[], Trace | None] | None = None


def current() -> Trace | None:
    """Give the trace that this code runs in."""
    return _current.get()


def enter(header: str | None) -> Trace:
    """Go on in the caller's trace, or begin one, for the rest of this task."""
    trace = (Trace.read(header) if header else None) or Trace.begin()
    _current.set(trace)
    return trace


@contextmanager
def within(trace: Trace) -> Generator[None]:
    """Go on in a trace for the length of the block."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span_here(find: Callable[[], Trace | None] | None) -> None:
    """Have `find` say in which span, that others will see, calls are made; None: in no such."""
    global _find  # noqa: PLW0603 - set once, at the entry of a process
    _find = find


def outgoing() -> str:
    """Give the `traceparent` of a call made from here; outside of a trace it begins one."""
    if _find is not None and (seen := _find()):
        return seen.write()
    trace = _current.get()
    return (trace.child() if trace else Trace.begin()).write()


def _hex(bits: int) -> str:
    # All zeros would mean that there is none.
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"
