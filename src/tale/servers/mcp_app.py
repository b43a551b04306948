"""An MCP server made of contracts: each tool is a `wire.tool.Tool` and its handler.

Streamable HTTP at `/mcp`, through the SDK's low-level server: arguments and results keep the flat
shape of their pydantic models, and each call costs one validation each way. A handler runs within
the time that its caller still has, a batched tool is also served in its batched form, and a
client's user may be asked on the way. Above: `runner`. Beside: `many`, `eliciting`. Callers:
`wire.pool` inside tale, any MCP client outside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import anyio
import mcp_types as types
import orjson
from mcp import MCPError
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaMode
from starlette.applications import Starlette
from starlette.routing import Route

from tale import __version__
from tale.errors import DeadlineExceeded, TaleError
from tale.servers.eliciting import Asking, Asks, may_ask
from tale.servers.many import Many, many_form
from tale.telemetry import get_logger
from tale.wire.leash import Fault
from tale.wire.metrics import METRICS_KEY, WireMetrics
from tale.wire.tool import DEADLINE_META, Tool

__all__ = ["Handler", "McpApp", "Progress"]

log = get_logger(__name__)

_CACHE_HINTS: Final[Mapping[CacheableMethod, CacheHint]] = {
    # The same for every caller, and changed by an upgrade only; noticed within five minutes.
    method: CacheHint(ttl_ms=300_000, scope="public")
    for method in ("server/discover", "tools/list")
}

_LEAST_PROGRESS: Final = 0.001

Progress = Callable[[Mapping[str, object]], Awaitable[None]]
"""Tells a caller what happens meanwhile. With a `percent` it is the protocol's own progress, of
100, with the `words` as its message; anything else is for tale's own processes, as JSON."""
RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)
Handler = Callable[[RequestT, Progress], Awaitable[ReplyT]]


