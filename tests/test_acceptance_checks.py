"""What says that work is done: which checks there are, what they find, and how they weigh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.checks import Check, Verdict, found, judge, plan_checks, score
from tale.tasks.hands import Outcome, RunCommand, RunPython
from tale.tasks.trial import NOT_RUN, program

CODE = Check("code", "2 examples", RunPython(""), 2)
TESTS = Check("tests", "its tests", RunPython(""))
GIVEN = Check("given", "make", RunCommand("make"))


def tried(folder: Path, source: str, *, packages: bool = True) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-I" if packages else "-IS", "-c", source],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return run.returncode, run.stdout + run.stderr


# -- which -----------------------------------------------------------------------------------------


def test_code_is_tried_with_the_requests_examples_before_its_tests() -> None:
    files = {
        "lib/f.py": "def f(x): return 2 * x",
        "test_f.py": "def f(): ...\ndef test_f(): ...",
        "a.md": "",
    }
    checks = plan_checks("Write f: f(2) == 4, f(3) == 6", "make", files)
    assert [each.kind for each in checks] == ["code", "given", "tests"]
    assert checks[0].name == "2 of the request's examples"
    assert isinstance(checks[0].action, RunPython)
    assert "['lib/f.py', 'f(2)', '4']" in checks[0].action.code
    assert checks[1].action == RunCommand("make", repeatable=True)
    assert all(each.action.repeatable for each in checks)


def test_what_nobody_can_try_has_no_checks() -> None:
    assert plan_checks("Write a poem", None, {"poem.md": "f(2) == 4"}) == ()
    [check] = plan_checks("f(2) == 4", None, {"g.py": "def g(): ..."})
    assert (check.name, check.examples) == ("the code compiles", 0)


def test_a_function_that_the_request_heads_is_missed_where_nobody_wrote_it() -> None:
    request = "Write this:\ndef f(x):\n    f(2) == 4"
    [check] = plan_checks(request, None, {"a.py": "def g(): ..."})
    assert check.examples == 1
    assert isinstance(check.action, RunPython)
    assert "['a.py', 'f(2)', '4']" in check.action.code
    assert plan_checks(request, None, {"test_a.py": ""})[0].examples == 0


# -- what they find --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told", "held"),
    [
        ("def f(x): return 2 * x", "", 2),
        ("def f(x): return 4.0000000001", "f(3) returned 4.0000000001, but must return 6.", 1),
        ("def f(x): return [x][x]", "f(2) failed: IndexError: list index out of range", 0),
        ("def f(x): raise SystemExit(0)", "f(2) failed: SystemExit: 0", 0),
        ("def f(x): return input()", "f(2) failed: EOFError", 0),
        ("def f(x):\n    print('noise')\n    return 2 * x", "", 2),
        ("def f(x): return x +", "f.py: SyntaxError: invalid syntax (line 1)", 0),
        ("import missing\ndef f(x): ...", "Loading f.py failed: ModuleNotFoundError", 0),
        ("x: List = 1\ndef f(x): ...", "in the line `x: List = 1`", 0),
    ],
)
def test_examples_tell_what_is_wrong(tmp_path: Path, code: str, told: str, held: int) -> None:
    (tmp_path / "f.py").write_text(code)
    examples = [("f.py", "f(2)", "4"), ("f.py", "f(3)", "6")]
    exit_status, text = tried(tmp_path, program(["f.py"], examples))
    verdict = judge(CODE, Outcome(exit_status == 0, text, exit_status))
    assert told in text
    assert "noise" not in text
    assert (verdict.held, verdict.examples) == (not told, held)


def test_an_example_that_never_ends_is_stopped_and_the_others_are_tried(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "def f(x):\n    while x == 2:\n        try:\n            pass\n        except Exception:\n"
        "            pass\n    return 6"
    )
    source = program(["f.py"], [("f.py", "f(2)", "4"), ("f.py", "f(3)", "6")])
    _, text = tried(tmp_path, source.replace("_SECONDS = 5", "_SECONDS = 1"))
    assert "f(2) failed: it took more than 1 seconds" in text
    assert "1 of 2 examples hold." in text


def test_a_file_finds_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/g.py").write_text("def g(x): return 2 * x")
    (tmp_path / "lib/f.py").write_text("from g import g\ndef f(x): return g(x)")
    assert tried(tmp_path, program([], [("lib/f.py", "f(2)", "4")]))[0] == 0


TESTED = """
import unittest
from f import f
def test_f(): assert f(2) == 4
class Case(unittest.TestCase):
    def test_two(self): self.assertEqual(f(1), WANTED)
