"""The whole path on the embedded pair, as a newcomer meets it; and what a kill -9 leaves of it."""

from __future__ import annotations

import ast
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import openai
import psutil
import pytest

from tale.models.backend import Role
from tale.models.catalog import EMBEDDED_PAIR
from tale_home import Tale

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PORTS = "[gateway]\nport = 0\n[model_server]\nport = 0\n"
_T = TypeVar("_T")


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory, pair: dict[Role, Path]) -> Iterator[Tale]:
    home = tmp_path_factory.mktemp("pair")
    folder = pair["ux"].parent
    models = f'[models]\nbackend = "embedded"\ndirectory = "{folder}"\n'
    (home / "tale.toml").write_text(models + PORTS)
    made = Tale(home)
    yield made
    made.run("stop")
    assert made.processes() == []


def until(condition: Callable[[], _T | None], what: str) -> _T:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true"
    return found


def servers(tale: Tale) -> dict[str, dict[str, Any]]:
    status = json.loads(tale.run("status", "--json").stdout)
    return {server["name"]: server for server in status["servers"]}


def both_ready(tale: Tale) -> list[dict[str, Any]] | None:
    models = json.loads(tale.run("models", "--json").stdout)["models"]
    return models if all(model["state"] == "ready" for model in models) else None


def client(tale: Tale) -> openai.OpenAI:
    runtime = json.loads((tale.home / "run" / "daemon.json").read_text())
    return openai.OpenAI(base_url=f"{runtime['models']}/v1", api_key=runtime["token"])


def test_hello_world_from_nothing_is_answered_by_the_small_model(tale: Tale) -> None:
    done = tale.run("submit", "hello world", "--json")
    task = json.loads(done.stdout)
    assert task["answer"]
    assert (task["role"], task["model"]) == ("ux", EMBEDDED_PAIR["ux"])


def test_both_models_are_resident_and_the_large_one_yields(tale: Tale) -> None:
    models = until(lambda: both_ready(tale), "both models ready")
    assert {model["role"]: model["name"] for model in models} == dict(EMBEDDED_PAIR)
    for model in models:
        process = psutil.Process(model["pid"])
        assert model["resident"]
        assert abs(model["memory_bytes"] - process.memory_info().rss) < 0.1 * model["memory_bytes"]
        assert process.nice() == (10 if model["role"] == "task" else 0)


def test_work_named_in_a_chat_is_handed_over_and_its_files_are_written(tale: Tale) -> None:
    done = tale.run("chat", "--json", stdin="Write a Python function that doubles a number\n")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    task = json.loads(tale.run("show", said[0]["task"], "--json").stdout)
    assert said[0]["role"] == "ux"
    assert (task["state"], task["role"]) == ("done", "task")
    written = [Path(task["workspace"], file) for file in task["files"]]
    assert written
    for file in written:
        if file.suffix == ".py":
            ast.parse(file.read_text())


@pytest.mark.parametrize("model", ["auto", "ux", "task"])
def test_the_openai_package_gets_a_stream(tale: Tale, model: str) -> None:
    with client(tale) as api:
        stream = api.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=True, max_tokens=8
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[0].model in EMBEDDED_PAIR.values()


def test_whatever_is_killed_comes_back_and_answers(tale: Tale) -> None:
    before = servers(tale)
    for name, server in before.items():
        os.kill(server["pid"], signal.SIGKILL)
        back = until(
            lambda name=name, pid=server["pid"]: (
                found if (found := servers(tale)[name])["pid"] not in (None, pid) else None
            ),
            f"{name} is back",
        )
        assert back["restarts"] >= 1
        assert tale.run("submit", "hello").returncode == 0
    after = until(lambda: both_ready(tale), "both models ready again")
    assert all(model["resident"] for model in after)
    assert before.keys() == servers(tale).keys()
