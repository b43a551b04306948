"""What the supervisor runs: one spec per process, in the order in which they are started.

Cold start: whatever the first answer needs begins at once, the models server first (it asks for
the model processes, whose loading is the longest part). ux and further execution servers do nothing
for the first task, so they wait until its path stands and take no processor time from it.

Stopping goes the other way round: a process is stopped once nobody who depends on it runs. So the
gateway leaves before the execution servers it calls, and these before the models.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tale.config import Settings
from tale.orchestration.process import Policy

__all__ = ["FORK_SERVER", "Dependency", "ServerSpec", "default_specs", "model_spec"]

FORK_SERVER = "fork-server"
"""Name of the warmed parent (`fork_server`) from which servers are forked."""

# -P: a module is never taken from the folder in which somebody typed the command.
_PYTHON = (sys.executable, "-P", "-m")
# Loading a model of many gigabytes from a slow disk takes minutes.
_MODEL_START_SECONDS = 900
# The MCP SDK and the database, which they have in common, are most of what they import.
_FORKED = ("tale.servers.gateway", "tale.servers.execution", "tale.servers.ux")
# Sandboxed work inherits this from its execution server: short of memory, the kernel takes it long
# before a model. A model's share of the memory counts up to 1000 on the same scale.
_EXECUTION_OOM_SCORE = 500
# libgomp's threads otherwise spin on cores that others need: 1 token/s instead of 20.
_MODEL_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """A process that comes first.

    Attributes:
        name: Which.
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
        environment: Added to the supervisor's own.
        nice: Added to the scheduling priority; 19 yields to everybody.
        oom_score: How much sooner than others the kernel ends it when memory is short (0 to 1000).
        owner: The server at whose request it runs; it is stopped after that one.
        may_manage: It may have processes started on its behalf.
        module: What the fork server may run instead of the command; empty where it must not.
    """

    name: str
    service: str
    command: tuple[str, ...]
    depends_on: tuple[Dependency, ...] = ()
    policy: Policy = field(default_factory=Policy)
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    nice: int = 0
    oom_score: int = 0
    owner: str = ""
    may_manage: bool = False
    module: str = ""


def default_specs(settings: Settings) -> tuple[ServerSpec, ...]:
    """List tale's servers for these settings."""
    first, *further = [f"execution-{n}" for n in range(1, settings.execution.replicas + 1)]
    ready_first = (Dependency("gateway", "ready"), Dependency(first, "ready"))
    return (
        ServerSpec("models", "models", (*_PYTHON, "tale.servers.models"), may_manage=True),
        *_fork_server(),
        _forked("gateway", "gateway", Dependency("models"), Dependency(first)),
        _forked(first, "execution", Dependency("models"), oom_score=_EXECUTION_OOM_SCORE),
        *(
            _forked(
                name,
                "execution",
                Dependency("models"),
                Dependency(first, "ready"),
                oom_score=_EXECUTION_OOM_SCORE,
            )
            for name in further
        ),
        _forked("ux", "ux", Dependency("models"), *ready_first),
    )


def model_spec(name: str, arguments: Sequence[str], nice: int, owner: str) -> ServerSpec:
    """Describe the process of one embedded model."""
    return ServerSpec(
        name,
        name,
        (*_PYTHON, "tale.models.llama_server", *arguments),
        policy=Policy(start=_MODEL_START_SECONDS),
        environment=_MODEL_ENVIRONMENT,
        nice=nice,
        owner=owner,
    )


def _fork_server() -> tuple[ServerSpec, ...]:
    """Describe the fork server, where the system can have one.

    Two descriptors are passed over a socket and orphans must fall to the supervisor: Linux.
    """
    if not sys.platform.startswith("linux"):
        return ()
    command = (*_PYTHON, "tale.orchestration.fork_server", *_FORKED)
    return (ServerSpec(FORK_SERVER, FORK_SERVER, command),)


def _forked(name: str, service: str, *depends_on: Dependency, oom_score: int = 0) -> ServerSpec:
    """Describe a server that is forked, or spawned where there is no fork server."""
    module = f"tale.servers.{service}"
    parent = [Dependency(spec.name, "ready") for spec in _fork_server()]
    return ServerSpec(
        name,
        service,
        (*_PYTHON, module),
        (*parent, *depends_on),
        oom_score=oom_score,
        module=module,
    )
