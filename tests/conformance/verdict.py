"""What a run of the suite says, held against what is expected of it: pure.

`expected.toml` names what tale does not have and why. A failure that it does not name is
unexpected, and so is an exclusion that excludes nothing: both must be noticed. Above: `__main__`.
Beside: `suite`, which brings the runs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Exclusion", "Expected", "Result", "Row", "Run", "judge", "left_out", "read_expected"]

Result = Literal["passed", "in part", "excluded", "not run", "UNEXPECTED"]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exclusion(_Shape):
    """Scenarios of a leg that may fail, for one reason.

    A name is that of a scenario, of one check in it (`scenario:check`), or, where nothing is to be
    run, the beginning of several (`auth/*`).
    """

    leg: str
    reason: str
    scenarios: tuple[str, ...]
    run: bool = True
    revisions: tuple[str, ...] = ()


class Expected(_Shape):
    """The whole of `expected.toml`."""

    excluded: tuple[Exclusion, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One scenario as it went.

    Attributes:
        leg: What was tested: `server`, or one of the clients.
        revision: Of the protocol.
        scenario: Its name in the suite.
        failed: The checks that failed.
    """

    leg: str
    revision: str
    scenario: str
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario's outcome. `in part`: it passed but for checks that are excluded."""

    leg: str
    revision: str
    scenario: str
    result: Result
    reason: str = ""


def read_expected(text: str) -> tuple[Exclusion, ...]:
    """Read `expected.toml`."""
    return Expected.model_validate(tomllib.loads(text)).excluded


def left_out(leg: str, revision: str, scenario: str, exclusions: Iterable[Exclusion]) -> Row | None:
    """Say, under the name by which it is excluded, where a scenario is not even to be run."""
    for exclusion in exclusions:
        if not exclusion.run and _concerns(exclusion, leg, revision):
            for name in exclusion.scenarios:
                if fnmatchcase(scenario, name):
                    return Row(leg, revision, name, "not run", exclusion.reason)
    return None


def judge(runs: Sequence[Run], exclusions: Sequence[Exclusion]) -> list[Row]:
    """Hold what was run against what is excluded, in the order of the runs."""
    rows = [_judge(run, exclusions) for run in runs]
    known = {(run.leg, run.scenario) for run in runs}
    for exclusion in exclusions:
        for name in exclusion.scenarios if exclusion.run else ():
            if (exclusion.leg, name.partition(":")[0]) not in known:
                what = "expected.toml names it, but it was not run"
                rows.append(Row(exclusion.leg, "", name, "UNEXPECTED", what))
    return rows


def _judge(run: Run, exclusions: Iterable[Exclusion]) -> Row:
    failed = set(run.failed)
    reasons: list[str] = []
    whole = False
    for exclusion in exclusions:
        if not exclusion.run or not _concerns(exclusion, run.leg, run.revision):
            continue
        for name in exclusion.scenarios:
            scenario, _, check = name.partition(":")
            if scenario != run.scenario:
                continue
            excused = {check} & run.failed if check else run.failed
            if not excused:
                what = f"{name} passes, though excluded: {exclusion.reason}"
                return _row(run, "UNEXPECTED", what)
            failed -= excused
            reasons.append(exclusion.reason)
            whole = whole or not check
    if failed:
        return _row(run, "UNEXPECTED", "failed: " + ", ".join(sorted(failed)))
    if reasons:
        told = "; ".join(dict.fromkeys(reasons))
        return _row(run, "excluded" if whole else "in part", told)
    return _row(run, "passed")


def _row(run: Run, result: Result, reason: str = "") -> Row:
    return Row(run.leg, run.revision, run.scenario, result, reason)


def _concerns(exclusion: Exclusion, leg: str, revision: str) -> bool:
    return exclusion.leg == leg and (not exclusion.revisions or revision in exclusion.revisions)
