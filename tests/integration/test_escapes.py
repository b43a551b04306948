"""The real sandbox: what programs can do in it, and that nothing gets out of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from escapes import ATTEMPTS, Attempt, Host, open_host, processes
from tale.errors import SandboxUnavailable, WorkspaceUnusable
from tale.tasks.sandbox import Command, Limits, Sandbox
from tale.tasks.sandbox_bare import Bare
from tale.tasks.sandbox_bwrap import Bubblewrap, Unable, probe

_FOUND = probe()
pytestmark = [pytest.mark.anyio, pytest.mark.integration]
needs_bwrap = pytest.mark.skipif(isinstance(_FOUND, Unable), reason=str(_FOUND))


@pytest.fixture
def host(tmp_path: Path) -> Generator[Host]:
    with open_host(tmp_path) as host:
        yield host


@needs_bwrap
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
async def test_an_escape_is_stopped(host: Host, attempt: Attempt) -> None:
    ran = await Bubblewrap().run(attempt.command(host))
    assert not attempt.escaped(host, ran), ran
    # It was really tried.
    assert "SyntaxError" not in ran.output
    assert "NameError" not in ran.output


@pytest.mark.parametrize(
    "attempt", [one for one in ATTEMPTS if one.plain], ids=lambda attempt: attempt.name
)
async def test_without_a_sandbox_the_attempt_succeeds(host: Host, attempt: Attempt) -> None:
    ran = await Bare().run(attempt.command(host))
    assert attempt.escaped(host, ran), ran


NO_NAMESPACES = """
[ "$1" = --version ] && exec echo bubblewrap 0.9.0
echo "bwrap: No permissions to create new namespace" >&2; exit 1
"""
BOTH = [
    pytest.param(Bubblewrap(), id="bubblewrap", marks=needs_bwrap),
    pytest.param(Bare(), id="bare"),
]


@pytest.mark.parametrize("sandbox", BOTH)
async def test_a_program_works_in_its_workspace_and_what_it_wrote_is_the_users(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    line = "echo 1 > made; mkdir -p a/b; python3 -c 'print(6 * 7)'; echo sorry >&2; exit 3"
    ran = await sandbox.run(Command.line(line, tmp_path))
    assert (ran.exit, ran.output, ran.stopped) == (3, "42\nsorry\n", None)
    assert (tmp_path / "made").read_text() == "1\n"
    assert (tmp_path / "made").stat().st_uid == os.getuid()


@pytest.mark.parametrize("sandbox", BOTH)
async def test_python_is_the_one_that_runs_tale_with_its_packages(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    code = b"import sys, anyio; print(sys.executable, input())"
    argv = (sys.executable, "-c", code.decode())
    ran = await sandbox.run(Command(argv, tmp_path, stdin=b"a line\n"))
    assert ran.output == f"{sys.executable} a line\n"


@pytest.mark.parametrize("sandbox", BOTH)
async def test_what_was_printed_before_the_time_was_up_is_told(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    ran = await sandbox.run(Command.line("echo begun; sleep 60", tmp_path, seconds=0.5))
    assert (ran.exit, ran.output, ran.timed_out) == (None, "begun\n", True)


@pytest.mark.parametrize("sandbox", BOTH)
async def test_a_program_that_dies_of_a_signal_has_the_status_that_a_shell_gives(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    assert (await sandbox.run(Command.line("kill -9 $$", tmp_path))).exit == 137
    assert (await sandbox.run(Command(("no-such-program",), tmp_path))).exit == 127


@pytest.mark.parametrize("sandbox", BOTH)
async def test_of_a_long_output_both_ends_are_kept_and_all_of_it_is_in_a_file(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    workspace, spill = tmp_path / "workspace", tmp_path / "spill"
    workspace.mkdir()
    limits = Limits(output=1000)
    ran = await sandbox.run(Command(("seq", "1", "9999"), workspace, limits=limits, spill=spill))
    assert ran.ok
    assert ran.truncated
    assert ran.output.startswith("1\n2\n")
    assert ran.output.endswith("9998\n9999\n")
    assert ran.overflow is not None
    assert ran.overflow.read_text() == "".join(f"{n}\n" for n in range(1, 10_000))
    assert ran.overflow.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sandbox", BOTH)
async def test_a_workspace_that_is_gone_is_said(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceUnusable, match="is not there any more"):
        await sandbox.run(Command.line("true", tmp_path / "gone"))


@pytest.mark.parametrize("sandbox", BOTH)
async def test_whoever_stops_waiting_leaves_nothing_behind(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    line = f"setsid sleep 600.{os.getpid()} & echo > here; wait"
    async with anyio.create_task_group() as group:
        group.start_soon(sandbox.run, Command.line(line, tmp_path))
        with anyio.fail_after(20):
            while not (tmp_path / "here").exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert not processes(f"600.{os.getpid()}")


async def test_without_a_sandbox_a_daemon_is_ended_too(tmp_path: Path) -> None:
    mark = f"600.1{os.getpid()}"
    line = f"(setsid sh -c 'echo > here; exec sleep {mark}' >/dev/null 2>&1 &)"
    line += "; until [ -e here ]; do :; done"
    assert (await Bare().run(Command.line(line, tmp_path))).ok
    assert not processes(mark)


async def test_without_a_sandbox_no_secret_of_the_environment_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    assert "s3cret" not in (await Bare().run(Command.line("env", tmp_path))).output


@needs_bwrap
async def test_the_network_is_there_if_the_user_says_so(host: Host) -> None:
    tcp = next(attempt for attempt in ATTEMPTS if attempt.name == "tcp to the host")
    command = replace(tcp.command(host), network=True)
    assert "ESCAPED" in (await Bubblewrap().run(command)).output


@needs_bwrap
async def test_folders_of_tale_stay_hidden_inside_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "tale").mkdir()
    (tmp_path / "tale" / "token").write_text("s3cret")
    sandbox = Bubblewrap(hidden=[tmp_path / "tale"])
    ran = await sandbox.run(Command.line("ls -A tale; cat tale/token", tmp_path))
    assert not ran.ok
    assert "s3cret" not in ran.output


@needs_bwrap
async def test_a_link_that_an_earlier_program_left_opens_nothing(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "workspace", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "key").write_text("s3cret")
    (workspace / ".git").symlink_to(outside)
    ran = await Bubblewrap().run(Command.line("cat .git/key; echo x > .git/key", workspace))
    assert "s3cret" not in ran.output
    assert (outside / "key").read_text() == "s3cret"


@needs_bwrap
async def test_two_sandboxes_at_a_time_do_not_meet(tmp_path: Path) -> None:
    counts: list[str] = []

    async def one(number: int) -> None:
        line = (
            f"echo {number} > /tmp/mine; touch {number}; "
            "until [ -e 0 ] && [ -e 1 ] && [ -e 2 ] && [ -e 3 ]; do :; done; "
            "cat /tmp/mine; ls -d /proc/[0-9]* | wc -l"
        )
        counts.append((await Bubblewrap().run(Command.line(line, tmp_path))).output)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)
    assert sorted(count.split()[0] for count in counts) == ["0", "1", "2", "3"]
    # bubblewrap, the shell, and the two that count: no other's.
    assert max(int(count.split()[1]) for count in counts) <= 4


@needs_bwrap
async def test_a_sandbox_dies_with_the_process_that_made_it(tmp_path: Path) -> None:
    mark = f"600.2{os.getpid()}"
    code = (
        "import anyio, pathlib\n"
        "from tale.tasks.sandbox import Command\n"
        "from tale.tasks.sandbox_bwrap import Bubblewrap\n"
        f"line = 'echo > here; exec sleep {mark}'\n"
        f"anyio.run(Bubblewrap().run, Command.line(line, pathlib.Path({str(tmp_path)!r})))\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code])
    with anyio.fail_after(20):
        while not (tmp_path / "here").exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)
    owner.kill()
    owner.wait()
    with anyio.fail_after(20):
        while processes(f"sleep\0{mark}"):  # noqa: ASYNC110 - the kernel ends it
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo bubblewrap 0.4.1", "version 0.4, and 0.8 is needed"),
        (NO_NAMESPACES, "No permissions to create new namespace"),
        ("", None),
    ],
)
async def test_where_bubblewrap_can_not_run_nothing_runs_and_the_user_is_told(
    tmp_path: Path, script: str, says: str | None
) -> None:
    program = tmp_path / "bwrap"
    if says is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match=says or "does not run") as caught:
        await Bubblewrap(program=program).run(Command.line("echo > ran", tmp_path))
    assert 'sandbox.kind = "none"' in caught.value.hint
    assert not (tmp_path / "ran").exists()
