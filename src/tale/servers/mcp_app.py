"""An MCP server made of contracts: each tool is a `wire.contracts.Tool` and its handler.

Streamable HTTP at `/mcp`, through the SDK's low-level server: arguments and results keep the flat
shape of their pydantic models, and each call costs one validation each way. Above: `runner`.
Callers: `wire.pool` inside tale, any MCP client outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

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
from tale.errors import TaleError
from tale.telemetry import get_logger
from tale.wire.contracts import PROGRESS_COUNT, Tool

__all__ = ["Handler", "McpApp", "Progress"]

log = get_logger(__name__)

_CACHE_HINTS: Final[Mapping[CacheableMethod, CacheHint]] = {
    # The same for every caller, and changed by an upgrade only; noticed within five minutes.
    method: CacheHint(ttl_ms=300_000, scope="public")
    for method in ("server/discover", "tools/list")
}

Progress = Callable[[Mapping[str, object]], Awaitable[None]]
RequestT = TypeVar("RequestT", bound=BaseModel)
ReplyT = TypeVar("ReplyT", bound=BaseModel)
Handler = Callable[[RequestT, Progress], Awaitable[ReplyT]]


class McpApp:
    """Collects tools, then builds the application that serves them."""

    def __init__(self, name: str, instructions: str) -> None:
        self._name = name
        self._instructions = instructions
        self._tools: dict[str, tuple[Tool[Any, Any], Handler[Any, Any]]] = {}

    def add(self, tool: Tool[RequestT, ReplyT], handler: Handler[RequestT, ReplyT]) -> None:
        """Serve `tool` with `handler`, which gets the request and a way to report progress."""
        self._tools[tool.name] = (tool, handler)

    def build(self, routes: Sequence[Route] = ()) -> Starlette:
        """Make the ASGI application, with further HTTP routes beside `/mcp`."""
        server: Server[Any] = Server(
            f"tale-{self._name}",
            version=__version__,
            title=f"tale {self._name}",
            instructions=self._instructions,
            cache_hints=_CACHE_HINTS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        return server.streamable_http_app(custom_starlette_routes=list(routes))

    async def _list(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        return types.ListToolsResult(tools=[_describe(tool) for tool, _ in self._tools.values()])

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in self._tools:
            # The protocol's own error, unlike those below: no model can mend a call of it.
            raise MCPError(types.INVALID_PARAMS, f"{self._name} has no tool {params.name!r}.")
        tool, handler = self._tools[params.name]
        count = 0

        async def progress(data: Mapping[str, object]) -> None:
            nonlocal count
            count += 1
            await context.session.report_progress(count, message=orjson.dumps(data).decode())

        try:
            request = tool.request.model_validate(params.arguments or {})
            reply: BaseModel = await handler(request, progress)
        except ValidationError as error:
            return _failure("bad_arguments", f"{self._name}.{tool.name}: {_faults(error)}")
        except TaleError as error:
            return _failure(error.code, error.message, error.hint)
        except Exception:  # the dispatcher ends here: the caller gets a word, the log the traceback
            log.exception("tool.crashed", server=self._name, tool=tool.name)
            return _failure(
                "error",
                f"{self._name}.{tool.name} failed unexpectedly.",
                f"`tale logs {self._name}` has the traceback.",
            )
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=reply.model_dump_json())],
            structured_content=reply.model_dump(mode="json"),
            _meta={PROGRESS_COUNT: count},
        )


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


def _failure(code: str, message: str, hint: str = "") -> types.CallToolResult:
    error = {"code": code, "message": message, "hint": hint}
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=f"{message} {hint}".rstrip())],
        structured_content={"error": error},
        is_error=True,
    )


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        for fault in error.errors()
    )
