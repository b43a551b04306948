"""Checkpoints: what is saved of a workspace, what going back touches, and what is left alone."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_disk import mounted
from tale.errors import (
    CheckpointDamaged,
    CheckpointNotFound,
    StorageReadOnly,
    WorkspaceUnusable,
)
from tale.tasks.checkpoint import Checkpoint
from tale.tasks.checkpoint_history import History
from tale.tasks.checkpoint_rule import Retention
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.snapshots.objects import Kind, object_id
from tale.tasks.snapshots.repository import Repository
from tale.tasks.snapshots.scan import LeftOut, Limits, open_file, scan

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
GIT = shutil.which("git")
Tree = dict[str, str]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(Repository(tmp_path / "store"), clock=lambda: NOON)


def fill(folder: Path, files: Tree) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def held(folder: Path) -> Tree:
    """Everything below a folder: files with their content, links with their aim, folders."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name + "/"] = ""
        else:
            found[name] = path.read_bytes().decode(errors="surrogateescape")
            if path.stat().st_mode & stat.S_IXUSR:
                found[name] += " (executable)"
    return found


def left_out(checkpoint: Checkpoint) -> dict[str, str]:
    return {one.path: one.why for one in checkpoint.left_out}


def brought_back(history: History, checkpoint: Checkpoint, tmp_path: Path) -> Tree:
    """What a checkpoint makes of an empty folder."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    history.restore(checkpoint.task, checkpoint.number, folder / "new")
    return held(folder / "new")


# -- what is saved -------------------------------------------------------------------------------


def test_a_checkpoint_brings_everything_back(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"a.py": "a", "sub/deep/b.txt": "b", "run.sh": "#!/bin/sh", "empty": ""})
    (workspace / "run.sh").chmod(0o755)
    (workspace / "nothing/in/here").mkdir(parents=True)
    (workspace / "link").symlink_to("sub/deep")
    (workspace / "broken").symlink_to("/nowhere\nat all")
    taken = history.take("t-1", workspace, "after the first subtask")
    assert brought_back(history, taken, tmp_path) == held(workspace)
    assert (taken.number, taken.why, taken.files) == (1, "after the first subtask", 6)


def test_odd_names_are_kept_byte_by_byte(history: History, workspace: Path, tmp_path: Path) -> None:
    names = [b"caf\xe9", b"new\nline", b"tab\t", b" ", b"-rf", b"a\\b", "日本".encode(), b"x" * 255]
    for name in names:
        Path(os.fsdecode(bytes(workspace) + b"/" + name)).write_bytes(name)
    taken = history.take("t-1", workspace, "odd")
    assert brought_back(history, taken, tmp_path) == held(workspace)
    assert "caf\\xe9" in taken.changed


def test_the_words_of_a_checkpoint_say_what_changed_since_the_one_before(
    history: History, workspace: Path
) -> None:
    fill(workspace, {"a": "1", "b": "1", "sub/c": "1"})
    first = history.take("t-1", workspace, "first")
    (workspace / "a").write_text("2")
    (workspace / "b").unlink()
    fill(workspace, {"sub/d": "new"})
    second = history.take("t-1", workspace, "second")
    assert (first.parent, second.parent) == (None, 1)
    assert second.changed == ("a", "b", "sub/d")
    assert (second.files, second.size, second.changes) == (3, 5, 3)
    assert history.list("t-1") == (first, second)


def test_nothing_new_is_stored_where_nothing_changed(history: History, workspace: Path) -> None:
    fill(workspace, {"a": "1"})
    first = history.take("t-1", workspace, "first")
    size = history.repository.bytes
    assert history.take("t-1", workspace, "again") == first
    assert history.repository.bytes == size


def test_equal_content_is_stored_once_across_files_and_tasks(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    noise = os.urandom(100_000).hex()
    fill(workspace, {"a": noise, "sub/b": noise})
    history.take("t-1", workspace, "first")
    size = history.repository.bytes
    assert size < 1.2 * 100_000
    shutil.copytree(workspace, tmp_path / "other")
    history.take("t-2", tmp_path / "other", "first")
    assert history.repository.bytes - size < 2000


@pytest.mark.parametrize("known", [True, False], ids=["times remembered", "after a restart"])
def test_a_change_that_keeps_size_and_modification_time_is_seen(
    history: History, workspace: Path, known: bool
) -> None:
    fill(workspace, {"a": "old"})
    before = (workspace / "a").stat()
    first = history.take("t-1", workspace, "first")
    (workspace / "a").write_text("new")
    os.utime(workspace / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    history = history if known else History(Repository(history.repository.root))
    assert history.take("t-1", workspace, "second").tree != first.tree


def test_a_file_that_is_written_within_the_tick_of_the_scan_is_read_again(workspace: Path) -> None:
    fill(workspace, {"fresh": "1", "old": "1"})
    now = (workspace / "fresh").stat().st_mtime_ns
    os.utime(workspace / "old", ns=(0, 0))
    read: list[str] = []

    def opener(name: str, folder: int) -> int:
        read.append(name)
        return open_file(name, folder)

    first = scan(workspace, object_id, now_ns=lambda: now + 1_000_000, opener=opener)
    second = scan(workspace, object_id, first.root, now_ns=lambda: now + 10**10, opener=opener)
    assert sorted(read) == ["fresh", "fresh", "old", "old"]  # `old` has a new ctime
    scan(workspace, object_id, second.root, opener=opener)
    assert len(read) == 4


def test_trees_of_unchanged_folders_are_not_written_again(workspace: Path) -> None:
    fill(workspace, {"same/deep/a": "1", "other/b": "1"})
    kept: list[Kind] = []

    def keep(kind: Kind, content: bytes) -> bytes:
        kept.append(kind)
        return object_id(kind, content)

    first = scan(workspace, keep)
    kept.clear()
    (workspace / "other/b").write_text("2!")
    scan(workspace, keep, first.root)
    assert kept.count("tree") == 2  # `other` and the root


# -- what is left out ------------------------------------------------------------------------------


def test_gits_own_files_are_left_out_and_left_alone(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {".git/config": "mine", "a": "1", "module/.git": "gitdir: elsewhere"})
    first = history.take("t-1", workspace, "first")
    assert left_out(first) == {
        ".git/": "Git's own files are never touched",
        "module/.git": "Git's own files are never touched",
    }
    (workspace / "a").write_text("2")
    history.restore("t-1", 1, workspace)
    assert (workspace / ".git/config").read_text() == "mine"
    assert brought_back(history, first, tmp_path) == {"a": "1", "module/": ""}


def test_ignored_files_are_left_out_with_the_reason(history: History, workspace: Path) -> None:
    fill(
        workspace,
        {
            ".gitignore": "*.log\nnode_modules/\n!keep.log\n",
            "a.log": "",
            "keep.log": "",
            "node_modules/x/y.js": "",
            "sub/.gitignore": "!b.log\n/data\n",
            "sub/b.log": "",
            "sub/data": "",
            "sub/deeper/data": "",
        },
    )
    taken = history.take("t-1", workspace, "first")
    why = "a .gitignore file says so"
    assert left_out(taken) == {"a.log": why, "node_modules/": why, "sub/data": why}


def test_a_changed_gitignore_changes_what_is_saved(history: History, workspace: Path) -> None:
    fill(workspace, {"sub/a.log": "1", "sub/b.txt": "1"})
    history.take("t-1", workspace, "first")
    fill(workspace, {".gitignore": "*.log\n"})
    second = history.take("t-1", workspace, "second")
    assert left_out(second) == {"sub/a.log": "a .gitignore file says so"}
    (workspace / ".gitignore").unlink()
    third = history.take("t-1", workspace, "third")
    assert (third.files, third.left_out) == (2, ())


def test_an_ignored_folder_that_becomes_a_file_is_judged_anew(
    history: History, workspace: Path
) -> None:
    fill(workspace, {".gitignore": "build/\n", "build/x": "1", "out": "1"})
    history.take("t-1", workspace, "first")
    shutil.rmtree(workspace / "build")
    (workspace / "out").unlink()
    fill(workspace, {"build": "a file now", "out/x": "a folder now"})
    second = history.take("t-1", workspace, "second")
    assert (second.left_out, second.files) == ((), 3)


def pattern_line(start: str, parts: list[str], end: str) -> str:
    return start + "/".join(parts) + end


part = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "a*", "*.b", "a b", "[!a]", ".a"])
lines = st.builds(
    pattern_line,
    st.sampled_from(["", "", "", "!", "/", "!/", "\\#", "#"]),
    st.lists(part, min_size=1, max_size=3),
    st.sampled_from(["", "", "", "/", "  "]),
)


@pytest.mark.skipif(GIT is None, reason="compares with git")
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_ignored_is_what_git_ignores(data: st.DataObject) -> None:
    name = st.sampled_from(["a", "b", "ab", ".a", "a.b", "a b"])
    paths = data.draw(st.lists(st.lists(name, min_size=1, max_size=3), min_size=1, max_size=12))
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for parts in paths:
            path = root.joinpath(*parts)
            if not any(one.is_file() for one in [path, *path.parents]) and not path.exists():
                fill(root, {"/".join(parts): "x"})
        for folder in [root, *(one for one in root.rglob("*") if one.is_dir())][:3]:
            drawn = data.draw(st.lists(lines, max_size=4))
            (folder / ".gitignore").write_text("\n".join(drawn) + "\n")
        blobs = {
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()
        } - {one.rstrip("/") for one in ignored(root)}
        git = ["git", "-c", "core.excludesFile=/dev/null"]
        subprocess.run([*git, "init", "-q", made], check=True)
        listed = subprocess.run(
            [*git, "-C", made, "ls-files", "-z", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
        )
        assert blobs == {one for one in listed.stdout.decode().split("\0") if one}


def ignored(root: Path) -> set[str]:
    """Every file below a folder that a scan leaves out."""
    found: set[str] = set()
    for one in scan(root, object_id).left_out:
        path = root / one.path
        below = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        found |= {file.relative_to(root).as_posix() for file in below}
    return found


@pytest.mark.parametrize("pattern", ["*a" * 30 + "*b", "**/" * 30 + "b", "a/**" * 30 + "/b"])
def test_a_pattern_that_would_take_for_ever_is_passed_over(
    history: History, workspace: Path, pattern: str
) -> None:
    fill(workspace, {".gitignore": f"{pattern}\n*.log\n", "a" * 250: "1", "x.log": "1"})
    fill(workspace, {"a/" * 60 + "a": "1"})
    taken = history.take("t-1", workspace, "first")
    assert (taken.files, set(left_out(taken))) == (3, {"x.log"})


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(file_bytes=2 << 20), {"big": "it is larger than 2 MiB"}),
        (Limits(total_bytes=2 << 20), {"big": "the workspace is larger than 2 MiB"}),
    ],
)
def test_what_is_too_large_is_left_out_with_the_reason(
    limits: Limits, why: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"a": "1", "big": "x" * (3 << 20)})
    history = History(Repository(tmp_path / "store"), limits=limits)
    taken = history.take("t-1", workspace, "first")
    assert (left_out(taken), taken.files) == (why, 1)


def test_files_beyond_the_number_allowed_are_left_out(workspace: Path, tmp_path: Path) -> None:
    fill(workspace, {f"{number}": "x" for number in range(5)})
    history = History(Repository(tmp_path / "store"), limits=Limits(files=3))
    taken = history.take("t-1", workspace, "first")
    assert (taken.files, taken.omissions) == (3, 2)
    assert set(left_out(taken).values()) == {"the workspace has more than 3 files"}


def test_what_is_no_file_is_left_out_without_waiting_for_it(
    history: History, workspace: Path
) -> None:
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(workspace / "socket"))
        taken = history.take("t-1", workspace, "first")
    assert set(left_out(taken)) == {"pipe", "socket"}


@contextmanager
def as_nobody() -> Generator[None]:
    """Root may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_cannot_be_read_is_left_out_with_the_reason() -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        fill(root, {"open": "1", "secret": "1", "closed/x": "1"})
        (root / "secret").chmod(0)
        (root / "closed").chmod(0)
        with as_nobody():
            found = scan(root, object_id)
        (root / "closed").chmod(0o755)
        why = "it can't be read: Permission denied"
        assert set(found.left_out) == {LeftOut("secret", why), LeftOut("closed/", why)}
        assert found.files == 1


