"""What `tale dashboard` takes of a processor while a real task is worked on, beside `top -d 1`.

Both run on terminals of their own, 200 x 50, at the same time: what another program that draws all
of a machine once a second takes is what anybody will compare it with.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Generator, Mapping, Sequence

import psutil

from benchmarks.installation import TALE, Installation
from benchmarks.report import Figure, Report

_SECONDS = 30.0
_SETTLED_SECONDS = 8.0
"""Until it has drawn everything once."""
_TEXT = "Tell me a story about the sea in eight hundred words."
_REACH = 3.0


def measure(report: Report) -> None:
    """Watch a task, and measure who shows it."""
    with Installation.fresh() as installation:
        installation.tale("submit", "hello world")  # the daemon is up and the models are warm
        task = installation.tale("submit", "--no-wait", _TEXT).strip()
        environment = {**installation.environment, "TERM": "xterm-256color"}
        with (
            _on_a_terminal([TALE, "dashboard"], environment) as dashboard,
            _on_a_terminal(_beside(), environment) as other,
        ):
            time.sleep(_SETTLED_SECONDS)
            before = [_used(process) for process in (dashboard, other)]
            time.sleep(_SECONDS)
            took = [
                100 * (_used(process) - used) / _SECONDS
                for process, used in zip((dashboard, other), before, strict=True)
            ]
            memory = dashboard.memory_info().rss
        installation.tale("cancel", task)
    report.add(
        Figure(
            "`tale dashboard` at 200 x 50 while a task runs, of one core",
            took[0],
            "%",
            "< 3 %",
            took[0] < _REACH,
            "`top -d 1`",
            took[1],
        )
    )
    report.console.print(f"    {memory / (1 << 20):.0f} MiB of memory")


def _beside() -> list[str]:
    top = shutil.which("top")
    return [top, "-d", "1"] if top else ["sleep", "600"]


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextlib.contextmanager
def _on_a_terminal(
    command: Sequence[str], environment: Mapping[str, str]
) -> Generator[psutil.Process]:
    """Run a program on a terminal whose output nobody looks at."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    with subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=dict(environment),
        start_new_session=True,
    ) as process:
        os.close(slave)
        reader = threading.Thread(target=_read_all, args=(master,), daemon=True)
        reader.start()
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()
            reader.join()
            os.close(master)


def _read_all(terminal: int) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(terminal, 1 << 16):
            pass
