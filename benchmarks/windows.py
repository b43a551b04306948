"""Windows of conversations: how soon one is put together, and what its summary keeps.

Put together: the window of a conversation of 400 turns whose beginning is summed up, beside the
plain join of its last turns; and the first one after a restart, when all is read from the database.

Kept: of the labelled conversation in `told`, 200 turns, the share of names, numbers, code and
decisions before the window that its summary tells, in the share of 6,144 tokens that it has. The
sentences are the embedded ux model's, in llama.cpp alone; beside it is what they tell by
themselves. `TALE_BENCH_TURNS=60` takes the first turns only, in windows that are as much smaller.

Reused: a chat of 40 turns with a real daemon, the talk of `told`: how many of all prompt tokens the
prefix cache had; and the first tokens, those of the last ten turns beside those of the first ten.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread

from benchmarks.installation import Installation, bare_server
from benchmarks.report import Figure, Report, median, spread
from benchmarks.told import Told, conversation
from tale.cli.client import McpClient
from tale.cli.record import JsonValue, Record
from tale.config import Settings
from tale.memory.sizes import sizes_of
from tale.memory.summaries import SummaryStore
from tale.memory.summarising import Summarising
from tale.memory.summary import cover, rolling
from tale.memory.talk import beginning, room_after
from tale.memory.turns import NewTurn, Turn, TurnStore
from tale.memory.windows import Windows
from tale.models.backend import ChatRequest, Message
from tale.models.caller import ScriptedModels
from tale.paths import Paths
from tale.prompts import CHAT_SYSTEM
from tale.storage.database import Database

__all__ = ["measure"]

_BUDGET: Final = 6144
_TURNS: Final = 200
_LONG: Final = 400
_RUNS: Final = 200
_RESTARTS: Final = 30
_CHAT: Final = 40
_ENDS: Final = 10
_SILENCE_SECONDS: Final = 600.0


class _NoModel:
    """Sums up without a model: only the time of what is around it is measured."""

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        del request, target, deadline_s
        return "They talked about this and that."


class _Bare:
    """Asks llama.cpp alone."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        del target, deadline_s
        return await anyio.to_thread.run_sync(self._ask, request)

    def _ask(self, request: ChatRequest) -> str:
        body = {
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": 0,
        }
        headers = {"Content-Type": "application/json"}
        asked = Request(f"{self._url}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urlopen(asked, timeout=_SILENCE_SECONDS) as answer:
            given: Any = json.load(answer)
        return cast("str", given["choices"][0]["message"]["content"])


def measure(report: Report) -> None:
    """Measure both."""
    _in_a_home(partial(_assembly, report))
    turns = int(os.environ.get("TALE_BENCH_TURNS", _TURNS))
    with bare_server("ux") as (url, _):
        _in_a_home(partial(_kept, report, url, turns))
    with Installation.fresh() as installation:
        _reused(report, installation)


def _in_a_home(work: Callable[[Path], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as home:
        anyio.run(work, Path(home), backend="asyncio")


async def _assembly(report: Report, home: Path) -> None:
    async with _database(home) as database:
        turns = TurnStore(database)
        session = await _told(turns, conversation(_LONG))
        said = await turns.turns(session)
        before_last = said[: _LONG - 1]
        summarising = Summarising(_NoModel(), turns, SummaryStore(database))
        sizes = sizes_of(room_after(CHAT_SYSTEM, _BUDGET))
        await summarising.up_to(session, _LONG, chunk=sizes.chunk, prose=sizes.prose)

        def fresh() -> Windows:
            return Windows(ScriptedModels(), CHAT_SYSTEM, budget=_BUDGET, summarising=summarising)

        windows = fresh()
        await windows.of(session, before_last)
        with_memory = [await _timed(windows, session, before_last) for _ in range(_RUNS)]
        first = [await _timed(fresh(), session, before_last) for _ in range(_RESTARTS)]
    plain = [_plain(before_last) for _ in range(_RUNS)]
    for what, times in (("", with_memory), (", the first after a restart", first)):
        report.add(
            Figure(
                f"window of {_LONG} turns with summaries ready, p95{what}",
                _p95(times),
                "ms",
                "< 30 ms",
                _p95(times) < 30,
                "join of the last turns",
                median(plain),
                len(times),
                spread(times),
            )
        )


async def _kept(report: Report, url: str, turns: int, home: Path) -> None:
    told = conversation(turns)
    budget = _BUDGET * turns // _TURNS
    async with _database(home) as database:
        store = TurnStore(database)
        session = await _told(store, told)
        said = await store.turns(session)
        sizes = sizes_of(room_after(CHAT_SYSTEM, budget))
        # Where the window of the whole conversation begins, or its last part if all would fit.
        begins = beginning(said, room=sizes.turns, turn=sizes.turn)
        begins = begins if begins > turns // 2 else turns * 9 // 10
        summaries = SummaryStore(database)
        begun = time.perf_counter()
        await Summarising(_Bare(url), store, summaries).up_to(
            session, begins, chunk=sizes.chunk, prose=sizes.prose
        )
        took = time.perf_counter() - begun
        parts = cover(await summaries.of(session), before=begins)
    text = rolling(parts, sizes.summary)
    prose = "\n".join(part.prose for part in parts)
    labels = [label for label in told.labels if label.seq < begins]
    report.console.print(
        f"  {begins - 1} turns summed up in {len(parts)} parts, {took:.0f} s; "
        f"{len(labels)} labels; {len(text)} characters, {len(prose)} of them sentences"
    )
    for label in labels:
        if not label.is_in(text):
            report.console.print(f"  lost from turn {label.seq}: {label.kind} {label.words}")
    share = 100 * sum(label.is_in(text) for label in labels) / len(labels)
    alone = 100 * sum(label.is_in(prose) for label in labels) / len(labels)
    report.add(
        Figure(
            f"names, numbers, code and decisions of {turns} turns that the summary keeps",
            share,
            "%",
            "≥ 95 %",
            share >= 95,
            "the model's sentences alone",
            alone,
            len(labels),
        )
    )


def _reused(report: Report, installation: Installation) -> None:
    installation.tale("serve", "--detach")
    client = McpClient(installation.url_of("ux"), installation.runtime.token)
    said = conversation(2 * _CHAT).texts[::2]
    session: str | None = None
    firsts: list[float] = []
    prompts = cached = 0
    for text in said:
        first: list[float] = []
        begun = time.perf_counter()

        def note(data: Record, first: list[float] = first, begun: float = begun) -> None:
            if not first and data.text("token").strip():
                first.append(time.perf_counter() - begun)

        arguments: dict[str, JsonValue] = {"text": text, "session": session}
        reply = client.call("chat", arguments, note)
        session = reply.text("session")
        usage = reply.record("usage")
        if not usage.integer("prompt"):
            report.console.print(f"  answered without a model: {text}")
            continue
        firsts += first
        prompts += usage.integer("prompt")
        cached += usage.integer("cached")
    share = 100 * cached / max(1, prompts)
    what = f"prompt tokens reused from one turn to the next, {_CHAT} turns"
    report.add(Figure(what, share, "%", "≥ 80 %", share >= 80, runs=len(firsts)))
    last = firsts[-_ENDS:]
    report.add(
        Figure(
            f"first token, p95 of the last {_ENDS} of {_CHAT} turns",
            _p95(last),
            "s",
            "< 1 s",
            _p95(last) < 1,
            f"p95 of the first {_ENDS}",
            _p95(firsts[:_ENDS]),
            len(last),
            spread(last),
        )
    )


def _database(home: Path) -> AbstractAsyncContextManager[Database]:
    return Database.open(Paths.from_environment({"TALE_HOME": str(home)}), Settings())


async def _told(turns: TurnStore, told: Told) -> str:
    session: str | None = None
    for number, text in enumerate(told.texts):
        speaker = "assistant" if number % 2 else "user"
        session = (await turns.add(session, NewTurn(speaker, text))).session
    if session is None:
        raise ValueError("the conversation has no turns")
    return session


async def _timed(windows: Windows, session: str, turns: list[Turn]) -> float:
    begun = time.perf_counter()
    await windows.of(session, turns)
    return 1000 * (time.perf_counter() - begun)


def _plain(turns: list[Turn]) -> float:
    begun = time.perf_counter()
    used, kept = 0, list[Message]()
    for turn in reversed(turns):
        used += len(turn.text) // 4
        if used > _BUDGET:
            break
        kept.append(Message(turn.speaker, turn.text))
    kept.reverse()
    return 1000 * (time.perf_counter() - begun)


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]
