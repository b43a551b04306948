"""Tries a Python program out: does it compile, do its examples hold, do its tests pass?

This file is also the program that is run, in the sandbox and in the task's workspace: `program`
gives its own source with what to try at its end. So it needs nothing but the standard library,
and prints what a model needs to mend the code, in few words. Above: `tasks.checks`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import cast

__all__ = ["NOT_RUN", "main", "program"]

NOT_RUN = 77
"""Exit status where what to run isn't installed; the one that automake takes for skipped tests."""
_SHOWN = 3
"""Failures that are told: they mostly have one reason, and tokens are dear."""
_CHARACTERS = 200
_SECONDS = 5
"""For one example, or for loading one file."""
_SLOW = 2
"""After so many examples that took too long the others are not tried."""


def program(
    files: Sequence[str] = (),
    examples: Sequence[tuple[str, str, str]] = (),
    tests: Sequence[str] = (),
) -> str:
    """Write the program that tries this out.

    Args:
        files: Python files that must compile.
        examples: File, call and expected value, a literal, of each example.
        tests: Files with tests.
    """
    source = Path(__file__).read_text(encoding="utf-8")
    given = (list(files), [list(each) for each in examples], list(tests))
    return f"{source}\n\nsys.exit(main(*{given!r}))\n"


def main(files: Sequence[str], examples: Sequence[Sequence[str]], tests: Sequence[str]) -> int:
    """Try it out; gives the exit status, 0 where all is well."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - it starts sooner without pathlib's help
    if faults := [fault for file in files if (fault := _syntax(file))]:
        print(*faults, sep="\n")  # noqa: T201
        return 1
    if examples:
        return _try_examples(examples)
    return _run_tests(tests) if tests else 0


def _syntax(file: str) -> str:
    try:
        ast.parse(Path(file).read_bytes(), file)
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "text", None) or ""
        return f"{file}: {_said(error)}{line and f': {line.strip()}'}"
    return ""


# -- examples --------------------------------------------------------------------------------------


def _try_examples(examples: Sequence[Sequence[str]]) -> int:
    modules: dict[str, ModuleType | str] = {}
    faults: list[str] = []
    slow = 0
    for file, call, value in examples:
        if file not in modules:
            modules[file] = _load(file)
        module = modules[file]
        if isinstance(module, str):
            faults.append(module)
        elif slow < _SLOW:
            fault = _try(vars(module), call, value)
            slow += "more than" in fault
            faults += [fault] if fault else []
        else:
            faults.append("")
    told = [fault for fault in dict.fromkeys(faults) if fault][:_SHOWN]
    held = len(examples) - len(faults)
    print(*told, f"{held} of {len(examples)} examples hold.", sep="\n")  # noqa: T201
    return 1 if faults else 0


def _load(file: str) -> ModuleType | str:
    """Load a file as the module it is; a fault in words where it can't be."""
    name = Path(file).stem
    sys.path.insert(0, str(Path(file).resolve().parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return f"{file} can't be loaded."
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _limited(), _quiet():
            spec.loader.exec_module(module)
    except BaseException as error:  # noqa: BLE001 - nobody's program, and it may leave as it likes
        return f"Loading {file} failed: {_where(error)}"
    return module


def _try(names: Mapping[str, object], call: str, value: str) -> str:
    try:
        with _limited(), _quiet():
            given: object = eval(call, dict(names))  # noqa: S307  # nosec B307 - what the sandbox is for
    except BaseException as error:  # noqa: BLE001 - as above
        return f"{call} failed: {_where(error)}"
    wanted: object = ast.literal_eval(value)
    if _same(given, wanted):
        return ""
    return f"{call} returned {_short(repr(given))}, but must return {_short(value)}."


def _same(given: object, wanted: object) -> bool:
    """Compare as a reader of the example would: figures to six digits."""
    if isinstance(given, float) or isinstance(wanted, float):
        return (
            isinstance(given, (int, float))
            and isinstance(wanted, (int, float))
            and (given == wanted or math.isclose(given, wanted, rel_tol=1e-6, abs_tol=1e-9))
        )
    if type(given) is type(wanted) and type(given) in {list, tuple}:
        one, other = _members(given), _members(wanted)
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(given == wanted)


def _members(of: object) -> list[object]:
    return list(cast("Sequence[object]", of))


# -- tests -----------------------------------------------------------------------------------------


def _run_tests(tests: Sequence[str]) -> int:
    """Run test files with pytest where it is there, else their cases and bare functions."""
    if importlib.util.find_spec("pytest"):
        import pytest  # noqa: PLC0415 - only where it is there

        options = ["-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--color=no"]
        return int(pytest.main([*options, *tests]))
    import unittest  # noqa: PLC0415 - only where it is needed

    suite = unittest.TestSuite()
    for file in tests:
        module = _load(file)
        if isinstance(module, str):
            print(module)  # noqa: T201
            return NOT_RUN if "No module named 'pytest'" in module else 1
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
        for name, value in vars(module).items():
            if name.startswith("test") and callable(value) and not isinstance(value, type):
                suite.addTest(unittest.FunctionTestCase(value, description=name))
    stream = io.StringIO()
    result = unittest.TextTestRunner(stream=stream).run(suite)
    failed = [*result.failures, *result.errors]
    for case, trace in failed[:_SHOWN]:
        print(f"{case.shortDescription() or case.id()}: {_short(_last(trace))}")  # noqa: T201
    print(f"{result.testsRun - len(failed)} passed, {len(failed)} failed")  # noqa: T201
    return 1 if failed or not result.testsRun else 0


def _last(trace: str) -> str:
    lines = [line.strip() for line in trace.strip().splitlines() if line.strip(" ^~")]
    return " - ".join(lines[-2:])


# -- around what is tried ------------------------------------------------------------------------


class _TookTooLong(BaseException):
    """Not an `Exception`, which the program itself may catch."""


@contextlib.contextmanager
def _limited() -> Generator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise _TookTooLong(f"it took more than {_SECONDS} seconds")

    alarm: Callable[[int], int] | None = getattr(signal, "alarm", None)  # not on Windows
    if alarm is None:
        yield
        return
    signal.signal(signal.SIGALRM, ring)
    alarm(_SECONDS)
    try:
        yield
    finally:
        alarm(0)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hide what the program prints, and give it nothing to read."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        before, sys.stdin = sys.stdin, io.StringIO()
        try:
            yield
        finally:
            sys.stdin = before


def _where(error: BaseException) -> str:
    """Name an error with the line of the program that it comes from."""
    here = {"<stdin>", "<string>", globals().get("__file__")}  # however this was started
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in here and "importlib" not in frame.filename
    ]
    own = [frame for frame in frames if os.getcwd() in str(Path(frame.filename).resolve())]  # noqa: PTH109
    if isinstance(error, SyntaxError) or not (own or frames):
        return _said(error)
    line = (own or frames)[-1].line
    return f"{_said(error)}" + (f", in the line `{_short(line)}`" if line else "")


def _said(error: BaseException) -> str:
    if isinstance(error, _TookTooLong):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
