"""Runs the servers: performs what `process` decides, and keeps everybody told of everybody.

Owns every child process, from spawn to reaped. Each child has one task that waits for the kernel's
word of its death and listens to its leash; nothing is polled. Decisions are in `process` and
`order`, the operating system is behind `Spawner`. Above: `daemon` and `control`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.abc

from tale.errors import DaemonError, ServiceUnavailable
from tale.orchestration import leashes
from tale.orchestration.child import Child
from tale.orchestration.events import (
    Announced,
    DependenciesReady,
    Effect,
    Event,
    Exited,
    Kill,
    LeashLost,
    Publish,
    RestartRequested,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Terminate,
    TimerElapsed,
)
from tale.orchestration.facts import ServerStatus
from tale.orchestration.order import alive, may_start, may_stop
from tale.orchestration.process import step
from tale.orchestration.spawn import Running, Spawner
from tale.orchestration.specs import ServerSpec
from tale.telemetry import get_logger
from tale.wire.leash import Call, Failed, Hello, Peer, Peers, Ready

__all__ = ["ServerManager"]

log = get_logger(__name__)
_T = TypeVar("_T")

# A process that dies lets go of its line a moment before the kernel reports it gone.
_LETTING_GO_SECONDS = 1.0
# After its grace and SIGKILL a process is gone at once, unless it hangs in the kernel.
_KILLED_SECONDS = 5.0


class ServerManager:
    """The servers of one daemon."""

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        spawner: Spawner,
        *,
        token: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Start nothing yet; `running` does.

        Args:
            specs: What to run, in the order in which to start it.
            spawner: Makes the processes.
            token: The bearer token that each server is told.
            jitter: Uniform between 0 and 1; spreads restarts.
        """
        self._children = {spec.name: Child(spec) for spec in specs}
        self._spawner = spawner
        self._token = token
        self._jitter = jitter
        self._closing = False
        self._changed = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self.peers = Peers()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start the servers, and stop them when the block is left, however it is left."""
        async with anyio.create_task_group() as self._tasks:
            for child in list(self._children.values()):
                self._feed(child, StartRequested())
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self.stop()
                self._tasks.cancel_scope.cancel()

    async def stop(self) -> None:
        """Stop everything in reverse order of dependency; bounded by the graces of the specs."""
        self._closing = True
        living = alive(self._children)
        bound = sum(child.spec.policy.grace for child in living) + _KILLED_SECONDS
        with anyio.move_on_after(bound):
            await self.until(self._stopped_all)
        for child in alive(self._children):
            log.error("server.not_stopped", name=child.spec.name, pid=child.process.pid)

    def kill(self) -> None:
        """Give up all grace: end every process now. `stop` then returns at once."""
        self._closing = True
        for child in self._children.values():
            self._feed(child, StopRequested(kill=True))

    async def until(self, condition: Callable[[], _T | None]) -> _T:
        """Wait until a condition gives something, looked at whenever anything changes."""
        while (found := condition()) is None:
            await self._changed.wait()
        return found

    async def ready(self, service: str) -> Peer:
        """Wait until a process of the service is ready; bound the wait by a cancel scope."""
        return await self.until(lambda: next(iter(self.peers.of(service)), None))

    async def restart(self, name: str | None = None) -> None:
        """Restart a server, all replicas of a service, or everything; wait until ready again.

        Raises:
            DaemonError: There is no such server.
        """
        chosen = [child for child in self._children.values() if child.answers_to(name)]
        if not chosen:
            raise self._unknown(name or "")
        before = {child.spec.name: child.process.starts for child in chosen}
        for child in chosen:
            self._feed(child, RestartRequested())

        def again() -> bool | None:
            left = [self._children[name] for name in before if name in self._children]
            done = all(
                child.process.state == "ready" and child.process.starts > before[child.spec.name]
                for child in left
            )
            return done or None

        await self.until(again)

    async def ensure(self, spec: ServerSpec) -> None:
        """Have a further process run as the spec says; returns once it is started.

        Raises:
            DaemonError: The name is another's, or the process can't be started.
        """
        if self._closing:
            raise ServiceUnavailable("tale is stopping.")
        child = self._children.get(spec.name)
        if child is None:
            child = self._children[spec.name] = Child(spec)
        elif child.spec.owner != spec.owner:
            raise DaemonError(f"{spec.name} is the name of another server.")
        changed, child.spec = child.spec != spec, spec
        if not changed and child.process.state in ("starting", "ready"):
            return
        before = child.process.starts
        # Who asks heard of the failure before: it is not made to wait for a new attempt.
        anew = changed or child.process.state == "backoff"
        self._feed(child, RestartRequested() if anew else StartRequested())
        await self._started(child, before)

    async def replace(self, name: str, owner: str) -> None:
        """Kill an owner's process and start a new one; returns once it is started.

        Raises:
            DaemonError: There is no such process, or it can't be started.
        """
        child = self._owned(name, owner)
        before = child.process.starts
        self._feed(child, RestartRequested(kill=True))
        await self._started(child, before)

    async def remove(self, name: str, owner: str) -> None:
        """Stop an owner's process and forget it; one that isn't there is fine.

        Raises:
            DaemonError: The process is another's.
        """
        if name not in self._children:
            return
        child = self._owned(name, owner)
        self._feed(child, StopRequested())

        def settled() -> bool | None:
            # Asked for again meanwhile, it stays.
            leaving = child.process.state == "stopping" and child.process.then == "stopped"
            return None if leaving else True

        await self.until(settled)
        if child.process.state == "stopped" and self._children.get(name) is child:
            del self._children[name]

    def status(self) -> tuple[ServerStatus, ...]:
        """Describe every server, in the order in which they are started."""
        return tuple(child.status() for child in self._children.values())

    def _feed(self, child: Child, event: Event) -> None:
        """Give an event to a child's state machine and perform what comes of it."""
        before = child.process
        child.process, effects = step(before, event, child.spec.policy, self._jitter)
        if child.process == before and not effects:
            return
        if not child.process.timer:
            child.cancel_timer()
        if (child.process.state, child.process.pid) != (before.state, before.pid):
            child.log_state()
        for effect in effects:
            self._perform(child, effect)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
        if not self._closing:
            self._release()

    def _perform(self, child: Child, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._spawn(child)
            case Terminate() if child.running:
                child.running.terminate()
            case Kill() if child.running:
                child.running.kill()
            case SetTimer(number, seconds):
                self._start(self._elapse, child, child.set_timer(), number, seconds)
            case Publish():
                self._publish()
            case Terminate() | Kill():
                pass  # it has just ended

    def _spawn(self, child: Child) -> None:
        try:
            running = self._spawner.spawn(child.spec)
        except OSError as error:
            self._feed(child, SpawnFailed(str(error)))
            return
        child.take(running)
        running.leash.send(Hello(name=child.spec.name, token=self._token))
        running.leash.send(self.peers)
        self._start(self._tend, child, running)
        self._feed(child, Spawned(running.pid))

    async def _tend(self, child: Child, running: Running) -> None:
        """Own a process until it is gone."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(running.leash.pump)
                tasks.start_soon(self._listen, child, running)
                code = await running.wait()
                for message in running.leash.rest():
                    if isinstance(message, Failed):  # what else it wanted is nobody's now
                        child.hear(message.fault)
                child.gone()
                self._feed(child, Exited(code))  # its successor is what matters now
                tasks.cancel_scope.cancel()
        finally:
            running.leash.close()

    async def _listen(self, child: Child, running: Running) -> None:
        while message := await running.leash.receive():
            match message:
                case Ready(url=url):
                    self._feed(child, Announced(url))
                case Failed(fault=fault):
                    child.hear(fault)
                case Call():
                    self._start(self._answer, child.spec, running, message)
        await anyio.sleep(_LETTING_GO_SECONDS)
        self._feed(child, LeashLost())

    async def _answer(self, caller: ServerSpec, running: Running, call: Call) -> None:
        running.leash.send(await leashes.answer(self, caller, call))

    async def _elapse(
        self, child: Child, scope: anyio.CancelScope, number: int, seconds: float
    ) -> None:
        with scope:
            await anyio.sleep(seconds)
            self._feed(child, TimerElapsed(number))

    def _release(self) -> None:
        """Let those begin that wait for nobody any more, in order."""
        for child in list(self._children.values()):
            if may_start(child, self._children):
                self._feed(child, DependenciesReady())

    def _publish(self) -> None:
        children = self._children.values()
        self.peers = Peers(
            peers=tuple(filter(None, (child.peer() for child in children))),
            failed=tuple(filter(None, (child.failed_start() for child in children))),
        )
        for child in children:
            if child.running:
                child.running.leash.send(self.peers)

    def _stopped_all(self) -> bool | None:
        """Stop those whom nobody needs any more; true once there is nobody left."""
        for child in alive(self._children):
            if may_stop(child, self._children):
                self._feed(child, StopRequested())
        return None if alive(self._children) else True

    async def _started(self, child: Child, before: int) -> None:
        def settled() -> bool | None:
            process = child.process
            return process.starts > before or process.state in ("backoff", "stopped") or None

        await self.until(settled)
        if child.process.starts == before:
            reason = child.process.last_exit or "it was stopped"
            raise DaemonError(f"{child.spec.name} is not running: {reason}.")

    def _owned(self, name: str, owner: str) -> Child:
        child = self._children.get(name)
        if child is None or child.spec.owner != owner:
            raise self._unknown(name)
        return child

    def _unknown(self, name: str) -> DaemonError:
        names = ", ".join(self._children)
        return DaemonError(f"There is no server {name!r}.", hint=f"There are: {names}.")

    def _start(self, function: Callable[..., object], *arguments: object) -> None:
        if self._tasks is None:
            raise RuntimeError("the manager is not running")
        self._tasks.start_soon(function, *arguments)  # pyright: ignore[reportArgumentType]
