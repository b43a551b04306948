"""Orphans that fall to the supervisor are buried or ended; its own children are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tale.orchestration import orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans fall to nobody else")


def outcome(scenario: str) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("orphanage.py")), scenario],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(run.stdout)


def test_dead_orphans_are_buried_and_the_exit_of_a_known_child_is_left_to_its_owner() -> None:
    assert outcome("dead") == {"known": False, "code": 7, "buried": True, "left": []}


def test_a_living_orphan_in_a_session_of_its_own_is_ended_and_a_known_child_lives() -> None:
    assert outcome("living") == {"ended": True, "signal": 9, "left": True, "again": []}


def test_what_a_living_server_runs_in_the_background_goes_only_with_that_server() -> None:
    assert outcome("background") == {"spared": True, "ended": True}


def test_without_children_there_is_nothing_to_do() -> None:
    assert outcome("nothing") == {"reaped": [], "swept": []}


def test_children_are_found_where_the_kernel_lists_none(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as known:
        assert known.pid in orphans.children()
        assert known.pid in orphans.children(tmp_path / "none")
        assert known.stdin is not None
        known.stdin.close()
