"""Imports point down the layers only, and cheap modules stay cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tale

ROOT = Path(tale.__file__).parent
LAYERS = {
    "__init__": 0,
    "clipped": 0,
    "errors": 0,
    "ids": 0,
    "paths": 0,
    "config": 0,
    "config_faults": 0,
    "config_layers": 0,
    "config_secrets": 0,
    "config_tasks": 0,
    "telemetry": 0,
    "trace": 0,
    "spans": 0,
    "spans_sdk": 0,
    "prompts": 0,
    "whole_file": 0,
    "storage": 1,
    "wire": 1,
    "models": 2,
    "tasks": 2,
    "memory": 2,
    "servers": 3,
    "orchestration": 3,
    "cli": 4,
    "dashboard": 4,
}
# A package may not import these, although they are not above it.
FORBIDDEN = {
    "models": {"tasks", "memory"},
    "memory": {"tasks"},
    "storage": {"wire"},
    "wire": {"storage"},
    "orchestration": {"servers"},
    "servers": {"orchestration"},
}
# tasks and memory see models only as a client, who may read an answer as it comes.
CLIENT_ONLY = {
    "tale.models.assess",
    "tale.models.backend",
    "tale.models.budgets",
    "tale.models.caller",
    "tale.models.client",
    "tale.models.runaway",
}


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name == "tale" or name.startswith("tale.")}


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_layer_and_below(path: Path) -> None:
    home = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports_of(path):
        target = package_of(name)
        assert LAYERS[target] <= LAYERS[home], f"{path} imports {name}, a layer above it"
        assert target not in FORBIDDEN.get(home, set()), f"{home} must not know {target}"
        if home in {"tasks", "memory"} and target == "models":
            assert name in CLIENT_ONLY, f"{home} sees models only as a client, not {name}"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import tale.cli.main", {"pydantic", "aiohttp", "mcp", "sqlalchemy", "httpx2", "uvicorn"}),
        ("import tale.cli.dashboard, tale.cli.status", {"textual", "rich", "pydantic", "yaml"}),
        ("import tale.dashboard.run", {"pydantic", "aiohttp", "mcp", "sqlalchemy", "yaml"}),
        ("import tale.orchestration.daemon", {"aiohttp", "mcp", "sqlalchemy", "starlette"}),
        ("import tale.servers.runner", {"opentelemetry.sdk", "requests"}),
        ("import tale.servers.models", {"mcp", "sqlalchemy", "alembic"}),
        ("import tale.servers.model_app", {"mcp", "sqlalchemy", "alembic"}),
        ("import tale.cli.usage, tale.models.ledger_file", {"pydantic", "aiohttp", "sqlalchemy"}),
        ("import tale.servers.gateway", {"alembic", "xllamacpp", "textual", "dbos", "psycopg"}),
        ("import tale.tasks.checkpoint_store", {"dulwich", "urllib3", "sqlalchemy", "aiohttp"}),
    ],
)
def test_a_process_does_not_load_what_it_does_not_need(statement: str, heavy: set[str]) -> None:
    assert loaded_by(statement) & heavy == set()
