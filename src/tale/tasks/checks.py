"""Which checks say that work is done, and what their outcomes mean. Pure.

The user's own check comes first; what else the harness can try it derives itself: Python files
compile, the request's examples hold, tests that were written pass. A small model's own tests are
wrong about as often as its code, so they weigh less than the examples. Above: `tasks.agent`, which
has them run through its hands. Below: `tasks.examples`, `tasks.packages`, `tasks.trial`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from tale.prompts import LACKED
from tale.tasks.examples import Example, examples_in, signatures_in
from tale.tasks.hands import Outcome, RunCommand, RunPython
from tale.tasks.packages import lacking
from tale.tasks.trial import NOT_RUN, program

__all__ = ["Check", "Verdict", "found", "is_test", "judge", "plan_checks", "score"]

Kind = Literal["given", "code", "tests"]

_SECONDS: Final = 60.0
_TOLD_CHARACTERS: Final = 900
"""Of a failure, some 250 tokens: enough for an error and its line; a flood says no more."""
_COUNT: Final = r"(?<!\d)(\d{1,9})"
"""From its first digit, and of nine at most: what programs print may be a number without end, which
would else be gone through once for each of its digits."""
_HOLD: Final = re.compile(rf"{_COUNT} of \d{{1,9}} examples hold")
_PASSED: Final = re.compile(rf"{_COUNT} passed")
_NOT_PASSED: Final = re.compile(rf"{_COUNT} (?:failed|errors?)\b")
_NOT_LOADED: Final = re.compile(r"^!+ Interrupted: \d+ errors? during collection", re.MULTILINE)
"""Then pytest runs no test, and its sum counts files."""
_TEST_FILE: Final = re.compile(r"^(?:test_.*|.*_test)\.py$")


@dataclass(frozen=True, slots=True)
class Check:
    """Something to try.

    Attributes:
        kind: `given` by the user; the `code` itself, with the request's examples; its own `tests`.
        name: For the user, in words.
        action: How it is tried; may be done twice.
        examples: How many examples are among it.
    """

    kind: Kind
    name: str
    action: RunCommand | RunPython
    examples: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check.

    Attributes:
        held: Whether it did; None where it could not be tried.
        text: What the model is told of a failure.
        examples: How many of its examples held.
        said: What came of it, in a few words for the user.
        lacks: The package without which it could not be run.
    """

    check: Check
    held: bool | None
    text: str = ""
    examples: int = 0
    said: str = ""
    lacks: str = ""


def is_test(path: str) -> bool:
    """Tell whether a file is one that test runners take for tests."""
    return _TEST_FILE.match(PurePosixPath(path).name) is not None


def plan_checks(request: str, given: str | None, files: Mapping[str, str]) -> tuple[Check, ...]:
    """Choose the checks, in the order in which they are tried.

    Args:
        request: What was asked for, with its examples.
        given: The user's own check: a shell line that exits with 0 where all is well.
        files: Content of the files that were written, by path; of two that have the same function
            the later is tried.
    """
    python = {path: text for path, text in files.items() if path.endswith((".py", ".pyw"))}
    checks: list[Check] = []
    if python:
        examples = _placed(request, python)
        plural = "1 example" if len(examples) == 1 else f"{len(examples)} examples"
        name = f"{len(examples)} of the request's examples" if examples else "the code compiles"
        about = f"checks {plural}" if examples else "checks that the code loads"
        tried = program(sorted(python), [(file, each.call, each.value) for file, each in examples])
        checks.append(Check("code", name, _python(tried, about), len(examples)))
    if given:
        checks.append(Check("given", given, RunCommand(given, repeatable=True)))
    if tests := sorted(filter(is_test, python)):
        tried = program(tests=tests)
        checks.append(Check("tests", "its tests", _python(tried, "runs its tests")))
    return tuple(checks)


def _python(code: str, about: str) -> RunPython:
    return RunPython(code, _SECONDS, repeatable=True, about=about)


