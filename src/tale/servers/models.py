"""The models server: the one process that holds a `ModelPool`.

This module is only the way to the earliest start. Loading two models is the longest part of a cold
start, so their processes are asked for first; Starlette, aiohttp, the pool and the routes (more
than half a second of imports on a slow machine) come while they load, in `model_app`, and the MCP
SDK (more than a second) when somebody speaks MCP.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from tale.config import BackendKind, ModelsSettings
from tale.models.backend_choice import configured_backend, unused_urls
from tale.models.embedded_pair import EmbeddedPair
from tale.models.launcher import LeashLauncher
from tale.servers.runner import ServerContext, run_server
from tale.telemetry import get_logger

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["choose_backend", "compose", "main"]

log = get_logger(__name__)

# A listening Ollama takes a connection at once; a machine without one refuses it at once.
_CONNECT_SECONDS: Final = 0.3


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[ASGIApp]:
    """Build the models server; see `servers.runner`."""
    kind = await choose_backend(context.settings.models)
    log.info("models.backend", kind=kind)
    if unused := unused_urls(kind, context.settings.models):
        log.warning("models.url_unused", backend=kind, unused=", ".join(unused))
    pair: EmbeddedPair | None = None
    since: float | None = None
    if kind == "embedded":
        launcher = LeashLauncher(context.leash)
        token = context.leash.token
        pair = EmbeddedPair(context.settings.models, context.paths, launcher, token=token)
        begun = time.monotonic()
        since = begun if await pair.begin() else None
    # Here and not above: see the module's docstring.
    from tale.servers.model_app import serve_models  # noqa: PLC0415

    async with serve_models(context, kind, pair, loading_since=since) as app:
        yield app


async def choose_backend(settings: ModelsSettings) -> BackendKind:
    """Decide where the models run: as configured, else an Ollama with the pair, else embedded.

    Raises:
        ConfigError: The settings say it for one model only.
    """
    if (configured := configured_backend(settings)) != "auto":
        return configured
    if not await _listens(settings.ollama_url):
        return "embedded"
    # aiohttp is worth its import only where somebody listens.
    from tale.models.ollama import TASK_MODEL, UX_MODEL, find_pair  # noqa: PLC0415

    names = {settings.ux.name or UX_MODEL, settings.task.name or TASK_MODEL}
    return "ollama" if await find_pair(settings.ollama_url, names) else "embedded"


async def _listens(url: str) -> bool:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port or 11434
        with anyio.fail_after(_CONNECT_SECONDS):
            stream = await anyio.connect_tcp(host, port)
    except (OSError, ValueError):  # TimeoutError is an OSError
        return False
    await stream.aclose()
    return True


def main() -> None:
    """Run the models server."""
    run_server(compose, port=lambda settings: settings.model_server.port)


if __name__ == "__main__":
    main()
