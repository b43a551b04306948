"""What a server may ask of the supervisor over its leash.

The models server asks about the processes that run on its behalf:

    start_model {name, module_args, nice}
        Run `python -m tale.models.llama_server ARGS`; nothing happens if it runs with these
        arguments already, and one that waits after a failure is started at once. Answered once it
        is started; that it is ready, or failed to become so, comes with the peers.
    restart_server {name, reason}
        SIGKILL, and at once a new one. Answered once that is started.
    stop_server {name}
        Ended gracefully and forgotten.
    keep_models {names}
        All others of its processes are ended so, whatever an earlier models server started;
        answered once they are gone.

The gateway, which shows the dashboard in the browser, asks about all:

    status {}
        The supervisor's process, when it started, and each server's `facts.ServerStatus`.
    restart {name}
        A server anew, or a service's replicas one after the other; answered once that is ready.

Other answers are `{}`, or an error of `tale.errors`. Below: `server_manager`, through
`ModelProcesses` and `Everything`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

import psutil
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from tale.errors import TaleError, Unauthorized, WireError
from tale.orchestration import rollout
from tale.orchestration.facts import ServerStatus
from tale.orchestration.own_servers import model_spec
from tale.orchestration.owned import Children
from tale.orchestration.specs import ServerSpec
from tale.telemetry import get_logger
from tale.wire.leash import Call, Fault, Reply

__all__ = ["Everything", "ModelProcesses", "answer"]

log = get_logger(__name__)

_OPERATIONS: Final = frozenset({"status", "restart"})
_MOMENTS: Final = 30
"""Of each server's history: enough for a small curve, and a line of the leash stays short."""
# A name becomes a file's name, and the name of a log in `tale logs`.
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}$")]


class ModelProcesses(Protocol):
    """The part of the manager that servers may use."""

    async def ensure(self, spec: ServerSpec) -> None:
        """Have a process run as the spec says; returns once it is started."""
        ...

    async def replace(self, name: str, owner: str) -> None:
        """Kill an owner's process and start a new one; returns once it is started."""
        ...

    async def remove(self, name: str, owner: str) -> None:
        """Stop an owner's process and forget it."""
        ...

    async def keep_only(self, names: Collection[str], owner: str) -> None:
        """Stop all of an owner's processes but these, and forget them."""
        ...


class Everything(Children, Protocol):
    """The part of the manager that who operates all servers may use."""

    def status(self) -> Sequence[ServerStatus]:
        """Describe every server, in the order in which they are started."""
        ...


class _Nothing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: _Name


class _StartModel(_Arguments):
    module_args: tuple[str, ...]
    nice: Annotated[int, Field(ge=0, le=19)] = 0


class _KeepModels(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    names: frozenset[_Name]


class _RestartServer(_Arguments):
    reason: str = ""


async def answer(
    processes: ModelProcesses, everything: Everything, caller: ServerSpec, call: Call
) -> Reply:
    """Do what a server asks, and say how it went."""
    try:
        if call.operation in _OPERATIONS:
            result = await _operate(everything, caller, call)
        else:
            result = await _manage(processes, caller, call)
    except TaleError as error:
        log.warning("leash.call_failed", caller=caller.name, call=call.operation, reason=str(error))
        return Reply(id=call.id, error=Fault.of(error))
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc']}: {fault['msg']}" for fault in error.errors())
        unusable = WireError(f"{call.operation} has arguments that can't be used: {faults}.")
        log.warning("leash.call_failed", caller=caller.name, call=call.operation, reason=faults)
        return Reply(id=call.id, error=Fault.of(unusable))
    except Exception as error:  # one call must not end the supervisor
        log.exception("leash.call_crashed", caller=caller.name, call=call.operation)
        fault = Fault(code=TaleError.code, message=f"{call.operation} failed: {error!r}.")
        return Reply(id=call.id, error=fault)
    return Reply(id=call.id, result=result)


async def _manage(processes: ModelProcesses, caller: ServerSpec, call: Call) -> JsonValue:
    if not caller.may_manage:
        raise _not_for(caller, call)
    match call.operation:
        case "start_model":
            model = _StartModel.model_validate(call.arguments)
            spec = model_spec(model.name, model.module_args, model.nice, caller.name)
            await processes.ensure(spec)
        case "restart_server":
            restart = _RestartServer.model_validate(call.arguments)
            log.warning("server.restart_asked", name=restart.name, reason=restart.reason)
            await processes.replace(restart.name, caller.name)
        case "stop_server":
            stop = _Arguments.model_validate(call.arguments)
            await processes.remove(stop.name, caller.name)
        case "keep_models":
            keep = _KeepModels.model_validate(call.arguments)
            await processes.keep_only(keep.names, caller.name)
        case unknown:
            raise WireError(
                f"The supervisor knows no operation {unknown!r}.",
                hint="It knows start_model, restart_server, stop_server, keep_models, status and "
                "restart.",
            )
    return {}


async def _operate(everything: Everything, caller: ServerSpec, call: Call) -> JsonValue:
    if not caller.may_operate:
        raise _not_for(caller, call)
    if call.operation == "status":
        _Nothing.model_validate(call.arguments)
        return _status(everything)
    wanted = _Arguments.model_validate(call.arguments)
    log.info("server.restart_asked", name=wanted.name, caller=caller.name)
    await rollout.restart(everything, wanted.name)
    return {}


def _status(everything: Everything) -> JsonValue:
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    servers: list[JsonValue] = [
        asdict(replace(server, history=server.history[-_MOMENTS:]))
        for server in everything.status()
    ]
    return {
        "pid": os.getpid(),
        "started": started.isoformat(timespec="seconds"),
        "servers": servers,
    }


def _not_for(caller: ServerSpec, call: Call) -> Unauthorized:
    return Unauthorized(f"{caller.name} may not ask the supervisor for {call.operation!r}.")
