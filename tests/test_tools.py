"""What an agent's actions do, what it is told, and which of them need the user's word."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.config import Settings
from tale.config_tasks import McpServerSettings
from tale.errors import SandboxUnavailable
from tale.paths import Paths
from tale.tasks.edits import Done, Edited, NotOne, edit
from tale.tasks.hands import (
    Action,
    CallTool,
    EditFile,
    FileChange,
    ListFiles,
    Outcome,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.permissions import Allowed, MustAsk, Refused, Rule, needed
from tale.tasks.redaction import redact
from tale.tasks.sandbox import Command, Limits, Ran
from tale.tasks.sandbox_bare import Bare
from tale.tasks.sandbox_bwrap import Bubblewrap
from tale.tasks.task import Level
from tale.tasks.tooling import rules_of, tooling_of
from tale.tasks.tools import Tooling, perform
from tale.tasks.workspace import Workspace

pytestmark = pytest.mark.anyio


class FakeSandbox:
    """Runs nothing and tells what it was given."""

    def __init__(self, ran: Ran = Ran(0, "fine\n", 0.1)) -> None:  # noqa: B008 - it is frozen
        self.ran = ran
        self.commands: list[Command] = []

    async def run(self, command: Command) -> Ran:
        self.commands.append(command)
        return self.ran


class NoSandbox:
    async def run(self, command: Command) -> Ran:
        raise SandboxUnavailable("bubblewrap is not installed.", hint="sudo apt install it")


class FakeTools:
    async def call(self, server: str, tool: str, arguments: Mapping[str, object]) -> Outcome:
        return Outcome(True, f"{server}.{tool} {dict(arguments)}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


async def do(action: Action, workspace: Workspace, sandbox: FakeSandbox | None = None) -> Outcome:
    return await perform(action, workspace, Tooling(sandbox or FakeSandbox()))


# -- files ---------------------------------------------------------------------------------------


async def test_a_file_is_written_read_edited_and_listed(workspace: Workspace) -> None:
    written = await do(WriteFile("src/a.py", "one\ntwo\nthree\n"), workspace)
    assert written.ok
    assert written.files == (FileChange("src/a.py", 14),)
    edited = await do(EditFile("src/a.py", "two", "2"), workspace)
    assert (edited.ok, edited.text) == (True, "src/a.py is edited at line 2.")
    assert edited.files == (FileChange("src/a.py", 12, replaced=True),)
    assert await do(ReadFile("src/a.py"), workspace) == Outcome(True, "one\n2\nthree\n")
    assert (await do(ListFiles(), workspace)).text == "src/"
    assert (await do(ListFiles("src/"), workspace)).text == "a.py (12 bytes)"


async def test_writing_and_editing_again_changes_nothing_more(workspace: Workspace) -> None:
    for _ in range(2):
        assert (await do(WriteFile("a", "x = 1\n"), workspace)).ok
    for _ in range(3):
        assert (await do(EditFile("a", "x = 1", "x = 1\ny = 2"), workspace)).ok
    assert (workspace.root / "a").read_text() == "x = 1\ny = 2\n"
    again = await do(EditFile("a", "x = 1", "x = 1\ny = 2"), workspace)
    assert again == Outcome(True, "a says so already, at line 1.")


async def test_a_path_as_programs_print_it_is_the_same_file(workspace: Workspace) -> None:
    await do(WriteFile(f"{workspace.root}/a", "x"), workspace)
    assert (workspace.root / "a").read_text() == "x"
    assert (await do(ListFiles(str(workspace.root)), workspace)).text == "a (1 bytes)"


@pytest.mark.parametrize("path", ["../key", "/etc/hostname", "a/../../key", "~/key"])
async def test_nothing_outside_is_read_written_or_listed(workspace: Workspace, path: str) -> None:
    (workspace.root.parent / "key").write_text("s3cret")
    for action in (
        ReadFile(path),
        WriteFile(path, "x"),
        EditFile(path, "s3", "x"),
        ListFiles(path),
    ):
        outcome = await do(action, workspace)
        assert not outcome.ok
        assert "s3cret" not in outcome.text
    assert (workspace.root.parent / "key").read_text() == "s3cret"


async def test_links_that_lead_out_are_not_followed(workspace: Workspace) -> None:
    outside = workspace.root.parent
    (outside / "key").write_text("s3cret")
    workspace.make()
    (workspace.root / "link").symlink_to(outside / "key")
    (workspace.root / "up").symlink_to(outside)
    for path in ("link", "up/key"):
        assert "link" in (await do(ReadFile(path), workspace)).text
        assert not (await do(WriteFile(path, "x"), workspace)).ok
    assert not (await do(ListFiles("up"), workspace)).ok
    assert (await do(ListFiles(), workspace)).text == "link (a link)\nup (a link)"
    assert (outside / "key").read_text() == "s3cret"


async def test_with_the_users_word_a_file_outside_is_reached(workspace: Workspace) -> None:
    tooling = Tooling(FakeSandbox(), anywhere=True)
    outside = workspace.root.parent / "note"
    assert (await perform(WriteFile("../note", "x"), workspace, tooling)).ok
    assert (await perform(ReadFile(str(outside)), workspace, tooling)).text == "x"


async def test_a_file_outside_is_told_by_where_it_really_is(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = workspace.root.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    tooling = Tooling(FakeSandbox(), anywhere=True)
    for path in ("~/note", "../home/note", str(home / "note")):
        written = await perform(WriteFile(path, "x"), workspace, tooling)
        assert [file.path for file in written.files] == [str(home / "note")]
        assert written.text.startswith(f"{home}/note is ")
    assert [file.name for file in home.iterdir()] == ["note"]
    assert not workspace.root.exists()
    assert "usr/" in (await perform(ListFiles("/"), workspace, tooling)).text.splitlines()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("tr '\0' ' ' <a", "the line holds a NUL; write it as \\0"),
        (f"echo {'x' * 200_000} >a", "the line is too long; write it to a file"),
    ],
)
async def test_a_line_that_no_system_takes_is_told_to_the_model(
    workspace: Workspace, line: str, why: str
) -> None:
    outcome = await perform(RunCommand(line), workspace, Tooling(Bare()))
    assert outcome == Outcome(False, f"It can't be run: {why}.")


async def test_what_can_not_be_read_is_told_exactly(workspace: Workspace) -> None:
    workspace.make()
    (workspace.root / "image").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    os.mkfifo(workspace.root / "pipe")
    (workspace.root / "folder").mkdir()
    told = {
        path: (await do(ReadFile(path), workspace)).text
        for path in ("image", "pipe", "folder", "none", "no/ne", ".git/config")
    }
    assert told == {
        "image": "image is a binary file of 16 bytes, not text.",
        "pipe": "pipe can't be read: it is no plain file.",
        "folder": "folder can't be read: there is a folder of that name.",
        "none": "none can't be read: there is no such file or folder.",
        "no/ne": "no/ne can't be read: there is no such file or folder.",
        ".git/config": ".git/config can't be read: Git's own files are left alone.",
    }


async def test_reading_makes_no_folders(workspace: Workspace) -> None:
    await do(ReadFile("a/b"), workspace)
    await do(ListFiles("a"), workspace)
    assert not workspace.root.exists()


async def test_of_a_large_file_the_beginning_is_given(workspace: Workspace) -> None:
    await do(WriteFile("big", "é" * 100_001), workspace)
    text = (await do(ReadFile("big"), workspace)).text
    assert text.startswith("é" * 30_000)
    assert text.endswith("[... the first 65,536 of 200,002 bytes ...]")
    workspace.write("many/one", "")
    for number in range(400):
        (workspace.root / "many" / f"f{number:03}").touch()
    assert (await do(ListFiles("many"), workspace)).text.endswith("... and 101 more")


async def test_a_file_that_is_no_text_is_not_edited(workspace: Workspace) -> None:
    workspace.make()
    (workspace.root / "a").write_bytes(b"caf\xe9")
    assert "not UTF-8" in (await do(EditFile("a", "caf", "x"), workspace)).text
    assert (workspace.root / "a").read_bytes() == b"caf\xe9"


# -- edits ---------------------------------------------------------------------------------------

CODE = "def area(r):\n    return 3 * r\n\n\ndef double(x):\n    return 2 * x\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    return", "    yield", "there 2 times (lines 2, 6)"),
        ("return 3 * radius", "return 4", "2:     return 3 * r"),
        ("zzz\nqqq", "x", "No line is like it; the file has 6"),
        ("", "x", "`old` is empty"),
        ("def", "def", "are the same"),
    ],
)
def test_an_edit_that_fits_no_single_place_says_why(old: str, new: str, says: str) -> None:
    found = edit(CODE, old, new)
    assert isinstance(found, NotOne)
    assert says in found.why


def test_an_edit_that_was_made_is_known_again_whichever_text_holds_the_other() -> None:
    for old, new in (
        ("3 * r", "3.14 * r * r"),
        ("2 * x", "2 * x + 0"),
        ("    return 2 * x", "    return 2"),
    ):
        once = edit(CODE, old, new)
        assert isinstance(once, Edited)
        assert edit(once.text, old, new) == Done(once.line)


def test_line_ends_stay_as_they_are() -> None:
    found = edit("one\r\ntwo\r\nthree\r\n", "one\ntwo", "1\n2")
    assert found == Edited("1\r\n2\r\nthree\r\n", 1)


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=4), st.text("abc\n", max_size=4))
def test_an_edit_is_made_once_or_not_at_all(text: str, old: str, new: str) -> None:
    found = edit(text, old, new)
    if isinstance(found, Edited):
        assert text.count(old) == 1
        assert found.text == text.replace(old, new, 1)
        if old in new:
            assert not isinstance(edit(found.text, old, new), Edited)


# -- programs ------------------------------------------------------------------------------------


async def test_a_command_runs_in_the_workspace_within_the_limits(workspace: Workspace) -> None:
    sandbox = FakeSandbox()
    tooling = Tooling(sandbox, seconds=60, network=True)
    outcome = await perform(RunCommand("make test", seconds=900), workspace, tooling)
    assert outcome == Outcome(True, "fine", 0)
    (command,) = sandbox.commands
    assert command.argv == ("/bin/sh", "-c", "make test")
    assert (command.workspace, command.seconds, command.network) == (workspace.root, 60, True)
    assert workspace.root.is_dir()


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        (Ran(0, "", 1), Outcome(True, "(no output)", 0)),
        (Ran(2, "bad\n", 1), Outcome(False, "bad\nIt exited with 2.", 2)),
        (Ran(1, "", 1), Outcome(False, "(no output)\nIt exited with 1.", 1)),
        (
            Ran(None, "half\n", 120, "seconds"),
            Outcome(False, "half\nIt was stopped: it did not end within 120 s.", None),
        ),
    ],
)
async def test_a_model_is_told_how_a_command_ended(
    workspace: Workspace, ran: Ran, told: Outcome
) -> None:
    assert await do(RunCommand("x"), workspace, FakeSandbox(ran)) == told


async def test_the_user_is_told_where_a_long_output_is(workspace: Workspace) -> None:
    ran = Ran(0, "much", 1, left_out=9, overflow=Path("/spill/output-1.txt"))
    outcome = await do(RunCommand("x"), workspace, FakeSandbox(ran))
    assert outcome.note == "All of the output: /spill/output-1.txt"


async def test_a_traceback_of_a_program_shows_its_lines(workspace: Workspace) -> None:
    output = 'Traceback (most recent call last):\n  File "<stdin>", line 2, in <module>\nE: no\n'
    sandbox = FakeSandbox(Ran(1, output, 1))
    outcome = await do(RunPython("x = 0\n  1 / x"), workspace, sandbox)
    assert '  File "<stdin>", line 2, in <module>\n    1 / x\nE: no\n' in outcome.text
    assert sandbox.commands[0].stdin == b"x = 0\n  1 / x"


async def test_without_a_sandbox_the_model_and_the_user_are_told_what_to_do(
    workspace: Workspace,
) -> None:
    outcome = await perform(RunCommand("x"), workspace, Tooling(NoSandbox()))
    assert not outcome.ok
    assert outcome.text == "bubblewrap is not installed. sudo apt install it"
    assert outcome.note


async def test_a_tool_of_another_server_is_called_if_there_is_one(workspace: Workspace) -> None:
    action = CallTool("git", "log", {"n": 1})
    assert await do(action, workspace) == Outcome(False, "There is no MCP server 'git'.")
    tooling = Tooling(FakeSandbox(), FakeTools())
    assert (await perform(action, workspace, tooling)).text == "git.log {'n': 1}"


async def test_secrets_are_not_logged(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        tooling = replace(Tooling(FakeSandbox()), secrets=frozenset({"own-token"}))
        line = "curl -H 'Authorization: Bearer abcdefgh12345' -d own-token https://x"
        await perform(RunCommand(line), workspace, tooling)
    logged = " ".join(str(record.__dict__) for record in caplog.records)
    assert "curl -H" in logged
    assert "abcdefgh" not in logged
    assert "own-token" not in logged


# -- redaction -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-abcdefghijklmnop1234", "key [hidden]"),
        ("git clone https://me:pa55@host/x", "git clone https://me:[hidden]@host/x"),
        ("PASSWORD=hunter2 make", "PASSWORD=[hidden] make"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": [hidden], "n": 1}'),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer [hidden]"),
        ("ghp_abcdefghijklmnopqrst0123", "[hidden]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nx", "[hidden]\nx"),
        ("-----BEGIN PRIVATE KEY-----\nMII", "[hidden]"),
        ("AKIAABCDEFGHIJKLMNOP", "[hidden]"),
        ("tokens: count them in src/token.py", "tokens: [hidden] them in src/token.py"),
        ("pytest -k 'password or not' tests", "pytest -k 'password or not' tests"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("word", ["QUJD", "password", "--", "eyJ_"])
def test_a_word_without_end_is_gone_through_once(word: str) -> None:
    text = word * 50_000  # in the square of its length it would not end
    assert redact(f"{text} TOKEN=x") == f"{text} TOKEN=[hidden]"


@given(st.text(max_size=20), st.text("abcdef", min_size=8), st.text(max_size=20))
def test_a_known_secret_never_shows(before: str, secret: str, after: str) -> None:
    assert secret not in redact(before + secret + after, {secret}).replace("[hidden]", "")


# -- permissions ---------------------------------------------------------------------------------

HERE = Workspace(Path("/w"))
READS: list[Action] = [ReadFile("a"), ListFiles("."), ListFiles(), ReadFile("/w/a")]
WRITES: list[Action] = [WriteFile("a", ""), EditFile("a/b", "x", "y")]
RUNS: list[Action] = [RunCommand("make"), RunPython("1")]
OUTSIDE: list[Action] = [ReadFile("/etc/passwd"), WriteFile("../x", ""), ListFiles("/")]
TOOL = CallTool("git", "log")


@pytest.mark.parametrize(
    ("level", "allowed", "asked"),
    [
        ("ask", READS, [*WRITES, *RUNS, *OUTSIDE, TOOL]),
        ("workspace", [*READS, *WRITES, *RUNS], [*OUTSIDE, TOOL]),
        ("full", [*READS, *WRITES, *RUNS, *OUTSIDE, TOOL], []),
    ],
)
def test_each_level_says_what_is_asked(
    level: Level, allowed: list[Action], asked: list[Action]
) -> None:
    for action in allowed:
        assert needed(action, level, workspace=HERE) == Allowed(), action
    for action in asked:
        assert isinstance(needed(action, level, workspace=HERE), MustAsk), action


@pytest.mark.parametrize("path", [".git/config", "sub/.git/HEAD", "/other/.git/config", "a\nb"])
async def test_what_no_word_of_the_user_makes_possible_is_not_asked_for(
    workspace: Workspace, path: str
) -> None:
    for action in (ReadFile(path), WriteFile(path, "x")):
        refused = needed(action, "workspace", workspace=workspace)
        assert isinstance(refused, Refused)
        agreed = await perform(action, workspace, Tooling(FakeSandbox(), anywhere=True))
        assert not agreed.ok
        assert agreed.text.rpartition(": ")[2] == refused.reason.rpartition(": ")[2]


def test_a_tool_that_only_reads_is_not_asked_for() -> None:
    for level in ("ask", "workspace"):
        assert needed(TOOL, level, {"git.log"}, workspace=HERE) == Allowed()
        assert isinstance(needed(TOOL, level, {"git.push"}, workspace=HERE), MustAsk)


def test_the_users_rule_on_a_tool_stands_above_everything() -> None:
    rules: dict[str, Rule] = {"git": "ask", "git.log": "allow", "git.push": "deny"}
    levels: tuple[Level, ...] = ("ask", "workspace", "full")
    push, pull = CallTool("git", "push"), CallTool("git", "pull")
    for level in levels:
        asked = needed(pull, level, {"git.pull"}, workspace=HERE, rules=rules)
        assert isinstance(asked, MustAsk)
        assert needed(TOOL, level, workspace=HERE, rules=rules) == Allowed()
        denied = needed(push, level, {"git.push"}, workspace=HERE, rules=rules)
        assert isinstance(denied, Refused)
        assert "git.push" in denied.reason


def test_programs_without_a_sandbox_are_asked_for_unless_everything_is_trusted() -> None:
    for action in RUNS:
        verdict = needed(action, "workspace", workspace=HERE, sandboxed=False)
        assert isinstance(verdict, MustAsk)
        assert "without a sandbox" in verdict.reason
        assert needed(action, "full", workspace=HERE, sandboxed=False) == Allowed()


# -- settings ------------------------------------------------------------------------------------


def test_the_settings_say_with_what_actions_are_done(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    given = {"network": True, "seconds": 9, "memory_mb": 64, "disk_mb": 32, "processes": 8}
    tooling = tooling_of(Settings.model_validate({"sandbox": given}), paths, spill=tmp_path)
    assert isinstance(tooling.sandbox, Bubblewrap)
    assert (tooling.network, tooling.seconds, tooling.spill) == (True, 9, tmp_path)
    mib = 1024 * 1024
    assert tooling.limits == Limits(64 * mib, 32 * mib, 32 * mib, 64 * mib, 8)
    unprotected = Settings.model_validate({"sandbox": {"kind": "none"}})
    assert isinstance(tooling_of(unprotected, paths).sandbox, Bare)


def test_rules_are_of_servers_and_of_tools() -> None:
    servers = {
        "git": McpServerSettings(command="x", permission="ask", tools={"log": "allow"}),
        "docs": McpServerSettings(command="x"),
    }
    assert rules_of(servers) == {"git": "ask", "git.log": "allow"}
