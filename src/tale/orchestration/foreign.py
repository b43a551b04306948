"""The user's own servers: programs of any kind that tale keeps running beside its own.

    [servers.search]
    command = ["uvx", "some-mcp-server", "--port", "{port}"]
    replicas = 2

Such a program knows nothing of the leash. It is told its port (`{port}` in the command, and the
variable PORT) and is ready once it answers there. Above: `own_servers`. The settings are in
`config`.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping

from tale.config import ServerSettings
from tale.orchestration.policy import Policy
from tale.orchestration.probe import Probe
from tale.orchestration.specs import Dependency, ServerSpec

__all__ = ["PORT", "foreign_specs", "free_port", "with_port"]

PORT = "{port}"
"""What stands for the port in a command."""


def foreign_specs(servers: Mapping[str, ServerSettings]) -> tuple[ServerSpec, ...]:
    """Describe the processes of the user's servers; NAME-1, NAME-2, … are those of NAME."""
    return tuple(
        _spec(service, f"{service}-{number}", settings)
        for service, settings in servers.items()
        for number in range(1, settings.replicas + 1)
    )


def free_port() -> int:
    """Find a loopback port that nobody has.

    Somebody may take it before the program does, which then ends, and gets another one at its next
    start.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def with_port(spec: ServerSpec, port: int) -> tuple[str, ...]:
    """Give the command with its port in place."""
    return tuple(part.replace(PORT, str(port)) for part in spec.command)


def _spec(service: str, name: str, settings: ServerSettings) -> ServerSpec:
    return ServerSpec(
        name,
        service,
        settings.command,
        tuple(Dependency(other, "ready") for other in settings.depends_on),
        Policy(start=settings.start_seconds, grace=settings.grace_seconds),
        probe=Probe(settings.health, timeout=settings.probe_seconds),
        stop_signal=signal.Signals[settings.stop_signal],
        max_rss=settings.max_memory_mb << 20,
        environment=settings.environment,
        leash=False,
        scalable=True,
    )
