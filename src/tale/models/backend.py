"""What a model is to everybody above: messages in, chunks out.

`Backend` is the seam between the pool and the places where models run. Implementations:
`embedded` (llama.cpp in a child process), `ollama`, `openai_http`, and `InMemoryBackend` in
`models.memory_backend` for tests. The pool decides when to load, probe and recover; a backend only
performs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

__all__ = [
    "Backend",
    "ChatRequest",
    "Chunk",
    "FinishReason",
    "Message",
    "Residency",
    "Role",
    "Tokenizer",
    "Usage",
]

Role = Literal["ux", "task"]
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation as a model sees it.

    Attributes:
        extra: OpenAI message fields that tale doesn't interpret (`tool_calls`, `tool_call_id`,
            `name`), handed on as they came to backends that take them.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What to generate.

    Attributes:
        messages: The conversation, oldest first; the stable part first, so that its cache hits.
        max_tokens: Most tokens to generate; None leaves it to the window.
        temperature: 0 is greedy; None is the backend's default.
        stop: Strings that end the answer.
        options: OpenAI request fields that tale doesn't interpret (`tools`, `response_format`,
            `top_p`, `seed`, …), handed on as they came to backends that take them.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, as the backend's own tokenizer counts them.

    Attributes:
        prompt: Tokens of the prompt.
        completion: Tokens generated.
        cached: Prompt tokens that came from the prefix cache, so were not computed.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. The last one carries `finish` and, where known, `usage`.

    Attributes:
        text: New text; may be empty.
        tool_calls: OpenAI `tool_calls` deltas, handed on as they came.
        finish: Why the answer ended; None until it has.
    """

    text: str = ""
    tool_calls: tuple[Mapping[str, object], ...] = ()
    finish: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Residency:
    """How a model sits in memory now.

    Attributes:
        resident: Whether it can answer without loading.
        memory_bytes: Memory it takes, as the system or the backend says; None if unknown.
        pid: Its process where it is ours.
        starts: How often its process was started; 0 where it isn't ours.
        waited: Seconds for which its process was kept waiting for a core since it began, as far as
            the system tells.
    """

    resident: bool
    memory_bytes: int | None = None
    pid: int | None = None
    starts: int = 0
    waited: float = 0.0


class Backend(Protocol):
    """One model in one place.

    Every method raises `tale.errors.ModelError` subclasses only: `BackendUnavailable` (may come
    back: nothing was generated), `BackendFailed` (it answered with an error), `ContextExceeded`.
    """

    @property
    def model(self) -> str:
        """The model's real name, which answers carry."""
        ...

    @property
    def context(self) -> int:
        """Tokens of context that one request may use."""
        ...

    async def load(self) -> None:
        """Make the model resident; returns at once if it is."""
        ...

    async def unload(self) -> None:
        """Free its memory."""
        ...

    async def recover(self, reason: str) -> None:
        """Bring a model back that died or hangs, whatever it takes; returns when it is resident."""
        ...

    async def residency(self) -> Residency:
        """Look up how it sits in memory now; quick, never loads. Raises where nobody can say."""
        ...

    def chat(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Generate. Closing the iterator stops the generation."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """A backend that can count tokens without generating; not every one can."""

    async def count_tokens(self, text: str) -> int:
        """Count a bare text, without any template; raises as `Backend` does."""
        ...
