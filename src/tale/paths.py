"""Where tale's files live: the XDG folders, or all of it under `TALE_HOME`.

Needs nothing but the environment, so that commands that only look something up stay quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

__all__ = ["Paths"]


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one installation.

    Attributes:
        config_file: `tale.toml`; need not exist.
        data: Database, model files, workspaces, saved caches.
        logs: One file per server.
        runtime: What lives only as long as the daemon: its lock and its address.
    """

    config_file: Path
    data: Path
    logs: Path
    runtime: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Resolve the folders; `TALE_HOME` moves all of them, `TALE_CONFIG` the file alone."""
        if home := environ.get("TALE_HOME"):
            root = Path(home).expanduser().absolute()
            paths = cls(root / "tale.toml", root, root / "logs", root / "run")
        else:
            # The daemon's address stands beside the data, not in XDG_RUNTIME_DIR: a cron job or a
            # plain ssh session has no such variable, and must find the same daemon.
            data = platformdirs.user_data_path("tale", appauthor=False)
            paths = cls(
                platformdirs.user_config_path("tale", appauthor=False) / "tale.toml",
                data,
                platformdirs.user_state_path("tale", appauthor=False) / "logs",
                data / "run",
            )
        if config := environ.get("TALE_CONFIG"):
            return cls(Path(config).expanduser().absolute(), paths.data, paths.logs, paths.runtime)
        return paths

    @property
    def database(self) -> Path:
        """The SQLite file that holds tasks and conversations."""
        return self.data / "tale.db"

    @property
    def steps(self) -> Path:
        """The SQLite file in which the task engine keeps what steps did."""
        return self.data / "steps.db"

    @property
    def ledger(self) -> Path:
        """The SQLite file in which the models server keeps what each request took."""
        return self.data / "ledger.db"

    @property
    def chat_history(self) -> Path:
        """What was typed at the prompt of `tale chat`."""
        return self.data / "chat_history"

    @property
    def models(self) -> Path:
        """Model files, unless the settings name another folder."""
        return self.data / "models"

    @property
    def slots(self) -> Path:
        """Prompt caches that llama.cpp saves and restores."""
        return self.data / "slots"

    @property
    def workspaces(self) -> Path:
        """Parent of the workspaces that tale makes when a task brings none."""
        return self.data / "workspaces"

    @property
    def checkpoints(self) -> Path:
        """The bare git repository of the checkpoints of all tasks."""
        return self.data / "checkpoints.git"

    @property
    def outputs(self) -> Path:
        """What programs of tasks printed beyond what a model is told."""
        return self.data / "outputs"

    @property
    def runtime_file(self) -> Path:
        """How to reach the running daemon, token included; mode 0600."""
        return self.runtime / "daemon.json"

    @property
    def token_file(self) -> Path:
        """The bearer token of all servers; mode 0600, the same at each start."""
        return self.data / "token"

    @property
    def model_plan(self) -> Path:
        """How the daemon's models are run, by the memory that was free as they were planned."""
        return self.runtime / "model-processes.json"

    @property
    def lock_file(self) -> Path:
        """Held (flock) by the one daemon of this installation."""
        return self.runtime / "daemon.lock"

    def log_of(self, server: str) -> Path:
        """The log file of one server."""
        return self.logs / f"{server}.log"

    def log_names(self) -> list[str]:
        """Name the servers that have a log."""
        return sorted(file.stem for file in self.logs.glob("*.log"))
