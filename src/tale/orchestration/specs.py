"""One server as it should be: what the supervisor is told of each process.

Values only. `own_servers` lists tale's, `foreign` the user's. Above: everything that starts or
describes a process.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tale.orchestration.policy import Policy
from tale.orchestration.probe import Probe

__all__ = ["FORK_SERVER", "Dependency", "ServerSpec"]

FORK_SERVER = "fork-server"
"""Name of the warmed parent (`fork_server`) from which servers are forked."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A process that comes first.

    Attributes:
        name: Which, or the service of which one will do.
        after: `spawn`: once it has been started; `ready`: once it has been ready.
    """

    name: str
    after: Literal["spawn", "ready"] = "spawn"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One process to keep running.

    Attributes:
        name: Unique; also the name of its log.
        service: What it does; replicas share it.
        command: Program and arguments.
        depends_on: What is started before it, and stopped after it.
        policy: Time limits and backoff.
        probe: How it is asked whether it lives; None where it serves nothing.
        stop_signal: What asks it to leave.
        max_rss: Resident memory, in bytes, past which it is replaced; 0 sets no limit.
        environment: Added to the supervisor's own.
        nice: Added to the scheduling priority; 19 yields to everybody.
        oom_score: How much sooner than others the kernel ends it when memory is short (0 to 1000).
        owner: The server at whose request it runs; it is stopped after that one.
        may_manage: It may have processes started on its behalf.
        may_operate: It may look at every server, and have it restarted.
        module: What the fork server may run instead of the command; empty where it must not.
        leash: Whether it speaks the leash; a foreign program is given a port and is probed there.
        scalable: Whether there may be more or fewer of its service than now.
        reads: What of the settings it reads at its start; a change of it means a restart.
    """

    name: str
    service: str
    command: tuple[str, ...]
    depends_on: tuple[Dependency, ...] = ()
    policy: Policy = field(default_factory=Policy)
    probe: Probe | None = None
    stop_signal: int = signal.SIGTERM
    max_rss: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    nice: int = 0
    oom_score: int = 0
    owner: str = ""
    may_manage: bool = False
    may_operate: bool = False
    module: str = ""
    leash: bool = True
    scalable: bool = False
    reads: str = ""