class McpApp:
    """Collects tools, then builds the application that serves them."""

    def __init__(self, name: str, instructions: str) -> None:
        self._name = name
        self._instructions = instructions
        self._tools: dict[str, tuple[Tool[Any, Any], Handler[Any, Any]]] = {}
        self._asks: dict[str, Asks[Any, Any]] = {}
        self._described: dict[str, types.Tool] = {}

    def add(
        self,
        tool: Tool[RequestT, ReplyT],
        handler: Handler[RequestT, ReplyT],
        *,
        asks: Asks[RequestT, ReplyT] | None = None,
    ) -> None:
        """Serve a tool.

        Args:
            tool: The tool.
            handler: Gets each request and a way to report progress.
            asks: Knows what a client's user is to be asked about a reply; never in batches.
        """
        self._register(tool, handler)
        if asks is not None:
            self._asks[tool.name] = asks
        if tool.batched:
            many = many_form(tool)
            self._register(many, Many(tool, handler, self._guarded))

    def _register(self, tool: Tool[Any, Any], handler: Handler[Any, Any]) -> None:
        self._tools[tool.name] = (tool, handler)
        self._described[tool.name] = _describe(tool)

    def build(self, routes: Sequence[Route] = ()) -> Starlette:
        """Make the ASGI application, with further HTTP routes beside `/mcp`."""
        server: Server[Any] = Server(
            f"tale-{self._name}",
            version=__version__,
            title=f"tale {self._name}",
            instructions=self._instructions,
            # Else the SDK lists all tools, and so describes them anew, at every call.
            get_tool_input_schema=self._schema,
            cache_hints=_CACHE_HINTS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        return server.streamable_http_app(custom_starlette_routes=list(routes))

    def _schema(self, name: str) -> Mapping[str, Any] | None:
        tool = self._described.get(name)
        return tool.input_schema if tool else None

    async def _list(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        # The others are for tale's own processes; to a model they are one more choice.
        listed = [self._described[name] for name, (tool, _) in self._tools.items() if tool.listed]
        return types.ListToolsResult(tools=listed)

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in self._tools:
            # The protocol's own error, unlike those below: no model can mend a call of it.
            raise MCPError(types.INVALID_PARAMS, f"{self._name} has no tool {params.name!r}.")
        tool, handler = self._tools[params.name]
        asks = self._asks.get(params.name)
        asking = Asking(handler, asks, context, params) if asks and may_ask(context) else None
        reached = 0.0

        async def progress(data: Mapping[str, object]) -> None:
            nonlocal reached
            percent = data.get("percent")
            if isinstance(percent, (int, float)):
                # It has to grow each time (MCP, "Progress"), and news may come without any.
                reached = max(float(percent), reached + _LEAST_PROGRESS)
                await context.session.report_progress(reached, 100.0, str(data.get("words", "")))
            else:
                reached += 1
                await context.session.report_progress(reached, message=orjson.dumps(data).decode())

        edge = _metrics(context).served.edge(self._name, tool.name)
        began = time.monotonic()
        error = "cancelled"
        edge.began()
        try:
            with anyio.move_on_after(_seconds_left(context)):
                given = params.arguments or {}
                reply = await self._guarded(tool, asking or handler, given, progress)
                if isinstance(reply, Fault):
                    error = reply.code
                    return _failure(reply)
                error = ""
                if isinstance(reply, types.InputRequiredResult):
                    return reply
                return _success(reply, asking.refused if asking else ())
            error = DeadlineExceeded.code
            late = DeadlineExceeded(f"{self._name}.{tool.name}: its caller's time ran out.")
            return _failure(Fault.of(late))
        finally:
            ended = time.monotonic()
            edge.ended(ended, ended - began, error)

    async def _guarded(
        self,
        tool: Tool[Any, Any],
        handler: Handler[Any, Any],
        arguments: Mapping[str, Any],
        progress: Progress,
    ) -> BaseModel | Fault:
        """Run a handler; what it raises becomes the word that its caller gets."""
        try:
            return await handler(tool.request.model_validate(arguments), progress)
        except ValidationError as error:
            return Fault(
                code="bad_arguments", message=f"{self._name}.{tool.name}: {_faults(error)}"
            )
        except TaleError as error:
            return Fault.of(error)
        except Exception:  # the dispatcher ends here: the caller gets a word, the log the traceback
            log.exception("tool.crashed", server=self._name, tool=tool.name)
            return Fault(
                code="error",
                message=f"{self._name}.{tool.name} failed unexpectedly.",
                hint=f"`tale logs {self._name}` has the traceback.",
            )


def _metrics(context: ServerRequestContext[Any]) -> WireMetrics:
    """Find where the door says that calls are counted; nowhere, where there is no door."""
    state: dict[str, Any] = context.request.scope.get("state") or {} if context.request else {}
    return state.get(METRICS_KEY) or WireMetrics()


def _seconds_left(context: ServerRequestContext[Any]) -> float:
    """Read the caller's remaining time; what is not a positive number is passed over."""
    said = (context.meta or {}).get(DEADLINE_META)
    if isinstance(said, (int, float)) and not isinstance(said, bool) and said > 0:
        return float(said)
    return math.inf


def _describe(tool: Tool[Any, Any]) -> types.Tool:
    # Whoever leaves a generated field out, such as a key, asks for something new with every call.
    generated = any(field.default_factory for field in tool.request.model_fields.values())
    return types.Tool(
        name=tool.name,
        title=tool.title or None,
        description=tool.summary,
        input_schema=_schema(tool.request, "validation"),
        output_schema=_schema(tool.reply, "serialization"),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.effect == "reads",
            destructive_hint=tool.effect == "changes",
            idempotent_hint=tool.idempotent and not generated,
            open_world_hint=False,
        ),
    )


def _schema(shape: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    """Give a shape's JSON schema without the titles that pydantic makes of its names."""
    plain = cast("dict[str, Any]", _untitled(shape.model_json_schema(mode=mode)))
    # What the docstring says is about our code; the tool's own description stands beside it.
    plain.pop("description", None)
    return plain


def _untitled(node: object) -> object:
    if isinstance(node, list):
        return [_untitled(item) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    # A field called "title" is a schema itself and stays.
    return {
        key: _untitled(value)
        for key, value in cast("dict[str, object]", node).items()
        if key != "title" or not isinstance(value, str)
    }


def _success(reply: BaseModel, told: Sequence[str]) -> types.CallToolResult:
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text=text) for text in (reply.model_dump_json(), *told)
        ],
        structured_content=reply.model_dump(mode="json"),
    )


def _failure(fault: Fault) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=f"{fault.message} {fault.hint}".rstrip())],
        structured_content={"error": fault.model_dump()},
        is_error=True,
    )


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        for fault in error.errors()
    )
