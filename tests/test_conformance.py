"""How the conformance runner holds what it found against what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conformance.verdict import Exclusion, Run, judge, left_out, read_expected

NO_PROMPTS = Exclusion(leg="server", reason="no prompts", scenarios=("prompts-list",))
ONE_CHECK = Exclusion(leg="server", reason="no prompts", scenarios=("caching:prompts",))


def run(scenario: str, *failed: str, leg: str = "server", revision: str = "new") -> Run:
    return Run(leg, revision, scenario, frozenset(failed))


def results(*runs: Run, exclusions: tuple[Exclusion, ...] = ()) -> list[str]:
    return [row.result for row in judge(runs, exclusions)]


def test_what_passes_and_is_not_listed_passed() -> None:
    assert results(run("ping")) == ["passed"]


def test_a_failure_that_is_not_listed_is_unexpected_and_named() -> None:
    (row,) = judge([run("ping", "b", "a")], [])
    assert (row.result, row.reason) == ("UNEXPECTED", "failed: a, b")


def test_a_listed_failure_is_excluded_with_its_reason() -> None:
    (row,) = judge([run("prompts-list", "x")], [NO_PROMPTS])
    assert (row.result, row.reason) == ("excluded", "no prompts")


def test_a_listed_scenario_that_passes_is_unexpected() -> None:
    (row,) = judge([run("prompts-list")], [NO_PROMPTS])
    assert row.result == "UNEXPECTED"
    assert "passes, though excluded" in row.reason


def test_one_listed_check_excuses_no_other() -> None:
    excused, both = run("caching", "prompts"), run("caching", "prompts", "tools")
    assert results(excused, exclusions=(ONE_CHECK,)) == ["in part"]
    (row,) = judge([both], [ONE_CHECK])
    assert (row.result, row.reason) == ("UNEXPECTED", "failed: tools")


def test_a_listed_check_that_passes_is_unexpected() -> None:
    assert results(run("caching"), exclusions=(ONE_CHECK,)) == ["UNEXPECTED"]


def test_an_entry_whose_scenario_is_gone_is_unexpected() -> None:
    assert results(run("ping"), exclusions=(NO_PROMPTS,)) == ["passed", "UNEXPECTED"]


def test_an_entry_concerns_its_leg_and_its_revisions_only() -> None:
    old = Exclusion(leg="server", reason="-", scenarios=("ping",), revisions=("old",))
    runs = (run("ping", "x", revision="old"), run("ping"), run("ping", "x", leg="pool"))
    assert results(*runs, exclusions=(old,)) == ["excluded", "passed", "UNEXPECTED"]


def test_what_is_not_to_be_run_is_found_by_the_beginning_of_its_name() -> None:
    auth = Exclusion(leg="pool", reason="no OAuth", scenarios=("auth/*",), run=False)
    row = left_out("pool", "new", "auth/dpop", [auth])
    assert row
    assert (row.scenario, row.result, row.reason) == ("auth/*", "not run", "no OAuth")
    assert left_out("pool", "new", "tools_call", [auth]) is None
    assert left_out("server", "new", "auth/dpop", [auth]) is None
    assert results(run("tools_call", leg="pool"), exclusions=(auth,)) == ["passed"]


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="scenario"):
        read_expected('[[excluded]]\nleg = "server"\nreason = "-"\nscenario = ["ping"]')


def test_what_the_repository_excludes_has_a_reason_and_names_nothing_twice() -> None:
    path = Path(__file__).parent / "conformance/expected.toml"
    seen: set[tuple[str, str, str]] = set()
    for exclusion in read_expected(path.read_text()):
        assert exclusion.reason
        for revision in exclusion.revisions or ("2026-07-28", "2025-11-25"):
            for name in exclusion.scenarios:
                assert (exclusion.leg, revision, name) not in seen
                seen.add((exclusion.leg, revision, name))


CHECKS = st.frozensets(st.sampled_from("abcd"))


@given(failed=CHECKS, listed=CHECKS)
def test_all_is_well_exactly_where_the_failures_are_those_listed(
    failed: frozenset[str], listed: frozenset[str]
) -> None:
    names = tuple(f"s:{check}" for check in listed)
    exclusion = Exclusion(leg="server", reason="-", scenarios=names)
    (row,) = judge([run("s", *failed)], [exclusion])
    assert (row.result != "UNEXPECTED") == (failed == listed)