def test_a_store_that_fails_in_the_middle_of_a_folder_fails_the_scan(workspace: Path) -> None:
    fill(workspace, {"sub/deep/a": "1"})

    def keep(kind: Kind, content: bytes) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        scan(workspace, keep)


def test_a_workspace_that_is_a_file_is_named(history: History, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file")
    with pytest.raises(WorkspaceUnusable, match=r"w can't be read: Not a directory"):
        history.take("t-1", tmp_path / "w", "first")


def test_a_file_that_vanishes_while_it_is_scanned_is_not_missed(workspace: Path) -> None:
    fill(workspace, {"a": "1", "b": "1"})

    def opener(name: str, folder: int) -> int:
        (workspace / name).unlink()
        return open_file(name, folder)

    found = scan(workspace, object_id, opener=opener)
    assert (found.files, found.left_out) == (0, ())


def test_a_file_that_changes_while_it_is_read_is_kept_as_it_was_read_and_read_again(
    workspace: Path,
) -> None:
    fill(workspace, {"a": "one"})
    kept: list[bytes] = []

    def keep(kind: Kind, content: bytes) -> bytes:
        kept.append(content)
        return object_id(kind, content)

    def opener(name: str, folder: int) -> int:
        descriptor = open_file(name, folder)
        with (workspace / name).open("a") as file:
            file.write(", two")
        return descriptor

    found = scan(workspace, keep, opener=opener)
    assert kept[0] == b"one, two"
    kept.clear()
    scan(workspace, keep, found.root)
    assert kept == [b"one, two"]


def test_a_link_that_takes_a_files_place_is_not_followed(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    fill(workspace, {"a": "1"})
    kept: list[bytes] = []

    def keep(kind: Kind, content: bytes) -> bytes:
        kept.append(content)
        return object_id(kind, content)

    def opener(name: str, folder: int) -> int:
        (workspace / name).unlink()
        (workspace / name).symlink_to(tmp_path / "secret")
        return open_file(name, folder)

    scan(workspace, keep, opener=opener)
    assert b"secret" not in kept


def test_very_deep_folders_are_left_out(history: History, workspace: Path) -> None:
    deep = workspace
    for _ in range(220):
        deep = deep / "d"
    deep.mkdir(parents=True)
    taken = history.take("t-1", workspace, "first")
    assert set(left_out(taken).values()) == {"it is more than 200 folders deep"}


def test_before_the_first_file_the_workspace_may_be_missing(
    history: History, tmp_path: Path
) -> None:
    assert history.take("t-1", tmp_path / "none", "at the start").files == 0


def test_a_workspace_that_is_gone_is_not_saved_as_empty(history: History, workspace: Path) -> None:
    fill(workspace, {"a": "1"})
    history.take("t-1", workspace, "first")
    shutil.rmtree(workspace)
    with pytest.raises(WorkspaceUnusable, match=r"is gone.*tale restore"):
        history.take("t-1", workspace, "second")


# -- going back ------------------------------------------------------------------------------------


def test_going_back_saves_the_present_state_first(history: History, workspace: Path) -> None:
    fill(workspace, {"a": "1", "gone/b": "1"})
    history.take("t-1", workspace, "first")
    before = held(workspace)
    shutil.rmtree(workspace / "gone")
    fill(workspace, {"a": "2", "new/c": "1"})
    after = held(workspace)
    done = history.restore("t-1", 1, workspace)
    assert held(workspace) == before
    assert (done.written, done.removed, done.kept) == (2, 1, ())
    assert done.saved is not None
    assert (done.saved.number, done.saved.why) == (2, "before going back to checkpoint 1")
    history.restore("t-1", 2, workspace)
    assert held(workspace) == after


def test_going_back_touches_only_what_differs(history: History, workspace: Path) -> None:
    fill(workspace, {"same": "1", "other": "1"})
    history.take("t-1", workspace, "first")
    (workspace / "other").write_text("2")
    before = (workspace / "same").stat()
    history.restore("t-1", 1, workspace)
    after = (workspace / "same").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


def test_going_back_leaves_ignored_files_alone(history: History, workspace: Path) -> None:
    fill(workspace, {".gitignore": "*.log\n", "a": "1"})
    history.take("t-1", workspace, "first")
    fill(workspace, {"run.log": "precious", "logs/x.log": "precious", "logs/note": "1"})
    done = history.restore("t-1", 1, workspace)
    assert (workspace / "run.log").read_text() == "precious"
    assert (workspace / "logs/x.log").read_text() == "precious"
    assert not (workspace / "logs/note").exists()
    assert [one.path for one in done.kept] == ["logs"]


def test_a_file_that_is_saved_nowhere_is_never_written_over(
    workspace: Path, tmp_path: Path
) -> None:
    history = History(Repository(tmp_path / "store"), limits=Limits(file_bytes=100))
    fill(workspace, {"data": "small", "other": "1"})
    history.take("t-1", workspace, "first")
    fill(workspace, {"data": "x" * 200, "other": "2"})
    done = history.restore("t-1", 1, workspace)
    assert (workspace / "data").read_text() == "x" * 200
    assert (workspace / "other").read_text() == "1"
    assert done.kept == (
        LeftOut("data", "something that no checkpoint holds is in its place or in it"),
    )


def test_files_folders_and_links_change_places(history: History, workspace: Path) -> None:
    fill(workspace, {"one": "file", "two/x": "folder", "three/y": "folder", "six": "file"})
    (workspace / "four").symlink_to("one")
    (workspace / "five").symlink_to("two")
    first = held(workspace)
    history.take("t-1", workspace, "first")
    for name in ("one", "four", "five", "six"):
        (workspace / name).unlink()
    shutil.rmtree(workspace / "two")
    shutil.rmtree(workspace / "three")
    fill(workspace, {"one/deep/z": "folder", "two": "file", "four": "file", "five/x": "folder"})
    (workspace / "three").symlink_to("one")
    (workspace / "six").symlink_to("one")
    second = held(workspace)
    history.restore("t-1", 1, workspace)
    assert held(workspace) == first
    history.restore("t-1", 2, workspace)
    assert held(workspace) == second


def test_going_back_never_writes_through_a_link(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"sub/a": "1"})
    history.take("t-1", workspace, "first")
    outside = tmp_path / "outside"
    fill(outside, {"a": "theirs"})
    shutil.rmtree(workspace / "sub")
    (workspace / "sub").symlink_to(outside)
    history.restore("t-1", 1, workspace)
    assert (outside / "a").read_text() == "theirs"
    assert held(workspace) == {"sub/": "", "sub/a": "1"}


def test_a_replaced_file_keeps_its_permissions_and_gets_back_its_executable_bit(
    history: History, workspace: Path
) -> None:
    fill(workspace, {"a": "1", "run": "1"})
    (workspace / "run").chmod(0o750)
    history.take("t-1", workspace, "first")
    fill(workspace, {"a": "2"})
    (workspace / "a").chmod(0o640)
    (workspace / "run").chmod(0o640)
    history.restore("t-1", 1, workspace)
    assert stat.S_IMODE((workspace / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((workspace / "run").stat().st_mode) == 0o750


def test_a_vanished_workspace_is_made_anew(history: History, workspace: Path) -> None:
    fill(workspace, {"a": "1", "sub/b": "1"})
    history.take("t-1", workspace, "first")
    before = held(workspace)
    shutil.rmtree(workspace)
    assert history.restore("t-1", 1, workspace).saved is None
    assert held(workspace) == before


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
trees = st.dictionaries(names, st.sampled_from(["one", "two", "-> a", "-> /etc"]), max_size=8)


def make(folder: Path, tree: Tree) -> None:
    """Make a workspace hold exactly this, as far as it goes together."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in sorted(tree.items()):
        path = folder / name
        if any(one.is_symlink() or one.is_file() for one in path.parents) or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)


@settings(max_examples=40, deadline=None)
@given(states=st.lists(trees, min_size=2, max_size=4))
def test_any_state_can_be_gone_back_to_from_any_other(states: list[Tree]) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        history = History(Repository(root / "store"))
        saved: dict[int, Tree] = {}
        for tree in states:
            make(root / "w", tree)
            saved[history.take("t", root / "w", "state").number] = held(root / "w")
        for number, tree in saved.items():
            history.restore("t", number, root / "w")
            assert held(root / "w") == tree


# -- branching off, pinning, forgetting -----------------------------------------------------------


def test_another_task_begins_with_a_checkpoints_files(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"a": "1", "sub/b": "2"})
    history.take("t-1", workspace, "first")
    first = history.fork("t-1", 1, "t-2", tmp_path / "forked")
    assert held(tmp_path / "forked") == held(workspace)
    assert (first.task, first.number) == ("t-2", 1)
    assert first.why == "taken over from checkpoint 1 of t-1"
    (tmp_path / "forked/a").write_text("changed")
    history.take("t-2", tmp_path / "forked", "second")
    assert [one.changed for one in history.list("t-2")] == [(), ("a",)]
    assert (workspace / "a").read_text() == "1"


def test_a_fork_needs_an_empty_folder(history: History, workspace: Path) -> None:
    fill(workspace, {"a": "1"})
    history.take("t-1", workspace, "first")
    with pytest.raises(WorkspaceUnusable, match="not empty"):
        history.fork("t-1", 1, "t-2", workspace)
    assert history.list("t-2") == ()


def test_a_checkpoint_is_pinned_and_unpinned(history: History, workspace: Path) -> None:
    taken = history.take("t-1", workspace, "first", pinned=True)
    assert [taken.pinned, history.get("t-1", 1).pinned] == [True, True]
    assert not history.unpin("t-1", 1).pinned
    assert history.pin("t-1", 1).pinned


def test_a_checkpoint_whose_base_was_dropped_is_whole(
    history: History, workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"a": "1", "sub/b": "2"})
    history.take("t-1", workspace, "first")
    history.drop("t-1", [1])
    assert history.repository.collect(grace=-1) is not None
    taken = history.take("t-1", workspace, "anew")
    assert brought_back(history, taken, tmp_path) == held(workspace)


# -- through the store that others use -----------------------------------------------------------


@pytest.mark.anyio
async def test_the_store_alone_is_enough_to_list_and_restore(
    workspace: Path, tmp_path: Path
) -> None:
    fill(workspace, {"a": "1"})
    taken = await CheckpointStore(tmp_path / "store").take("t-1", workspace, "first")
    anew = CheckpointStore(tmp_path / "store")
    assert await anew.tasks() == ("t-1",)
    assert await anew.list("t-1") == (taken,)
    shutil.rmtree(workspace)
    await anew.restore("t-1", 1, workspace)
    assert held(workspace) == {"a": "1"}


@pytest.mark.anyio
async def test_a_checkpoint_is_found_by_number_id_and_as_the_latest(
    workspace: Path, tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path / "store")
    fill(workspace, {"a": "1"})
    first = await store.take("t-1", workspace, "first")
    fill(workspace, {"a": "2"})
    second = await store.take("t-1", workspace, "second")
    assert await store.find("t-1", "1") == first
    assert await store.find("t-1", first.id[:8]) == first
    assert await store.find("t-1", "latest") == second
    for wrong in ("3", "", "zzzz", "../1"):
        with pytest.raises(CheckpointNotFound, match="no checkpoint"):
            await store.find("t-1", wrong)


@pytest.mark.anyio
async def test_pruning_frees_what_was_dropped_and_nothing_else(
    workspace: Path, tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path / "store", clock=lambda: NOON)
    for number in range(6):
        fill(workspace, {"noise": os.urandom(50_000).hex(), "same": "x"})
        await store.take("t-1", workspace, f"{number}", pinned=number == 0)
    rule = Retention(newest=2, hours=0, days=0)
    verdicts = await store.prune("t-1", rule, NOON, needed=[3])
    assert [one.number for one in verdicts if one.kept] == [1, 3, 5, 6]
    assert [one.number for one in await store.list("t-1")] == [1, 3, 5, 6]
    before = await store.size()
    collected = Repository(tmp_path / "store").collect(grace=-1)
    assert collected is not None
    assert collected.freed > 2 * 50_000
    assert await store.size() < 0.75 * before
    for number in (1, 3, 5, 6):
        await store.restore("t-1", number, tmp_path / f"w{number}")
    await store.forget("t-1")
    assert await store.list("t-1") == ()


@pytest.mark.anyio
async def test_a_damaged_store_is_named_and_nothing_is_touched(
    workspace: Path, tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path / "store")
    fill(workspace, {"a": "1" * 5000, "b": "1"})
    await store.take("t-1", workspace, "first")
    [pack] = (tmp_path / "store/objects/pack").glob("*.pack")
    fill(workspace, {"a": "2", "b": "2"})
    await store.take("t-1", workspace, "second")
    data = bytearray(pack.read_bytes())
    data[20:30] = b"x" * 10
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(CheckpointDamaged, match="store is damaged"):
        await store.restore("t-1", 1, workspace)
    assert held(workspace) == {"a": "2", "b": "2"}
    assert (await store.restore("t-1", 2, tmp_path / "w")).written == 2


@pytest.mark.anyio
async def test_a_full_disk_costs_no_checkpoint_that_was_taken(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        store = CheckpointStore(disk.path / "store")
        workspace = tmp_path / "w"
        fill(workspace, {"a": "1"})
        first = await store.take("t-1", workspace, "first")
        fill(workspace, {"noise": os.urandom(200_000).hex()})
        disk.fill()
        with pytest.raises(StorageReadOnly, match="disk is full"):
            await store.take("t-1", workspace, "second")
        assert await store.list("t-1") == (first,)
        disk.free()
        assert (await store.take("t-1", workspace, "second")).number == 2


def test_threads_that_take_checkpoints_at_once_get_one_each(
    history: History, tmp_path: Path
) -> None:
    def work(name: str) -> None:
        workspace = tmp_path / name
        for number in range(5):
            fill(workspace, {"a": f"{name} {number}"})
            history.take("t-1", workspace, name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("x", "y", "z")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in history.list("t-1")] == list(range(1, 16))
