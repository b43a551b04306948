"""Probes: does a server still answer? One HTTP request with a deadline of its own.

Any answer below 500 is life: a server may want a token, or know nothing at that path. Silence is
not: that is how a hanging process looks, and a stopped one, whose kernel goes on to accept
connections for it. Spelled out on a socket, because the supervisor loads no HTTP client. Above:
`server_manager`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio

__all__ = ["Ask", "Probe", "ask"]

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_ENOUGH: Final = 16  # bytes: the status line up to the code


@dataclass(frozen=True, slots=True)
class Probe:
    """How a server is asked whether it lives.

    Attributes:
        path: What is asked for.
        every: Seconds between two probes.
        timeout: Seconds within which the answer must begin. Longer than a busy server hangs: a
            lazy import holds Python's interpreter for a second and more.
    """

    path: str = "/healthz"
    every: float = 2.0
    timeout: float = 2.0


Ask = Callable[[str, Probe], Awaitable[str]]
"""`ask`, or what stands in for it."""


async def ask(url: str, probe: Probe) -> str:
    """Probe once.

    Args:
        url: Scheme, host and port.
        probe: How.

    Returns:
        Empty if the server lives, else what it did, in words.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
    except ValueError as error:
        return f"{url!r} can't be asked: {error}"
    request = f"GET {probe.path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    head = b""
    try:
        with anyio.fail_after(probe.timeout):
            async with await anyio.connect_tcp(host, port) as stream:
                await stream.send(request.encode())
                while len(head) < _ENOUGH:
                    head += await stream.receive()
    except TimeoutError:
        return f"{probe.path} gave no answer within {probe.timeout:g} s"
    except anyio.EndOfStream:
        pass  # what has come is judged
    except OSError as error:
        return f"{probe.path} can't be asked: {error.strerror or error}"
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return f"{probe.path} broke off the connection"
    found = _STATUS.match(head)
    if found is None:
        return (
            f"{probe.path} answered in no HTTP" if head else f"{probe.path} closed without a word"
        )
    return f"{probe.path} answered {found[1].decode()}" if found[1] >= b"500" else ""
