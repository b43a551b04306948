"""Checks of this machine: interpreter, folders, ports, llama.cpp, sandbox. See `checks`."""

from __future__ import annotations

import importlib.util
import platform
import socket
import sys
import tempfile
from pathlib import Path

from tale.cli.check import Check
from tale.config import Settings
from tale.config_tasks import SandboxSettings
from tale.paths import Paths
from tale.tasks.sandbox_bwrap import Unable, probe

__all__ = [
    "check_folders",
    "check_llama",
    "check_ports",
    "check_python",
    "check_sandbox",
]

_OLDEST_PYTHON = (3, 11)


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Whether the interpreter is new enough."""
    if version < _OLDEST_PYTHON:
        return Check(
            "python",
            "fail",
            f"{platform.python_version()}, but tale needs 3.11 or newer.",
            "Install tale with a newer interpreter, for example `uv tool install --python 3.12 .`.",
        )
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable})")


def check_folders(paths: Paths) -> Check:
    """Whether data, logs and the runtime file can be written."""
    for folder in (paths.data, paths.logs, paths.runtime):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Check(
                "folders",
                "fail",
                f"{folder} can't be written: {error.strerror}.",
                f"Make it yours (`sudo chown -R $USER {folder}`), or set TALE_HOME.",
            )
    return Check("folders", "ok", f"{paths.data} can be written")


def check_ports(settings: Settings, *, daemon_runs: bool) -> Check:
    """Whether the two fixed ports are free, or ours."""
    ports = {"gateway": settings.gateway.port, "model_server": settings.model_server.port}
    named = ", ".join(f"{port or 'any'} ({name})" for name, port in ports.items())
    if daemon_runs:
        return Check("ports", "ok", f"{named}: held by the daemon")
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                return Check(
                    "ports",
                    "fail",
                    f"127.0.0.1:{port} can't be used: {error.strerror}.",
                    f"Stop the program that holds it (`ss -ltnp 'sport = :{port}'` names it), or "
                    f"set port under [{name}] in tale.toml.",
                )
    return Check("ports", "ok", f"{named}: free")


def check_llama() -> Check:
    """Whether llama.cpp was installed for this platform."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Check(
            "llama.cpp",
            "fail",
            f"xllamacpp is not installed for {platform.machine()}.",
            'Install it (`pip install xllamacpp`), or use Ollama: models.backend = "ollama".',
        )
    return Check("llama.cpp", "ok", f"xllamacpp for {platform.system()} {platform.machine()}")


def check_sandbox(settings: SandboxSettings, program: Path | None = None) -> Check:
    """Whether programs of tasks can be shut in, by shutting one in."""
    if settings.kind == "none":
        return Check(
            "sandbox",
            "warn",
            "off: programs that tasks run can do whatever you may do.",
            'Set sandbox.kind = "bubblewrap" in tale.toml.',
        )
    found = probe(program)
    if isinstance(found, Unable):
        why = f"{found.why} Until then, tasks run no programs."
        return Check("sandbox", "warn", why, found.mend)
    network = "with the network" if settings.network else "no network"
    return Check("sandbox", "ok", f"bubblewrap ({found}), {network}")
