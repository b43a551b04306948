"""Whether a program solves a HumanEval problem: the row's own test is run on it.

What a model wrote is run in a process of its own, in a folder that is thrown away, with little
memory, time and no more than its own files: it is nobody's program.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.session_requests import Problem

__all__ = ["code_blocks", "solves"]

_SECONDS: Final = 15
_FENCE: Final = re.compile(r"^```[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)

# The head is run first, as HumanEval itself does: a solution may lean on its imports and helpers.
# Nothing is run as `__main__`, so that examples at the end of a file don't matter.
_HARNESS: Final = """
import resource, sys
for limit, most in (
    (resource.RLIMIT_CPU, 10), (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_FSIZE, 1 << 20),
    (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64),
):
    resource.setrlimit(limit, (most, most))
sys.path.insert(0, "")
names = {"__name__": "solution"}
for part in ("head", "code", "test"):
    exec(compile(open(part + ".txt", encoding="utf-8").read(), part, "exec"), names)
names["check"](names[sys.argv[1]])
"""


def code_blocks(answer: str) -> list[str]:
    """Give the fenced blocks of an answer, in order."""
    return _FENCE.findall(answer)


def solves(problem: Problem, programs: Iterable[str]) -> bool:
    """Tell whether the first of the programs that defines the function passes the test."""
    wanted = f"def {problem.entry_point}("
    code = next((program for program in programs if wanted in program), None)
    return code is not None and _passes(problem, code)


def _passes(problem: Problem, code: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="tale-bench-") as folder:
        parts = {"head": problem.prompt, "code": code, "test": problem.test}
        for name, text in parts.items():
            (Path(folder) / f"{name}.txt").write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _HARNESS, problem.entry_point],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):  # also what it has started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
