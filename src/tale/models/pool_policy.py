"""The pool's numbers, and how long silence is healthy.

Pure. What is decided with them: `condition` (one model's states), `choice` (who answers),
`admission` (room for a further model), `generation` (the watchdog).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from tale.models.backend import ChatRequest

__all__ = ["Policy", "estimated_tokens", "first_token_limit"]

# The 1.5B model prefills 48 tokens/s alone on two slow cores, and keeps a third of that beside a
# busy ux model. Slower than this is not prefill; time in which it got no core isn't counted at all.
_SLOWEST_PREFILL: Final = 16.0

# English takes about four bytes a token, code three, other scripts up to one token a character of
# three bytes. Three over-estimates the tokens of prose, which only makes the watchdog patient.
_BYTES_PER_TOKEN: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """The pool's numbers. Seconds and bytes.

    Attributes:
        pulse_seconds: Idle time after which a model must generate one token.
        stall_seconds: Silence in a running request that counts as a hang.
        reserve_bytes: Memory that optional models must leave free.
        check_seconds: Time between two looks at residency and memory pressure.
        load_seconds: Longest that one attempt to load or recover may take. A 20 GB file read at
            50 MB/s takes 400 s.
        expected_load_seconds: What a load is taken to last until one was measured.
        shortest_load_seconds: What a recovery takes at least: a process has to be started.
        wait_seconds: How long a request without a deadline waits for a model.
        longest_line: Requests that wait for a model before others are used in its place.
        first_backoff: Pause after the first failed attempt; it doubles each time.
        longest_backoff: Where the doubling ends.
        stable_seconds: A model that dies sooner than this after it came is in a crash loop.
    """

    pulse_seconds: float = 30.0
    stall_seconds: float = 60.0
    reserve_bytes: int = 512 * 2**20
    check_seconds: float = 5.0
    load_seconds: float = 600.0
    expected_load_seconds: float = 30.0
    shortest_load_seconds: float = 1.0
    wait_seconds: float = 300.0
    longest_line: int = 16
    first_backoff: float = 0.5
    longest_backoff: float = 30.0
    stable_seconds: float = 10.0


def estimated_tokens(request: ChatRequest) -> int:
    """Estimate the tokens of a prompt from its bytes, rather too many than too few.

    The tools that are offered, and the calls of tools before, are written into the prompt too.
    """
    size = sum(len(message.content.encode(errors="replace")) for message in request.messages)
    size += _size(request.options.get("tools"))
    size += sum(_size(message.extra.get("tool_calls")) for message in request.messages)
    return size // _BYTES_PER_TOKEN + 8 * len(request.messages)


def _size(found: object) -> int:
    """Give the bytes of what is handed on as JSON."""
    return len(orjson.dumps(found, default=str)) if found else 0


def first_token_limit(request: ChatRequest, policy: Policy) -> float:
    """Seconds that a request may be silent before its first token.

    Prefill is silent: 4,000 tokens take the 1.5B model 80 s on two cores, which is no hang. So the
    usual stall limit is granted on top of a prefill at the slowest pace that was seen.
    """
    return policy.stall_seconds + estimated_tokens(request) / _SLOWEST_PREFILL
