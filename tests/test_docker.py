"""The Dockerfile, as far as it can be held without Docker: what it copies, runs, and as whom."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

from tale.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """Give the instructions with their arguments, long lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    words = [line.split(" ", 1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in words]


def arguments_of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def sent_to_docker(path: str) -> bool:
    """Tell whether the build gets a path, by the last pattern of .dockerignore that fits it."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch.fnmatch(path, pattern):
            sent = line.startswith("!")
    return sent


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    copied = [
        source
        for rest in arguments_of("COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert "src" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert sent_to_docker(source), source
    assert not sent_to_docker(".git")
    assert not sent_to_docker("tests")


def test_what_the_wheel_is_built_from_is_copied() -> None:
    copied = " ".join(arguments_of("COPY"))
    for needed in ("pyproject.toml", "README.md", "LICENSE", "man", "src"):
        assert re.search(rf"\b{re.escape(needed)}\b", copied), needed


def test_it_runs_as_a_user_without_rights_and_with_its_state_in_a_volume() -> None:
    order = [name for name, _ in instructions()]
    (user,) = arguments_of("USER")
    assert int(user.split(":")[0]) > 0
    assert order.index("USER") > order.index("ENV")
    (volume,) = arguments_of("VOLUME")
    assert f"TALE_HOME={volume}" in " ".join(arguments_of("ENV"))


def test_what_it_runs_are_commands_of_tale() -> None:
    known = {spec.name for spec in COMMANDS}
    runs = arguments_of("CMD") + [rest.split("CMD ")[1] for rest in arguments_of("HEALTHCHECK")]
    assert len(runs) == 2
    for run in runs:
        program, command, *_ = json.loads(run)
        assert program == "tale"
        assert command in known
