"""The execution server: does steps of tasks in their workspaces.

One MCP tool, `run_step`; it keeps nothing, so a step that was cut off is simply done again. Several
of it may run. Above: the gateway. Below: `tasks.agent` here, models by way of the models server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from tale.models.caller import ModelCaller
from tale.models.client import ModelClient, models_url
from tale.servers import mcp_app
from tale.servers.mcp_app import McpApp
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import read_step, write_progress, write_result
from tale.tasks.agent import run_step
from tale.tasks.task import Progress
from tale.wire.contracts import RUN_STEP, StepReply, StepRequest

__all__ = ["Execution", "compose", "main"]


class Execution:
    """The execution server's tool."""

    def __init__(self, models: ModelCaller) -> None:
        self._models = models

    def app(self) -> Starlette:
        """Build the application that serves it."""
        app = McpApp("execution", "Does one step of a task.")
        app.add(RUN_STEP, self.run_step)
        return app.build()

    async def run_step(self, request: StepRequest, progress: mcp_app.Progress) -> StepReply:
        """Do a step."""

        async def report(happened: Progress) -> None:
            await progress(write_progress(happened))

        return write_result(await run_step(read_step(request), self._models, report))


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[Starlette]:
    """Build the execution server."""
    leash = context.leash
    async with ModelClient(models_url(leash), leash.token) as models:
        yield Execution(models).app()


def main() -> None:
    """Run an execution server."""
    run_server(compose)


if __name__ == "__main__":
    main()
