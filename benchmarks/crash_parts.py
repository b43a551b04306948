"""The processes that the crash campaign kills: tale's own gateway and execution servers.

Only the ends differ: the agent follows a script, the model answers at once, and each effect leaves
a line in a witness file, which is appended to and never changed. They are forked from a nursery
that has the imports behind it, as the daemon's servers are. Above: `crashes`.
"""

from __future__ import annotations

import array
import asyncio
import importlib
import itertools
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool
from starlette.types import ASGIApp

from tale.models.backend import ChatRequest, Chunk, Message, Role, Usage
from tale.models.caller import HeldUp, ModelAnswer, Purpose
from tale.servers import execution, gateway
from tale.servers.runner import ServerContext, run_server
from tale.tasks.hands import (
    Action,
    EditFile,
    Hands,
    Outcome,
    Question,
    RunCommand,
    WriteFile,
)
from tale.tasks.sandbox_bare import Bare
from tale.tasks.task import Step, StepResult
from tale.tasks.tools import Tooling

__all__ = ["OPERATIONS", "expected", "main"]

OPERATIONS: Final = ("ask", "write", "once", "again", "ask", "edit")
"""What each part of the task does, in this order; its steps are recorded by these positions."""
_WITNESS: Final = "TALE_CRASH_WITNESS"
_PIECES: Final = 4
_PACE: Final = "TALE_CRASH_PACE"
_MOST_SECONDS: Final = 0.02


def expected(part: str) -> str:
    """Say what a part's file holds in the end."""
    return f"answer to {part}:0, mended by answer to {part}:4\n"


async def agent(step: Step, hands: Hands) -> StepResult:
    """Ask, write, run a command once, run one that may be repeated, ask, and edit."""
    name = step.id
    file = f"{step.subtask}.txt"
    first = await hands.ask(_question(f"{name}:0"))
    written = await hands.act(WriteFile(file, f"{first.text}\n"))
    once = await hands.act(RunCommand(f"{name}:2"))
    again = await hands.act(RunCommand(f"{name}:3", repeatable=True))
    last = await hands.ask(_question(f"{name}:4"))
    edited = await hands.act(
        EditFile(file, f"{first.text}\n", f"{first.text}, mended by {last.text}\n")
    )
    told = " ".join(f"{one.ok:d}" for one in (written, once, again, edited))
    return StepResult(told, "scripted", "task", (file,))


def _question(name: str) -> Question:
    return Question((Message("user", name),), 100, role="task")


def witness(line: str) -> None:
    """Leave a line that nothing takes away again."""
    descriptor = os.open(os.environ[_WITNESS], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


class _Model:
    """Answers with the name of the question, in a few pieces."""

    def stream(
        self,
        request: ChatRequest,
        target: str = "auto",
        deadline_s: float | None = None,
        *,
        purpose: Purpose | None = None,
        held_up: HeldUp | None = None,
    ) -> AbstractAsyncContextManager[ModelAnswer]:
        del target, deadline_s, purpose, held_up
        return self._stream(request.messages[-1].content)

    @asynccontextmanager
    async def _stream(self, name: str) -> AsyncGenerator[_Answer]:
        witness(name)
        yield _Answer(name)

    async def outcome(self, request: str, *, ok: bool) -> None:
        del request, ok

    async def count_tokens(
        self, texts: Sequence[str], target: str, deadline_s: float
    ) -> Sequence[int]:
        del target, deadline_s
        return [1 for _ in texts]

    async def compute_ahead(
        self, messages: Sequence[Message], target: str, deadline_s: float
    ) -> bool:
        del messages, target, deadline_s
        return True

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        del request, target, deadline_s
        return None


class _Answer:
    def __init__(self, name: str) -> None:
        self._name = name
        self.model = "scripted"
        self.role: Role | None = "task"
        self.reason = ""
        self.request = name

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        text = f"answer to {self._name}"
        size = -(-len(text) // _PIECES)
        for start in range(0, len(text), size):
            await asyncio.sleep(float(os.environ[_PACE]))
            yield Chunk(text[start : start + size])
        yield Chunk(finish="stop", usage=Usage(1, 1))


_write = execution.performing(Tooling(Bare()))


async def perform(action: Action, step: Step) -> Outcome:
    """Do it, leaving time to be killed before and after."""
    await _moment()
    match action:
        case RunCommand(line=name):
            witness(name)
            outcome = Outcome(ok=True, text="ran", exit=0)
        case EditFile(path=path, old=old, new=new):
            file = Path(step.workspace) / path
            text = file.read_text()
            if text.count(old) == 1 and new not in text:
                await _write(WriteFile(path, text.replace(old, new)), step)
                outcome = Outcome(ok=True, text="edited")
            else:
                outcome = Outcome(ok=False, text="the text is not there")
        case _ if not isinstance(action, WriteFile):
            file = Path(step.workspace) / getattr(action, "path", "")
            outcome = Outcome(ok=True, text=file.read_text())
        case _:
            outcome = await _write(action, step)
    await _moment()
    return outcome


async def _moment() -> None:
    await asyncio.sleep(random.uniform(0, _MOST_SECONDS))


@asynccontextmanager
async def _compose_execution(context: ServerContext) -> AsyncGenerator[ASGIApp]:
    del context
    yield execution.Execution(_Model(), perform).app()


def _die_at(boundary: int) -> None:
    """Kill this process at a write boundary: before a commit, or when its connection is done."""
    passed = itertools.count(1)

    def pass_one(*_: object) -> None:
        if next(passed) == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "commit", pass_one)
    event.listen(Pool, "checkin", pass_one)


def _serve(service: str) -> None:
    if service == "gateway":
        run_server(partial(gateway.compose, agent=agent))
    else:
        run_server(_compose_execution)


def main() -> None:
    """Fork a server for each order, which brings its leash and its log as descriptors.

    An order is a service, its home, the seconds that a piece of an answer takes, and the number of
    the write boundary at which the server dies; 0 for none.
    """
    importlib.import_module("dbos")  # so that the forks have it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    orders = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    while True:
        message, ancillary, *_ = orders.recvmsg(4096, socket.CMSG_SPACE(8))
        if not message:
            return
        descriptors = array.array("i")
        for *_, data in ancillary:
            descriptors.frombytes(data)
        service, home, pace, boundary = message.decode().split(" ")
        leash, log = descriptors
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(leash, 0)
            os.dup2(log, 2)
            orders.close()
            os.environ["TALE_HOME"] = home
            os.environ[_WITNESS] = f"{home}/witness"
            os.environ[_PACE] = pace
            if int(boundary):
                _die_at(int(boundary))
            _serve(service)
            os._exit(0)
        os.close(leash)
        os.close(log)
        orders.send(str(pid).encode())


if __name__ == "__main__":
    main()
