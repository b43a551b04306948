"""A process to which orphans fall; `python orphanage.py SCENARIO` prints what became of them.

Apart from pytest, which must not become anybody's reaper. Each scenario uses real processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

from tale.orchestration.fork_spawn import become_subreaper
from tale.orchestration.orphans import children, reap, sweep

NOBODY: frozenset[int] = frozenset()


def orphan(*, code: int | None = None, new_session: bool = True) -> int:
    """Make one that falls to this process as a daemon does; it exits with the code, or stays."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        if new_session:
            os.setsid()
        if os.fork() == 0:
            os.write(writer, b"%d\n" % os.getpid())
            stay() if code is None else os._exit(code)
        os._exit(0)
    os.waitpid(between, 0)
    return _number(reader)


def child(*, code: int | None = None, leaves: bool = False) -> int:
    """Make a known one in a session of its own; it may leave an orphan in that session."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        left = orphan(new_session=False) if leaves else 0
        os.write(writer, b"%d\n" % left)
        stay() if code is None else os._exit(code)
    _number(reader)
    return pid


def stay() -> None:
    while True:
        signal.pause()


def _number(reader: int) -> int:
    with os.fdopen(reader) as stream:
        return int(stream.readline())


def until_dead(pid: int) -> None:
    """Wait until it is dead; it stays to be reaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def the_dead() -> dict[str, object]:
    """A known child and two orphans have died, in this order."""
    known = child(code=7)
    until_dead(known)
    orphans = [orphan(code=1), orphan(code=2)]
    for pid in orphans:
        until_dead(pid)
    hidden = reap({known})
    code = exit_code(known)
    return {
        "known": known in hidden,
        "code": code,
        "buried": sorted([*hidden, *reap({known})]) == sorted(orphans),
        "left": children(),
    }


def the_living() -> dict[str, object]:
    """A child is known, one is an orphan, and one died and left another behind."""
    known, server = child(), child(code=0)
    stray = orphan()
    exit_code(server)
    ended = sweep({known})
    until_dead(stray)
    return {
        "ended": ended == [stray],
        "signal": reap({known}) == [stray] and signal.SIGKILL,
        "left": children() == [known],
        "again": sweep({known}),
    }


def the_background() -> dict[str, object]:
    """A known child started something that fell to this process; then that child dies."""
    known = child(leaves=True)
    (background,) = set(children()) - {known}
    spared = sweep({known})
    os.kill(known, signal.SIGKILL)
    exit_code(known)
    return {"spared": spared == [], "ended": sweep(NOBODY) == [background]}


def nothing() -> dict[str, object]:
    return {"reaped": reap(NOBODY), "swept": sweep(NOBODY)}


SCENARIOS: dict[str, Callable[[], dict[str, object]]] = {
    "dead": the_dead,
    "living": the_living,
    "background": the_background,
    "nothing": nothing,
}


if __name__ == "__main__":
    become_subreaper()
    found = SCENARIOS[sys.argv[1]]()
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    sys.stdout.write(json.dumps(found))
