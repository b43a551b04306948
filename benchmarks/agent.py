"""What the agent's loop solves of HumanEval, beside one plain call of the same model.

The model is the embedded task model in llama.cpp alone. The plain call is "You are a helpful
assistant." and the problem as a user asks it, decoded greedily; solved where the first block with
the function passes HumanEval's own test. The loop gets the same request as a step, and the sandbox
here is a process with little memory and time in a folder that is thrown away. It may run what the
request itself says (examples) and what it wrote; the hidden test sees its files only in the end.

Tokens are prompt and answer of every call as sent, cached or not, by the model's own count.
`TALE_BENCH_PROBLEMS`, a slice such as `1::2` or `:20`, takes some of the problems.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import anyio
from anyio import to_thread

from benchmarks.installation import bare_server
from benchmarks.report import Figure, Report
from benchmarks.session_requests import Problem, as_a_user_asks, humaneval
from benchmarks.solving import code_blocks, solves
from tale.errors import TaleError
from tale.models.backend import Message
from tale.tasks.agent import work
from tale.tasks.fences import closed
from tale.tasks.hands import (
    Action,
    FileChange,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunPython,
    WriteFile,
)
from tale.tasks.task import Step, StepResult, TokensSpent
from tale.tasks.workspace import Refused, Workspace

__all__ = ["measure"]

_CONTEXT: Final = 8192
_SLOTS: Final = 4
_ANSWER_TOKENS: Final = 1024
_SILENCE_SECONDS: Final = 1800.0
_PLAIN: Final = Message("system", "You are a helpful assistant.")
_POINTS: Final = 10
_TIMES: Final = 3

_LIMITED: Final = """
import resource, sys
for limit, most in (
    (resource.RLIMIT_CPU, 40), (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_FSIZE, 1 << 20),
    (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64),
):
    resource.setrlimit(limit, (most, most))
exec(compile(sys.stdin.read(), "<string>", "exec"), {"__name__": "__main__"})
"""


@dataclass
class _Side:
    """What one way of asking came to."""

    solved: set[str] = field(default_factory=set[str])
    tokens: int = 0
    computed: int = 0
    calls: int = 0

    def spend(self, usage: TokensSpent) -> None:
        self.calls += 1
        self.tokens += usage.prompt + usage.completion
        self.computed += usage.prompt - usage.cached + usage.completion


class _Hands:
    """Hands of one problem's step: a model process, and a folder that is thrown away."""

    def __init__(self, url: str, folder: str, side: _Side) -> None:
        self._url = url
        self._workspace = Workspace(Path(folder))
        self._side = side
        self._asked = 0

    async def ask(self, question: Question) -> Reply:
        # The same question asked again at a temperature is to be answered in another way.
        reply = await to_thread.run_sync(_ask, self._url, question, self._asked)
        self._asked += 1
        self._side.spend(reply.usage)
        return reply

    async def act(self, action: Action) -> Outcome:
        return await to_thread.run_sync(self._act, action)

    async def note(self, text: str) -> None:
        del text

    def _act(self, action: Action) -> Outcome:
        root = self._workspace.root
        match action:
            case WriteFile(path, content):
                done = self._workspace.write(path, content)
                if isinstance(done, Refused):
                    return Outcome(ok=False, text=f"{done.path} was not written: {done.why}.")
                change = FileChange(done.path, done.bytes, done.replaced)
                return Outcome(ok=True, text=f"{done.path} is written.", files=(change,))
            case ReadFile(path):
                return Outcome(ok=True, text=(root / path).read_text())
            case ListFiles():
                return Outcome(ok=True, text="\n".join(file.name for file in root.iterdir()))
            case RunPython(code, seconds):
                return _run([sys.executable, "-I", "-c", _LIMITED], code, seconds, root)
            case _:
                return Outcome(ok=False, text="That can't be done here.", exit=127)


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
    reply = await to_thread.run_sync(_ask, url, question)
    side.spend(reply.usage)
    if await to_thread.run_sync(solves, problem, code_blocks(reply.text)):
        side.solved.add(problem.task_id)


async def _by_loop(url: str, problem: Problem, side: _Side) -> StepResult | None:
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as folder:
        step = Step(problem.task_id, as_a_user_asks(problem), folder, "task", "work")
        try:
            result = await work(step, _Hands(url, folder, side))
        except TaleError:
            return None
        programs = [(Path(folder) / name).read_text() for name in result.files]
        if await to_thread.run_sync(solves, problem, programs):
            side.solved.add(problem.task_id)
        return result


def _ask(url: str, question: Question, seed: int = 0) -> Reply:
    body: Mapping[str, Any] = {
        "messages": [{"role": each.role, "content": each.content} for each in question.messages],
        "max_tokens": min(question.max_tokens, _ANSWER_TOKENS),
        "temperature": question.temperature,
        "seed": seed,
        "stop": list(question.stop),
    }
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


def _run(arguments: list[str], source: str, seconds: float, folder: Path) -> Outcome:
    try:
        done = subprocess.run(
            arguments,
            input=source,
            cwd=folder,
            env={},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(ok=False, text=f"It was stopped after {seconds:.0f} s.")
    text = (done.stdout + done.stderr)[-4000:]
    return Outcome(ok=done.returncode == 0, text=text, exit=done.returncode)


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
