"""The user is asked about a plan where there is a reason, which is told in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.plan_policy import Cost, PlanPolicy, expected_cost, reasons_to_ask
from tale.tasks.task import Size, Subtask, ToolOffer

PART = Subtask("a", "Store", "Write store.py with load() and save().", writes=("store.py",))
CHEAP = Cost(60, 1000)
SIZES: tuple[Size, Size] = ("small", "large")


def why(part: Subtask, *tools: ToolOffer) -> tuple[str, ...]:
    return reasons_to_ask([part], PlanPolicy(), CHEAP, tools)


def test_a_small_plan_in_its_workspace_is_not_asked_for() -> None:
    part = replace(PART, check="python -m pytest -q test_store.py > /dev/null 2>&1")
    assert why(part) == ()
    assert why(replace(PART, text="Serve /login, /users/1 and /home; see and/or 3/4.")) == ()
    assert why(replace(PART, check="curl -s http://localhost:80 || true")) != ()


def test_a_large_plan_is_asked_for() -> None:
    plan = [replace(PART, id=f"p{number}") for number in range(7)]
    assert reasons_to_ask(plan, PlanPolicy(), CHEAP) == (
        "it is large: 7 parts, and more than 6 are asked for",
    )
    assert reasons_to_ask(plan, PlanPolicy(parts=7), CHEAP) == ()


def test_a_costly_plan_is_asked_for_with_what_it_takes() -> None:
    assert reasons_to_ask([PART], PlanPolicy(), Cost(7200, 123_456)) == (
        "it probably takes 2 h of work",
        "it probably takes 123,000 tokens",
    )


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (replace(PART, writes=("/etc/hosts",)), "/etc/hosts"),
        (replace(PART, writes=("../other/a.py",)), "../other/a.py"),
        (replace(PART, reads=("~/notes.txt",)), "~/notes.txt"),
        (replace(PART, check="test -s /srv/site/index.html"), "/srv/site/index.html"),
        (replace(PART, check="cat ../secret"), "../secret"),
        (replace(PART, text="Copy it to /home/ada/site/ and to /etc/nginx/conf.d."), "/home/ada/"),
        (replace(PART, reads=tuple(f"/a{number}" for number in range(9))), "/a0, /a1, /a2 and 6 m"),
    ],
)
def test_what_is_outside_of_the_workspace_is_asked_for(part: Subtask, named: str) -> None:
    [reason] = why(part)
    assert reason.startswith(f"it touches what is outside of the workspace: {named}")


def test_who_knows_the_workspace_says_what_is_outside() -> None:
    part = replace(PART, writes=("/w/a.py",))
    assert reasons_to_ask([part], PlanPolicy(), CHEAP, holds=lambda path: "/w/" in path) == ()


@pytest.mark.parametrize(
    ("check", "named"),
    [
        ("curl -sf https://example.org | grep -q x", "curl, https://"),
        ("cd app && npm test", "npm"),
        ("PIP_X=1 sudo /usr/bin/pip install flask", "pip"),
        ("python -m pip install -r requirements.txt", "python -m pip"),
        ("git -C a clone b", "git -C a clone"),
    ],
)
def test_checks_that_use_the_network_are_asked_for(check: str, named: str) -> None:
    reasons = [one for one in why(replace(PART, check=check)) if "network" in one]
    assert reasons == [f"its checks use the network: {named}"]


def test_programs_are_not_found_in_the_words_of_others() -> None:
    assert why(replace(PART, check="grep -q 'curl x' README.md && git status")) == ()


def test_tools_that_may_change_something_are_asked_for_where_the_plan_names_them() -> None:
    changes = ToolOffer("github", "create_issue")
    plain = ToolOffer("disk", "write")
    part = replace(PART, text="Write it up, then call create_issue for each.")
    assert why(part, changes, plain) == (
        "it uses tools that may change something: github.create_issue",
    )
    assert why(part, replace(changes, read_only=True)) == ()
    assert why(replace(PART, text="Use disk.write for it."), plain) != ()


def test_the_users_word_counts_before_all_reasons() -> None:
    plan = [replace(PART, writes=("/etc/hosts",))]
    assert reasons_to_ask(plan, PlanPolicy("never"), Cost(9999, 999_999)) == ()
    assert reasons_to_ask([PART], PlanPolicy("always"), CHEAP) == (
        "you want to be asked about every plan",
    )
    careful = PlanPolicy("never", {"act": "always"})
    assert reasons_to_ask([PART], careful, CHEAP) == ()
    assert reasons_to_ask([PART, replace(PART, kind="act")], careful, CHEAP) == (
        "you want to be asked about plans with act",
    )
    assert reasons_to_ask(plan, PlanPolicy("never", {"code": "auto"}), CHEAP) != ()


def test_what_is_done_costs_nothing_more_and_what_is_large_costs_more() -> None:
    small, large = (expected_cost([replace(PART, size=size)]) for size in SIZES)
    assert small.seconds < large.seconds
    assert small.tokens < large.tokens
    assert expected_cost([replace(PART, state="done")]) == Cost()
    assert expected_cost([PART], {PART.id: 7.0}).seconds == 7.0


@given(st.text(), st.text(), st.lists(st.text()))
def test_any_plan_is_judged(text: str, check: str, paths: list[str]) -> None:
    part = Subtask("a", "A", text, check=check, reads=tuple(paths))
    assert all(reasons_to_ask([part], PlanPolicy(), CHEAP))
