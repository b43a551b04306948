"""The execution server: asks models for the steps of tasks, and acts in their workspaces.

MCP tools `ask` and `act`; it decides nothing and keeps nothing. Several of it may run. Above: the
gateway, where steps are decided and recorded. Below: `tasks.asking` and `tasks.tools` here, models
by way of the models server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette

from tale.models.caller import ModelCaller
from tale.models.client import ModelClient, models_url
from tale.servers import mcp_app
from tale.servers.mcp_app import McpApp
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import read_step, write_progress
from tale.tasks.asking import ask
from tale.tasks.hands import Action, Outcome
from tale.tasks.hands_json import read_action, read_question, write_outcome, write_reply
from tale.tasks.mcp_tools import McpTools
from tale.tasks.task import Began, Progress, Step
from tale.tasks.tooling import tooling_of
from tale.tasks.tools import Tooling, perform
from tale.tasks.workspace import Workspace
from tale.wire.contracts import ACT, ASK, ActReply, ActRequest, AskReply, AskRequest

__all__ = ["Execution", "Perform", "compose", "main", "performing"]

Perform = Callable[[Action, Step], Awaitable[Outcome]]
"""Carries out an action in a step's workspace."""


def performing(tooling: Tooling) -> Perform:
    """Give what carries actions out with these tools."""

    async def act(action: Action, step: Step) -> Outcome:
        with_leave = replace(tooling, anywhere=tooling.anywhere or step.anywhere)
        return await perform(action, Workspace(Path(step.workspace)), with_leave)

    return act


class Execution:
    """The execution server's tools."""

    def __init__(self, models: ModelCaller, perform: Perform) -> None:
        self._models = models
        self._perform = perform

    def app(self) -> Starlette:
        """Build the application that serves them."""
        app = McpApp("execution", "Asks and acts for the steps of tasks.")
        app.add(ASK, self.ask)
        app.add(ACT, self.act)
        return app.build()

    async def ask(self, request: AskRequest, progress: mcp_app.Progress) -> AskReply:
        """Ask a model."""

        async def report(happened: Progress) -> None:
            await progress(write_progress(happened))

        await report(Began())
        question = read_question(request.question)
        reply = await ask(read_step(request), question, self._models, report)
        return AskReply(reply=write_reply(reply))

    async def act(self, request: ActRequest, progress: mcp_app.Progress) -> ActReply:
        """Do something in the step's workspace."""
        await progress(write_progress(Began()))
        outcome = await self._perform(read_action(request.action), read_step(request))
        return ActReply(outcome=write_outcome(outcome))


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[Starlette]:
    """Build the execution server."""
    leash, settings, paths = context.leash, context.settings, context.paths
    async with (
        ModelClient(models_url(leash), leash.token) as models,
        McpTools(settings.mcpServers) as tools,
    ):
        tooling = tooling_of(settings, paths, tools=tools, spill=paths.outputs)
        perform = performing(replace(tooling, secrets=frozenset({leash.token})))
        yield Execution(models, perform).app()


def main() -> None:
    """Run an execution server."""
    run_server(compose)


if __name__ == "__main__":
    main()
