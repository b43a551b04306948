"""The gateway server: takes tasks, runs them through the engine, tells their progress.

Here it is put together: the tools of `servers.task_tools`, `servers.checkpoints` and
`servers.transferring`, and what `servers.dashboards` adds, over an engine and what that needs. It
alone writes tasks, and a task is recorded before its id is told. Above: the command line, the ux
server, any MCP client, a browser. Below: `tasks.engine` here, the execution servers by way of
`servers.steps`, and what is remembered by way of `servers.remote_memory`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from starlette.applications import Starlette

from tale.config import NotifySettings
from tale.models.catalog import action_form
from tale.models.machine import MachineMemory
from tale.servers.checkpoints import CheckpointTools
from tale.servers.dashboards import open_dashboards
from tale.servers.remote_memory import RemoteMemory
from tale.servers.results import Results
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import RemoteWorkers
from tale.servers.task_figures import TaskFigures
from tale.servers.task_shapes import view_of
from tale.servers.task_tools import TaskTools
from tale.servers.transferring import Transferring
from tale.servers.web_door import WebDoor
from tale.storage.backup import keep_backed_up
from tale.storage.database import Database
from tale.tasks.adopted import AdoptedSteps, AdoptingJournal
from tale.tasks.agent import work
from tale.tasks.attempts import Limits
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.checkpointing import Checkpointing
from tale.tasks.dbos_journal import DbosJournal
from tale.tasks.dependencies import settle
from tale.tasks.engine import Agent, Engine
from tale.tasks.equip import Equipping
from tale.tasks.going_back import GoingBack
from tale.tasks.judging import judge, kind_of
from tale.tasks.leave import Trust
from tale.tasks.notifier import Channel, Desktop, Notifier, Webhook, http_post
from tale.tasks.plan import faults
from tale.tasks.plan_policy import PlanPolicy
from tale.tasks.planner import Rules
from tale.tasks.planning import PlanKeeping
from tale.tasks.programs_here import can_run
from tale.tasks.programs_in_turn import InTurn
from tale.tasks.progress import ProgressHub
from tale.tasks.rebuilt import see_to_lost_tasks
from tale.tasks.records import TaskRecords
from tale.tasks.steady_clock import SteadyClock
from tale.tasks.store import TaskStore
from tale.tasks.task import STEP_SECONDS, Role
from tale.tasks.task_spans import TaskSpans
from tale.tasks.tooling import rules_of
from tale.tasks.transfer import Transfer
from tale.tasks.watching import Watching
from tale.tasks.workspace import check_workspace
from tale.wire.contracts import TaskView
from tale.wire.execution_contracts import ASK
from tale.wire.memory_contracts import RELATED
from tale.wire.pool import Services

__all__ = ["compose", "main"]


@asynccontextmanager
async def compose(
    context: ServerContext, *, agent: Agent | None = None
) -> AsyncGenerator[Starlette]:
    """Build the gateway and run its engine; with another `agent` than tale's own, to measure it."""
    settings, paths = context.settings, context.paths

    def check_folder(given: str) -> Path:
        return check_workspace(given, home=Path.home(), private=(paths.data,))

    async with (
        Database.open(paths, settings) as database,
        Services(
            context.leash,
            services={ASK.service, RELATED.service},
            token=context.leash.token,
            metrics=context.metrics,
        ).open() as services,
        anyio.create_task_group() as tasks,
    ):
        clock = SteadyClock()
        store = TaskStore(database, paths.workspaces, now=clock)
        hub = ProgressHub(store)
        models = settings.models
        # One of the ux model's slots stays free for whoever chats.
        lanes: dict[Role, int] = {
            "ux": max(1, models.ux.slots - 1),
            "task": max(models.task.slots, settings.execution.replicas),
        }
        watching = Watching(store, kind_of=kind_of, lanes=lanes["task"], now=clock)
        hub.listen(watching.take)
        notifier = Notifier(
            store,
            _channels(settings.notify),
            told=paths.data / "notified.json",
            wanted=settings.notify.on,
            now=clock,
        )
        hub.listen(notifier.take)
        results = Results(database)
        hub.listen(results.take)
        figures = TaskFigures(database)
        hub.listen(figures.take)
        context.metrics.show(figures.figures)
        told = TaskSpans(store.get)
        hub.listen(told.take)
        checkpoints = CheckpointStore(paths.checkpoints)
        keeper = Checkpointing(checkpoints)
        steps = DbosJournal(paths.steps, settings.database_url)
        journal = AdoptingJournal(steps, AdoptedSteps(database))
        workers = RemoteWorkers(services, context.leash, deadline=STEP_SECONDS)
        external = [name for name, one in settings.mcpServers.items() if not one.disabled]
        engine = Engine(
            store,
            hub,
            journal,
            InTurn(
                workers,
                memory=settings.sandbox.memory_mb << 20,
                available=lambda: MachineMemory.read().available,
            ),
            agent=agent or partial(work, limits=Limits(tries=settings.tasks.tries)),
            judge=judge,
            lanes=lanes,
            forms={"ux": action_form(models.ux.name), "task": action_form(models.task.name)},
            keeper=keeper,
            equip=Equipping(workers.listed, external) if external else None,
            seconds=watching.seconds_of,
            plans=PlanKeeping(
                Rules(partial(faults, own=True), settle, can_run),
                lambda said: PlanPolicy(said or settings.tasks.approve),
                watching.expected,
                # What asks takes the rest of the window.
                min(Limits().answer, models.task.context // 2),
                RemoteMemory(services).related,
            ),
            trust=Trust(
                settings.tasks.permission,
                rules_of(settings.mcpServers),
                sandboxed=settings.sandbox.kind != "none",
            ),
        )
        transfer = Transfer(
            store,
            TaskRecords(database, journal),
            checkpoints,
            hub,
            workspaces=paths.workspaces,
            settled=engine.settled,
            now=clock,
        )
        if database.file:
            await see_to_lost_tasks(store, checkpoints, database.file, paths.workspaces)
            tasks.start_soon(keep_backed_up, database.file)
        await tasks.start(keeper.run)
        await tasks.start(engine.run)
        tasks.start_soon(notifier.run)
        tasks.start_soon(told.run)
        tasks.start_soon(_close_when, context.stopping, hub, results)

        async def shown(identity: str) -> TaskView:
            return view_of(await store.get(identity))

        going_back = GoingBack(engine, store, hub, keeper, checkpoints, now=clock)
        kept = CheckpointTools(
            store, checkpoints, going_back, check_folder=check_folder, view=view_of
        )
        transferring = Transferring(transfer, check_folder, shown)
        tools = TaskTools(
            engine,
            store,
            hub,
            watching=watching,
            check_folder=check_folder,
            further=[kept.add_to, transferring.add_to, results.add_to],
        )
        async with open_dashboards(
            context, tools, kept, store=store, hub=hub, watching=watching
        ) as routes:
            yield tools.app(routes)
        tasks.cancel_scope.cancel()


def _channels(wanted: NotifySettings) -> list[Channel]:
    channels: list[Channel] = []
    if wanted.desktop:
        channels.append(Desktop())
    if wanted.webhook:
        channels.append(
            Webhook(wanted.webhook, wanted.webhook_secret.get_secret_value(), http_post)
        )
    return channels


async def _close_when(stopping: anyio.Event, hub: ProgressHub, results: Results) -> None:
    """End what waits, which would hold the server up; readers go on from where they are."""
    await stopping.wait()
    hub.close()
    results.close()


def main() -> None:
    """Run the gateway server."""
    run_server(compose, port=lambda settings: settings.gateway.port, door=WebDoor)


if __name__ == "__main__":
    main()
