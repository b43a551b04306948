"""`python -m tale.orchestration.fork_server`: a warmed parent from which servers are forked.

Importing the MCP SDK and the database takes a server 1.4 to 2 s; a fork of this process, which has
the imports behind it and runs nothing, takes 7 ms, serves within 0.1 s, and shares memory. It
forks twice, so that a server is a child of the supervisor (which made itself their reaper) and not
of this process: each lives, dies and is noticed as if it had been spawned.

It has no threads and no event loop. On a leash like every server; requests come on a second socket
together with the new server's standard streams. Above: `fork_spawn`. Linux only.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from tale.orchestration.specs import FORK_SERVER
from tale.telemetry import configure_logging, name_process
from tale.wire.child import die_with_parent
from tale.wire.leash import Ready, encode

__all__ = ["FD_VARIABLE", "ForkReply", "ForkRequest", "main"]

FD_VARIABLE: Final = "TALE_FORK_FD"
"""Environment variable with the descriptor on which requests come."""

_WARM = b"warm"
_MAX_MESSAGE = 64 << 10
_STREAMS = 2  # leash, log


class ForkRequest(BaseModel):
    """A server to fork. Its leash and its log come along as descriptors, in this order.

    Attributes:
        module: Its `main` is called without arguments.
        environment: Added to the fork server's own.
    """

    model_config = ConfigDict(frozen=True)

    module: str
    environment: dict[str, str] = {}


class ForkReply(BaseModel):
    """The new server's process."""

    model_config = ConfigDict(frozen=True)

    pid: int


@dataclass(frozen=True, slots=True)
class _Birth:
    """What a new process needs to become its server."""

    request: ForkRequest
    leash: int
    log: int
    between: int = 0
    """The process that forked it, and is about to leave."""


def main(modules: list[str] | None = None) -> None:
    """Import the modules, then fork their processes until the supervisor is gone."""
    die_with_parent()
    configure_logging()
    name_process(FORK_SERVER)
    supervisor = os.getppid()
    requests = socket.socket(fileno=int(os.environ.pop(FD_VARIABLE)))
    leash = socket.socket(fileno=os.dup(0))
    for module in sys.argv[1:] if modules is None else modules:
        importlib.import_module(module)
    # What is there now is never collected, so that the pages it lies on stay shared.
    gc.collect()
    gc.freeze()
    requests.send(_WARM)
    leash.sendall(encode(Ready(url="")))
    birth = _serve(requests, leash)
    if birth is None:
        return
    requests.close()
    leash.close()
    _become(birth, supervisor)


def _serve(requests: socket.socket, leash: socket.socket) -> _Birth | None:
    """Fork as asked; returns in each new process, and here once the supervisor is gone."""
    while True:
        readable, _, _ = select.select([requests, leash], [], [])
        # The supervisor tells its peers of each other; a process without calls only reads it away.
        if leash in readable and not leash.recv(_MAX_MESSAGE):
            return None
        if requests in readable:
            message, fds, _, _ = socket.recv_fds(requests, _MAX_MESSAGE, _STREAMS)
            if not message:
                return None
            birth = _Birth(ForkRequest.model_validate_json(message), *fds)
            if between := _fork_twice(requests):
                return replace(birth, between=between)
            for fd in fds:
                os.close(fd)


def _fork_twice(requests: socket.socket) -> int:
    """Fork a grandchild and report its pid; gives there the process in between, here 0.

    It is reported once the process in between is gone: only then is it the supervisor's child, who
    could not reap it before, should it be killed as soon as it is there.
    """
    reader, writer = os.pipe()
    between = os.fork()
    if between:
        os.close(writer)
        pid = int(os.read(reader, _MAX_MESSAGE))
        os.close(reader)
        os.waitpid(between, 0)
        requests.send(ForkReply(pid=pid).model_dump_json().encode())
        return 0
    between = os.getpid()
    pid = os.fork()
    if pid:
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(reader)
    os.close(writer)
    return between


def _become(birth: _Birth, supervisor: int) -> None:
    """Turn a fresh fork into the server: own session, own streams, own environment."""
    while (parent := os.getppid()) != supervisor:
        if parent != birth.between:
            os._exit(0)  # the supervisor is gone, and this server falls to nobody
        os.sched_yield()  # the process in between is exiting
    os.setsid()
    os.dup2(birth.leash, 0)
    os.dup2(birth.log, 1)
    os.dup2(birth.log, 2)
    os.close(birth.leash)
    os.close(birth.log)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(birth.request.environment)
    sys.argv = [birth.request.module]
    importlib.import_module(birth.request.module).main()


if __name__ == "__main__":
    main()
