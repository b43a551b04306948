"""Runs the servers: performs what `process` decides, and keeps everybody told of everybody.

Owns every child process, from spawn to reaped. Each child has one task that waits for the kernel's
word of its death, listens to its leash, and probes whether it still answers. Decisions are in
`process` and `order`, the operating system is behind `Spawner`. Above: `daemon` and `control`;
`rollout` changes what runs, `owned` does so for servers that have processes of their own.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.abc
from anyio import TASK_STATUS_IGNORED

from tale.errors import DaemonError
from tale.orchestration import leashes
from tale.orchestration.child import Child
from tale.orchestration.events import (
    Announced,
    Answered,
    DependenciesReady,
    Effect,
    Event,
    Exited,
    Kill,
    LeashLost,
    Outgrown,
    Publish,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Terminate,
    TimerElapsed,
    Unanswered,
)
from tale.orchestration.facts import ServerStatus
from tale.orchestration.logfile import SUPERVISOR
from tale.orchestration.order import alive, may_start, may_stop
from tale.orchestration.owned import OwnedProcesses
from tale.orchestration.policy import describe_exit
from tale.orchestration.probe import Ask, ask
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
# Until a program that can't announce itself is asked again whether it is ready.
_STARTING_SECONDS = 0.05
# Until a server that refused or broke off a probe is asked again.
_DOUBT_SECONDS = 0.5
# Between two looks at what each process takes of the machine.
_MEASURE_SECONDS = 5.0
# After its grace and SIGKILL a process is gone at once, unless it hangs in the kernel.
_KILLED_SECONDS = 5.0


class ServerManager:
    """The servers of one daemon.

    Attributes:
        children: The servers by name, in the order in which they are started.
        peers: Who is ready now, as every server was told last.
        closing: Everything is being stopped, for good.
    """

    def __init__(
        self,
        specs: Sequence[ServerSpec],
        spawner: Spawner,
        *,
        token: str,
        jitter: Callable[[], float] = random.random,
        ask: Ask = ask,
        measure_seconds: float = _MEASURE_SECONDS,
    ) -> None:
        """Start nothing yet; `running` does.

        Args:
            specs: What to run, in the order in which to start it.
            spawner: Makes the processes.
            token: The bearer token that each server is told.
            jitter: Uniform between 0 and 1; spreads restarts.
            ask: Probes a server once.
            measure_seconds: Between two looks at what each process takes of the machine.
        """
        self.children = {spec.name: Child(spec) for spec in specs}
        self._spawner = spawner
        self._token = token
        self._jitter = jitter
        self._ask = ask
        self._measure_seconds = measure_seconds
        self._owned = OwnedProcesses(self)
        self.closing = False
        self._changed = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self.peers = Peers()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start the servers, and stop them when the block is left, however it is left."""
        async with anyio.create_task_group() as outside:
            tasks = self._tasks = await outside.start(self._host)
            for child in list(self.children.values()):
                self.feed(child, StartRequested())
            tasks.start_soon(self._measure)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self.stop()
                tasks.cancel_scope.cancel()

    async def _host(
        self, *, task_status: anyio.abc.TaskStatus[anyio.abc.TaskGroup] = TASK_STATUS_IGNORED
    ) -> None:
        """Keep the tasks that stopping takes, timers included, out of reach of a cancellation."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                task_status.started(tasks)
                await anyio.sleep_forever()

    async def stop(self) -> None:
        """Stop everything in reverse order of dependency; bounded by the graces of the specs."""
        self.closing = True
        living = alive(self.children)
        policies = [child.spec.policy for child in living]
        bound = sum(policy.settle + policy.grace for policy in policies) + _KILLED_SECONDS
        with anyio.move_on_after(bound):
            await self.until(self._stopped_all)
        for child in alive(self.children):
            log.error("server.not_stopped", name=child.spec.name, pid=child.process.pid)

    def kill(self) -> None:
        """Give up all grace: end every process now. `stop` then returns at once."""
        self.closing = True
        for child in self.children.values():
            self.feed(child, StopRequested(kill=True))

    def bury(self) -> None:
        """See to those that fell to this process when their parents ended."""
        running = (child.running for child in self.children.values())
        self._spawner.bury({one.pid for one in running if one})

    async def until(self, condition: Callable[[], _T | None]) -> _T:
        """Wait until a condition gives something, looked at whenever anything changes."""
        while True:
            changed = self._changed  # taken first: looking may itself change something
            if (found := condition()) is not None:
                return found
            await changed.wait()

    async def ready(self, service: str) -> Peer:
        """Wait until a process of the service is ready; bound the wait by a cancel scope."""
        return await self.until(lambda: next(iter(self.peers.of(service)), None))

    def add(self, spec: ServerSpec) -> Child:
        """Have one more server run."""
        child = self.children[spec.name] = Child(spec)
        self.feed(child, StartRequested())
        return child

    async def retire(self, child: Child) -> None:
        """Stop a server and forget it, unless somebody wants it again meanwhile."""
        self.feed(child, StopRequested())

        def settled() -> bool | None:
            leaving = child.process.state in ("draining", "stopping")
            return None if leaving and child.process.then == "stopped" else True

        await self.until(settled)
        name = child.spec.name
        if child.process.state == "stopped" and self.children.get(name) is child:
            del self.children[name]
            self._stir()

    def unknown(self, name: str) -> DaemonError:
        """Say that there is no such server, and which there are."""
        names = ", ".join(self.children)
        return DaemonError(f"There is no server {name!r}.", hint=f"There are: {names}.")

    def status(self) -> tuple[ServerStatus, ...]:
        """Describe every server, in the order in which they are started."""
        return tuple(child.status() for child in self.children.values())

    def feed(self, child: Child, event: Event) -> None:
        """Give an event to a child's state machine and perform what comes of it."""
        before, now = child.process, anyio.current_time()
        child.process, effects = step(before, event, child.spec.policy, self._jitter, now)
        if child.process == before and not effects:
            return
        if not child.process.timer:
            child.cancel_timer()
        if (child.process.state, child.process.pid) != (before.state, before.pid):
            child.log_state()
        if child.process.looping and child.process.failed_at != before.failed_at:
            child.explain(self._spawner.tail(child.spec))
        for effect in effects:
            self._perform(child, effect)
        self._stir()
        if not self.closing:
            self._release()

    def _stir(self) -> None:
        """Let those look again who wait for something to change."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _perform(self, child: Child, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._spawn(child)
            case Terminate() if child.running:
                child.running.terminate(child.spec.stop_signal)
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
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.feed(child, SpawnFailed(str(error)))
            return
        child.take(running)
        if child.spec.leash:
            grace = child.spec.policy.grace
            running.leash.send(Hello(name=child.spec.name, token=self._token, grace=grace))
            running.leash.send(self.peers)
        self._start(self._tend, child, running)
        self.feed(child, Spawned(running.pid))

    async def _tend(self, child: Child, running: Running) -> None:
        """Own a process until it is gone."""
        try:
            async with anyio.create_task_group() as tasks:
                if child.spec.leash:
                    tasks.start_soon(running.leash.pump)
                    tasks.start_soon(self._listen, child, running, tasks)
                else:
                    tasks.start_soon(self._watch, child, running.url)
                code = await running.wait()
                for message in running.leash.rest():
                    if isinstance(message, Failed):  # what else it wanted is nobody's now
                        child.hear(message.fault)
                child.gone(describe_exit(code))
                self.feed(child, Exited(code))  # its successor is what matters now
                self.bury()
                tasks.cancel_scope.cancel()
        finally:
            running.leash.close()

    async def _listen(self, child: Child, running: Running, tasks: anyio.abc.TaskGroup) -> None:
        watching = anyio.CancelScope()
        while message := await running.leash.receive():
            match message:
                case Ready(url=url) if child.spec.probe:
                    watching.cancel()
                    watching = anyio.CancelScope()
                    tasks.start_soon(self._watch, child, url, watching)
                case Ready(url=url):
                    self.feed(child, Announced(url))
                case Failed(fault=fault):
                    child.hear(fault)
                case Call():
                    self._start(self._answer, child.spec, running, message)
        await anyio.sleep(_LETTING_GO_SECONDS)
        self.feed(child, LeashLost())

    async def _watch(self, child: Child, url: str, scope: anyio.CancelScope | None = None) -> None:
        """Probe a server for as long as it lives; the first answer makes it ready."""
        probe = child.spec.probe
        if probe is None:
            return
        answered = False
        with scope or anyio.CancelScope():
            while True:
                reason = await self._ask(url, probe)
                if reason:
                    self.feed(child, Unanswered(reason))
                else:
                    self.feed(child, Answered() if answered else Announced(url))
                answered = answered or not reason
                doubt = _DOUBT_SECONDS if answered else _STARTING_SECONDS
                await anyio.sleep(min(doubt, probe.every) if reason else probe.every)

    async def _measure(self) -> None:
        """Keep logs short, and have a process replaced that takes more than it may."""
        while True:
            await anyio.sleep(self._measure_seconds)
            for name in (SUPERVISOR, *self.children):
                self._spawner.rotate(name)
            for child in list(self.children.values()):
                reason = child.measure()
                if reason and self._can_spare(child):
                    self.feed(child, Outgrown(reason))

    def _can_spare(self, child: Child) -> bool:
        """Whether every other process of its service is ready; one at a time may be missing."""
        others = (other for other in self.children.values() if other is not child)
        same = (other for other in others if other.spec.service == child.spec.service)
        return all(other.process.state == "ready" for other in same)

    async def _answer(self, caller: ServerSpec, running: Running, call: Call) -> None:
        running.leash.send(await leashes.answer(self._owned, self, caller, call))

    async def _elapse(
        self, child: Child, scope: anyio.CancelScope, number: int, seconds: float
    ) -> None:
        with scope:
            await anyio.sleep(seconds)
            self.feed(child, TimerElapsed(number))

    def _release(self) -> None:
        """Let those begin that wait for nobody any more, in order."""
        for child in list(self.children.values()):
            if may_start(child, self.children):
                self.feed(child, DependenciesReady())

    def _publish(self) -> None:
        children = self.children.values()
        self.peers = Peers(
            peers=tuple(filter(None, (child.peer() for child in children))),
            failed=tuple(filter(None, (child.failed_start() for child in children))),
        )
        for child in children:
            if child.running and child.spec.leash:
                child.running.leash.send(self.peers)

    def _stopped_all(self) -> bool | None:
        """Stop those whom nobody needs any more; true once there is nobody left."""
        for child in alive(self.children):
            if may_stop(child, self.children):
                self.feed(child, StopRequested())
        return None if alive(self.children) else True

    def _start(self, function: Callable[..., object], *arguments: object) -> None:
        if self._tasks is None:
            raise RuntimeError("the manager is not running")
        self._tasks.start_soon(function, *arguments)  # pyright: ignore[reportArgumentType]
