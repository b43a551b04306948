"""The leash: the one line between the supervisor and each process it starts.

A socket pair whose far end is the child's standard input. Messages are JSON, one a line, in both
directions:

    child → supervisor                          supervisor → child
    ready   serving at this address             hello   your name, the token; always first
    failed  I can't serve, and why; last words  peers   who is serving where, and who can't, on
    call    do this, answer under this id               every change
                                                reply   the answer to a call

When one end sees end-of-file, the other process is gone: a child without its supervisor leaves.
Nothing here polls, and no process needs to know another's port beforehand.

Above: `orchestration.server_manager` (holds the near ends), `servers.runner` and
`models.llama_server` (hold the far end).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from tale.errors import TaleError, error_from_code

__all__ = [
    "Call",
    "ChildMessage",
    "Failed",
    "FailedStart",
    "Fault",
    "Hello",
    "Peer",
    "Peers",
    "Ready",
    "Reply",
    "SupervisorMessage",
    "decode_child",
    "decode_supervisor",
    "encode",
]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Fault(_Message):
    """Why something failed, in the terms of `tale.errors`."""

    code: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: TaleError) -> Self:
        """Write an error down."""
        return cls(code=error.code, message=error.message, hint=error.hint)

    def error(self) -> TaleError:
        """Make it an error again."""
        return error_from_code(self.code, self.message, self.hint)


class Ready(_Message):
    """The child serves at `url` (scheme, host and port, no path)."""

    kind: Literal["ready"] = "ready"
    url: str


class Failed(_Message):
    """The child can't serve and is about to leave."""

    kind: Literal["failed"] = "failed"
    fault: Fault


class Call(_Message):
    """The child asks the supervisor to do something to a process."""

    kind: Literal["call"] = "call"
    id: int
    operation: str
    arguments: dict[str, JsonValue] = {}


class Hello(_Message):
    """Who the child is, and the token that every server of this daemon asks for.

    Attributes:
        grace: Seconds that the child has to end what it does, once it is asked to leave.
    """

    kind: Literal["hello"] = "hello"
    name: str
    token: str
    grace: float = 10.0


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


class FailedStart(_Message):
    """A process that ended before it was ready; the supervisor goes on trying.

    Attributes:
        name: Which process it is.
        number: How many of its starts have failed so far; tells one failure from the next.
        reason: How it ended (`exit 70`, `killed by SIGSEGV`).
        fault: Its last words, if it had any.
    """

    name: str
    number: int
    reason: str
    fault: Fault | None = None


class Peers(_Message):
    """Every process that is ready now, and every one whose latest start failed.

    A full picture each time; who is in neither part is down, or on its way.
    """

    kind: Literal["peers"] = "peers"
    peers: tuple[Peer, ...] = ()
    failed: tuple[FailedStart, ...] = ()

    def of(self, service: str) -> tuple[Peer, ...]:
        """Pick the ready processes of one service."""
        return tuple(peer for peer in self.peers if peer.service == service)

    def failure(self, name: str) -> FailedStart | None:
        """Look up the failed start of one process."""
        return next((failed for failed in self.failed if failed.name == name), None)


class Reply(_Message):
    """The answer to the call with the same id."""

    kind: Literal["reply"] = "reply"
    id: int
    result: JsonValue = None
    error: Fault | None = None


ChildMessage = Annotated[Ready | Failed | Call, Field(discriminator="kind")]
SupervisorMessage = Annotated[Hello | Peers | Reply, Field(discriminator="kind")]
_FROM_CHILD: TypeAdapter[Ready | Failed | Call] = TypeAdapter(ChildMessage)
_FROM_SUPERVISOR: TypeAdapter[Hello | Peers | Reply] = TypeAdapter(SupervisorMessage)


def encode(message: _Message) -> bytes:
    """Write a message as one line."""
    return message.model_dump_json().encode() + b"\n"


def decode_child(line: bytes) -> Ready | Failed | Call:
    """Read a line that a child wrote; raises `ValueError` on anything else."""
    return _FROM_CHILD.validate_json(line)


def decode_supervisor(line: bytes) -> Hello | Peers | Reply:
    """Read a line that the supervisor wrote; raises `ValueError` on anything else."""
    return _FROM_SUPERVISOR.validate_json(line)