def judge(check: Check, outcome: Outcome, told: Collection[str] = ()) -> Verdict:
    """Say what an outcome means.

    Args:
        check: What was tried.
        outcome: What came of it.
        told: Packages of which the model was told before that they are not here. What needs one all
            the same is not a fault that another answer would mend.
    """
    if outcome.exit is None or (check.kind == "tests" and outcome.exit == NOT_RUN):
        said = f"{check.name} could not be run"
        return Verdict(check, None, _shorten(outcome.text), said=said)
    lacked = "" if outcome.ok else lacking(outcome.text)
    if lacked and lacked in told:
        name = f"`{check.name}`" if check.kind == "given" else check.name
        said = f"{name} could not be run: {lacked} is not installed here"
        return Verdict(check, None, _shorten(outcome.text), said=said, lacks=lacked)
    counted = _HOLD.search(outcome.text)
    held = check.examples if outcome.ok else int(counted[1]) if counted else 0
    text = "" if outcome.ok else _shorten(outcome.text)
    if lacked:
        text = f"{text}\n{LACKED.format(package=lacked)}"
    return Verdict(check, outcome.ok, text, held, _in_words(check, outcome, held), lacked)


def _in_words(check: Check, outcome: Outcome, held: int) -> str:
    if check.kind == "given":
        return f"`{check.name}` {'passed' if outcome.ok else 'failed'}"
    if check.kind == "code":
        if check.examples == 1:
            return f"the request's example {'holds' if held else 'does not hold'}"
        if check.examples:
            return f"{held} of the request's {check.examples} examples hold"
        return "the code compiles" if outcome.ok else "the code does not compile"
    return _tests_in_words(outcome)


def _tests_in_words(outcome: Outcome) -> str:
    lines = reversed(outcome.text.splitlines())
    # What tests print themselves, and what pytest says of each, comes before the sum.
    last = next((line for line in lines if _PASSED.search(line) or _NOT_PASSED.search(line)), "")
    passed = sum(map(int, _PASSED.findall(last)))
    failed = sum(map(int, _NOT_PASSED.findall(last)))
    if outcome.ok:
        return f"{_count(passed, 'test')} passed" if passed else "its tests passed"
    if _NOT_LOADED.search(outcome.text):
        return "its tests could not be loaded"
    return f"{failed} of {_count(passed + failed, 'test')} failed" if failed else "its tests failed"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def found(verdicts: Sequence[Verdict]) -> tuple[bool | None, str]:
    """Say whether all that could be tried holds, and in a few words what came of it.

    Returns:
        None and nothing where nothing could be tried. Of failures only these are told; that code
        compiles only where nothing else is known of it.
    """
    tried = [each for each in verdicts if each.held is not None]
    if not tried:
        return None, ""
    failed = [each for each in tried if not each.held]
    told = failed or list(verdicts)
    if any(each.held and not _only_compiles(each) for each in told):
        told = [each for each in told if not _only_compiles(each)]
    return not failed, ", ".join(each.said or each.check.name for each in told)


def _only_compiles(verdict: Verdict) -> bool:
    return verdict.check.kind == "code" and not verdict.check.examples


def score(verdicts: Sequence[Verdict]) -> tuple[int, int, int]:
    """Weigh what was tried; the larger is better.

    The user's check before the examples, the examples before whether tests of its own pass.
    """
    held = {each.check.kind for each in verdicts if each.held}
    examples = sum(each.examples for each in verdicts if each.check.kind == "code")
    return "given" in held, examples + ("code" in held), "tests" in held


def _placed(request: str, python: Mapping[str, str]) -> list[tuple[str, Example]]:
    """Find the request's examples and the file that has the function of each."""
    where = {
        each.name: path
        for path, text in python.items()
        if not is_test(path)
        for each in signatures_in(text)
    }
    programs = [path for path in python if not is_test(path)]
    # A function that the request heads and nobody wrote is missed by its examples.
    asked = {each.name: programs[-1] for each in signatures_in(request) if programs}
    where = {**asked, **where}
    return [(where[each.function], each) for each in examples_in(request, where)]


def _shorten(text: str) -> str:
    """Keep the beginning and, as errors stand there, more of the end."""
    text = text.strip()
    if len(text) <= _TOLD_CHARACTERS:
        return text
    first = _TOLD_CHARACTERS // 3
    return f"{text[:first]}\n[…]\n{text[first - _TOLD_CHARACTERS :]}"
