"""What real shells complete: commands, options, and what only the daemon knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from fake_daemon import FakeDaemon, server, task
from tale.cli.completing import model_names, profile_names, server_names, service_names, task_ids

COMMAND = Path(sys.executable).parent / "tale"
SHELLS: Mapping[str, str] = {
    # Runs the function that Tab would.
    "bash": (
        'COMP_WORDS=(tale show t-); COMP_CWORD=2; _tale_completion tale; echo "${COMPREPLY[*]}"'
    ),
    "zsh": "_arguments() { print -r -- $@ }; words=(tale show t-); CURRENT=3; _tale_completion",
    "fish": "complete --do-complete 'tale show t-'",
}


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FakeDaemon]:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    with FakeDaemon(tmp_path).running() as daemon:
        daemon.tools["list"] = lambda arguments, say: {
            "tasks": [task("t-one", text="a\nb", state="running"), task("u-two")]
        }
        daemon.servers = [server("models"), server("execution-1"), server("execution-2")]
        yield daemon


@pytest.mark.usefixtures("tale")
def test_ids_come_with_their_state_and_text() -> None:
    assert task_ids("t-") == [("t-one", "running: a b")]
    assert [name for name, _ in task_ids("")] == ["t-one", "u-two"]


@pytest.mark.usefixtures("tale")
def test_servers_services_and_models_are_known() -> None:
    assert server_names("ex") == [("execution-1", "ready"), ("execution-2", "ready")]
    assert service_names("") == [("models", ""), ("execution", "")]
    assert ("tiny-ux", "ready") in model_names("")


def test_without_a_daemon_there_is_nothing_to_complete_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    assert task_ids("") == server_names("") == service_names("") == []
    assert profile_names("") == []
    assert [name for name, _ in model_names("qwen")]


def test_profiles_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    (tmp_path / "tale.toml").write_text("[profiles.gpu]\n[profiles.train]\n")
    assert profile_names("g") == ["gpu"]


@pytest.mark.usefixtures("tale")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_the_id_of_a_task(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not here")
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
    }
    script = subprocess.run(
        [COMMAND],
        env={**environ, "_TALE_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    prelude = "compdef() { : }\n" if shell == "zsh" else ""
    done = subprocess.run(
        [program, "-c", f"{prelude}{script}\n{SHELLS[shell]}"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "t-one" in done.stdout, done.stderr
    assert "u-two" not in done.stdout
