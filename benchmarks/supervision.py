"""How soon the supervisor brings back what was killed, beside supervisord and circus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Figure, Report, median, spread
from benchmarks.small_server import SLEEPER

__all__ = ["measure"]

_ROOT = Path(__file__).parents[1]
_PEERS = _ROOT / ".peers"
_PINNED = ("supervisor==4.3.0", "circus==0.19.0", "setuptools<81")
_KILLS = 50
_SETTLE_SECONDS = 0.2
_SERVERS = 48
_REPLICAS = 4
_CALLERS = 32

_SUPERVISORD = """
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
[program:sleeper]
command={python} -S {script} {fifo}
autorestart=true
startsecs=0
startretries=1000000
"""
_CIRCUS = """
[circus]
check_delay=0.05
endpoint=ipc://{folder}/endpoint
pubsub_endpoint=ipc://{folder}/pubsub
[watcher:sleeper]
cmd={python} -S {script} {fifo}
max_retry=-1
copy_env=True
"""


def measure(report: Report) -> None:
    """Measure one process killed again and again, and many killed at once."""
    peers = _peers()
    ours = _recoveries(
        "ours", [sys.executable, "-m", "benchmarks.small_server", "sleeper", "{fifo}"]
    )
    others = {
        "supervisord": _recoveries(_SUPERVISORD, [str(peers / "supervisord"), "-c", "{config}"]),
        "circus": _recoveries(_CIRCUS, [str(peers / "circusd"), "{config}"]),
    }
    for name, seconds in others.items():
        report.add(
            Figure(
                "kill -9 → replacement process runs",
                median(ours),
                "ms",
                f"≤ 50 ms, quicker than {name}",
                median(ours) <= min(50, median(seconds)),
                name,
                median(seconds),
                len(ours),
                spread(ours),
            )
        )
    _many(report)
    _rolling(report)


def _supervise(*words: str) -> dict[str, float]:
    """Have small servers supervised in a process of its own; gives what it measured."""
    command = [sys.executable, "-m", "benchmarks.small_server", *words]
    run = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    took: dict[str, float] = json.loads(run.stdout)
    return took


def _rolling(report: Report) -> None:
    took = _supervise("roll", str(_REPLICAS), str(_CALLERS))
    report.add(
        Figure(
            f"rolling restart of {_REPLICAS} replicas under {_CALLERS} callers: failed calls",
            took["failed"],
            f"of {took['made']:.0f}",
            "0",
            took["failed"] == 0,
        )
    )


def _many(report: Report) -> None:
    took = _supervise("many", str(_SERVERS))
    for key, what, unit, reach in (
        ("started", f"{_SERVERS} small MCP servers: start all", "s", 10),
        ("healed", f"{_SERVERS} small MCP servers: kill -9 all → all ready", "s", 10),
        ("idle", f"supervisor of {_SERVERS} servers, idle: processor time", "%", 5),
    ):
        value = took[key]
        report.add(Figure(what, value, unit, f"≤ {reach} {unit}", value <= reach))


def _recoveries(config: str, command: Sequence[str]) -> list[float]:
    """Kill a supervisor's one child again and again; milliseconds until the next one runs."""
    with tempfile.TemporaryDirectory() as folder:
        fifo, script, file = (Path(folder) / name for name in ("fifo", "sleeper.py", "config.ini"))
        os.mkfifo(fifo)
        script.write_text(SLEEPER)
        names = {"fifo": fifo, "script": script, "python": sys.executable, "folder": folder}
        file.write_text(config.format(**names))
        words = [word.format(config=file, **names) for word in command]
        process = subprocess.Popen(
            words, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Open for writing as well, so that it isn't at its end between two children.
        with os.fdopen(os.open(fifo, os.O_RDWR), closefd=True) as started:
            pid = int(started.readline())
            taken: list[float] = []
            for _ in range(_KILLS):
                time.sleep(_SETTLE_SECONDS)
                begun = time.perf_counter()
                os.kill(pid, signal.SIGKILL)
                pid = int(started.readline())
                taken.append(1000 * (time.perf_counter() - begun))
        process.terminate()
        process.wait(30)
    return taken


def _peers() -> Path:
    """Install the others, once; gives where their commands are."""
    commands = _PEERS / "bin"
    if not (commands / "circusd").exists():
        shutil.rmtree(_PEERS, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", _PEERS], check=True)
        subprocess.run([commands / "pip", "install", "--quiet", *_PINNED], check=True)
    return commands
