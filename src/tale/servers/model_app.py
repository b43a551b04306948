"""The models server's application: backends, pool, routes.

Imported by `servers.models` once the model processes have been asked for. Below: `ModelPool`,
`openai_api`, and the backends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientSession
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tale.config import BackendKind, ModelsSettings, RoleSettings, RoutingSettings
from tale.errors import ConfigError
from tale.models.backend import Backend, Role
from tale.models.embedded import EmbeddedBackend
from tale.models.embedded_library import EmbeddedLibrary, ModelProcess
from tale.models.embedded_pair import EmbeddedModel, EmbeddedPair, server_name
from tale.models.further import MemoryGuard, ModelSource, PlainMemory
from tale.models.launcher import Launcher, LeashLauncher
from tale.models.ledger import Ledger, Noting
from tale.models.machine import MachineMemory
from tale.models.model_pool import ModelPool
from tale.models.ollama import TASK_MODEL, UX_MODEL, OllamaBackend
from tale.models.openai_http import OpenAIBackend, open_session
from tale.models.pool_policy import Policy
from tale.models.preferences import preferences_of
from tale.prompts import CHAT_SYSTEM, WORK_SYSTEM
from tale.servers.chat_completions import CHAT_PATH, ChatCompletions
from tale.servers.http_body import http_error
from tale.servers.lazy_mcp import LazyMcp
from tale.servers.model_figures import ModelFigures
from tale.servers.openai_api import model_routes, pool_routes
from tale.servers.routing import Routing
from tale.servers.runner import ServerContext
from tale.servers.usage_api import usage_routes

__all__ = ["build_app", "policy_of", "remote_backend", "remote_endpoints", "serve_models"]

_WARM: Final[dict[Role, tuple[str, ...]]] = {"ux": (CHAT_SYSTEM,), "task": (WORK_SYSTEM,)}
_DEFAULT_NAMES: Final[dict[Role, str]] = {"ux": UX_MODEL, "task": TASK_MODEL}


@asynccontextmanager
async def serve_models(
    context: ServerContext,
    kind: BackendKind,
    pair: EmbeddedPair | None,
    *,
    loading_since: float | None,
) -> AsyncGenerator[ASGIApp]:
    """Open the pool and give the application that serves it.

    Args:
        context: Settings and the leash.
        kind: Where the models run.
        pair: The embedded pair, where they run here.
        loading_since: Monotonic time at which its processes were asked for; None if they weren't.

    Raises:
        ConfigError: The settings lack what this kind of backend needs.
    """
    settings, leash = context.settings.models, context.leash
    roles: dict[Role, RoleSettings] = {"ux": settings.ux, "task": settings.task}
    launcher: Launcher = pair.launcher if pair else LeashLauncher(leash)
    if pair is None:
        # With other settings a pair may have run here; the next one sees to it before it plans.
        await launcher.keep_only(())
    async with open_session() as session:

        def embedded(process: ModelProcess) -> Backend:
            return EmbeddedBackend(
                process.name,
                process.model,
                process.context,
                launcher=launcher,
                module_args=process.arguments,
                nice=process.nice,
                token=leash.token,
                session=session,
            )

        memory: MemoryGuard = PlainMemory(lambda: MachineMemory.read().available)
        source: ModelSource | None = None
        core: dict[Role, Backend]
        if pair is None:
            core = {role: remote_backend(kind, role, settings, session) for role in roles}
        else:
            memory = source = EmbeddedLibrary(pair, embedded, context=settings.task.context)
            core = {model.role: embedded(_process_of(model)) for model in pair.models}
        pool = ModelPool(
            core,
            kind=kind,
            slots={role: found.slots for role, found in roles.items()},
            warm_prompts=_WARM,
            policy=policy_of(settings),
            memory=memory,
            source=source,
            remotes=remote_endpoints(context.settings.routing, session),
            preparation=pair,
            processes_changed=leash.wait_change,
            loading_since=loading_since,
        )
        # Opens its file in the background: neither the start nor a request waits for it.
        routing = Routing(pool, preferences_of(context.settings.routing))
        ledger = Ledger(
            context.paths.ledger,
            count=pool.count_tokens,
            learn=routing.estimates.learn,
            judged=routing.estimates.judged,
        )
        figures = ModelFigures(pool, ledger)
        context.metrics.show(figures.figures)
        async with pool, ledger, LazyMcp(pool) as mcp:
            yield build_app(pool, mcp, routing, ledger, figures)


def _process_of(model: EmbeddedModel) -> ModelProcess:
    """Describe a core model's process; its arguments come with the plan, from the launcher."""
    name = server_name(model.role)
    return ModelProcess(name, model.file.name, model.context, (), model.tuning.nice)


def build_app(
    pool: ModelPool,
    mcp: LazyMcp,
    routing: Routing | None = None,
    ledger: Ledger | None = None,
    noting: Noting | None = None,
) -> ASGIApp:
    """Put the routes together.

    Args:
        pool: Who answers.
        mcp: The tools of this server.
        routing: Decides; one without preferences if missing.
        ledger: What was spent is read from it, and noted in it unless `noting` is given.
        noting: Hears of each request instead, and hands it on.
    """
    routing, noting = routing or Routing(pool), noting or ledger
    chat = ChatCompletions(pool, routing, noting)
    routes = [
        Route(CHAT_PATH, chat, methods=["POST"]),
        *model_routes(pool),
        *pool_routes(pool, routing, noting),
        *(usage_routes(ledger) if ledger else ()),
        Route("/mcp", mcp, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: http_error})

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # Chat goes past Starlette's layers, each of which would touch every token once more.
        if scope.get("path") == CHAT_PATH and scope.get("method") == "POST":
            await chat(scope, receive, send)
        else:
            await app(scope, receive, send)

    return serve


def remote_endpoints(settings: RoutingSettings, session: ClientSession) -> dict[str, Backend]:
    """Make the backends of the endpoints that a fallback chain may name, by their names."""
    return {
        name: OpenAIBackend(
            remote.name,
            remote.context,
            remote.url,
            remote.api_key.get_secret_value(),
            session=session,
        )
        for name, remote in settings.remotes.items()
    }


def policy_of(settings: ModelsSettings) -> Policy:
    """Take the pool's numbers from the settings."""
    return Policy(
        pulse_seconds=settings.pulse_seconds,
        stall_seconds=settings.stall_seconds,
        reserve_bytes=settings.reserve_mb << 20,
    )


def remote_backend(
    kind: BackendKind, role: Role, settings: ModelsSettings, session: ClientSession
) -> Backend:
    """Make the backend of a role whose model runs elsewhere.

    Raises:
        ConfigError: There is no address or name for it.
    """
    wanted: RoleSettings = settings.ux if role == "ux" else settings.task
    if kind == "ollama":
        name = wanted.name or _DEFAULT_NAMES[role]
        return OllamaBackend(name, wanted.context, settings.ollama_url, session=session)
    for field, value in (("url", wanted.url), ("name", wanted.name)):
        if not value:
            raise ConfigError(
                f"models.backend is {kind!r}, but models.{role}.{field} is not set.",
                hint=f"Set {field} under [models.{role}] in tale.toml.",
            )
    key = wanted.api_key.get_secret_value()
    return OpenAIBackend(wanted.name, wanted.context, wanted.url, key, session=session)
