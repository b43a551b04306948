"""Plans of twenty large requests by the embedded task model: whether they can be worked on.

Each request is planned as the daemon does it, in a folder with the files it is about; the model is
in llama.cpp alone, decoded greedily until an answer has faults. A plan counts where it is one by
rules that are written down here once more, apart from the planner's own: a DAG of at least two
parts, no file that two parts write which may run side by side, and for each part a check that a
shell takes, whose programs are on this machine, and that is more than a yes. The baseline is the
model's first answer as it stands, by the same rules.

`TALE_BENCH_PLANS`, a slice such as `:5`, takes some of the requests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path
from typing import Any, Final, cast

import anyio

from benchmarks.bare_hands import BareHands
from benchmarks.installation import bare_server
from benchmarks.plan_requests import REQUESTS, Request
from benchmarks.report import Figure, Report
from tale.tasks.dependencies import settle
from tale.tasks.hands import Reply
from tale.tasks.plan import faults
from tale.tasks.planner import Planned, Rules, plan
from tale.tasks.programs_here import can_run
from tale.tasks.shell_syntax import Unreadable, commands
from tale.tasks.task import Step

__all__ = ["measure"]

_CONTEXT: Final = 8192
_SLOTS: Final = 2
_ANSWER_TOKENS: Final = 2048
_BUILT_IN: Final = frozenset({"!", "[", "[[", "test", "cd", "if", "for", "while", "set", "export"})
_NO_CHECK: Final = frozenset({"true", ":", "exit", "echo", "printf"})


@dataclass(frozen=True, slots=True)
class _Part:
    """What is judged of a part."""

    id: str
    depends_on: tuple[str, ...]
    writes: tuple[str, ...]
    check: str


@dataclass(frozen=True, slots=True)
class _Made:
    """How a request was planned."""

    request: Request
    planned: Planned
    first: str
    seconds: float


def measure(report: Report) -> None:
    """Plan each request, and judge what came of it."""
    part = os.environ.get("TALE_BENCH_PLANS", "")
    bounds = (part if ":" in part else f":{part}").split(":")
    requests = REQUESTS[slice(*(int(each) if each else None for each in bounds))]
    with bare_server("task", _CONTEXT * _SLOTS, slots=_SLOTS) as (url, _):
        made = anyio.run(_plan_all, report, url, requests)
    number = len(made)
    good = sum(not _wrong(_of_plan(each.planned)) for each in made)
    first = sum(not _wrong(_of_answer(each.first)) for each in made)
    derived = sum(bool(each.planned.notes) for each in made)
    asked = sum(len(each.planned.replies) for each in made)
    usage = [each.planned.usage for each in made]
    report.console.print(
        f"  {asked} answers for {number} plans; {derived} were derived because none was usable;"
        f" {sum(each.completion for each in usage)} tokens generated"
    )
    report.add(
        Figure(
            "plans that can be worked on: DAG, no write conflict, runnable checks",
            good,
            f"of {number}",
            f"{number} of {number}",
            good == number,
            "the model's first answer as it stands",
            first,
            number,
        )
    )


async def _plan_all(report: Report, url: str, requests: Sequence[Request]) -> list[_Made]:
    limit = anyio.CapacityLimiter(_SLOTS)
    made: list[_Made] = []

    async def one(request: Request) -> None:
        async with limit:
            each = await _plan(url, request)
        made.append(each)
        _print(report, each)

    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(one, request)
    return made


async def _plan(url: str, request: Request) -> _Made:
    replies: list[Reply] = []
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as folder:
        _fill(Path(folder), request)
        hands = BareHands(url, folder, replies.append, most=_ANSWER_TOKENS)
        step = Step(request.name, request.text, folder, "task", "work")
        begun = time.perf_counter()
        planned = await plan(step, hands, Rules(partial(faults, own=True), settle, can_run))
    return _Made(request, planned, replies[0].text, time.perf_counter() - begun)


def _fill(folder: Path, request: Request) -> None:
    for path, content in request.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def _print(report: Report, made: _Made) -> None:
    say = partial(report.console.print, markup=False, highlight=False)
    say(
        f"  {made.request.name}: {len(made.planned.parts)} parts,"
        f" {len(made.planned.replies)} answers, {made.seconds:.0f} s"
    )
    for part in made.planned.parts:
        after = f" after {', '.join(part.depends_on)}" if part.depends_on else ""
        say(f"    {part.id}{after}: {', '.join(part.writes)}   [{part.check}]")
    for note in made.planned.notes:
        say(f"    note: {note}")
    for wrong in _wrong(_of_plan(made.planned)):
        say(f"    WRONG: {wrong}")
    for wrong in _wrong(_of_answer(made.first)):
        say(f"    in the first answer: {wrong}")


def _of_plan(planned: Planned) -> list[_Part]:
    return [_Part(one.id, one.depends_on, one.writes, one.check) for one in planned.parts]


def _of_answer(text: str) -> list[_Part]:
    """Read an answer as it stands; nothing where it is no plan."""
    try:
        parts = cast("list[Mapping[str, Any]]", json.loads(text)["subtasks"])
        return [
            _Part(one["id"], tuple(one["depends_on"]), tuple(one["writes"]), one["check"])
            for one in parts
        ]
    except (ValueError, KeyError, TypeError):
        return []


def _wrong(parts: Sequence[_Part]) -> list[str]:
    """Say what is wrong with a plan."""
    if len(parts) < 2:
        return [f"it has {len(parts)} parts"]
    needs = {one.id: set(one.depends_on) for one in parts}
    if len(needs) < len(parts):
        return ["two parts have one id"]
    if unknown := {each for one in needs.values() for each in one} - needs.keys():
        return [f"nobody is called {', '.join(sorted(unknown))}"]
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        return ["it has a cycle"]
    before: dict[str, set[str]] = {}
    for name in order:
        before[name] = needs[name].union(*(before[each] for each in needs[name]))
    found = [
        f"{one.id} and {other.id} may write {path} side by side"
        for one, other in combinations(parts, 2)
        if one.id not in before[other.id] and other.id not in before[one.id]
        for path in set(one.writes) & set(other.writes)
    ]
    return found + [f"{one.id}: {why}" for one in parts if (why := _not_runnable(one, parts))]


def _not_runnable(part: _Part, parts: Sequence[_Part]) -> str:
    line = part.check
    shell = subprocess.run(["/bin/sh", "-n", "-c", line], capture_output=True, check=False)
    if not line.strip() or shell.returncode:
        return f"no shell takes {line!r}"
    try:
        programs = [each.words[0] for each in commands(line) if each.words]
    except Unreadable as why:
        return f"{line!r}: {why}"
    made = {path for one in parts for path in one.writes}
    for program in programs:
        there = program in _BUILT_IN | _NO_CHECK or shutil.which(program)
        if not there and program.removeprefix("./") not in made:
            return f"there is no {program!r}"
    if not set(programs) - _NO_CHECK:
        return f"{line!r} can't fail"
    return ""
