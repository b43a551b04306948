"""What a model wrote becomes files in the workspace, and nothing outside it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_hands import run_step
from tale.errors import BackendStalled, TaskError, WorkspaceUnusable
from tale.models.caller import Purpose, Script, ScriptedModels
from tale.prompts import (
    CHAT_SYSTEM,
    DOCUMENT_SYSTEM,
    TESTED_WORK_SYSTEM,
    TESTS_SYSTEM,
    WORK_SYSTEM,
)
from tale.tasks.fences import Block, NamedFile, parse_fences
from tale.tasks.languages import EXTENSIONS, default_name, is_file_name
from tale.tasks.task import (
    Began,
    FileWritten,
    Kind,
    Noted,
    Progress,
    Role,
    Step,
    StepResult,
    TokenSaid,
    TokensSpent,
)
from tale.tasks.workspace import Refused, Workspace, Written, check_workspace

pytestmark = pytest.mark.anyio

CODE = "```python\nprint(1)\n```"


def paths_of(text: str) -> list[str]:
    return [file.path for file in parse_fences(text).files]


# -- fences --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"FILE: src/app.py\n{CODE}",
        f"FILE: src/app.py\n\n\n{CODE}",
        f"FILE: src/app.py\nIt prints one:\n{CODE}",
        f"**FILE: src/app.py**\n{CODE}",
        f"**FILE:** `src/app.py`\n{CODE}",
        f"### FILE: src/app.py\n{CODE}",
        f"FILE: `src/app.py`:\n{CODE}",
        f"# FILE: src/app.py\n{CODE}",
        f"Filename: src/app.py\n{CODE}",
        f"File: src/app.py\n{CODE}",
        f"`src/app.py`:\n{CODE}",
        f"**src/app.py**\n{CODE}",
        f"**`src/app.py`**:\n{CODE}",
        f"### src/app.py\n{CODE}",
        f"### 1. `src/app.py`\n{CODE}",
        f"2. **src/app.py** (the program):\n{CODE}",
        f"src/app.py\n{CODE}",
        f"Here is the program, to be saved in `src/app.py`:\n{CODE}",
        "```python path=src/app.py\nprint(1)\n```",
        '```python title="src/app.py"\nprint(1)\n```',
        "```python {file='src/app.py'}\nprint(1)\n```",
        "```python:src/app.py\nprint(1)\n```",
        "```python src/app.py\nprint(1)\n```",
        "```src/app.py\nprint(1)\n```",
        "~~~python src/app.py\nprint(1)\n~~~",
        "```python\nFILE: src/app.py\nprint(1)\n```",
        "```python\n# FILE: src/app.py\nprint(1)\n```",
        "1. FILE: src/app.py\r\n   ```python\r\n   print(1)\r\n   ```\r\n".removeprefix("1. "),
    ],
)
def test_a_file_is_found_in_whatever_form_its_name_stands(text: str) -> None:
    found = parse_fences(text)
    assert found.files == (NamedFile("src/app.py", "print(1)\n"),)
    assert found.blocks == ()
    assert found.problems == ()


@pytest.mark.parametrize(
    ("language", "first"),
    [
        ("python", "# app/main.py"),
        ("javascript", "// app/main.js"),
        ("sql", "-- app/main.sql"),
        ("css", "/* app/main.css */"),
        ("html", "<!-- app/main.html -->"),
        ("", "# app/main.py"),
    ],
)
def test_a_first_comment_that_is_a_path_names_the_file_and_stays_in_it(
    language: str, first: str
) -> None:
    [file] = parse_fences(f"```{language}\n{first}\nx\n```").files
    assert file.path == first.split()[1]
    assert file.content == f"{first}\nx\n"


def test_a_name_below_the_interpreter_line_counts_too() -> None:
    assert paths_of("```python\n#!/usr/bin/env python\n# tool.py\nx\n```") == ["tool.py"]


@pytest.mark.parametrize(
    "text",
    [
        "Run `app.py`:\n```bash\npython app.py\n```",
        "### app.py\n```bash\npython app.py\n```",
        "The output of `app.py` is:\n```\n1\n```",
        "`app.py` prints:\n```text\n1\n```",
        "```python\n# a comment\nx\n```",
        "```python\n# example.com\nx\n```",
        "```yaml\npath: /srv/data.csv\n```",
        "See https://example.com/app.py\n```\nx\n```",
        f"{'x' * 5000}\n```{'y' * 5000}\nz\n```",
    ],
)
def test_a_block_about_a_file_is_not_the_file(text: str) -> None:
    found = parse_fences(text)
    assert found.files == ()
    assert len(found.blocks) == 1


def test_shell_in_a_file_of_its_own_is_a_file() -> None:
    assert paths_of("### run.sh\n```bash\npython app.py\n```") == ["run.sh"]


def test_longer_ticks_hold_shorter_ones() -> None:
    text = "FILE: README.md\n````markdown\n# T\n```bash\nls\n```\nend\n````\n"
    assert parse_fences(text).files == (NamedFile("README.md", "# T\n```bash\nls\n```\nend\n"),)


def test_a_readme_that_shows_commands_in_the_same_ticks_stays_whole() -> None:
    text = f"FILE: README.md\n```markdown\n# T\n```bash\nls\n```\nend\n```\n\nFILE: a.py\n{CODE}\n"
    found = parse_fences(text)
    assert found.files == (
        NamedFile("README.md", "# T\n```bash\nls\n```\nend\n"),
        NamedFile("a.py", "print(1)\n"),
    )


def test_a_fence_that_only_looks_like_an_inner_one_is_text() -> None:
    text = "FILE: a.md\n```md\nwrite ```\n```python\n```\n"
    assert parse_fences(text).files == (NamedFile("a.md", "write ```\n```python\n"),)


def test_a_forgotten_closing_fence_ends_before_the_next_file() -> None:
    text = f"FILE: a.py\n```python\nx = 1\n\nFILE: b.py\n{CODE}\n"
    assert parse_fences(text).files == (
        NamedFile("a.py", "x = 1\n\n"),
        NamedFile("b.py", "print(1)\n"),
    )


def test_a_block_that_never_ends_is_told_of() -> None:
    found = parse_fences("FILE: a.py\n```python\nx = 1")
    assert found.files == (NamedFile("a.py", "x = 1\n", complete=False),)
    assert found.problems == ("a.py was not closed: it may be incomplete.",)
    found = parse_fences("```python\nx = 1")
    assert found.blocks == (Block("python", "x = 1\n", complete=False),)
    assert "The last block was not closed" in found.problems[0]


def test_an_announced_file_without_a_block_is_told_of() -> None:
    text = f"FILE: a.py\nprint(1)\nmore\nmore\nmore\n\nFILE: b.py\n{CODE}\nFILE: c.py\nprint(2)"
    found = parse_fences(text)
    assert [file.path for file in found.files] == ["b.py"]
    assert [problem.split()[0] for problem in found.problems] == ["a.py", "c.py"]


def test_a_file_written_twice_is_taken_as_written_last() -> None:
    found = parse_fences(f"FILE: a.py\n{CODE}\nBetter:\nFILE: a.py\n```python\nprint(2)\n```")
    assert found.files == (NamedFile("a.py", "print(2)\n"),)
    assert "more than once" in found.problems[0]


def test_a_name_belongs_to_one_block_only() -> None:
    found = parse_fences(f"FILE: a.py\n{CODE}\n```bash\npython a.py\n```")
    assert [file.path for file in found.files] == ["a.py"]
    assert found.blocks == (Block("bash", "python a.py\n"),)


@given(st.text())
def test_any_text_has_a_result(text: str) -> None:
    found = parse_fences(f"FILE: a.py\n````\n{text}\n````\n")
    assert "a.py" in [file.path for file in found.files] or found.problems or "````" in text


_PIECES = ["```", "````", "~~~", "python", "FILE: a.py", "\n", " ", "x", "# b.py", "`c.py`:", ":"]


@given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join))
def test_any_heap_of_fences_has_a_result_that_keeps_its_lines(text: str) -> None:
    found = parse_fences(text)
    lines = {line.strip() for line in text.split("\n")}
    for part in (*found.files, *found.blocks):
        assert {line.strip() for line in part.content.split("\n")} <= lines | {""}


_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}(/[a-z]{1,5})?\.(py|md|txt|js)", fullmatch=True)
_CONTENT = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=200)


@given(st.dictionaries(_NAMES, _CONTENT, max_size=5))
def test_files_written_as_asked_come_back_as_they_were(files: dict[str, str]) -> None:
    ticks = "`" * (3 + max((c.count("`") for c in files.values()), default=0))
    text = "".join(f"FILE: {n}\n{ticks}text\n{c}\n{ticks}\n\n" for n, c in files.items())
    found = {file.path: file.content for file in parse_fences(text).files}
    # A first line that is itself a header names the file instead; that form exists too.
    plain = {n: f"{c}\n" for n, c in files.items() if c.lstrip(" \t*_`\"'#/-<!;%>")[:4] != "FILE"}
    assert {name: found[name] for name in plain} == plain


def test_every_language_has_a_name_for_its_only_file() -> None:
    for language in EXTENSIONS:
        assert is_file_name(default_name(language))
    assert default_name("python") == "main.py"
    assert default_name("html") == "index.html"
    assert default_name("klingon") == "main.txt"


# -- workspace -----------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "me").mkdir(parents=True)
    return tmp_path / "home" / "me"


def test_a_new_folder_beside_others_is_a_workspace(home: Path) -> None:
    assert check_workspace(str(home / "new"), home=home) == home / "new"
    assert check_workspace(str(home / "x" / ".." / "new"), home=home) == home / "new"
    assert not (home / "new").exists()


@pytest.mark.parametrize(
    ("given_path", "says"),
    [
        ("", "not an absolute"),
        ("here", "not an absolute"),
        ("/a\0b", "not an absolute"),
        ("/", "root of the file system"),
        ("/..", "root of the file system"),
        ("HOME", "home folder"),
        ("HOME/.", "home folder"),
        ("HOME/..", "home folder"),
        ("HOME/link", "home folder"),
        ("HOME/data", "tale's own data"),
        ("HOME/file", "is a file"),
        ("HOME/file/below", "does not exist"),
        ("HOME/missing/new", "does not exist"),
        ("HOME/loop/new", "HOME/loop"),
        ("/" + "x" * 5000, "can't be used"),
    ],
)
def test_folders_in_which_nothing_should_be_written_are_refused(
    given_path: str, says: str, home: Path
) -> None:
    (home / "link").symlink_to(home)
    (home / "data").mkdir()
    (home / "file").touch()
    (home / "loop").symlink_to(home / "loop")
    with pytest.raises(WorkspaceUnusable) as caught:
        check_workspace(given_path.replace("HOME", str(home)), home=home, private=[home / "data"])
    assert says.replace("HOME", str(home)) in caught.value.message
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(home: Path) -> None:
    (home / "fixed").mkdir(mode=0o500)
    with pytest.raises(WorkspaceUnusable, match="not writable"):
        check_workspace(str(home / "fixed"), home=home)


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    assert workspace.write("./a//b\\c.txt", "ünï") == Written("a/b/c.txt", 5, replaced=False)
    assert (tmp_path / "w/a/b/c.txt").read_text() == "ünï"
    assert [file.name for file in (tmp_path / "w/a/b").iterdir()] == ["c.txt"]


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.write("run.sh", "old")
    (tmp_path / "run.sh").chmod(0o750)
    assert workspace.write("run.sh", "new") == Written("run.sh", 3, replaced=True)
    assert (tmp_path / "run.sh").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "run.sh").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("~/x", "absolute"),
        ("C:\\x", "absolute"),
        ("../x", "out of the workspace"),
        ("a/../../x", "out of the workspace"),
        ("a\\..\\x", "out of the workspace"),
        ("", "names no file"),
        (".", "names no file"),
        ("a/", "names no file"),
        ("a\nb", "not a usable one"),
        ("a\0b", "not a usable one"),
        ("a/" * 600 + "b", "not a usable one"),
        ("x" * 300, "file name too long"),
        (".git/hooks/pre-commit", "Git's own"),
        ("out/x", "link or a file"),
        ("link.txt", "link or a file"),
        ("plain/x", "link or a file"),
        ("folder", "folder of that name"),
    ],
)
def test_nothing_is_written_outside_the_workspace(name: str, why: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "w", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("untouched")
    (root / "out").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "plain").touch()
    (root / "folder").mkdir()
    refused = Workspace(root).write(name, "bad")
    assert isinstance(refused, Refused)
    assert why in refused.why
    assert [file.name for file in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "untouched"
    assert not any(file.name.startswith(".tale-") for file in root.iterdir())


def test_a_workspace_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceUnusable, match="can't be used"):
        Workspace(tmp_path / "file").write("a", "b")


def test_a_write_that_fails_leaves_no_half_a_file(tmp_path: Path) -> None:
    # The limit on file sizes stands in for a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        refused = Workspace(tmp_path).write("a.txt", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused == Refused("a.txt", os.strerror(errno.EFBIG).lower())
    assert list(tmp_path.iterdir()) == []


# -- agent ---------------------------------------------------------------------------------------


async def work(
    folder: Path,
    models: ScriptedModels,
    *,
    text: str = "write a program that prints one",
    kind: Kind = "work",
    role: Role = "task",
    writes: tuple[str, ...] = (),
) -> tuple[StepResult, list[Progress]]:
    seen: list[Progress] = []

    async def report(progress: Progress) -> None:
        seen.append(progress)

    step = Step("t-1", text, str(folder), role, kind, writes=writes)
    return await run_step(step, models, report), seen


async def test_work_streams_its_answer_and_writes_its_files(tmp_path: Path) -> None:
    pieces = ["FILE: a.py\n", "```python\nprint(1)\n```\n", "Run it."]
    models = ScriptedModels(Script(pieces))
    result, seen = await work(tmp_path / "w", models)
    assert result == StepResult(
        "".join(pieces),
        "scripted-task",
        "task",
        ("a.py",),
        TokensSpent(20, 3, 5),
        "it is in the script",
        check="nothing could be run",
    )
    assert seen[:-1] == [Began(), *map(TokenSaid, pieces), FileWritten("a.py", 9)]
    assert seen[-1] == Noted("Nothing could be checked: Commands are not run here.")
    assert (tmp_path / "w/a.py").read_text() == "print(1)\n"
    [(target, request)] = models.asked
    assert target == "auto"
    assert models.purposes == [Purpose(session="t-1")]
    assert [message.content for message in request.messages] == [
        WORK_SYSTEM,
        "write a program that prints one",
    ]
    assert request.temperature == 0


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("Write a calculator, with tests.", TESTED_WORK_SYSTEM),
        ("Write a parser and a unit test for it", TESTED_WORK_SYSTEM),
        ("make it pass in pytest", TESTED_WORK_SYSTEM),
        ("Write a function that tells primes", WORK_SYSTEM),
        ("Write a function to test if a string is a palindrome", WORK_SYSTEM),
        ("Write a function that prints the latest news", WORK_SYSTEM),
    ],
)
async def test_tests_are_written_where_they_are_asked_for(
    tmp_path: Path, text: str, system: str
) -> None:
    models = ScriptedModels(Script([f"FILE: a.py\n{CODE}"]))
    await work(tmp_path, models, text=text)
    [(_, request)] = models.asked
    assert request.messages[0].content == system


@pytest.mark.parametrize(
    ("writes", "system"),
    [
        (("test_a.py",), TESTS_SYSTEM),
        (("README.md", "docs/use.md"), DOCUMENT_SYSTEM),
        (("a.py", "test_a.py"), WORK_SYSTEM),
        (("a.py", "README.md"), WORK_SYSTEM),
    ],
)
async def test_a_part_that_writes_tests_or_documents_alone_is_told_how(
    tmp_path: Path, writes: tuple[str, ...], system: str
) -> None:
    models = ScriptedModels(Script([f"FILE: {writes[0]}\n{CODE}"]))
    await work(tmp_path, models, text="write it", writes=writes)
    [(_, request)] = models.asked
    assert request.messages[0].content == system


async def test_a_step_that_waits_for_the_models_says_so_before_its_answer(tmp_path: Path) -> None:
    models = ScriptedModels(Script(["Hello."], held_up="They come back."))
    _, seen = await work(tmp_path, models, text="say one", kind="talk")
    assert seen == [Began(), Noted("They come back."), TokenSaid("Hello.")]


async def test_prose_is_told_its_length_unless_the_user_says_one(tmp_path: Path) -> None:
    essay = "Write an essay about tea and save it as tea.md"
    for text, told in ((essay, True), (f"{essay}, 700 words long", False)):
        models = ScriptedModels(Script(["Tea."]))
        await work(tmp_path, models, text=text)
        [(_, request)] = models.asked
        assert request.messages[-1].content.startswith(text)
        assert ("words." in request.messages[-1].content) is told


async def test_talk_is_answered_in_words_and_leaves_no_folder(tmp_path: Path) -> None:
    models = ScriptedModels(Script([f"FILE: a.py\n{CODE}"]))
    result, _ = await work(tmp_path / "w", models, text="say one", kind="talk", role="ux")
    assert result.files == ()
    assert result.role == "ux"
    assert not (tmp_path / "w").exists()
    assert models.asked[0][1].messages[0].content == CHAT_SYSTEM


async def test_a_refused_file_is_noted_and_the_others_are_written(tmp_path: Path) -> None:
    text = f"FILE: ../x.py\n{CODE}\nFILE: b.py\n{CODE}\n"
    models = ScriptedModels(Script([text]), Script(["There is no other place for it."]))
    result, seen = await work(tmp_path / "w", models)
    assert result.files == ("b.py",)
    assert "leads out of the workspace" in models.asked[1][1].messages[-1].content
    assert Noted("../x.py was not written: the path leads out of the workspace.") in seen


async def test_a_file_that_was_there_is_replaced_and_noted(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("old")
    _, seen = await work(tmp_path, ScriptedModels(Script([f"FILE: a.py\n{CODE}"])))
    assert Noted("a.py was there already; it was replaced.") in seen


async def test_the_only_block_of_an_answer_gets_a_name(tmp_path: Path) -> None:
    text = f"Sure:\n{CODE}\nRun it:\n```bash\npython main.py\n```"
    result, seen = await work(tmp_path, ScriptedModels(Script([text])))
    assert result.files == ("main.py",)
    assert Noted("The model named no file; its code is in main.py.") in seen


@pytest.mark.parametrize("text", [f"{CODE}\n{CODE}", "```python\n```", "no code", "```sh\nls\n```"])
async def test_blocks_that_are_no_single_file_are_left_in_the_answer(
    text: str, tmp_path: Path
) -> None:
    models = ScriptedModels(Script([text]))
    result, _ = await work(tmp_path, models, text="write an essay about tea")
    assert result.files == ()


async def test_half_a_file_does_not_take_the_place_of_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("whole")
    cut = Script([f"FILE: b.py\n{CODE}\nFILE: a.py\n```python\nprin"], finish="length")
    result, seen = await work(tmp_path, ScriptedModels(cut))
    assert result.files == ("b.py", "a.py.partial")
    assert (tmp_path / "a.py").read_text() == "whole"
    assert Noted("a.py was not closed: it may be incomplete.") in seen
    assert any(isinstance(one, Noted) and "cut off" in one.text for one in seen)


async def test_an_error_of_the_model_is_the_steps(tmp_path: Path) -> None:
    models = ScriptedModels(Script(["a"], error=BackendStalled("went silent")))
    with pytest.raises(BackendStalled):
        await work(tmp_path, models)
    assert models.stopped == 1


COUNTING = [f"    ('2023-01-01T00:00:00+{n:02}:00', {n * 3}),\n" for n in range(99)]


async def test_an_answer_that_runs_away_is_stopped_and_asked_for_again(tmp_path: Path) -> None:
    models = ScriptedModels(Script(COUNTING), Script([f"FILE: a.py\n{CODE}"]))
    result, seen = await work(tmp_path, models)
    assert result.files == ("a.py",)
    assert models.stopped == 1
    assert [request.temperature for _, request in models.asked] == [0.0, 0.7]
    assert seen.count(Began()) == 1
    assert any(isinstance(one, Noted) and "asked again" in one.text for one in seen)


async def test_answers_that_all_run_away_leave_what_there_is_and_a_transcript(
    tmp_path: Path,
) -> None:
    endless = Script(["FILE: a.py\n```python\n", *COUNTING])
    with pytest.raises(TaskError, match="repeated themselves without end"):
        await work(tmp_path, ScriptedModels(endless, endless, endless, endless))
    assert (tmp_path / "a.py.partial").exists()
    assert "2023-01-01" in (tmp_path / ".tale/t-1.md").read_text()
