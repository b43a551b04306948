"""What a server may ask of the supervisor over its leash.

Only the models server asks, and only about processes that run on its behalf:

    start_model {name, module_args, nice}
        Run `python -m tale.models.llama_server ARGS`; nothing happens if it runs with these
        arguments already, and one that waits after a failure is started at once. Answered once it
        is started; that it is ready, or failed to become so, comes with the peers.
    restart_server {name, reason}
        SIGKILL, and at once a new one. Answered once that is started.
    stop_server {name}
        Ended gracefully and forgotten.

The answer is `{}` or an error of `tale.errors`. Below: `server_manager`, through `ModelProcesses`.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tale.errors import TaleError, Unauthorized, WireError
from tale.orchestration.own_servers import model_spec
from tale.orchestration.specs import ServerSpec
from tale.telemetry import get_logger
from tale.wire.leash import Call, Fault, Reply

__all__ = ["ModelProcesses", "answer"]

log = get_logger(__name__)

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


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: _Name


class _StartModel(_Arguments):
    module_args: tuple[str, ...]
    nice: Annotated[int, Field(ge=0, le=19)] = 0


class _RestartServer(_Arguments):
    reason: str = ""


async def answer(processes: ModelProcesses, caller: ServerSpec, call: Call) -> Reply:
    """Do what a server asks, and say how it went."""
    try:
        await _perform(processes, caller, call)
    except TaleError as error:
        log.warning("leash.call_failed", caller=caller.name, call=call.operation, reason=str(error))
        return Reply(id=call.id, error=Fault.of(error))
    except Exception as error:  # one call must not end the supervisor
        log.exception("leash.call_crashed", caller=caller.name, call=call.operation)
        fault = Fault(code=TaleError.code, message=f"{call.operation} failed: {error!r}.")
        return Reply(id=call.id, error=fault)
    return Reply(id=call.id, result={})


async def _perform(processes: ModelProcesses, caller: ServerSpec, call: Call) -> None:
    if not caller.may_manage:
        raise Unauthorized(f"{caller.name} may not ask the supervisor for {call.operation!r}.")
    try:
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
            case unknown:
                raise WireError(
                    f"The supervisor knows no operation {unknown!r}.",
                    hint="It knows start_model, restart_server and stop_server.",
                )
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc']}: {fault['msg']}" for fault in error.errors())
        raise WireError(f"{call.operation} has arguments that can't be used: {faults}.") from None
