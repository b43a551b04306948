"""Runs the suite and the Inspector against a tale of its own, and prints what came of it.

Exits with 1 where anything differs from `expected.toml`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import anyio
from benchmarks.installation import TALE, Installation

from .fixtures import SCENARIOS, serving_fixtures
from .inspector import ERAS, inspect, inspect_program
from .node import install
from .proxy import with_token
from .suite import run_client, run_fixtures, run_server, scenarios
from .verdict import Exclusion, Result, Row, Run, judge, left_out, read_expected

_REVISIONS = ("2026-07-28", "2025-11-25")
# Both speak the newest revision only, tale's servers among each other and its commands to them.
_CLIENTS = {"pool": _REVISIONS[:1], "command-line": _REVISIONS[:1]}
"""Our ways to connect, and the revisions that each speaks."""


async def _check(gateway: str, token: str, home: Path, folder: Path) -> list[Row]:
    exclusions = read_expected((Path(__file__).parent / "expected.toml").read_text())
    asked = {revision: await scenarios(revision) for revision in _REVISIONS}
    runs: list[Run] = []
    skipped: list[Row] = []
    async with with_token(gateway, token) as url:
        for revision in _REVISIONS:
            wanted = asked[revision]["server"]
            runs += await run_server(f"{url}/mcp", revision, wanted, folder / revision)
    async with serving_fixtures(token) as served, with_token(served, token) as url:
        for revision, wanted in SCENARIOS.items():
            runs += await run_fixtures(f"{url}/mcp", revision, wanted, folder)
    for leg, revisions in _CLIENTS.items():
        for revision in revisions:
            wanted, out = _divide(leg, revision, asked[revision]["client"], exclusions)
            runs += await run_client(leg, revision, wanted, folder)
            skipped += out
    inspected = [row for era in ERAS for row in await inspect(f"{gateway}/mcp", token, era, folder)]
    for era in ERAS:
        inspected += await inspect_program(Path(TALE), home, era, folder)
    rows = judge(runs, exclusions) + skipped + inspected
    legs = ["server", "fixtures", *_CLIENTS, "inspector", "inspector-stdio"]
    order = list(get_args(Result))
    return sorted(
        rows, key=lambda row: (legs.index(row.leg), row.revision, order.index(row.result))
    )


def _divide(
    leg: str, revision: str, asked: Iterable[str], exclusions: Iterable[Exclusion]
) -> tuple[list[str], list[Row]]:
    """Part the scenarios that are run from those that are not."""
    wanted: list[str] = []
    skipped: list[Row] = []
    for name in asked:
        if row := left_out(leg, revision, name, exclusions):
            skipped.append(row)
        else:
            wanted.append(name)
    return wanted, skipped


def _print(rows: Sequence[Row]) -> bool:
    """Print the rows, those alike as one; say whether all is as expected."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row.leg, row.revision, row.result, row.reason)
        alike.setdefault(key, []).append(row.scenario)
    before = ""
    for (leg, revision, result, reason), names in alike.items():
        if f"{leg} {revision}" != before:
            before = f"{leg} {revision}"
            print(f"\n{before}")
        head = f"  {result:<10} {len(names):>2}  "
        body = ", ".join(dict.fromkeys(names)) + (f": {reason}" if reason else "")
        indent = " " * len(head)
        wrap = textwrap.TextWrapper(100, head, indent, break_on_hyphens=False)
        print(wrap.fill(body))
    good = all(row.result != "UNEXPECTED" for row in rows)
    print("\nAll is as expected." if good else "\nSee what is UNEXPECTED above.")
    return good


def main() -> None:
    """Run everything once."""
    install()
    folder = Path(tempfile.mkdtemp(prefix="tale-conformance-"))
    try:
        with Installation.fresh() as installation:
            installation.tale("serve", "--detach")
            gateway = installation.url_of("gateway")
            rows = anyio.run(_check, gateway, installation.runtime.token, installation.home, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if _print(rows) else 1)


if __name__ == "__main__":
    main()
