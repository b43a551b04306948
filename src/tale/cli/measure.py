"""One streamed request to the models server, with a stopwatch.

Above: `bench`. Below: `transport`.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass

from tale.cli.record import Record
from tale.cli.transport import exchange, sse_data
from tale.errors import BackendFailed

__all__ = ["Measured", "Measurer"]

_TOKENS = 32
# About 200 tokens: what a short conversation with its system prompt has.
_PASSAGE = (
    "The lighthouse keeper wrote down the wind, the height of the tide and the ships that passed. "
    "On some days there was nothing to write, and on those he described the birds. "
) * 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One request: milliseconds to its first token, and tokens a second after that."""

    first_token_ms: float
    tokens_per_second: float | None


class Measurer:
    """Sends requests to the roles of one models server."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._token = token
        self._prompts: dict[str, str] = {}

    def first_tokens(self, role: str, new: bool) -> Measured:
        """Ask a role for a few tokens; `new` begins with words that no cache can have."""
        if new or role not in self._prompts:
            self._prompts[role] = f"{uuid.uuid4().hex} {_PASSAGE}"
        body = {
            "model": role,
            "messages": [
                {"role": "system", "content": self._prompts[role]},
                {"role": "user", "content": "Tell the story of one of those days."},
            ],
            "max_tokens": _TOKENS,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        began = time.perf_counter()
        first = last = 0.0
        pieces = counted = 0
        with exchange(
            "POST", self._url, token=self._token, body=json.dumps(body).encode()
        ) as response:
            for text in sse_data(response):
                if text == "[DONE]":
                    break
                chunk = Record.parse(text)
                if error := chunk.record("error"):
                    raise BackendFailed(error.text("message"))
                counted = chunk.record("usage").integer("completion_tokens", counted)
                if any(c.record("delta").text("content") for c in chunk.records("choices")):
                    last = time.perf_counter()
                    first = first or last
                    pieces += 1
        if not first:
            raise BackendFailed(f"The {role} model answered without a token.")
        tokens = counted or pieces
        speed = (tokens - 1) / (last - first) if tokens > 1 and last > first else None
        return Measured((first - began) * 1000, speed)
