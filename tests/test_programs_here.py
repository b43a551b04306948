"""A check runs only what the machine has."""

from __future__ import annotations

import pytest

from tale.tasks.programs_here import can_run


@pytest.mark.parametrize(
    "line",
    [
        "cd src",
        "exit 0",
        "test -s a",
        "sh a.sh",
        "python -m py_compile a.py",
        "python -m pytest -q",
        "python a.py",
    ],
)
def test_what_a_shell_and_python_have_is_here(line: str) -> None:
    assert can_run(line.split())


@pytest.mark.parametrize("line", ["no-such-program --check", "python -m no_such_module a.py"])
def test_what_is_nowhere_is_not_here(line: str) -> None:
    assert not can_run(line.split())
