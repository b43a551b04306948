"""The sweeper: a process that ends the servers of a supervisor that was killed.

tale's own servers leave when their leash is cut, and the kernel sees to it. A foreign program knows
of neither, and a supervisor that gets SIGKILL ends nobody. So this process is told the process
group of each such server on its standard input (`+123` and `-123`, one a line), and at end-of-file,
which is the supervisor's end however it comes, it kills the groups that are still listed.

A group's leader is held by a pidfd, so that a number that has become somebody else's is left alone;
where there is no pidfd (macOS) the number has to do. A program that leaves its group is not found.

Run as a file, by an interpreter without `site` and of nothing but built-in modules: it is there all
the time and takes hardly more memory than Python itself. Above: `sweeping`, its supervisor's side.
"""

from __future__ import annotations

import os
import signal

__all__ = ["main"]

_READ = 4096
_WHOLE_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, linux/pidfd.h; Linux 6.9
_NO_PIDFD = -1


def main(line: int = 0) -> None:
    """Listen until the supervisor is gone, then kill what it left.

    Args:
        line: Descriptor on which it speaks.
    """
    leaders: dict[int, int] = {}
    unread = b""
    while data := os.read(line, _READ):
        *words, unread = (unread + data).split(b"\n")
        for word in words:
            _obey(leaders, word.decode())
    for group, leader in leaders.items():
        _kill(group, leader)


def _obey(leaders: dict[int, int], word: str) -> None:
    """Take a group on the list, or off it."""
    group = int(word[1:])
    leader = leaders.pop(group, _NO_PIDFD)
    if leader != _NO_PIDFD:
        os.close(leader)
    if word.startswith("+"):
        try:  # noqa: SIM105  contextlib would be one more module in memory
            leaders[group] = os.pidfd_open(group) if hasattr(os, "pidfd_open") else _NO_PIDFD
        except OSError:
            pass  # gone already: whose the number is now, nobody can tell


def _kill(group: int, leader: int) -> None:
    try:
        if leader == _NO_PIDFD:
            os.killpg(group, signal.SIGKILL)
            return
        try:
            signal.pidfd_send_signal(leader, signal.SIGKILL, None, _WHOLE_GROUP)
        except OSError as error:
            if isinstance(error, ProcessLookupError):
                return
            _kill_by_number(group, leader)
    except OSError:
        pass  # the group has left by itself


def _kill_by_number(group: int, leader: int) -> None:
    """Kill a group on an older kernel, which keeps a number from others while the group lives."""
    try:
        signal.pidfd_send_signal(leader, 0)
    except ProcessLookupError:
        try:
            os.kill(group, 0)
        except ProcessLookupError:
            pass  # the leader is reaped, its number is no process's: what is there is its group
        else:
            return
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
