"""What model servers answer instead of a completion, and what tale calls it.

Pure. Above: every backend, and `client`. A broken connection is `_http`'s matter.
"""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from tale.errors import (
    BackendFailed,
    BackendUnavailable,
    ContextExceeded,
    ModelError,
    UnknownModel,
)

__all__ = [
    "ErrorDetail",
    "as_detail",
    "model_fault",
    "overflow",
    "read_error",
    "shorten",
    "status_of",
]


class ErrorDetail(BaseModel):
    """What an OpenAI-shaped error says. `n_prompt_tokens` and `n_ctx` are llama.cpp's."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    hint: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _ErrorBody(BaseModel):
    error: ErrorDetail | str


def as_detail(error: ErrorDetail | str) -> ErrorDetail:
    """Give an error in one shape; some servers send just a string."""
    return ErrorDetail(message=error) if isinstance(error, str) else error


def read_error(body: bytes) -> ErrorDetail:
    """Read an error body of any of the shapes in use; what is none becomes the message."""
    try:
        return as_detail(_ErrorBody.model_validate_json(body).error)
    except ValidationError:
        pass
    try:
        found = ErrorDetail.model_validate_json(body)
    except ValidationError:
        return ErrorDetail(message=shorten(body))
    return found if found.message else ErrorDetail(message=shorten(body))


def shorten(data: bytes, limit: int = 200) -> str:
    """Quote the beginning of what a peer sent, on one line."""
    text = " ".join(data[: limit * 4].decode(errors="replace").split())
    return text if len(text) <= limit else text[:limit] + "…"


def model_fault(detail: ErrorDetail, status: int, whose: str) -> ModelError:
    """Say in tale's terms what an OpenAI-compatible server answered instead of a completion."""
    message = detail.message or "no reason given"
    if too_long := overflow(detail, whose):
        return too_long
    if status in {401, 403}:
        return BackendFailed(
            f"{whose} refused our key (HTTP {status}): {message}.",
            hint="Set api_key of the model in tale.toml to a key that it takes.",
        )
    if status == 404:
        if "model" in f"{detail.code} {detail.type} {message}".lower():
            return UnknownModel(
                f"{whose} does not have the model: {message}.",
                hint="Set name of the model in tale.toml to one that it lists under /v1/models.",
            )
        return BackendFailed(
            f"{whose} has no such page: {message}.", hint="Check that url ends in /v1."
        )
    if status in {502, 503}:
        return BackendUnavailable(f"{whose} is not ready (HTTP {status}): {message}.")
    return BackendFailed(f"{whose} answered with an error (HTTP {status}): {message}.")


def overflow(detail: ErrorDetail, whose: str) -> ContextExceeded | None:
    """Recognize a prompt that is too long.

    llama.cpp says it by type, OpenAI by code, vLLM and Ollama in words.
    """
    said = detail.message.lower()
    if not (
        detail.type == "exceed_context_size_error"
        or detail.code == "context_length_exceeded"
        or "maximum context length" in said
        or "exceeds the context length" in said
    ):
        return None
    if (prompt := detail.n_prompt_tokens) and (window := detail.n_ctx):
        what = f"The prompt has {prompt} tokens; the model's window has {window}."
    else:
        what = f"The prompt is larger than the model's window. {whose} says: {detail.message}."
    return ContextExceeded(
        what, hint="Shorten the prompt, or raise context of the model in tale.toml."
    )


def status_of(detail: ErrorDetail) -> int:
    """Read the HTTP status that an error inside a stream names; 500 where it names none."""
    return detail.code if isinstance(detail.code, int) else 500
