"""What `tale doctor` looks at. A check is a function that gives what it found and never raises.

The daemon is not started for it. What the running daemon holds (its ports, the models' memory) is
counted as free. Above: `doctor`. Below: `check_machine` (this machine), `check_models` (files,
memory, Ollama), `check_daemon`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tale.cli.check import Check, Level
from tale.cli.check_daemon import check_daemon
from tale.cli.check_database import check_database
from tale.cli.check_machine import (
    check_folders,
    check_llama,
    check_ports,
    check_python,
    check_sandbox,
)
from tale.cli.check_models import check_backend, check_disk, check_files, check_memory
from tale.config import Settings
from tale.config_layers import load_settings
from tale.errors import ConfigError
from tale.paths import Paths

__all__ = ["Check", "Level", "all_checks"]


def all_checks(paths: Paths) -> Iterator[Check]:
    """Look at everything, the foundations first; settings that can't be read end it."""
    yield check_python()
    settings, check = _check_settings(paths)
    yield check
    yield check_folders(paths)
    if settings is None:
        return
    daemon, pool = check_daemon(paths)
    backend = check_backend(settings)
    yield check_database(paths)
    yield check_disk(paths, settings)
    if backend.uses_embedded:
        yield check_llama()
        yield check_files(paths, settings)
        yield check_memory(paths, settings, pool)
    yield backend.check
    yield check_ports(settings, daemon_runs=daemon.level != "warn")
    yield check_sandbox(settings.sandbox)
    yield daemon


def _check_settings(paths: Paths) -> tuple[Settings | None, Check]:
    file = paths.config_file
    try:
        settings = load_settings(paths)
    except ConfigError as error:
        mend = f"Correct {file}, or move it away."
        if str(file) not in error.message:
            mend = "Correct the variable, or unset it."
        return None, Check("settings", "fail", error.message, error.hint or mend)
    there = str(file) if file.exists() else f"defaults ({file} is not there)"
    return settings, Check("settings", "ok", there)
