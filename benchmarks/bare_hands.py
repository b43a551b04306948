"""Hands for a measurement: the model in llama.cpp alone, and a folder in the real sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from anyio import to_thread

from tale.tasks.fences import closed
from tale.tasks.hands import Action, Outcome, Question, Reply
from tale.tasks.sandbox_bwrap import Bubblewrap
from tale.tasks.task import TokensSpent
from tale.tasks.tools import Tooling, perform
from tale.tasks.workspace import Workspace

__all__ = ["BareHands", "ask_model"]

_SILENCE_SECONDS: Final = 1800.0


class BareHands:
    """Hands of one step.

    Args:
        url: Where llama.cpp answers.
        folder: The workspace.
        answered: Told of each answer.
        most: Tokens of an answer.
    """

    def __init__(
        self, url: str, folder: str, answered: Callable[[Reply], None], *, most: int
    ) -> None:
        self._url = url
        self._workspace = Workspace(Path(folder))
        self._tooling = Tooling(Bubblewrap())
        self._answered = answered
        self._most = most
        self._asked = 0

    async def ask(self, question: Question) -> Reply:
        """Ask the model; the same asked again at a temperature is answered in another way."""
        seed, self._asked = self._asked, self._asked + 1
        reply = await to_thread.run_sync(
            lambda: ask_model(self._url, question, most=self._most, seed=seed)
        )
        self._answered(reply)
        return reply

    async def act(self, action: Action) -> Outcome:
        """Act as the execution server does."""
        return await perform(action, self._workspace, self._tooling)

    async def note(self, text: str) -> None:
        """Forget it: nobody watches."""
        del text


def ask_model(url: str, question: Question, *, most: int, seed: int = 0) -> Reply:
    """Ask the model behind an address; tokens are by its own count."""
    body: dict[str, Any] = {
        "messages": [{"role": each.role, "content": each.content} for each in question.messages],
        "max_tokens": min(question.max_tokens, most),
        "temperature": question.temperature,
        "seed": seed,
        "stop": list(question.stop),
    }
    if question.schema is not None:
        schema: Mapping[str, object] = {"schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=_SILENCE_SECONDS) as answer:
        given: Any = json.load(answer)
    [choice] = given["choices"]
    timings = given["timings"]
    cached = timings.get("cache_n", 0)
    spent = TokensSpent(timings["prompt_n"] + cached, timings["predicted_n"], cached)
    finish = "length" if choice["finish_reason"] == "length" else "stop"
    text = choice["message"]["content"]
    if question.stop and finish == "stop":
        text = closed(text)
    return Reply(text, "task", "task", finish=finish, usage=spent)
