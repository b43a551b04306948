"""Spawning through the fork server where it is up, by exec where it isn't.

The supervisor's side of `fork_server`. A server whose spec allows it is forked; until the fork
server is warm, or should it be gone, it is spawned in the usual way: slower, otherwise the same.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Collection, Sequence
from ctypes import CDLL
from typing import Final

from tale.orchestration.fork_server import FD_VARIABLE, ForkReply, ForkRequest
from tale.orchestration.spawn import OsSpawner, Running
from tale.orchestration.specs import FORK_SERVER, ServerSpec
from tale.telemetry import get_logger

__all__ = ["ForkSpawner", "become_subreaper"]

log = get_logger(__name__)

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_REPLY_SECONDS: Final = 2.0
_MAX_REPLY: Final = 4096


def become_subreaper() -> bool:
    """Have orphaned descendants become this process's children; whether the system can do that."""
    if not sys.platform.startswith("linux"):
        return False
    return CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0


class ForkSpawner:
    """Makes real processes, cheaply where it can."""

    def __init__(self, spawner: OsSpawner) -> None:
        """Take the spawner for the fork server itself and for what isn't forked."""
        self._spawner = spawner
        self._requests: socket.socket | None = None
        self._warm = False

    def spawn(self, spec: ServerSpec) -> Running:
        """Start a process."""
        if spec.name == FORK_SERVER:
            return self._spawn_fork_server(spec)
        if spec.module and self._is_warm():
            try:
                return self._fork(spec)
            except (OSError, ValueError) as error:
                log.warning("fork_server.unusable", name=spec.name, reason=str(error))
                self.close()
        return self._spawner.spawn(spec)

    def tail(self, spec: ServerSpec) -> Sequence[str]:
        """Give the last lines that it wrote."""
        return self._spawner.tail(spec)

    def rotate(self, name: str) -> None:
        """Put the log of that name aside if it has grown large."""
        self._spawner.rotate(name)

    def bury(self, known: Collection[int]) -> None:
        """Reap and end what fell to this process."""
        self._spawner.bury(known)

    def close(self) -> None:
        """Fork no more; what was forked lives on."""
        if self._requests:
            self._requests.close()
        self._requests, self._warm = None, False

    def _spawn_fork_server(self, spec: ServerSpec) -> Running:
        self.close()
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.settimeout(_REPLY_SECONDS)
        self._requests = near
        with far:
            variable = {FD_VARIABLE: str(far.fileno())}
            return self._spawner.spawn(spec, pass_fds=(far.fileno(),), environment=variable)

    def _is_warm(self) -> bool:
        """Whether the fork server has its imports behind it; it says so once."""
        if self._requests and not self._warm and select.select([self._requests], [], [], 0)[0]:
            self._warm = bool(self._requests.recv(_MAX_REPLY))
        return self._warm

    def _fork(self, spec: ServerSpec) -> Running:
        if self._requests is None:
            raise ConnectionResetError("there is no fork server")
        with self._spawner.streams(spec) as streams:
            request = ForkRequest(module=spec.module, environment=dict(spec.environment))
            message = request.model_dump_json().encode()
            socket.send_fds(self._requests, [message], [streams.far.fileno(), streams.log])
            answer = self._requests.recv(_MAX_REPLY)
            if not answer:
                raise ConnectionResetError("the fork server is gone")
            pid = ForkReply.model_validate_json(answer).pid
            return self._spawner.adopt(pid, spec, streams)
