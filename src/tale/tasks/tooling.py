"""From the settings to what actions are done with: sandbox, limits, rules on tools.

Above: `servers.execution` and `servers.gateway`, which read the settings. Below: `tools`,
`permissions`, both sandboxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tale.config import Settings
from tale.config_tasks import McpServerSettings, SandboxSettings
from tale.paths import Paths
from tale.tasks.permissions import Rule
from tale.tasks.sandbox import Limits, Sandbox
from tale.tasks.sandbox_bare import Bare
from tale.tasks.sandbox_bwrap import Bubblewrap
from tale.tasks.tools import ToolCaller, Tooling

__all__ = ["limits_of", "rules_of", "sandbox_of", "tooling_of"]

_MIB = 1024 * 1024


def tooling_of(
    settings: Settings,
    paths: Paths,
    *,
    tools: ToolCaller | None = None,
    spill: Path | None = None,
    anywhere: bool = False,
) -> Tooling:
    """Put together what the settings say.

    Args:
        settings: The settings.
        paths: Where tale's own files are, which no program sees.
        tools: Calls tools of external servers.
        spill: Folder for output that is too long.
        anywhere: Whether the user agreed to files outside of the workspace.
    """
    return Tooling(
        sandbox_of(settings.sandbox, paths),
        tools,
        limits_of(settings.sandbox),
        settings.sandbox.seconds,
        settings.sandbox.network,
        spill,
        anywhere,
    )


def sandbox_of(settings: SandboxSettings, paths: Paths) -> Sandbox:
    """Give the sandbox that the user chose; whether it can be made shows when it is used."""
    if settings.kind == "none":
        return Bare()
    return Bubblewrap(hidden=(paths.data, paths.logs, paths.runtime))


def limits_of(settings: SandboxSettings) -> Limits:
    """Give what a program may take."""
    memory, disk = settings.memory_mb * _MIB, settings.disk_mb * _MIB
    standard = Limits()
    return Limits(
        memory=memory,
        file=min(standard.file, disk),
        disk=disk,
        scratch=min(standard.scratch, memory),
        processes=settings.processes,
    )


def rules_of(servers: Mapping[str, McpServerSettings]) -> dict[str, Rule]:
    """Give the user's word on servers and their tools, as `permissions.needed` takes it."""
    rules: dict[str, Rule] = {}
    for name, server in servers.items():
        if server.permission is not None:
            rules[name] = server.permission
        rules |= {f"{name}.{tool}": rule for tool, rule in server.tools.items()}
    return rules
