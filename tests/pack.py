"""A foreign server: two processes in one group, deaf to SIGTERM, that know of no supervisor.

Prints the ids of both. With `orphaned`, the leader leaves when it is told to (a line on standard
input); the other one stays. With `supervise`, it plays a supervisor and its sweeper instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    member = os.fork()
    if member == 0:
        stay()
    say(os.getpid(), member)
    if "orphaned" in sys.argv:
        sys.stdin.readline()
        os._exit(0)
    stay()


def supervise() -> None:
    from tale.orchestration.sweeping import Sweeper  # noqa: PLC0415  the pack itself starts faster

    sweeper = Sweeper()
    with subprocess.Popen(
        [sys.executable, "-S", "-E", __file__],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        pack = server.stdout.readline().split()
        sweeper.watch(server.pid)
        say(*pack, sweeper.pid)
        stay()


def say(*numbers: object) -> None:
    sys.stdout.write(" ".join(map(str, numbers)) + "\n")
    sys.stdout.flush()


def stay() -> None:
    while True:
        signal.pause()


if __name__ == "__main__":
    supervise() if "supervise" in sys.argv else main()
