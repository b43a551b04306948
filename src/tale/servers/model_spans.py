"""The span of a model's answer: who was asked for what, and what it took.

After OpenTelemetry's conventions for generative AI (`gen_ai.*`); what is tale's own is `tale.*`.
Above: `chat_completions`. Below: `spans`; the figures are those of the ledger's entry.
"""

from __future__ import annotations

import json
from typing import Final

from tale import spans
from tale.models.entry import Entry
from tale.servers.openai_shapes import ChatCall

__all__ = ["PROVIDER", "describe"]

PROVIDER: Final = "tale"


def describe(span: spans.Span, call: ChatCall, entry: Entry, answer: str) -> None:
    """Say of a request that has ended what it was.

    Args:
        span: Its span.
        call: What was asked.
        entry: What it took.
        answer: The answer's text, where it may be shown.
    """
    request, usage, options = call.request, entry.usage, call.request.options
    attributes: dict[str, str | bool | int | float | tuple[str, ...] | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": call.model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.stop_sequences": request.stop or None,
        "gen_ai.request.stream": call.stream or None,
        "gen_ai.output.type": "json" if "response_format" in options else "text",
        "gen_ai.conversation.id": entry.session,
        "gen_ai.response.id": entry.id,
        "gen_ai.response.model": entry.model,
        "gen_ai.response.finish_reasons": (entry.finish,) if entry.finish else None,
        "gen_ai.response.time_to_first_chunk": entry.first_token,
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.completion,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "tale.role": entry.role,
        "tale.kind": entry.kind,
        "tale.fell_back": entry.fell_back or None,
    }
    if spans.shows_content():
        attributes["gen_ai.input.messages"] = json.dumps(
            [_message(turn.role, turn.content) for turn in request.messages], ensure_ascii=False
        )
        attributes["gen_ai.output.messages"] = json.dumps(
            [{**_message("assistant", answer), "finish_reason": entry.finish or "error"}],
            ensure_ascii=False,
        )
    span.set(attributes, name=f"chat {entry.model}")
    if entry.error:
        span.fail(entry.error)


def _message(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
