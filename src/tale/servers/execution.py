"""The execution server: asks models for the steps of tasks, and acts in their workspaces.

MCP tools `ask`, `act` and `tools`; it decides nothing and keeps nothing. Several of it may run.
Above: the gateway, where steps are decided and recorded. Below: `tasks.asking` and `tasks.tools`
here, models by way of the models server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette

from tale import spans
from tale.models.caller import ModelCaller
from tale.models.client import ModelClient, models_url
from tale.servers import mcp_app
from tale.servers.mcp_app import McpApp
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import read_step, write_progress
from tale.tasks.asking import ask
from tale.tasks.hands import Action, CallTool, Outcome
from tale.tasks.hands_json import read_action, read_question, write_outcome, write_reply
from tale.tasks.leave import described
from tale.tasks.mcp_tools import McpTools
from tale.tasks.offers import bounded
from tale.tasks.task import Began, Progress, Step, ToolOffer
from tale.tasks.tooling import tooling_of
from tale.tasks.tools import Tooling, perform
from tale.tasks.workspace import Workspace
from tale.wire.execution_contracts import (
    ACT,
    ASK,
    ActReply,
    ActRequest,
    AskReply,
    AskRequest,
    WorkRequest,
)
from tale.wire.tool_contracts import TOOLS, ExternalToolView, ToolsReply

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

    def __init__(
        self, models: ModelCaller, perform: Perform, external: McpTools | None = None
    ) -> None:
        self._models = models
        self._external = external
        self._perform = perform

    def app(self) -> Starlette:
        """Build the application that serves them."""
        app = McpApp("execution", "Asks and acts for the steps of tasks.")
        app.add(ASK, self.ask)
        app.add(ACT, self.act)
        app.add(TOOLS, self.tools)
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
        action, step = read_action(request.action), read_step(request)
        name = described(action)["action"]
        attributes: spans.Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": str(name),
            "gen_ai.tool.type": "extension" if isinstance(action, CallTool) else "function",
            "tale.task.id": step.task,
            "tale.part.id": step.subtask,
        }
        with spans.span(f"execute_tool {name}", attributes) as span:
            outcome = await self._perform(action, step)
            if not outcome.ok:
                span.fail("tool_error")
        return ActReply(outcome=write_outcome(outcome))

    async def tools(self, request: WorkRequest, progress: mcp_app.Progress) -> ToolsReply:
        """List the tools of the user's MCP servers, which are started for it."""
        del request
        await progress(write_progress(Began()))
        if self._external is None:
            return ToolsReply(tools=())
        found, missing = await self._external.listed()
        offers = bounded(
            [
                ToolOffer(one.server, one.name, one.description, one.schema, one.read_only)
                for one in found
            ]
        )
        return ToolsReply(
            tools=tuple(
                ExternalToolView(
                    server=one.server,
                    tool=one.tool,
                    description=one.description,
                    arguments=dict(one.schema),
                    read_only=one.read_only,
                )
                for one in offers
            ),
            missing=missing,
        )


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[Starlette]:
    """Build the execution server."""
    leash, settings, paths = context.leash, context.settings, context.paths
    async with (
        ModelClient(models_url(leash), leash.token) as models,
        McpTools(settings.mcpServers, spill=paths.outputs) as tools,
    ):
        tooling = tooling_of(settings, paths, tools=tools, spill=paths.outputs)
        secrets = {leash.token}
        secrets |= {word for one in settings.mcpServers.values() for word in one.secrets()}
        perform = performing(replace(tooling, secrets=frozenset(secrets)))
        yield Execution(models, perform, tools).app()


def main() -> None:
    """Run an execution server."""
    run_server(compose)


if __name__ == "__main__":
    main()
