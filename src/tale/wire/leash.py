"""The leash: the one line between the supervisor and each process it starts.

A socket pair whose far end is the child's standard input. Messages are JSON, one a line, in both
directions:

    child → supervisor                          supervisor → child
    ready   serving at this address             hello   your name, the token; always first
    call    do this, answer under this id       peers   who is serving where, on every change
                                                reply   the answer to a call

When one end sees end-of-file, the other process is gone: a child without its supervisor leaves.
Nothing here polls, and no process needs to know another's port beforehand.

Above: `orchestration.server_manager` (holds the near ends), `servers.runner` and
`models.llama_server` (hold the far end).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

__all__ = [
    "Call",
    "ChildMessage",
    "Hello",
    "Peer",
    "Peers",
    "Ready",
    "Reply",
    "ReplyError",
    "SupervisorMessage",
    "decode_child",
    "decode_supervisor",
    "encode",
]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Ready(_Message):
    """The child serves at `url` (scheme, host and port, no path)."""

    kind: Literal["ready"] = "ready"
    url: str


class Call(_Message):
    """The child asks the supervisor to do something to a process."""

    kind: Literal["call"] = "call"
    id: int
    operation: str
    arguments: dict[str, JsonValue] = {}


class Hello(_Message):
    """Who the child is, and the token that every server of this daemon asks for."""

    kind: Literal["hello"] = "hello"
    name: str
    token: str


class Peer(_Message):
    """One serving process.

    Attributes:
        service: What it does; replicas share it (`execution`).
        name: Which process it is (`execution-2`).
        url: Where it serves.
        pid: Its process id; changes at each restart.
        starts: How often it has been started, this time included.
    """

    service: str
    name: str
    url: str
    pid: int
    starts: int


class Peers(_Message):
    """Every process that is ready now. A full picture each time; missing ones are down."""

    kind: Literal["peers"] = "peers"
    peers: tuple[Peer, ...] = ()

    def of(self, service: str) -> tuple[Peer, ...]:
        """Pick the ready processes of one service."""
        return tuple(peer for peer in self.peers if peer.service == service)


class ReplyError(_Message):
    """Why a call failed, in the terms of `tale.errors`."""

    code: str
    message: str
    hint: str = ""


class Reply(_Message):
    """The answer to the call with the same id."""

    kind: Literal["reply"] = "reply"
    id: int
    result: JsonValue = None
    error: ReplyError | None = None


ChildMessage = Annotated[Ready | Call, Field(discriminator="kind")]
SupervisorMessage = Annotated[Hello | Peers | Reply, Field(discriminator="kind")]
_FROM_CHILD: TypeAdapter[Ready | Call] = TypeAdapter(ChildMessage)
_FROM_SUPERVISOR: TypeAdapter[Hello | Peers | Reply] = TypeAdapter(SupervisorMessage)


def encode(message: _Message) -> bytes:
    """Write a message as one line."""
    return message.model_dump_json().encode() + b"\n"


def decode_child(line: bytes) -> Ready | Call:
    """Read a line that a child wrote; raises `ValueError` on anything else."""
    return _FROM_CHILD.validate_json(line)


def decode_supervisor(line: bytes) -> Hello | Peers | Reply:
    """Read a line that the supervisor wrote; raises `ValueError` on anything else."""
    return _FROM_SUPERVISOR.validate_json(line)