"""


@pytest.mark.parametrize("with_pytest", [True, False])
@pytest.mark.parametrize(("wanted", "passes"), [("2", True), ("3", False)])
def test_tests_are_run_with_pytest_or_without(
    tmp_path: Path, wanted: str, passes: bool, with_pytest: bool
) -> None:
    (tmp_path / "f.py").write_text("def f(x): return 2 * x")
    (tmp_path / "test_f.py").write_text(TESTED.replace("WANTED", wanted))
    exit_status, text = tried(tmp_path, program(tests=["test_f.py"]), packages=with_pytest)
    assert (exit_status == 0) is passes
    assert passes or "2 != 3" in text


def test_tests_that_need_what_is_not_there_are_not_judged(tmp_path: Path) -> None:
    (tmp_path / "test_f.py").write_text("import pytest")
    exit_status, text = tried(tmp_path, program(tests=["test_f.py"]), packages=False)
    assert exit_status == NOT_RUN, text
    assert judge(TESTS, Outcome(False, text, exit_status)).held is None


def test_a_package_that_is_not_here_is_a_fault_once_and_then_a_reason() -> None:
    outcome = Outcome(False, "E   ModuleNotFoundError: No module named 'flask_sqlalchemy'", 1)
    first = judge(GIVEN, outcome)
    assert first.held is False
    assert "flask-sqlalchemy is not installed and can't be" in first.text
    again = judge(GIVEN, outcome, {first.lacks})
    assert again.held is None
    assert again.said == "`make` could not be run: flask-sqlalchemy is not installed here"


@pytest.mark.parametrize("module", ["app", "ledger", "flaskr"])
def test_a_module_of_the_programs_own_that_is_missing_is_its_fault(module: str) -> None:
    outcome = Outcome(False, f"ModuleNotFoundError: No module named '{module}'", 1)
    assert judge(GIVEN, outcome, {module}).held is False


# -- what the user is told -------------------------------------------------------------------------

COMPILES = Check("code", "the code compiles", RunPython(""))


@pytest.mark.parametrize(
    ("check", "outcome", "said"),
    [
        (TESTS, Outcome(True, "..\n2 passed in 0.01s", 0), "2 tests passed"),
        (TESTS, Outcome(True, "1 passed, 0 failed", 0), "1 test passed"),
        (TESTS, Outcome(True, "", 0), "its tests passed"),
        (TESTS, Outcome(False, "1 failed, 2 passed in 0.1s", 1), "1 of 3 tests failed"),
        (TESTS, Outcome(False, "1 passed, 2 errors in 0.1s", 1), "2 of 3 tests failed"),
        (TESTS, Outcome(False, "2 errors in 0.1s", 1), "2 of 2 tests failed"),
        (TESTS, Outcome(False, "FAILED f - 3 errors\n1 failed in 0.1s", 1), "1 of 1 test failed"),
        (TESTS, Outcome(False, "Loading test_f.py failed", 1), "its tests failed"),
        (TESTS, Outcome(False, "No module named 'pytest'", NOT_RUN), "its tests could not be run"),
        (GIVEN, Outcome(True, "", 0), "`make` passed"),
        (GIVEN, Outcome(False, "", 2), "`make` failed"),
        (CODE, Outcome(True, "2 of 2 examples hold.", 0), "2 of the request's 2 examples hold"),
        (CODE, Outcome(False, "1 of 2 examples hold.", 1), "1 of the request's 2 examples hold"),
        (COMPILES, Outcome(True, "", 0), "the code compiles"),
        (COMPILES, Outcome(False, "f.py: SyntaxError", 1), "the code does not compile"),
    ],
)
def test_what_came_of_a_check_is_said_in_a_few_words(
    check: Check, outcome: Outcome, said: str
) -> None:
    assert judge(check, outcome).said == said


@pytest.mark.parametrize("with_pytest", [True, False])
def test_tests_that_were_really_run_are_counted(tmp_path: Path, with_pytest: bool) -> None:
    (tmp_path / "f.py").write_text("def f(x): return 2 * x")
    (tmp_path / "test_f.py").write_text(TESTED.replace("WANTED", "2"))
    exit_status, text = tried(tmp_path, program(tests=["test_f.py"]), packages=with_pytest)
    assert judge(TESTS, Outcome(True, text, exit_status)).said == "2 tests passed"


def test_tests_of_which_none_was_run_are_not_said_to_have_failed(tmp_path: Path) -> None:
    (tmp_path / "test_f.py").write_text("from f import f\ndef test_f(): ...\ndef test_g(): ...\n")
    (tmp_path / "test_g.py").write_text("def test_g(): ...\n")
    (tmp_path / "f.py").write_text("")
    exit_status, text = tried(tmp_path, program(tests=["test_f.py", "test_g.py"]))
    verdict = judge(TESTS, Outcome(False, text, exit_status))
    assert (verdict.held, verdict.said) == (False, "its tests could not be loaded")


def _verdict(check: Check, held: bool | None, said: str) -> Verdict:
    return Verdict(check, held, said=said)


@pytest.mark.parametrize(
    ("verdicts", "holds", "told"),
    [
        ([], None, ""),
        ([_verdict(TESTS, None, "its tests could not be run")], None, ""),
        ([_verdict(COMPILES, True, "compiles")], True, "compiles"),
        (
            [_verdict(COMPILES, True, "compiles"), _verdict(TESTS, True, "2 passed")],
            True,
            "2 passed",
        ),
        (
            [_verdict(COMPILES, True, "compiles"), _verdict(TESTS, None, "not run")],
            True,
            "compiles, not run",
        ),
        (
            [_verdict(CODE, True, "2 hold"), _verdict(TESTS, False, "1 of 3 failed")],
            False,
            "1 of 3 failed",
        ),
    ],
)
def test_the_user_is_told_what_tells_most(
    verdicts: list[Verdict], holds: bool | None, told: str
) -> None:
    assert found(verdicts) == (holds, told)


# -- how they weigh --------------------------------------------------------------------------------


def test_a_flood_of_errors_is_cut_to_its_beginning_and_end() -> None:
    verdict = judge(GIVEN, Outcome(False, f"first\n{'x' * 9999}\nlast", 1))
    assert verdict.text.startswith("first")
    assert verdict.text.endswith("last")
    assert len(verdict.text) < 1000


_VERDICTS = st.lists(
    st.builds(
        Verdict,
        st.sampled_from([CODE, TESTS, GIVEN]),
        st.booleans() | st.none(),
        st.just(""),
        st.integers(0, 2),
    ),
    max_size=3,
)


@given(_VERDICTS)
def test_the_users_check_outweighs_examples_and_those_its_own_tests(rest: list[Verdict]) -> None:
    others = [each for each in rest if each.check is not GIVEN]
    assert score([Verdict(GIVEN, True), *others]) > score([Verdict(GIVEN, False), *others])
    unlike = [each for each in rest if each.check is TESTS]
    better = [Verdict(CODE, False, examples=2), Verdict(TESTS, False)]
    worse = [Verdict(CODE, False, examples=1), Verdict(TESTS, True), *unlike]
    assert score(better) > score(worse)


@pytest.mark.parametrize("check", [CODE, TESTS, GIVEN])
def test_a_number_without_end_that_a_program_prints_is_gone_through_once(check: Check) -> None:
    printed = "7" * 300_000  # in the square of its length it would not end
    text = f"{printed}\n{printed} failed\n1 failed, 2 passed\n1 of 2 examples hold"
    verdict = judge(check, Outcome(False, text, 1))
    said = {CODE: "1 of the request's 2 examples hold", TESTS: "1 of 3 tests failed"}
    assert verdict.said == said.get(check, f"`{GIVEN.name}` failed")
