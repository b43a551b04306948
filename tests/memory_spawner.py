"""The in-memory twin of the operating system: processes that do what a test says.

Their leashes are real sockets, so what goes over them is what goes over real ones.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import Collection, Iterator

import anyio

from tale.orchestration.near_end import NearEnd
from tale.orchestration.policy import Policy
from tale.orchestration.specs import Dependency, ServerSpec
from tale.wire.leash import Call, Failed, Hello, Peers, Ready, Reply, decode_supervisor, encode

# Long enough never to run out where a test does not wait for it.
PATIENT = Policy(patience=600, start=600, settle=0, grace=600, stable=600, base=600, cap=600)


class MemoryProcess:
    """A process that does what the test says."""

    def __init__(self, spec: ServerSpec, pid: int, *, stubborn: bool) -> None:
        near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.spec = spec
        self.pid = pid
        self.leash = NearEnd(near)
        self.url = f"http://127.0.0.1:{pid % 60000}"
        self.signals: list[str] = []
        self._stubborn = stubborn
        self._gone = anyio.Event()
        self._code = 0
        self._received = b""

    async def wait(self) -> int:
        await self._gone.wait()
        return self._code

    def terminate(self, number: int) -> None:
        self.signals.append(signal.Signals(number).name.removeprefix("SIG"))
        if not self._stubborn:
            self.die(-15)

    def kill(self) -> None:
        self.signals.append("KILL")
        self.die(-9)

    def die(self, code: int) -> None:
        self._code = code
        self._gone.set()
        self.far.close()

    def say(self, message: Ready | Failed | Call) -> None:
        self.far.send(encode(message))

    def announce(self, url: str = "") -> None:
        self.say(Ready(url=url or self.url))

    def heard(self) -> list[Hello | Peers | Reply]:
        with socket.socket(fileno=os.dup(self.far.fileno())) as far:
            while True:
                try:
                    self._received += far.recv(65536)
                except BlockingIOError:
                    break
        return [decode_supervisor(line) for line in self._received.splitlines()]

    def picture(self) -> Peers:
        return [message for message in self.heard() if isinstance(message, Peers)][-1]

    def peers(self) -> list[str]:
        return [peer.name for peer in self.picture().peers]

    def replies(self) -> list[Reply]:
        return [message for message in self.heard() if isinstance(message, Reply)]


class MemorySpawner:
    """Makes memory processes, or fails to."""

    def __init__(self) -> None:
        self.all: list[MemoryProcess] = []
        self.impossible: set[str] = set()
        self.absurd: set[str] = set()
        self.stubborn: set[str] = set()
        self.rotated: list[str] = []
        self.known: set[int] | None = None
        self.pids: Iterator[int] = itertools.count(
            1 << 22
        )  # past what a real process gets by default

    def spawn(self, spec: ServerSpec) -> MemoryProcess:
        if spec.name in self.impossible:
            raise FileNotFoundError(f"no such program: {spec.command[0]}")
        if spec.name in self.absurd:
            raise ValueError("embedded null byte")
        process = MemoryProcess(spec, next(self.pids), stubborn=spec.name in self.stubborn)
        self.all.append(process)
        return process

    def tail(self, spec: ServerSpec) -> list[str]:
        return [f"the last words of {spec.name}"]

    def rotate(self, name: str) -> None:
        self.rotated.append(name)

    def bury(self, known: Collection[int]) -> None:
        self.known = set(known)

    def of(self, name: str) -> list[MemoryProcess]:
        return [process for process in self.all if process.spec.name == name]

    def latest(self, name: str) -> MemoryProcess:
        return self.of(name)[-1]

    def names(self) -> list[str]:
        return [process.spec.name for process in self.all]


def spec(name: str, *depends_on: Dependency, policy: Policy = PATIENT) -> ServerSpec:
    return ServerSpec(name, name, ("true",), depends_on, policy)
