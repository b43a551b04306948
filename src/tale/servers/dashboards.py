"""What the gateway serves for dashboards, put together: the overview, the API, the page.

Above: `gateway`. Below: `overview`, `web_api`, `web_page`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from starlette.routing import Route

from tale.servers.checkpoints import CheckpointTools
from tale.servers.overview import Overviews
from tale.servers.overview_sources import open_sources
from tale.servers.overview_tasks import TaskLooks
from tale.servers.runner import ServerContext
from tale.servers.task_tools import TaskTools
from tale.servers.web_api import Actions, WebApi
from tale.servers.web_page import WebPage
from tale.servers.web_sessions import OneTimeKeys, Sessions
from tale.tasks.progress import ProgressHub
from tale.tasks.store import TaskStore, utc_now
from tale.tasks.watching import Watching
from tale.wire.checkpoint_contracts import CheckpointRequest
from tale.wire.contracts import ShowRequest, TaskRequest, VerdictRequest

__all__ = ["actions_of", "open_dashboards"]


@asynccontextmanager
async def open_dashboards(
    context: ServerContext,
    tools: TaskTools,
    kept: CheckpointTools,
    *,
    store: TaskStore,
    hub: ProgressHub,
    watching: Watching,
) -> AsyncGenerator[list[Route]]:
    """Run what gathers, and give the routes.

    Args:
        context: What the server was given.
        tools: Do what is asked of tasks.
        kept: Do what is asked of checkpoints.
        store: Has the tasks.
        hub: Tells what happens to them.
        watching: Knows how far they are.
    """
    leash = context.leash

    def address() -> str:
        own = leash.peers.of("gateway")
        return own[0].url if own else ""

    async with open_sources(leash) as sources, anyio.create_task_group() as tasks:
        overviews = Overviews(sources, TaskLooks(store, watching), address=address, now=utc_now)
        hub.listen(overviews.take)
        keys = OneTimeKeys(time.monotonic)
        api = WebApi(
            overviews,
            sources,
            store,
            actions=actions_of(tools, kept),
            keys=keys,
            paths=context.paths,
            task_events=tools.events,
            background=tasks,
        )
        tasks.start_soon(overviews.run)
        tasks.start_soon(_close_when, context.stopping, overviews)
        page = WebPage(keys, Sessions(leash.token, time.time))
        yield [*api.routes(), *page.routes()]
        tasks.cancel_scope.cancel()


def actions_of(tools: TaskTools, kept: CheckpointTools) -> Actions:
    """List what may be done to a task."""
    return {
        "show": (ShowRequest, tools.show),
        "pause": (TaskRequest, tools.pause),
        "resume": (TaskRequest, tools.resume),
        "cancel": (TaskRequest, tools.cancel),
        "approve": (VerdictRequest, tools.approve),
        "reject": (VerdictRequest, tools.reject),
        "checkpoints": (TaskRequest, kept.list),
        "restore": (CheckpointRequest, kept.restore),
    }


async def _close_when(stopping: anyio.Event, overviews: Overviews) -> None:
    """End the streams, which would hold the server up."""
    await stopping.wait()
    overviews.broadcast.close()
