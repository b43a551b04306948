"""The repository behind the checkpoints: git can read it, kills leave it whole, garbage goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.tasks.checkpoint_history import History
from tale.tasks.snapshots.objects import (
    EXECUTABLE,
    FILE,
    FOLDER,
    Damaged,
    Entry,
    decode_commit,
    decode_tree,
    encode_tree,
    object_id,
)
from tale.tasks.snapshots.packs import Pack, PackWriter
from tale.tasks.snapshots.repository import Repository

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="asks git")
WRITES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.symlink", "open"}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def held(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def finished(folder: Path) -> dict[str, str]:
    """What a folder holds, without the files that were being written when it was killed."""
    return {name: one for name, one in held(folder).items() if ".tale-" not in name}


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# -- objects and packs -----------------------------------------------------------------------------


@needs_git
def test_git_finds_no_fault_and_reads_what_is_there(tmp_path: Path) -> None:
    history = History(Repository(tmp_path / "store"))
    fill(tmp_path / "w", {"a.b": "1", "a/x": "2", "a-b": "3", "sub/deep/run": "4" * 100_000})
    (tmp_path / "w/a.b").chmod(0o755)
    (tmp_path / "w/a-link").symlink_to("a")
    taken = history.take("t-1", tmp_path / "w", "first")
    git(tmp_path / "store", "fsck", "--full", "--strict")
    listed = git(tmp_path / "store", "ls-tree", "-r", "--name-only", taken.id).split()
    assert listed == ["a-b", "a-link", "a.b", "a/x", "sub/deep/run"]
    assert git(tmp_path / "store", "show", f"{taken.id}:sub/deep/run") == "4" * 100_000
    assert git(tmp_path / "store", "log", "--format=%s", taken.id) == "t-1 1: first\n"
    [pack] = (tmp_path / "store/objects/pack").glob("*.pack")
    git(tmp_path / "store", "verify-pack", str(pack))


@needs_git
def test_git_itself_refuses_to_tidy_the_store_up(tmp_path: Path) -> None:
    history = History(Repository(tmp_path / "store"))
    fill(tmp_path / "w", {"a": "1"})
    history.take("t-1", tmp_path / "w", "first")
    history.drop("t-1", [1])
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path / "store", "prune", "--expire=now")


@given(
    st.lists(
        st.builds(
            Entry,
            st.binary(min_size=1, max_size=5).filter(
                lambda name: (
                    not set(name) & set(b"/\0") and name.lower() not in {b".", b"..", b".git"}
                )
            ),
            st.sampled_from([FILE, EXECUTABLE, FOLDER]),
            st.binary(min_size=20, max_size=20),
        ),
        unique_by=lambda entry: entry.name,
    )
)
def test_a_tree_is_read_as_it_was_written(entries: list[Entry]) -> None:
    assert set(decode_tree(encode_tree(entries))) == set(entries)


@pytest.mark.parametrize(
    "content",
    [
        b"100644 a",
        b"100644 a\0short",
        b"100644 ..\0" + b"i" * 20,
        b"100644 a/b\0" + b"i" * 20,
        b"100644 .GIT\0" + b"i" * 20,
        b"160000 module\0" + b"i" * 20,
        b"9 a\0" + b"i" * 20,
        b"100644 \0" + b"i" * 20,
        (b"100644 a\0" + b"i" * 20) * 2,
    ],
)
def test_a_tree_that_could_do_harm_is_not_read(content: bytes) -> None:
    with pytest.raises(Damaged):
        decode_tree(content)


@given(st.binary())
def test_anything_is_a_tree_or_damaged(content: bytes) -> None:
    for decode in (decode_tree, decode_commit):
        try:
            decode(content)
        except Damaged:
            continue


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(50, 2000))
def test_packs_give_back_what_was_put_in(contents: list[bytes], pack_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        writer = PackWriter(Path(made), pack_bytes)
        for content in contents:
            writer.add("blob", content, object_id("blob", content))
        writer.finish()
        packs = [Pack(index) for index in Path(made).glob("*.idx")]
        for content in contents:
            found = [pack.read(object_id("blob", content)) for pack in packs]
            assert [one for one in found if one] == [("blob", content)]
        assert sum(pack.count for pack in packs) == len(set(contents))
        assert all(pack.read(b"\0" * 20) is None for pack in packs)


@pytest.mark.parametrize("damage", ["header", "content", "cut"])
def test_a_damaged_object_is_never_given(damage: str, tmp_path: Path) -> None:
    writer = PackWriter(tmp_path)
    content = os.urandom(1000)
    identity = object_id("blob", content)
    writer.add("blob", content, identity)
    writer.finish()
    [path] = tmp_path.glob("*.pack")
    data = bytearray(path.read_bytes())
    match damage:
        case "header":
            data[12] ^= 0x70
        case "content":
            data[500] ^= 1
        case _:
            del data[500:]
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(Damaged):
        Pack(path.with_suffix(".idx")).read(identity)


def test_a_bomb_in_a_pack_is_not_unpacked(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path)
    writer.add_packed(b"i" * 20, b"\x35" + zlib.compress(b"0" * 50_000_000))
    writer.finish()
    [index] = tmp_path.glob("*.idx")
    with pytest.raises(Damaged):
        Pack(index).read(b"i" * 20)


# -- garbage ---------------------------------------------------------------------------------------


def test_small_packs_are_put_together_and_nothing_needed_is_lost(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "store")
    history = History(repository)
    for number in range(10):
        fill(tmp_path / "w", {"a": f"{number}", f"b{number}": "x"})
        history.take("t-1", tmp_path / "w", "one of ten")
    collected = repository.collect(grace=-1)
    assert collected is not None
    assert collected.packs == 1
    for number in range(1, 11):
        history.restore("t-1", number, tmp_path / f"w{number}")
        assert held(tmp_path / f"w{number}")["a"] == f"{number - 1}"


def test_a_second_collection_changes_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "store")
    history = History(repository)
    for number in range(3):
        fill(tmp_path / "w", {"a": f"{number}"})
        history.take("t-1", tmp_path / "w", "one of three")
    repository.collect(grace=-1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("pack-*")}
    repository.collect(grace=-1)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("pack-*")}
    assert before == after


def test_what_is_young_is_not_collected(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "store")
    history = History(repository)
    fill(tmp_path / "w", {"a": "1"})
    history.take("t-1", tmp_path / "w", "first")
    history.drop("t-1", [1])
    size = repository.bytes
    repository.collect()
    assert repository.bytes == size
    repository.collect(clock=lambda: time.time() + 4000)
    assert repository.bytes == 0


def test_nothing_is_collected_while_somebody_is_at_it(tmp_path: Path) -> None:
    repository, other = Repository(tmp_path / "store"), Repository(tmp_path / "store")
    with other.sharing():
        assert repository.collect(grace=-1) is None
    assert repository.collect(grace=-1) is not None


def test_a_collection_goes_by_without_deleting_where_something_named_is_damaged(
    tmp_path: Path,
) -> None:
    repository = Repository(tmp_path / "store")
    history = History(repository)
    for number in range(2):
        fill(tmp_path / "w", {"a": f"{number}", "noise": os.urandom(2000).hex()})
        history.take("t-1", tmp_path / "w", "one of two")
    packs = sorted((tmp_path / "store/objects/pack").glob("*.pack"))
    data = bytearray(packs[0].read_bytes())
    data[len(data) // 2] ^= 1
    packs[0].chmod(0o644)
    packs[0].write_bytes(data)
    with pytest.raises(Damaged):
        repository.collect(grace=-1)
    assert sorted((tmp_path / "store/objects/pack").glob("*.pack")) == packs


# -- kills -----------------------------------------------------------------------------------------


def killed_at_each_write(prepare: Callable[[Path], Callable[[], object]], tmp_path: Path) -> int:
    """Do something in child processes that die before their 1st, 2nd, 3rd ... change to the disk.

    Gives how many died. `prepare` readies a fresh folder and gives what is done there; what it
    leaves is in `tmp_path / "0"`, `"1"`, ...
    """
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        work = prepare(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child only ever does `work`
            child = os.fork()
        if child == 0:
            left = number

            def watch(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal left
                writes = event in WRITES and not (
                    event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR)
                )
                if writes:
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1

            try:
                sys.addaudithook(watch)
                work()
            except BaseException:  # noqa: BLE001 - a child must never come back
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            return number
        number += 1


def test_a_kill_at_any_write_of_a_checkpoint_leaves_it_whole_or_absent(tmp_path: Path) -> None:
    old = {"a": "1", "sub/b": "1"}
    new = {"a": "2", "sub/b": "1", "sub/new/c": "3"}

    def prepare(folder: Path) -> Callable[[], object]:
        history = History(Repository(folder / "store"))
        fill(folder / "w", old)
        history.take("t-1", folder / "w", "first")
        fill(folder / "w", new)
        return lambda: history.take("t-1", folder / "w", "second")

    kills = killed_at_each_write(prepare, tmp_path)
    assert kills >= 6  # pack, index, name: each written and put in place
    for number in range(kills):
        folder = tmp_path / str(number)
        history = History(Repository(folder / "store"))
        assert [one.number for one in history.list("t-1")] in ([1], [1, 2])
        assert history.take("t-1", folder / "w", "again").number == 2
        assert history.repository.collect(grace=-1) is not None
        history.restore("t-1", 1, folder / "w1")
        history.restore("t-1", 2, folder / "w2")
        assert (held(folder / "w1"), held(folder / "w2")) == (old, new)
        assert not list((folder / "store").rglob(".tale-*"))


def test_a_kill_at_any_write_of_the_first_checkpoint_leaves_a_store_to_go_on_with(
    tmp_path: Path,
) -> None:
    def prepare(folder: Path) -> Callable[[], object]:
        fill(folder / "w", {"a": "1"})
        return lambda: History(Repository(folder / "store")).take("t-1", folder / "w", "first")

    for number in range(killed_at_each_write(prepare, tmp_path)):
        folder = tmp_path / str(number)
        history = History(Repository(folder / "store"))
        assert history.take("t-1", folder / "w", "again").number == 1
        history.restore("t-1", 1, folder / "w1")
        assert held(folder / "w1") == {"a": "1"}


def test_going_back_can_be_done_again_after_a_kill_at_any_write(tmp_path: Path) -> None:
    old = {"a": "1", "gone/b": "1", "sub/c": "1"}

    def prepare(folder: Path) -> Callable[[], object]:
        history = History(Repository(folder / "store"))
        fill(folder / "w", old)
        history.take("t-1", folder / "w", "first")
        shutil.rmtree(folder / "w/gone")
        fill(folder / "w", {"a": "2", "new/d": "1"})
        return lambda: history.restore("t-1", 1, folder / "w")

    kills = killed_at_each_write(prepare, tmp_path)
    assert kills >= 10
    for number in range(kills):
        folder = tmp_path / str(number)
        history = History(Repository(folder / "store"))
        assert set(finished(folder / "w").values()) <= {"1", "2"}  # no file is half written
        history.restore("t-1", 1, folder / "w")
        assert finished(folder / "w") == old


def test_a_kill_at_any_write_of_a_collection_costs_nothing(tmp_path: Path) -> None:
    def prepare(folder: Path) -> Callable[[], object]:
        history = History(Repository(folder / "store"))
        for number in range(3):
            fill(folder / "w", {"a": f"{number}", "noise": os.urandom(500).hex()})
            history.take("t-1", folder / "w", "one of three")
        history.drop("t-1", [2])
        return lambda: history.repository.collect(grace=-1)

    kills = killed_at_each_write(prepare, tmp_path)
    assert kills >= 8
    for number in range(kills):
        folder = tmp_path / str(number)
        history = History(Repository(folder / "store"))
        history.repository.collect(grace=-1)
        for one, content in ((1, "0"), (3, "2")):
            history.restore("t-1", one, folder / f"w{one}")
            assert held(folder / f"w{one}")["a"] == content
        assert len(list((folder / "store/objects/pack").iterdir())) == 2


TAKER = """
import sys
from pathlib import Path
from tale.tasks.checkpoint_history import History
from tale.tasks.snapshots.repository import Repository
store, workspace, task = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
history = History(Repository(store))
for number in range(1, 16):
    (workspace / "a").write_text(f"{number}")
    history.take(task, workspace, f"{number}")
    history.repository.collect(grace=-1)
"""


def test_processes_that_take_and_collect_at_once_lose_nothing(tmp_path: Path) -> None:
    takers: list[subprocess.Popen[bytes]] = []
    for task in ("t-1", "t-2"):
        (tmp_path / task).mkdir()
        command = [sys.executable, "-c", TAKER, str(tmp_path / "store"), str(tmp_path / task), task]
        takers.append(subprocess.Popen(command))
    assert [taker.wait(60) for taker in takers] == [0, 0]
    history = History(Repository(tmp_path / "store"))
    for task in ("t-1", "t-2"):
        assert [one.number for one in history.list(task)] == list(range(1, 16))
        for number in range(1, 16):
            history.restore(task, number, tmp_path / f"{task}-{number}")
            assert held(tmp_path / f"{task}-{number}") == {"a": f"{number}"}
