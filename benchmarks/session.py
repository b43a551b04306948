"""What a mixed session of 40 requests costs, beside one naive loop on the large model.

The requests are those of `session_requests`, in the same shuffled order for both. tale answers them
in one conversation of a real daemon; work becomes tasks, which go on while the conversation does.
The naive loop is llama.cpp alone with the large model, "You are a helpful assistant." and the whole
history before each request, its prefix cache on as it is by default. Its window is twice the task
model's, so that the history fits, which is kindest to it: in one of 8192 tokens the oldest turns
would have to be dropped for the last third of the session, and everything behind them evaluated
anew each time. It decodes greedily, as tale's tasks do (tale's talk is at 0.3), with the same
penalty, and an answer ends at 1024 tokens, as in tale's conversations.

Tokens are those that the model processes count themselves: prompt tokens evaluated and tokens
generated, since each was started. So nothing is left out: warm-ups, pulses, windows computed ahead.
A problem is solved where HumanEval's own test passes: on the files of tale's task, or the code in
its answer; on the code in the naive loop's answer. A text is summed up by an answer that is shorter
and has half of its facts. The last figure is of a second, short session (`session_kill`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from benchmarks import session_kill
from benchmarks.installation import Installation, bare_server
from benchmarks.report import Figure, Report, median, spread
from benchmarks.session_requests import Request, humaneval, mixed_session
from benchmarks.solving import code_blocks, solves
from tale.cli.client import McpClient
from tale.cli.record import Record

__all__ = ["measure"]

_SEED: Final = 0
_CONTEXT: Final = 16_384
_ANSWER_TOKENS: Final = 1024
_TEMPLATE_TOKENS: Final = 5  # <|im_start|>, the role, <|im_end|>, line breaks
_SYSTEM: Final = {"role": "system", "content": "You are a helpful assistant."}
_FINAL: Final = {"done", "failed", "cancelled"}
_TASKS_SECONDS: Final = 900.0
_SILENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What a model process counted: evaluated of its prompts, found in its cache, generated."""

    evaluated: int = 0
    cached: int = 0
    generated: int = 0

    @classmethod
    def of(cls, url: str, token: str = "") -> _Tokens:
        """Ask the process."""
        request = HttpRequest(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        found = dict(line.split() for line in lines if line.startswith("llamacpp:"))
        names = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
        return cls(*(int(float(found[f"llamacpp:{name}"])) for name in names))

    @property
    def computed(self) -> int:
        return self.evaluated + self.generated

    @property
    def sent(self) -> int:
        return self.evaluated + self.cached


@dataclass
class _Run:
    """What came of a session."""

    tokens: dict[str, _Tokens] = field(default_factory=dict[str, _Tokens])
    solved: set[str] = field(default_factory=set[str])
    summed_up: int = 0
    first: list[float] = field(default_factory=list[float])
    costs: dict[str, int] = field(default_factory=dict[str, int])
    dropped: int = 0
    seconds: float = 0.0

    def spend(self, kind: str, tokens: int) -> None:
        self.costs[kind] = self.costs.get(kind, 0) + tokens

    def judge(self, request: Request, answer: str, files: Sequence[str] = ()) -> None:
        if problem := request.problem:
            if solves(problem, [*files, *code_blocks(answer)]):
                self.solved.add(problem.task_id)
        elif request.facts:
            self.summed_up += request.summed_up(answer)


def measure(report: Report) -> None:
    """Hold the session twice, and a short one in which the task model is killed."""
    problems = humaneval()
    if not problems:
        report.console.print("  skipped: no coding/humaneval.jsonl.gz (set TALE_BENCH_DATA)")
        return
    requests = mixed_session(problems, _SEED)
    with Installation.fresh() as installation:
        installation.timed("serve", "--detach")
        installation.url_of("model-task")
        tale = _tale(report, installation, requests)
        _tell(report, "tale", tale)
        report.console.print(installation.tale("usage"), markup=False, highlight=False)
        session_kill.measure(report, installation, requests)
    naive = _naive(requests)
    _tell(report, "naive", naive)
    _compare(report, tale, naive)


# -- tale ------------------------------------------------------------------------------------------


def _tale(report: Report, installation: Installation, requests: list[Request]) -> _Run:
    token = installation.runtime.token
    ux = McpClient(installation.url_of("ux"), token, silence=_SILENCE_SECONDS)
    gateway = McpClient(installation.url_of("gateway"), token, silence=_SILENCE_SECONDS)
    run, tasks = _Run(), list[tuple[Request, str]]()
    begun, session = time.perf_counter(), ""
    for request in requests:
        first, reply = _turn(ux, request.text, session)
        session = reply.text("session")
        run.first.append(first)
        run.spend(_label(request, reply.text("task") and "acknowledged"), _computed(reply))
        if task := reply.text("task"):
            tasks.append((request, task))
        else:
            run.judge(request, reply.text("answer"))
    for request, task in tasks:
        shown = _end_of(report, gateway, task)
        run.spend(_label(request, "task"), _computed(shown))
        run.judge(request, shown.text("answer"), _files(shown))
    run.seconds = time.perf_counter() - begun
    for role in ("ux", "task"):
        run.tokens[role] = _Tokens.of(installation.url_of(f"model-{role}"), token)
    return run


def _turn(client: McpClient, text: str, session: str) -> tuple[float, Record]:
    """Say something in a conversation; gives the seconds to the first token, and the reply."""
    first: list[float] = []
    begun = time.perf_counter()

    def note(data: Record) -> None:
        if not first and data.text("token").strip():
            first.append(time.perf_counter() - begun)

    reply = client.call("chat", {"text": text, "session": session or None}, note)
    return first[0] if first else time.perf_counter() - begun, reply


def _end_of(report: Report, gateway: McpClient, task: str) -> Record:
    until = time.monotonic() + _TASKS_SECONDS
    while (shown := gateway.call("show", {"id": task, "wait": 20})).text("state") not in _FINAL:
        if time.monotonic() > until:
            report.console.print(f"  {task} took too long: {shown.raw}", markup=False)
            return gateway.call("cancel", {"id": task})
    return shown


def _files(task: Record) -> list[str]:
    folder = Path(task.text("workspace"))
    names: Any = task.raw.get("files") or ()
    files = [folder / str(name) for name in names]
    return [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]


def _computed(reply: Record) -> int:
    usage = reply.record("usage")
    return usage.integer("prompt") - usage.integer("cached") + usage.integer("completion")


def _label(request: Request, how: str) -> str:
    return f"{request.kind} {how}".strip()


# -- the naive loop --------------------------------------------------------------------------------


def _naive(requests: list[Request]) -> _Run:
    run = _Run()
    with bare_server("task", _CONTEXT) as (url, _):
        begun = time.perf_counter()
        history: list[tuple[dict[str, str], int]] = []
        for request in requests:
            history.append(_weighed(url, "user", request.text))
            while sum(cost for _, cost in history) > _CONTEXT - _ANSWER_TOKENS - 50:
                del history[:2]  # a request and its answer
                run.dropped += 1
            body: dict[str, Any] = {
                "messages": [_SYSTEM, *(message for message, _ in history)],
                "max_tokens": _ANSWER_TOKENS,
                "temperature": 0,
            }
            given = _post(url, "/v1/chat/completions", body)
            answer = given["choices"][0]["message"]["content"]
            run.spend(request.kind, given["timings"]["prompt_n"] + given["timings"]["predicted_n"])
            history.append(_weighed(url, "assistant", answer))
            run.judge(request, answer)
        run.seconds = time.perf_counter() - begun
        run.tokens["task"] = _Tokens.of(url)
    return run


def _weighed(url: str, role: str, text: str) -> tuple[dict[str, str], int]:
    tokens = _post(url, "/tokenize", {"content": text})["tokens"]
    return {"role": role, "content": text}, len(tokens) + _TEMPLATE_TOKENS


def _post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = HttpRequest(f"{url}{path}", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=_SILENCE_SECONDS) as answer:
        return json.load(answer)


# -- what is said of it ----------------------------------------------------------------------------


def _tell(report: Report, name: str, run: _Run) -> None:
    """Print where the tokens went."""
    for role, tokens in run.tokens.items():
        report.console.print(
            f"  {name}, {role} model: {tokens.sent} tokens sent, of which {tokens.cached} from the"
            f" cache and {tokens.evaluated} evaluated; {tokens.generated} generated"
        )
    costs = ", ".join(f"{kind} {tokens}" for kind, tokens in sorted(run.costs.items()))
    report.console.print(f"  {name}, computed by kind: {costs}")
    report.console.print(
        f"  {name}: {len(run.solved)} problems solved, {run.summed_up} texts summed up,"
        f" {run.seconds:.0f} s" + (f", {run.dropped} old requests dropped" if run.dropped else "")
    )


def _compare(report: Report, tale: _Run, naive: _Run) -> None:
    baseline, all_naive = "naive loop, large model", naive.tokens["task"]
    large = tale.tokens["task"].computed
    whole = sum(tokens.computed for tokens in tale.tokens.values())
    sent = sum(tokens.sent for tokens in tale.tokens.values())
    for what, value, other, most in (
        ("computed by the large model", large, all_naive.computed, 0.4),
        ("computed in all", whole, all_naive.computed, 0.6),
        ("sent in all", sent, all_naive.sent, 1.0),
    ):
        report.add(
            Figure(
                f"mixed session: tokens {what}",
                value,
                "tokens",
                f"≤ {most:.0%} of the naive loop's",
                value <= most * other,
                baseline,
                other,
            )
        )
    for what, ours, theirs, of in (
        ("problems solved", len(tale.solved), len(naive.solved), 10),
        ("texts summed up", tale.summed_up, naive.summed_up, 8),
    ):
        report.add(
            Figure(
                f"mixed session: {what}",
                ours,
                f"of {of}",
                "no fewer than the naive loop",
                ours >= theirs,
                baseline,
                theirs,
            )
        )
    # Answers that are checked and corrected cost tokens, and are right more often.
    done, done_naive = (len(run.solved) + run.summed_up for run in (tale, naive))
    each, each_naive = whole / max(1, done), all_naive.computed / max(1, done_naive)
    report.add(
        Figure(
            "mixed session: tokens computed for each problem solved or text summed up",
            each,
            "tokens",
            "≤ 60% of the naive loop's",
            each <= 0.6 * each_naive,
            baseline,
            each_naive,
        )
    )
    late = sorted(tale.first)[int(0.95 * len(tale.first))]
    report.add(
        Figure(
            f"mixed session: first token, p95 (median {median(tale.first):.2f} s)",
            late,
            "s",
            "< 1 s",
            late < 1,
            runs=len(tale.first),
            spread=spread(tale.first),
        )
    )
