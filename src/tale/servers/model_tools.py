"""The models server's MCP tools: list, load and unload models.

For MCP clients outside tale; inside, everybody uses `/v1` and `/pool`. Above: `lazy_mcp`, which
imports this late. Below: `ModelPool`.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette

from tale.models.model_pool import ModelPool
from tale.servers.mcp_app import McpApp, Progress
from tale.wire.tool import Tool

__all__ = [
    "LIST_MODELS",
    "LOAD_MODEL",
    "UNLOAD_MODEL",
    "ListModels",
    "ModelList",
    "ModelName",
    "ModelView",
    "build_model_tools",
]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListModels(_Shape):
    """Nothing to say."""


class ModelName(_Shape):
    """One model, by its name."""

    model: str = Field(description="The model's real name.", min_length=1)


class ModelView(_Shape):
    """A model as it stands; `role` is set for the two that are always resident."""

    name: str
    role: str | None
    state: str
    detail: str
    backend: str
    resident: bool
    memory_bytes: int | None
    context: int
    tokens_per_second: float | None
    ttft_warm_ms: float | None


class ModelList(_Shape):
    """The models in memory, the core ones first, and the names of others that could be loaded."""

    models: tuple[ModelView, ...]
    loadable: tuple[str, ...]


LIST_MODELS: Final = Tool(
    "models",
    "list_models",
    "List the language models in memory, with their state, size and speed, and the names of "
    "those that could be loaded.",
    ListModels,
    ModelList,
    idempotent=True,
    title="List models",
    effect="reads",
)
LOAD_MODEL: Final = Tool(
    "models",
    "load_model",
    "Load a further model beside the two core models, if it fits into memory. Returns all models "
    "once it is there.",
    ModelName,
    ModelList,
    idempotent=True,
    title="Load a model",
)
UNLOAD_MODEL: Final = Tool(
    "models",
    "unload_model",
    "Unload a further model to free its memory; the two core models always stay. Returns the "
    "models that are left.",
    ModelName,
    ModelList,
    title="Unload a model",
    effect="changes",
)


def build_model_tools(pool: ModelPool) -> Starlette:
    """Make the MCP application over a pool."""

    async def listed() -> ModelList:
        status = await pool.status()
        views = tuple(
            ModelView(
                name=model.name,
                role=model.role,
                state=model.state,
                detail=model.detail,
                backend=model.backend,
                resident=model.resident,
                memory_bytes=model.memory_bytes,
                context=model.context,
                tokens_per_second=model.tokens_per_second,
                ttft_warm_ms=model.ttft_warm_ms,
            )
            for model in status.models
        )
        here = {view.name for view in views}
        return ModelList(models=views, loadable=tuple(n for n in pool.names() if n not in here))

    async def list_models(request: ListModels, progress: Progress) -> ModelList:
        del request, progress
        return await listed()

    async def load_model(request: ModelName, progress: Progress) -> ModelList:
        del progress
        await pool.load(request.model)
        return await listed()

    async def unload_model(request: ModelName, progress: Progress) -> ModelList:
        del progress
        await pool.unload(request.model)
        return await listed()

    app = McpApp("models", "The language models that run on this machine.")
    app.add(LIST_MODELS, list_models)
    app.add(LOAD_MODEL, load_model)
    app.add(UNLOAD_MODEL, unload_model)
    return app.build()
