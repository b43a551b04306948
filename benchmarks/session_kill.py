"""A short session in which the task model is killed while it works: what becomes of each request.

Above: `session`, whose daemon and requests it takes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

from benchmarks.installation import Installation
from benchmarks.report import Figure, Report
from benchmarks.session_requests import Request
from tale.cli.client import McpClient
from tale.errors import TaleError

__all__ = ["measure"]

_HANG_SECONDS: Final = 180.0
_TASK_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.05
_KINDS: Final = ("problem", "problem", "question", "summary", "talk", "problem", "question", "talk")
_KILL_AFTER: Final = 2


def measure(report: Report, installation: Installation, requests: list[Request]) -> None:
    """Say eight things, kill after the second, and wait for the end of all of them."""
    by_kind = {kind: [r.text for r in requests if r.kind == kind] for kind in set(_KINDS)}
    texts = [by_kind[kind].pop() for kind in _KINDS]
    token = installation.runtime.token
    ux = McpClient(installation.url_of("ux"), token, silence=_HANG_SECONDS)
    gateway = McpClient(installation.url_of("gateway"), token, silence=_HANG_SECONDS)
    session = ux.call("chat", {"text": "Hi there!"}).text("session")
    ends: dict[int, str] = {}
    tasks: dict[int, str] = {}

    def say(number: int) -> None:
        try:
            reply = ux.call("chat", {"text": texts[number], "session": session})
        except TaleError as error:
            ends[number] = f"refused ({error.message})" if error.message else "failed in silence"
            return
        if task := reply.text("task"):
            tasks[number] = task
        ends[number] = "answered" if reply.text("answer").strip() else "answered with nothing"

    for number in range(len(texts)):
        if number == _KILL_AFTER:
            _kill_at_work(installation, gateway, tasks[0])
        # A thread of its own, so that a call that never ends is counted and not waited for.
        thread = threading.Thread(target=say, args=(number,), daemon=True)
        thread.start()
        thread.join(_HANG_SECONDS)
        ends.setdefault(number, "hung")
    for number, task in tasks.items():
        ends[number] = _end_of(gateway, task)
    for number, end in sorted(ends.items()):
        report.console.print(f"  task model killed: {_KINDS[number]} {end}")
    kept = sum(end == "answered" or end.startswith("refused (") for end in ends.values())
    report.add(
        Figure(
            "task model killed in mid-session: answered or clearly refused",
            kept,
            f"of {len(texts)}",
            "all, none hangs",
            kept == len(texts),
        )
    )


def _kill_at_work(installation: Installation, gateway: McpClient, task: str) -> None:
    while gateway.call("show", {"id": task}).text("state") == "queued":
        time.sleep(_LOOK_SECONDS)
    os.kill(installation.servers()["model-task"]["pid"], signal.SIGKILL)


def _end_of(gateway: McpClient, task: str) -> str:
    until = time.monotonic() + _TASK_SECONDS
    while time.monotonic() < until:
        shown = gateway.call("show", {"id": task, "wait": 20})
        match shown.text("state"):
            case "done":
                return "answered" if shown.text("answer").strip() else "done with no answer"
            case "failed" | "cancelled":
                why = shown.text("error")
                return f"refused ({why})" if why else "failed in silence"
            case _:
                pass
    return "hung"
