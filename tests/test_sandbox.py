"""The pure parts of the sandbox: what is shown, what is forbidden, what is kept of an output."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_disk import mounted
from tale.tasks.sandbox import Command, Limits, Ran, Stopped, why_stopped
from tale.tasks.sandbox_cgroup import bounded, joining
from tale.tasks.sandbox_output import Output, printable
from tale.tasks.sandbox_process import environment, limited
from tale.tasks.sandbox_view import arrange
from tale.tasks.sandbox_watch import Taken, changed_since, excess
from tale.tasks.seccomp import filter_for

MIB = 1024 * 1024
LIMITS = Limits(memory=100 * MIB, disk=100 * MIB, processes=10)


# -- the view ------------------------------------------------------------------------------------


def mounts(argv: tuple[str, ...]) -> list[tuple[str, str]]:
    """Give each mount of a file or folder: its option and where it shows."""
    found: list[tuple[str, str]] = []
    for place, word in enumerate(argv[: argv.index("--chdir")]):
        if word in {"--bind", "--ro-bind", "--symlink"}:
            found.append((word, argv[place + 2]))
        if word == "--tmpfs":
            found.append((word, argv[place + 1]))
    return found


def test_only_the_workspace_can_be_written(tmp_path: Path) -> None:
    argv = arrange(Command.line("true", tmp_path), "bwrap", readable=[Path("/opt/python")])
    assert [path for option, path in mounts(argv) if option == "--bind"] == [str(tmp_path)]
    for word in ("--unshare-all", "--die-with-parent", "--new-session", "--clearenv"):
        assert word in argv
    assert "--share-net" not in argv


def test_no_password_and_no_key_is_shown(tmp_path: Path) -> None:
    for name in ("shadow", "passwd", "ssh/ssh_host_key", "ssl/private/key", "ssl/certs/ca.pem"):
        (tmp_path / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / name).touch()
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    argv = arrange(Command.line("true", Path("/w")), "bwrap", root=tmp_path)
    shown = [path for option, path in mounts(argv) if option != "--tmpfs"]
    assert shown == ["/usr", "/bin", "/etc/ssl/certs", "/w"]


def test_names_are_resolved_only_with_the_network(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").touch()
    command = Command(("true",), Path("/w"), network=True)
    argv = arrange(command, "bwrap", root=tmp_path)
    assert "--share-net" in argv
    assert ("--ro-bind", "/etc/resolv.conf") in mounts(argv)
    assert "/etc/resolv.conf" not in arrange(Command(("true",), Path("/w")), "bwrap", root=tmp_path)


def test_the_outer_is_mounted_before_the_inner_so_that_it_does_not_cover_it() -> None:
    argv = arrange(
        Command.line("true", Path("/home/u/p")),
        "bwrap",
        readable=[Path("/home/u/p/.venv"), Path("/home/u"), Path("/usr/lib/python3")],
        hidden=[Path("/home/u/p/data"), Path("/srv/tale"), Path("/home/u")],
    )
    inner = [mount for mount in mounts(argv) if mount[1].startswith(("/home", "/srv", "/usr/"))]
    assert inner == [
        ("--ro-bind", "/home/u"),
        ("--bind", "/home/u/p"),
        ("--ro-bind", "/home/u/p/.venv"),
        ("--tmpfs", "/home/u/p/data"),
    ]


def test_what_git_would_run_is_not_to_be_written(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    argv = arrange(Command.line("true", tmp_path), "bwrap")
    assert ("--ro-bind", str(tmp_path / ".git")) in mounts(argv)


def test_a_program_gets_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    env = environment("/h", "/t", Path("/w"))
    assert "s3cret" not in env.values()
    assert (env["HOME"], env["TMPDIR"]) == ("/h", "/t")


def test_the_workspaces_own_python_comes_first(tmp_path: Path) -> None:
    before = environment("/h", "/t", tmp_path)["PATH"]
    own = tmp_path / ".venv" / "bin"
    own.mkdir(parents=True)
    (own / "python").touch()
    assert environment("/h", "/t", tmp_path)["PATH"] == f"{own}{os.pathsep}{before}"


def test_the_limits_come_before_the_program_whose_words_no_shell_reads() -> None:
    argv = limited(("echo", "$(x)", "; y"), Limits(memory=MIB, file=MIB, processes=7), 1.5)
    assert argv[-3:] == ("echo", "$(x)", "; y")
    assert "ulimit -d 1024;" in argv[2]
    assert "ulimit -f 2048;" in argv[2]
    assert "ulimit -u 7 || ulimit -p 7;" in argv[2]


def test_a_program_joins_its_control_group_before_it_is_anything() -> None:
    assert joining(None, ("echo", "x")) == ("echo", "x")
    shell, flag, line, file, *program = joining(Path("/sys/g"), ("echo", "$(x)"))
    assert (shell, flag, file, program) == (
        "/bin/sh",
        "-c",
        "/sys/g/cgroup.procs",
        ["echo", "$(x)"],
    )
    assert line.index("echo $$") < line.index("exec")


@pytest.mark.anyio
async def test_where_no_control_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    async with bounded(5, [tmp_path / "none", Path("/proc")]) as group:
        assert group is None


# -- the filter of system calls ------------------------------------------------------------------


def judge(rules: bytes, audit: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does (linux/filter.h)."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, *(0,) * (6 - len(arguments))))
    program = list(struct.iter_unpack("=HBBI", rules))
    place = value = 0
    while True:
        code, yes, no, k = program[place]
        place += 1
        match code:
            case 0x20:
                value = struct.unpack_from("=I", data, k)[0]
            case 0x06:
                return k
            case _:
                truth = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
                place += yes if truth else no


ALLOWED, EPERM, ENOSYS, KILLED = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
X86, ARM = (filter_for("x86_64") or b"", 0xC000003E), (filter_for("aarch64") or b"", 0xC00000B7)


@pytest.mark.parametrize(
    ("number", "arguments", "verdict"),
    [
        (0, (), ALLOWED),  # read
        (59, (), ALLOWED),  # execve
        (101, (), EPERM),  # ptrace
        (165, (), EPERM),  # mount
        (321, (), EPERM),  # bpf
        (425, (), EPERM),  # io_uring_setup
        (435, (), ENOSYS),  # clone3
        (56, (0x1200011,), ALLOWED),  # clone, as fork does it
        (56, (0x10000011,), EPERM),  # clone(CLONE_NEWUSER)
        (16, (0, 0x5401), ALLOWED),  # ioctl(TCGETS)
        (16, (0, 0x5412), EPERM),  # ioctl(TIOCSTI)
        (16, (0, 0xFFFFFFFF_00005412), EPERM),  # the kernel looks at the lower half only
        (41, (2,), ALLOWED),  # socket(AF_INET)
        (41, (40,), 0x50061),  # socket(AF_VSOCK)
        (0x40000000 | 101, (), ENOSYS),  # ptrace by its other number
    ],
)
def test_a_system_call_is_judged(number: int, arguments: tuple[int, ...], verdict: int) -> None:
    assert judge(*X86, number, *arguments) == verdict


def test_the_other_machine_has_numbers_of_its_own() -> None:
    assert judge(*ARM, 117) == EPERM  # ptrace
    assert judge(*ARM, 101) == ALLOWED  # nanosleep
    assert judge(*ARM, 220, 0x10000000) == EPERM
    assert judge(*ARM, 63) == ALLOWED  # read


def test_calls_in_the_words_of_another_machine_end_the_program() -> None:
    assert judge(X86[0], ARM[1], 0) == KILLED
    assert filter_for("riscv64") is None


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_call_has_a_verdict(number: int, arguments: list[int]) -> None:
    assert judge(*X86, number, *arguments) in {ALLOWED, EPERM, ENOSYS, 0x50061}


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "stopped"),
    [
        (Taken(10, 100 * MIB, 100 * MIB, MIB * MIB), None),
        (Taken(11, 0, 0, MIB * MIB), "processes"),
        (Taken(1, 101 * MIB, 0, MIB * MIB), "memory"),
        (Taken(1, 0, 101 * MIB, MIB * MIB), "disk"),
        (Taken(1, 0, 70 * MIB, 10 * MIB), "disk"),
        (Taken(1, 0, 0, 0), None),  # somebody else filled it
    ],
)
def test_a_limit_that_is_passed_is_named(taken: Taken, stopped: Stopped | None) -> None:
    assert excess(taken, LIMITS) == stopped


def test_only_what_changed_since_counts_whatever_its_own_time_says(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x" * MIB)
    since = (tmp_path / "old").stat().st_ctime + 1e-6
    assert changed_since(tmp_path, since) == 0
    # As if made later: the change time can't be set, so the moment is put before it.
    os.utime(tmp_path / "old", (0, 0))
    assert changed_since(tmp_path, since - 1) >= MIB


@pytest.mark.parametrize("stopped", ["seconds", "memory", "processes", "disk", "output"])
def test_a_stop_is_told_with_its_figure(stopped: Stopped) -> None:
    command = Command(("x",), Path("/w"), 7, Limits(7 * MIB, 1, 7 * MIB, 1, 7, overflow=7 * MIB))
    assert "7" in why_stopped(command, stopped)


def test_a_result_says_what_became_of_it() -> None:
    assert Ran(0, "", 1).ok
    assert not Ran(1, "", 1).ok
    assert Ran(None, "", 1, "seconds").timed_out
    assert not Ran(None, "", 1, "memory").ok


# -- output --------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=40), st.integers(2, 60), st.integers(0, 900))
def test_an_output_keeps_both_ends_in_little_memory(
    chunks: list[bytes], keep: int, limit: int
) -> None:
    with Output(keep, limit, None) as output:
        for chunk in chunks:
            if not output.feed(chunk):
                break
        data = b"".join(chunks)[:limit]
        kept = keep // 2 * 2
        assert output.total == len(data)
        assert output.left_out == max(0, len(data) - kept)
        if output.left_out:
            begin, end = data[: keep // 2], data[-(keep // 2) :]
            gap = f"\n[... {output.left_out:,} bytes left out ...]\n"
            shown = (printable(part.decode(errors="replace")) for part in (begin, end))
            assert output.text() == gap.join(shown)
        else:
            assert output.text() == printable(data.decode(errors="replace"))


def test_the_file_of_a_long_output_ends_at_the_limit(tmp_path: Path) -> None:
    with Output(10, 100, tmp_path) as output:
        assert all(output.feed(b"123456789") for _ in range(11))
        assert not output.feed(b"123456789")
    assert output.path is not None
    assert output.path.read_bytes() == (b"123456789" * 12)[:100]


def test_a_short_output_makes_no_file(tmp_path: Path) -> None:
    with Output(10, 100, tmp_path) as output:
        output.feed(b"1234567890")
    assert output.path is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_costs_the_file_of_an_output_and_nothing_else(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        for full_before in (False, True):
            with Output(MIB // 8, 8 * MIB, disk.path) as output:
                if full_before:
                    disk.fill()
                assert all(output.feed(b"x" * (MIB // 8)) for _ in range(20))
                assert output.total == 20 * MIB // 8
                assert output.text().endswith("x" * (MIB // 16))
                assert output.path is None
            assert [file.name for file in disk.path.glob("output-*")] == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;cm0gLXJm\x07clipboard", "clipboard"),
        ("\x1b]0;title\x1b\\x", "x"),
        (" 10%\r 50%\r100%\ndone\r\n", "100%\ndone\n"),
        ("a\tb\0c\x08", "a\tb\ufffdc\ufffd"),
        ("evil\u202etxt", "evil\ufffdtxt"),
    ],
)
def test_nothing_that_steers_a_terminal_is_left(said: str, shown: str) -> None:
    assert printable(said) == shown


@given(st.text(st.characters()))
def test_whatever_is_printed_no_control_character_is_left(text: str) -> None:
    assert not set(printable(text)) & {chr(code) for code in range(32) if chr(code) not in "\t\n"}
