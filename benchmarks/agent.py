"""What the agent's loop solves of HumanEval, beside one plain call of the same model.

The model is the embedded task model in llama.cpp alone. The plain call is "You are a helpful
assistant." and the problem as a user asks it, decoded greedily; solved where the first block with
the function passes HumanEval's own test. The loop gets the same request as a step, in the real
sandbox and a folder that is thrown away. It may run what the request itself says (examples) and
what it wrote; the hidden test sees its files only in the end.

Tokens are prompt and answer of every call as sent, cached or not, by the model's own count.
`TALE_BENCH_PROBLEMS`, a slice such as `1::2` or `:20`, takes some of the problems.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from benchmarks.bare_hands import BareHands, ask_model
from benchmarks.installation import bare_server
from benchmarks.report import Figure, Report
from benchmarks.session_requests import Problem, as_a_user_asks, humaneval
from benchmarks.solving import code_blocks, solves
from tale.errors import TaleError
from tale.models.backend import Message
from tale.tasks.agent import work
from tale.tasks.hands import Question, Reply
from tale.tasks.task import Step, StepResult

__all__ = ["measure"]

_CONTEXT: Final = 8192
_SLOTS: Final = 4
_ANSWER_TOKENS: Final = 1024
_PLAIN: Final = Message("system", "You are a helpful assistant.")
_POINTS: Final = 10
_TIMES: Final = 3


@dataclass
class _Side:
    """What one way of asking came to."""

    solved: set[str] = field(default_factory=set[str])
    tokens: int = 0
    computed: int = 0
    calls: int = 0

    def take(self, reply: Reply) -> None:
        usage = reply.usage
        self.calls += 1
        self.tokens += usage.prompt + usage.completion
        self.computed += usage.prompt - usage.cached + usage.completion


def measure(report: Report) -> None:
    """Have each problem solved both ways."""
    problems = humaneval()
    if not problems:
        report.console.print("  skipped: no coding/humaneval.jsonl.gz (set TALE_BENCH_DATA)")
        return
    part = [int(each) if each else None for each in _part().split(":")]
    problems = problems[slice(*part)]
    plain, loop = _Side(), _Side()
    begun = time.perf_counter()
    with bare_server("task", _CONTEXT, slots=_SLOTS) as (url, _):
        anyio.run(_all, report, url, problems, plain, loop)
    report.console.print(f"  {len(problems)} problems, {time.perf_counter() - begun:.0f} s")
    for name, side in (("plain", plain), ("loop", loop)):
        report.console.print(
            f"  {name}: {len(side.solved)} solved, {side.calls} calls, {side.tokens} tokens sent"
            f" and generated, of which {side.computed} computed"
        )
    _compare(report, len(problems), plain, loop)


def _part() -> str:
    part = os.environ.get("TALE_BENCH_PROBLEMS", "")
    return part if ":" in part else f":{part}"


async def _all(
    report: Report, url: str, problems: list[Problem], plain: _Side, loop: _Side
) -> None:
    limit = anyio.CapacityLimiter(_SLOTS)

    async def both(problem: Problem) -> None:
        async with limit:
            await _plainly(url, problem, plain)
            result = await _by_loop(url, problem, loop)
        report.console.print(
            f"  {problem.task_id}: plain {_mark(problem, plain)}, loop {_mark(problem, loop)}"
            f" ({result.check if result else 'failed'}; {result.turns if result else 0} calls)",
            markup=False,
            highlight=False,
        )

    async with anyio.create_task_group() as tasks:
        for problem in problems:
            tasks.start_soon(both, problem)


def _mark(problem: Problem, side: _Side) -> str:
    return "solved" if problem.task_id in side.solved else "failed"


async def _plainly(url: str, problem: Problem, side: _Side) -> None:
    question = Question((_PLAIN, Message("user", as_a_user_asks(problem))), _ANSWER_TOKENS)
    reply = await to_thread.run_sync(lambda: ask_model(url, question, most=_ANSWER_TOKENS))
    side.take(reply)
    if await to_thread.run_sync(solves, problem, code_blocks(reply.text)):
        side.solved.add(problem.task_id)


async def _by_loop(url: str, problem: Problem, side: _Side) -> StepResult | None:
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as folder:
        step = Step(problem.task_id, as_a_user_asks(problem), folder, "task", "work")
        try:
            hands = BareHands(url, folder, side.take, most=_ANSWER_TOKENS)
            result = await work(step, hands)
        except TaleError:
            return None
        programs = [(Path(folder) / name).read_text() for name in result.files]
        if await to_thread.run_sync(solves, problem, programs):
            side.solved.add(problem.task_id)
        return result


def _compare(report: Report, number: int, plain: _Side, loop: _Side) -> None:
    points = 100 / number
    solved, before = points * len(loop.solved), points * len(plain.solved)
    report.add(
        Figure(
            "humaneval: solved by the agent's loop",
            solved,
            "%",
            f"≥ {_POINTS} points more than a plain call",
            solved >= before + _POINTS,
            "one plain call",
            before,
            number,
        )
    )
    report.add(
        Figure(
            "humaneval: tokens of the agent's loop",
            loop.tokens,
            "tokens",
            f"≤ {_TIMES} times a plain call's",
            loop.tokens <= _TIMES * plain.tokens,
            "one plain call",
            plain.tokens,
            number,
        )
    )
