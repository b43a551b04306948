"""Tale's own servers: one spec per process, in the order in which they are started.

Cold start: whatever the first answer needs begins at once, the models server first (it asks for
the model processes, whose loading is the longest part). ux and further execution servers do nothing
for the first task, so they wait until its path stands and take no processor time from it.

Stopping goes the other way round: a process is stopped once nobody who depends on it runs. So the
gateway leaves before the execution servers it calls, and these before the models.

Above: `daemon`, and `leashes` for the processes of models.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import partial

from tale.config import Settings
from tale.errors import ConfigError
from tale.orchestration.foreign import foreign_specs
from tale.orchestration.order import check_order
from tale.orchestration.policy import Policy
from tale.orchestration.probe import Probe
from tale.orchestration.specs import FORK_SERVER, Dependency, ServerSpec

__all__ = ["default_specs", "model_spec"]

# -P: a module is never taken from the folder in which somebody typed the command.
_PYTHON = (sys.executable, "-P", "-m")
# Loading a model of many gigabytes from a slow disk takes minutes.
_MODEL_START_SECONDS = 900
# The MCP SDK and the database, which they have in common, are most of what they import.
_FORKED = ("tale.servers.gateway", "tale.servers.execution", "tale.servers.ux")
# Sandboxed work inherits this from its execution server: short of memory, the kernel takes it long
# before a model. A model's share of the memory counts up to 1000 on the same scale.
_EXECUTION_OOM_SCORE = 500
# A step that is under way may end before its server goes; what is cut off is done again elsewhere.
_STEP_GRACE_SECONDS = 30
_PROBE = Probe()
# llama.cpp answers while it generates, but yields to everybody at nice 19.
_MODEL_PROBE = Probe("/health", every=5.0, timeout=10.0)
# libgomp's threads otherwise spin on cores that others need: 1 token/s instead of 20.
_MODEL_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


def default_specs(settings: Settings) -> tuple[ServerSpec, ...]:
    """List tale's servers for these settings, and those that the user adds.

    Raises:
        ConfigError: The user's servers can't be started in any order, or take a name of tale's.
    """
    first, *further = [f"execution-{n}" for n in range(1, settings.execution.replicas + 1)]
    ready_first = (Dependency("gateway", "ready"), Dependency(first, "ready"))
    work = ("tasks", "sandbox", "mcpServers")
    execution = partial(
        _forked,
        service="execution",
        policy=Policy(grace=_STEP_GRACE_SECONDS),
        oom_score=_EXECUTION_OOM_SCORE,
        max_rss=settings.execution.max_memory_mb << 20,
        scalable=True,
        reads=_read(settings, "log_level", *work),
    )
    stored = ("database_url", "log_level", "models")
    own = (
        ServerSpec(
            "models",
            "models",
            (*_PYTHON, "tale.servers.models"),
            probe=_PROBE,
            may_manage=True,
            reads=_read(settings, "models", "routing", "model_server", "log_level"),
        ),
        *_fork_server(),
        _forked(
            "gateway",
            Dependency("models"),
            Dependency(first),
            may_operate=True,
            reads=_read(settings, *stored, *work, "gateway", "execution", "notify"),
        ),
        execution(first, Dependency("models")),
        *(execution(name, Dependency("models"), Dependency(first, "ready")) for name in further),
        _forked("ux", Dependency("models"), *ready_first, reads=_read(settings, *stored)),
    )
    taken = {name for spec in own for name in (spec.name, spec.service)}
    if clash := taken & settings.servers.keys():
        name = min(clash)
        raise ConfigError(
            f"servers.{name}: {name!r} is the name of a server of tale's own.",
            hint="Give yours another name.",
        )
    specs = (*own, *foreign_specs(settings.servers))
    check_order(specs)
    return specs


def model_spec(name: str, arguments: Sequence[str], nice: int, owner: str) -> ServerSpec:
    """Describe the process of one embedded model."""
    return ServerSpec(
        name,
        name,
        (*_PYTHON, "tale.models.llama_server", *arguments),
        policy=Policy(start=_MODEL_START_SECONDS),
        probe=_MODEL_PROBE,
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


def _forked(
    name: str,
    *depends_on: Dependency,
    service: str = "",
    policy: Policy | None = None,
    oom_score: int = 0,
    max_rss: int = 0,
    scalable: bool = False,
    may_operate: bool = False,
    reads: str = "",
) -> ServerSpec:
    """Describe a server that is forked, or spawned where there is no fork server."""
    module = f"tale.servers.{service or name}"
    parent = [Dependency(spec.name, "ready") for spec in _fork_server()]
    return ServerSpec(
        name,
        service or name,
        (*_PYTHON, module),
        (*parent, *depends_on),
        policy or Policy(),
        probe=_PROBE,
        oom_score=oom_score,
        max_rss=max_rss,
        module=module,
        scalable=scalable,
        may_operate=may_operate,
        reads=reads,
    )


def _read(settings: Settings, *names: str) -> str:
    """Digest the part of the settings that a server reads at its start."""
    values = settings.model_dump_json(include=set(names))
    secrets = [settings.models.ux.api_key, settings.models.task.api_key]
    if "routing" in names:
        secrets += [remote.api_key for remote in settings.routing.remotes.values()]
    known = [key.get_secret_value() for key in secrets] if "models" in names else []
    if "mcpServers" in names:
        known += [secret for one in settings.mcpServers.values() for secret in one.secrets()]
    if "notify" in names:
        known.append(settings.notify.webhook_secret.get_secret_value())
    return hashlib.blake2b(f"{values}{known}".encode(), digest_size=8).hexdigest()
