"""What a tool is: a name, the shapes of its request and its reply, and what may be done with it.

Above: `contracts` and `chat_contracts`, which list the tools; servers register handlers for them,
callers hand one and a request to the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

__all__ = ["DEADLINE_META", "MANY", "Effect", "Shape", "Tool"]

DEADLINE_META: Final = "tale/deadline"
"""Key of a request's `_meta` under which a caller says how many seconds it still has; relative, as
two clocks may differ (gRPC's `grpc-timeout`)."""
MANY: Final = "_many"
"""What the batched form of a tool is called: the tool's name and this."""

RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)

Effect = Literal["reads", "adds", "changes"]


class Shape(BaseModel):
    """A request or a reply."""

    # In a reply every field is there, and its schema says so.
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


@dataclass(frozen=True, slots=True)
class Tool(Generic[RequestT, ReplyT]):
    """One tool of one service.

    Attributes:
        service: Who serves it.
        name: Its MCP name.
        summary: When to use it and what comes back, for a model or a person that lists the tools.
        request: Shape of the arguments.
        reply: Shape of the structured result.
        idempotent: Whether calling it twice does no more than calling it once.
        title: Its name for people.
        effect: Whether a call only reads, only adds something, or may end or overwrite something.
            What only reads may be asked for elsewhere at the same time, where it is late.
        batched: Whether calls made at the same moment travel as one.
        listed: Whether MCP clients from outside are told of it; it can be called all the same.
        patience: Seconds for which its server may show no sign of life, whatever the call itself
            takes, before a repeatable call is made elsewhere.
    """

    service: str
    name: str
    summary: str
    request: type[RequestT]
    reply: type[ReplyT]
    idempotent: bool = False
    title: str = ""
    effect: Effect = "adds"
    batched: bool = False
    listed: bool = True
    patience: float = 0.75

    @property
    def read_only(self) -> bool:
        """Whether calling it changes nothing."""
        return self.effect == "reads"

    @property
    def repeatable(self) -> bool:
        """Whether it may be called again where it is not known how a first call ended."""
        return self.idempotent or self.read_only
