"""Checks of models: where they run, their files, memory and disk for them. See `checks`."""

from __future__ import annotations

import http.client
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tale.cli.check import Check
from tale.cli.pool_view import PoolView
from tale.cli.record import Record
from tale.cli.render import human_bytes
from tale.config import RoleSettings, Settings
from tale.errors import ConfigError, InsufficientMemory, TaleError
from tale.models.backend import Role
from tale.models.backend_choice import configured_backend
from tale.models.catalog import EMBEDDED_PAIR, ModelFile, resolve_file
from tale.models.fetch import is_present
from tale.models.gguf import read_gguf
from tale.models.machine import MachineMemory
from tale.models.memory_plan import ModelNeed, plan
from tale.paths import Paths

__all__ = ["BackendCheck", "check_backend", "check_disk", "check_files", "check_memory"]

_ANSWER_SECONDS = 2.0
_SPARE_BYTES = 1 << 30  # for databases, workspaces, logs


@dataclass(frozen=True, slots=True)
class BackendCheck:
    """What was found of the places where models run."""

    check: Check
    uses_embedded: bool


def check_backend(settings: Settings) -> BackendCheck:
    """Whether what the settings name as backend answers."""
    models = settings.models
    try:
        backend = configured_backend(models)
    except ConfigError as error:
        return BackendCheck(Check("backend", "fail", error.message, error.hint), False)
    match backend:
        case "embedded":
            return BackendCheck(Check("backend", "ok", "embedded, by the settings"), True)
        case "openai":
            return BackendCheck(_check_urls(models.ux.url, models.task.url), False)
        case "ollama":
            return BackendCheck(_check_ollama(models.ollama_url, required=True), False)
        case "auto":
            check = _check_ollama(models.ollama_url, required=False)
            return BackendCheck(check, True)


def _check_ollama(url: str, *, required: bool) -> Check:
    fault = ""
    try:
        version = _ollama_version(url)
    except (OSError, http.client.HTTPException) as error:
        version, fault = "", f"Ollama does not answer at {url}: {error}."
    if not version:
        if not required:
            return Check("backend", "ok", f"embedded; no Ollama at {url}")
        return Check(
            "backend",
            "fail",
            fault or f"What answers at {url} is not Ollama.",
            "Start it (`ollama serve`), correct models.ollama_url, or set models.backend = "
            '"embedded".',
        )
    pair = "" if required else "; it is used if it has the pair, else the embedded models"
    return Check("backend", "ok", f"Ollama {version} at {url}{pair}")


def _check_urls(*urls: str) -> Check:
    for url in urls:
        parts = urlsplit(url)
        if not parts.hostname:
            return Check(
                "backend",
                "fail",
                "models.backend is openai, and a role has no url.",
                "Set url under [models.ux] and [models.task], or set models.backend.",
            )
        try:
            connection = _connection(url)
            connection.connect()
            connection.close()
        except OSError as error:
            return Check(
                "backend",
                "fail",
                f"{url} does not answer: {error}.",
                "Start that server, or correct the url under [models.ux] and [models.task].",
            )
    return Check("backend", "ok", ", ".join(dict.fromkeys(urls)))


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS)


def _ollama_version(url: str) -> str:
    """Ask for the version; empty where somebody else answers."""
    asked = f"{url.rstrip('/')}/api/version"
    connection = _connection(asked)
    try:
        connection.request("GET", urlsplit(asked).path)
        return Record.parse(connection.getresponse().read()).text("version")
    except ValueError:  # no JSON
        return ""
    finally:
        connection.close()


def check_files(paths: Paths, settings: Settings) -> Check:
    """Whether the embedded pair's files are here and were verified."""
    try:
        files = _files(paths, settings)
    except TaleError as error:
        return Check("files", "fail", error.message, error.hint)
    missing = [file for file in files if not file.path.exists()]
    if missing:
        size = sum(file.model.size for file in missing if file.model)
        return Check(
            "files",
            "warn",
            f"{' and '.join(file.name for file in missing)} not here yet ({human_bytes(size)}).",
            "`tale models pull` fetches them; so does the first start.",
        )
    damaged = [f for f in files if f.model and f.path.stat().st_size != f.model.size]
    if damaged:
        return Check(
            "files",
            "fail",
            f"{damaged[0].path} is not as long as it should be.",
            f"`tale models pull {damaged[0].name}` moves it aside and fetches it again.",
        )
    folder = files[0].path.parent
    unverified = [f.name for f in files if f.model and not is_present(f.model, folder)]
    note = f" ({', '.join(unverified)} will be verified at the next start)" if unverified else ""
    return Check("files", "ok", f"{' and '.join(file.name for file in files)} in {folder}{note}")


def check_memory(paths: Paths, settings: Settings, pool: PoolView | None) -> Check:
    """Whether the pair fits into memory, beside what else runs."""
    machine = MachineMemory.read()
    held = sum(int(model.memory_bytes or 0) for model in pool.models) if pool else 0
    free = MachineMemory(machine.total, machine.available + held)
    try:
        needs = [
            _need(file, role)
            for file, role in zip(
                _files(paths, settings), (settings.models.ux, settings.models.task), strict=True
            )
        ]
        planned = plan(needs, free)
    except InsufficientMemory as error:
        return Check("memory", "fail", error.message, error.hint)
    except TaleError as error:
        return Check("memory", "fail", error.message, error.hint)
    return Check(
        "memory",
        "ok",
        f"{human_bytes(planned.needed)} needed by the pair, {human_bytes(free.available)} of "
        f"{human_bytes(free.total)} available",
    )


def check_disk(paths: Paths, settings: Settings) -> Check:
    """Whether the disk has room for what is still to be fetched, and for work."""
    directory = settings.models.directory or paths.models
    try:
        files = _files(paths, settings)
    except TaleError:
        files = []
    missing = sum(f.model.size for f in files if f.model and not f.path.exists())
    folder = _nearest(directory)
    free = shutil.disk_usage(folder).free
    needed = missing + _SPARE_BYTES
    if free < needed:
        return Check(
            "disk",
            "fail" if free < missing else "warn",
            f"{human_bytes(free)} free on the disk of {directory}, {human_bytes(needed)} wanted.",
            "Free space, or set models.directory to another disk.",
        )
    return Check("disk", "ok", f"{human_bytes(free)} free on the disk of {directory}")


def _files(paths: Paths, settings: Settings) -> list[ModelFile]:
    directory = settings.models.directory or paths.models
    roles: dict[Role, RoleSettings] = {"ux": settings.models.ux, "task": settings.models.task}
    return [
        resolve_file(chosen.name or EMBEDDED_PAIR[role], directory)
        for role, chosen in roles.items()
    ]


def _need(file: ModelFile, role: RoleSettings) -> ModelNeed:
    if file.model is not None:
        model = file.model
        return ModelNeed(model.name, model.size, model.shape, role.context, role.slots)
    return ModelNeed.of(file.name, read_gguf(file.path), context=role.context, slots=role.slots)


def _nearest(folder: Path) -> Path:
    """Give the folder, or the closest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
