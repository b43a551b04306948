"""Each part of a plan ends with a check that can be run."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import requires

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.part_checks import mended_check, usual_check
from tale.tasks.task import Subtask

PART = Subtask("store", "Storage", "Write store.py.", writes=("store.py", "test_store.py"))
KNOWN = {"store.py", "test_store.py", "data.csv", "app/views.py"}
USUAL = "python -m pytest -q test_store.py"


@pytest.mark.parametrize(
    ("part", "check"),
    [
        (PART, USUAL),
        (replace(PART, writes=("a.py", "b c.py")), "python -m py_compile a.py 'b c.py'"),
        (replace(PART, writes=("README.md", "a.sql")), "test -s README.md && test -s a.sql"),
        (replace(PART, writes=("docs/",)), "test -d docs/"),
        (replace(PART, writes=()), "python -m compileall -q ."),
        (replace(PART, writes=(), kind="act"), "ls -A | grep -q ."),
    ],
)
def test_a_check_follows_from_the_files_that_are_written(part: Subtask, check: str) -> None:
    assert usual_check(part) == check
    assert mended_check(part, KNOWN).check == check
    assert mended_check(part, KNOWN).why == ""


def test_what_checks_tests_is_installed_with_tale() -> None:
    assert usual_check(PART).startswith("python -m pytest")
    assert [line for line in requires("tale") or () if line.startswith("pytest")]


@pytest.mark.parametrize(
    "check",
    [
        "python -c 'import store; store.load()'",
        "python store.py --help",
        "grep -q 'def load' store.py && python -m json.tool < data.csv",
        "test $(wc -l < data.csv) -gt 3",
        "[ -f store.py ]",
        "bash -c 'cat store.py > out.txt && test -s out.txt'",
        "python store.py > out.json && python -m json.tool out.json",
        "ls app && python -m unittest",
        "make test",
        "curl -sf https://example.org",
    ],
)
def test_a_check_that_can_be_run_stays(check: str) -> None:
    mended = mended_check(replace(PART, check=check), KNOWN)
    assert (mended.check, mended.why) == (check, "")


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ("`python store.py`", "python store.py"),
        ("$ python store.py", "python store.py"),
        ("```bash\npython store.py\n```", "python store.py"),
        ("RUN: pytest -x test_store.py", "python -m pytest -x test_store.py"),
        ("Run pytest", "python -m pytest"),
        ("./store.py --help", "python store.py --help"),
        ("python store.py\npytest", "python store.py && pytest"),
    ],
)
def test_what_models_put_around_a_command_is_taken_off(given: str, check: str) -> None:
    assert mended_check(replace(PART, check=given), KNOWN).check == check


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("Check that the store works", "it is a sentence, and no command"),
        ("The file exists", "it is a sentence, and no command"),
        ("test that the file is there and it works", "it is a sentence, and no command"),
        ("true", "it can't fail"),
        ("echo done", "it can't fail"),
        ("python store.py || true", "it can't fail"),
        ("python store.py; echo ok", "it can't fail"),
        ("flask run", "it would not end"),
        ("uvicorn main:app", "it would not end"),
        ("python -m http.server", "it would not end"),
        ("python store.py &", "it would not end"),
        ("curl http://localhost:5000/items", "no server runs while it is checked"),
        ("psql -f schema.sql", "no server runs while it is checked"),
        ("test -s a.sql && mysql < a.sql", "no server runs while it is checked"),
        ("python -m pytest -q tests/test_other.py", "it needs tests/test_other.py, which"),
        ("node index.js", "it needs index.js, which is not there then"),
        ("python -c \"print('x", "it is no line that a shell takes"),
        ("python store.py " + "x" * 300, "it is no line that a shell takes"),
    ],
)
def test_a_check_that_says_nothing_or_can_never_pass_is_replaced(given: str, why: str) -> None:
    mended = mended_check(replace(PART, check=given), KNOWN)
    assert mended.check == USUAL
    assert mended.why.startswith(why)


def test_a_command_of_a_program_that_plans_seldom_have_is_one_where_the_machine_has_it() -> None:
    part = replace(PART, check='duckdb -c "select 1"')
    assert mended_check(part, KNOWN).check == part.check
    mended = mended_check(part, KNOWN, lambda words: False)
    assert mended.check == USUAL
    assert mended.why.startswith("this machine has no program `duckdb`. Install it")


def test_a_check_that_no_shell_can_read_is_replaced() -> None:
    mended = mended_check(replace(PART, check="python -m pandas read_csv(store.py)"), KNOWN)
    assert mended.check == usual_check(PART)
    assert "can't stand there" in mended.why


def test_a_program_that_may_serve_is_not_run_as_a_check() -> None:
    part = Subtask("app", "Web server", "Write app.py with Flask.", writes=("app.py",))
    mended = mended_check(replace(part, check="python app.py"), {"app.py"})
    assert (mended.check, mended.why) == ("python -m py_compile app.py", "it would not end")
    kept = mended_check(replace(part, check="python app.py --version"), {"app.py"})
    assert kept.check == "python app.py --version"


def test_all_tests_are_run_only_where_there_are_some() -> None:
    part = Subtask("a", "A", "t", writes=("a.py",), check="pytest -q")
    assert mended_check(part, {"a.py"}).why == "there are no tests then"
    assert mended_check(part, {"a.py", "tests/test_a.py"}).check == "python -m pytest -q"


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=20), max_size=3))
def test_any_words_give_a_check(given: str, files: list[str]) -> None:
    part = Subtask("a", "A", "t", writes=tuple(files), check=given)
    assert mended_check(part, files).check.strip()
