"""Runs the official conformance suite and reads what it found.

The suite's own verdict is not used: `verdict` holds each check against what is expected. Above:
`__main__`. Below: `node`, and `client`, which the suite starts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import anyio
from pydantic import BaseModel, TypeAdapter

from .node import CONFORMANCE, NODE
from .verdict import Run

__all__ = ["run_client", "run_fixtures", "run_server", "scenarios"]

_STAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
_SECTIONS = {"Server scenarios": "server", "Client scenarios": "client"}
_AT_ONCE = 2
"""Clients running at a time: each takes a second of processor time to start."""


class _Check(BaseModel):
    id: str
    status: Literal["SUCCESS", "FAILURE", "WARNING", "SKIPPED", "INFO"]


_CHECKS = TypeAdapter(list[_Check])


async def scenarios(revision: str) -> dict[str, list[str]]:
    """List what a revision asks of a `server` and of a `client`, whether it is scored or not."""
    listed: dict[str, list[str]] = {"server": [], "client": []}
    section = ""
    for line in (await _suite("list", "--requirements", revision)).splitlines():
        for heading, kind in _SECTIONS.items():
            section = kind if line.startswith(heading) else section
        if scored := re.fullmatch(r"  - (\S+)", line):
            listed[section].append(scored[1])
        elif other := re.fullmatch(r"    - (\S+) \[(\w+)\]", line):
            listed[other[2]].append(other[1])
    return listed


async def run_server(url: str, revision: str, wanted: Iterable[str], folder: Path) -> list[Run]:
    """Run all server scenarios of a revision against the server at `url`."""
    await _suite("server", "--url", url, "--requirements", revision, "-o", str(folder))
    found = {
        _STAMP.sub("", path.parent.name).removeprefix("server-"): path for path in _results(folder)
    }
    return [_read("server", revision, name, found.get(name)) for name in wanted]


async def run_fixtures(url: str, revision: str, wanted: Iterable[str], folder: Path) -> list[Run]:
    """Run some server scenarios of a revision against the fixtures at `url`."""
    runs: list[Run] = []
    for scenario in wanted:
        into = folder / f"fixtures-{revision}-{scenario}"
        await _suite(
            *("server", "--url", url, "--scenario", scenario),
            *("--spec-version", revision, "-o", str(into)),
        )
        path = next(iter(_results(into)), None)
        runs.append(_read("fixtures", revision, scenario, path))
    return runs


async def run_client(leg: str, revision: str, wanted: Sequence[str], folder: Path) -> list[Run]:
    """Run client scenarios of a revision against one of our ways to connect."""
    runs: dict[str, Run] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)
    command = f"{sys.executable} -m tests.conformance.client {leg}"

    async def one(scenario: str) -> None:
        into = folder / f"{leg}-{revision}-{wanted.index(scenario)}"
        async with limit:
            said = await _suite(
                *("client", "--command", command, "--scenario", scenario),
                *("--spec-version", revision, "-o", str(into)),
            )
        run = _read(leg, revision, scenario, next(iter(_results(into)), None))
        if "CLIENT EXITED WITH ERROR" in said:
            run = Run(leg, revision, scenario, run.failed | {"client-exit"})
        runs[scenario] = run

    async with anyio.create_task_group() as tasks:
        for scenario in wanted:
            tasks.start_soon(one, scenario)
    return [runs[scenario] for scenario in wanted]


def _results(folder: Path) -> list[Path]:
    # A scenario's name may hold a slash, and then its folder is one further down.
    return list(folder.rglob("checks.json"))


def _read(leg: str, revision: str, scenario: str, path: Path | None) -> Run:
    if path is None:
        return Run(leg, revision, scenario, frozenset({"no-result"}))
    checks = _CHECKS.validate_python(json.loads(path.read_text()))
    return Run(
        leg,
        revision,
        scenario,
        frozenset(check.id for check in checks if check.status == "FAILURE"),
    )


async def _suite(*arguments: str) -> str:
    done = await anyio.run_process([NODE, CONFORMANCE, *arguments], check=False)
    return done.stdout.decode() + done.stderr.decode()
