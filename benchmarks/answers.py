"""How soon the first word comes, and what the servers in between cost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks.installation import Generation, Installation, bare_server, first_token
from benchmarks.report import Figure, Report, median, spread
from tale.cli.client import McpClient
from tale.cli.record import Record
from tale.prompts import CHAT_SYSTEM

__all__ = ["measure"]

_TURNS = 12
_PAIRS = 30
_LONG = 128
_LONG_PAIRS = 10
_SWITCHES = 8
_QUESTIONS = (
    "Hi there, how are you today?",
    "What is a hash table?",
    "Name three colours.",
    "Why is the sky blue?",
    "What does HTTP stand for?",
    "Thanks! What can you do?",
)
_STORY = [{"role": "user", "content": "Write a long story about a lighthouse keeper."}]


def measure(report: Report) -> None:
    """Measure chat turns, the models server's own cost, and switching between the models."""
    with Installation.fresh() as installation:
        installation.timed("submit", "hello world")
        installation.url_of("model-task")
        first_token(installation.url_of("models"), installation.runtime.token, model="task")
        _chat(report, installation, "task model idle", 0.5)
        with _task_generating(installation):
            _chat(report, installation, "task model generating", 0.6)
        _proxy(report, installation)
        _switching(report, installation)


def _chat(report: Report, installation: Installation, when: str, reach: float) -> None:
    token = installation.runtime.token
    bare_url = installation.url_of("model-ux")
    client = McpClient(installation.url_of("ux"), token)
    ours: list[float] = []
    bare: list[float] = []
    for number, question in zip(range(_TURNS), itertools.cycle(_QUESTIONS), strict=False):
        # Both get the question, begun by a mark of its own, so that each finds the same in the
        # cache: the system prompt, and nothing of the other's question.
        ours.append(_turn(client, f"{when[11]}{number}a. {question}"))
        asked = {"role": "user", "content": f"{when[11]}{number}b. {question}"}
        messages = [{"role": "system", "content": CHAT_SYSTEM}, asked]
        bare.append(first_token(bare_url, token, messages=messages).first)
    report.add(
        Figure(
            f"chat: first token of a new conversation, {when}",
            median(ours),
            "s",
            f"< {reach} s and ≤ 1.3 bare",
            median(ours) < reach and median(ours) <= 1.3 * median(bare),
            "the same prompt, model process alone",
            median(bare),
            len(ours),
            spread(ours),
        )
    )


def _turn(client: McpClient, text: str) -> float:
    """Begin a conversation; gives the seconds to the first token."""
    first: list[float] = []
    begun = time.perf_counter()

    def note(data: Record) -> None:
        if not first and data.text("token").strip():
            first.append(time.perf_counter() - begun)

    client.call("chat", {"text": text}, note)
    return first[0]


@contextmanager
def _task_generating(installation: Installation) -> Generator[None]:
    """Keep the task model generating for as long as the context lasts."""
    url, token = installation.url_of("models"), installation.runtime.token
    stopping = threading.Event()
    generating = threading.Event()

    def generate() -> None:
        while not stopping.is_set():
            generating.set()
            first_token(url, token, model="task", messages=_STORY, max_tokens=48)

    thread = threading.Thread(target=generate)
    thread.start()
    generating.wait()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _proxy(report: Report, installation: Installation) -> None:
    """Compare the models server with the model process behind it, on a cached prompt."""
    token = installation.runtime.token
    through, bare = installation.url_of("models"), installation.url_of("model-ux")
    added: list[float] = []
    bare_first: list[float] = []
    for _ in range(_PAIRS):
        direct = first_token(bare, token, max_tokens=2)
        added.append(1000 * (first_token(through, token, max_tokens=2).first - direct.first))
        bare_first.append(1000 * direct.first)
    report.add(
        Figure(
            "models server: added to the first token",
            median(added),
            "ms",
            "< 5 ms",
            median(added) < 5,
            "first token, model process alone",
            median(bare_first),
            len(added),
            spread(added),
        )
    )
    kept: list[float] = []
    for number in range(_LONG_PAIRS):
        urls = (bare, through) if number % 2 else (through, bare)
        rates = {url: _long(url, token).rate for url in urls}
        kept.append(100 * rates[through] / rates[bare])
    report.add(
        Figure(
            "models server: tokens/s kept",
            median(kept),
            "%",
            "≥ 98 %",
            median(kept) >= 98,
            "model process alone",
            100,
            len(kept),
            spread(kept),
        )
    )


def _long(url: str, token: str) -> Generation:
    answer = first_token(url, token, messages=_STORY, max_tokens=_LONG)
    if answer.tokens < _LONG // 2:
        raise RuntimeError(f"the answer has only {answer.tokens} tokens, too few to time")
    return answer


def _switching(report: Report, installation: Installation) -> None:
    """Alternate between the models, against staying with one, against unloading and loading."""
    url, token = installation.url_of("models"), installation.runtime.token

    def ask(model: str) -> float:
        return first_token(url, token, model=model, max_tokens=2).first

    ask("ux")
    ask("task")
    same = [ask("ux") for _ in range(_SWITCHES)]
    alternating: list[float] = []
    for _ in range(_SWITCHES):
        ask("task")
        alternating.append(ask("ux"))
    reloading: list[float] = []
    for _ in range(2):
        begun = time.perf_counter()
        with bare_server("ux") as (bare, _):
            first_token(bare, "", max_tokens=2)
            reloading.append(time.perf_counter() - begun)
    overhead = median(alternating) - median(same)
    report.add(
        Figure(
            "switching: added to the first token after the other model's turn",
            1000 * overhead,
            "ms",
            "far below a reload",
            overhead < 0.1 * median(reloading),
            "unload, load, first token",
            1000 * median(reloading),
            _SWITCHES,
        )
    )
