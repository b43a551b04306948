"""`llm` as its users have it, against the OpenAI endpoint: chat, schemas, tools, errors."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest

from tale.models.backend import ChatRequest
from test_openai_api import serving

pytestmark = pytest.mark.anyio

SETTINGS = """\
- model_id: tale
  model_name: {model}
  api_base: {url}/v1
  api_key_name: tale
  supports_tools: true
  supports_schema: true
"""
CALL = '```json\n{"name": "llm_version", "arguments": {}}\n```'


def answer(request: ChatRequest) -> str:
    """Answer as a small model does: what is asked for, a call in a fence, the tool's result."""
    results = [turn.content for turn in request.messages if turn.role == "tool"]
    if results:
        return f"It is {results[-1]}."
    if "response_format" in request.options:
        return '{"name": "Rex", "age": 3}'
    return CALL if request.options.get("tools") else request.messages[-1].content


async def llm(home: Path, url: str, *arguments: str, model: str = "auto") -> tuple[int, str]:
    """Run `llm` with settings of its own; gives its exit status and all that it said."""
    (home / "extra-openai-models.yaml").write_text(SETTINGS.format(url=url, model=model))
    (home / "keys.json").write_text(json.dumps({"tale": "the-token"}))
    done = await anyio.run_process(
        [sys.executable, "-m", "llm", "--no-log", "-m", "tale", *arguments],
        env={**os.environ, "LLM_USER_PATH": str(home)},
        check=False,
        stdin=None,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


async def test_it_chats(tmp_path: Path) -> None:
    async with serving(answer=answer) as served:
        assert await llm(tmp_path, served.url, "hello there") == (0, "hello there\n")


async def test_it_chats_without_a_stream_and_within_a_limit(tmp_path: Path) -> None:
    async with serving(answer=answer) as served:
        plain = await llm(tmp_path, served.url, "--no-stream", "-o", "max_tokens", "1", "one two")
    assert plain == (0, "one\n")


async def test_it_gets_what_fits_a_schema(tmp_path: Path) -> None:
    async with serving(answer=answer) as served:
        status, said = await llm(tmp_path, served.url, "--schema", "name, age int", "a dog")
    assert status == 0
    assert json.loads(said) == {"name": "Rex", "age": 3}


async def test_it_has_its_tools_called_and_the_result_used(tmp_path: Path) -> None:
    async with serving(answer=answer) as served:
        status, said = await llm(tmp_path, served.url, "-T", "llm_version", "which llm?")
        last = served.task.requests[-1]
    assert (status, said[:6]) == (0, "It is ")
    assert [turn.role for turn in last.messages][-2:] == ["assistant", "tool"]


async def test_what_goes_wrong_is_told_in_tales_words(tmp_path: Path) -> None:
    async with serving(answer=answer) as served:
        status, said = await llm(tmp_path, served.url, "hello", model="nobody")
    assert status == 1
    assert "'nobody'" in said
