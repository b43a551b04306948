"""A task in one file: what comes out is what went in, and anything else is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from backports import zstd  # pyright: ignore[reportMissingTypeStubs]
from hypothesis import given, settings
from hypothesis import strategies as st

from tale.errors import ExportRefused, TaskError
from tale.tasks.checkpoint_history import History
from tale.tasks.checkpoint_store import CheckpointStore
from tale.tasks.portable import Limits, Row, TaskRows, export_task, opened
from tale.tasks.portable_file import Bounds, pack_files
from tale.tasks.snapshots.incoming import Incoming, PackBounds
from tale.tasks.snapshots.objects import Damaged, encode_commit, encode_tree, object_id
from tale.tasks.snapshots.packs import PackWriter
from tale.tasks.snapshots.repository import Repository

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ROWS = TaskRows(
    {"id": "t-1", "text": "Count to ten", "priority": 0},
    [{"seq": number, "kind": "token", "data": {"text": "ü"}} for number in range(3)],
    [{"step": 1, "output": '{"ok": true}', "serialization": "portable_json"}],
)


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def held(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def worked(folder: Path) -> History:
    """A store with two checkpoints of `t-1`, and one of another task."""
    history = History(Repository(folder / "store"), clock=lambda: NOON)
    fill(folder / "w", {"a.py": "1", "sub/b.txt": "two"})
    history.take("t-1", folder / "w", "first", pinned=True)
    fill(folder / "other", {"secret": "of another task"})
    history.take("t-2", folder / "other", "first")
    fill(folder / "w", {"a.py": "2"})
    history.take("t-1", folder / "w", "second")
    return history


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("exported")
    export_task(folder / "task.tale", ROWS, worked(folder), "t-1")
    assert {path.name for path in folder.iterdir()} == {"store", "w", "other", "task.tale"}
    return (folder / "task.tale").read_bytes()


def contents(source: Path, scratch: Path, limits: Limits = Limits()) -> object:  # noqa: B008
    """All that a file says, if it is taken."""
    with opened(source, scratch, limits) as imported:
        rows = imported.rows
        return rows.task, list(rows.events), list(rows.steps), imported.checkpoints


# -- there and back --------------------------------------------------------------------------------


def test_a_task_is_the_same_on_another_machine(exported: bytes, tmp_path: Path) -> None:
    (tmp_path / "task.tale").write_bytes(exported)
    history = History(Repository(tmp_path / "store"))
    with opened(tmp_path / "task.tale", tmp_path / "scratch") as imported:
        assert imported.rows.task == ROWS.task
        assert list(imported.rows.events) == list(ROWS.events)
        assert list(imported.rows.steps) == list(ROWS.steps)
        assert imported.manifest.about["task"] == "t-1"
        imported.install(history, "t-9")
    assert list((tmp_path / "scratch").iterdir()) == []
    listed = history.list("t-9")
    assert [(one.number, one.task, one.why, one.pinned) for one in listed] == [
        (1, "t-9", "first", True),
        (2, "t-9", "second", False),
    ]
    history.restore("t-9", 1, tmp_path / "w1")
    history.restore("t-9", 2, tmp_path / "w2")
    assert held(tmp_path / "w1") == {"a.py": "1", "sub/b.txt": "two"}
    assert held(tmp_path / "w2") == {"a.py": "2", "sub/b.txt": "two"}


@pytest.mark.anyio
async def test_a_task_goes_from_store_to_store(tmp_path: Path) -> None:
    worked(tmp_path)
    await CheckpointStore(tmp_path / "store").export("t-1", ROWS, tmp_path / "task.tale")
    other = CheckpointStore(tmp_path / "elsewhere/store")
    async with other.opened(tmp_path / "task.tale") as imported:
        await other.install(imported, "t-5")
    await other.restore("t-5", 2, tmp_path / "w2")
    assert held(tmp_path / "w2") == {"a.py": "2", "sub/b.txt": "two"}
    assert await other.tasks() == ("t-5",)


@pytest.mark.anyio
async def test_what_a_killed_import_unpacked_goes_after_a_day(
    exported: bytes, tmp_path: Path
) -> None:
    (tmp_path / "task.tale").write_bytes(exported)
    store = CheckpointStore(tmp_path / "data/store")
    async with store.opened(tmp_path / "task.tale"):
        [used] = (tmp_path / "data").glob(".tale-import-*")
        left = shutil.copytree(used, used.with_name(f"{used.name}-left"))
        yesterday = time.time() - 25 * 3600
        os.utime(left, (yesterday, yesterday))
        await store.collect()
        assert list((tmp_path / "data").glob(".tale-import-*")) == [used]


def test_only_what_the_task_needs_is_in_the_file(exported: bytes, tmp_path: Path) -> None:
    (tmp_path / "task.tale").write_bytes(exported)
    with opened(tmp_path / "task.tale", tmp_path) as imported:
        imported.install(History(Repository(tmp_path / "store")), "t-1")
    secret = object_id("blob", b"of another task")
    repository = Repository(tmp_path / "store")
    repository.refresh()
    assert secret not in repository


def test_the_same_file_can_be_imported_twice_but_not_over_other_work(
    exported: bytes, tmp_path: Path
) -> None:
    (tmp_path / "task.tale").write_bytes(exported)
    history = History(Repository(tmp_path / "store"))
    fill(tmp_path / "w", {"mine": "1"})
    history.take("t-7", tmp_path / "w", "first")
    with opened(tmp_path / "task.tale", tmp_path) as imported:
        imported.install(history, "t-1")
        imported.install(history, "t-1")
        with pytest.raises(TaskError, match="checkpoints of its own"):
            imported.install(history, "t-7")
    assert [one.number for one in history.list("t-7")] == [1]
    assert len(history.list("t-1")) == 2


def test_a_task_without_checkpoints_can_go_too(tmp_path: Path) -> None:
    history = History(Repository(tmp_path / "store"))
    export_task(tmp_path / "task.tale", TaskRows({"id": "t-1"}), history, "t-1")
    assert contents(tmp_path / "task.tale", tmp_path) == ({"id": "t-1"}, [], [], ())


def test_tar_and_zstd_can_read_it(exported: bytes, tmp_path: Path) -> None:
    (tmp_path / "task.tar").write_bytes(zstd.decompress(exported))
    listed = subprocess.run(
        ["tar", "tf", tmp_path / "task.tar"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == [
        "manifest.json",
        "task.json",
        "events.jsonl",
        "steps.jsonl",
        "checkpoints.json",
        "objects-1.pack",
    ]


# -- accidents -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_refused_or_changes_nothing(
    data: st.DataObject, exported: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "whole").write_bytes(exported)
    place = data.draw(st.integers(0, len(exported) - 1))
    bits = data.draw(st.integers(1, 255))
    damaged = bytearray(exported)
    damaged[place] ^= bits
    (folder / "damaged").write_bytes(damaged)
    try:
        found = contents(folder / "damaged", folder / "scratch")
    except ExportRefused:
        assert list((folder / "scratch").iterdir()) == []
    else:
        assert found == contents(folder / "whole", folder)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_short_is_refused(
    data: st.DataObject, exported: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "cut").write_bytes(exported[: data.draw(st.integers(0, len(exported) - 1))])
    with pytest.raises(ExportRefused):
        contents(folder / "cut", folder)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_byte_that_is_flipped_below_the_compression_is_refused_or_changes_nothing(
    data: st.DataObject, exported: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    plain = bytearray(zstd.decompress(exported))
    # The manifest's own words (who wrote it, when) are guarded by the compression's checksum only.
    start = plain.index(b"task.json\0")
    plain[data.draw(st.integers(start, len(plain) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "damaged").write_bytes(zstd.compress(bytes(plain)))
    with pytest.raises(ExportRefused):
        contents(folder / "damaged", folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4" + b"\0" * 100, zstd.compress(b"")])
def test_any_other_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tale").write_bytes(content)
    with pytest.raises(ExportRefused, match=r"x\.tale (is|was not written by tale, or is) damaged"):
        contents(tmp_path / "x.tale", tmp_path)


# -- malice ----------------------------------------------------------------------------------------


Change = Callable[[tarfile.TarInfo], None]


def crafted(
    tmp_path: Path,
    parts: Iterable[tuple[str, bytes]],
    change: Change = lambda _: None,
    listed: Iterable[dict[str, object]] | None = None,
    written_format: int = 1,
) -> Path:
    """A file with any parts; its manifest is right about them unless `listed` says otherwise."""
    parts = list(parts)
    files = listed or [
        {"name": name, "bytes": len(one), "sha256": hashlib.sha256(one).hexdigest()}
        for name, one in parts
    ]
    manifest: dict[str, object] = {"format": written_format, "tale": "9.9", "about": {}}
    manifest["files"] = list(files)
    stream = io.BytesIO()
    for name, content in [("manifest.json", orjson.dumps(manifest)), *parts]:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        if name != "manifest.json":
            change(info)
        padding = bytes(-len(content) % 512)
        stream.write(info.tobuf(tarfile.GNU_FORMAT) + content + padding)
    stream.write(bytes(1024))
    path = tmp_path / "crafted.tale"
    path.write_bytes(zstd.compress(stream.getvalue()))
    return path


def of_type(kind: bytes) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind
        info.linkname = "/etc/passwd"

    return change


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "it holds a link"),
        (tarfile.LNKTYPE, "it holds a link"),
        (tarfile.DIRTYPE, "it holds a folder"),
        (tarfile.CHRTYPE, "it holds something that is no file"),
        (tarfile.BLKTYPE, "it holds something that is no file"),
        (tarfile.FIFOTYPE, "it holds something that is no file"),
        (tarfile.XHDTYPE, "it holds something that is no file"),
        (tarfile.GNUTYPE_LONGNAME, "it holds something that is no file"),
        (tarfile.GNUTYPE_SPARSE, "it holds something that is no file"),
    ],
)
def test_what_is_no_plain_file_is_refused(kind: bytes, why: str, tmp_path: Path) -> None:
    path = crafted(tmp_path, [("task.json", b"{}")], of_type(kind))
    with pytest.raises(ExportRefused, match=why):
        contents(path, tmp_path / "scratch")


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/b.json", "..", ".hidden.json", "a.py", "A.json"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    path = crafted(tmp_path, [(name, b"{}")])
    with pytest.raises(ExportRefused, match="it holds a file named"):
        contents(path, tmp_path / "scratch")
    assert not (tmp_path / "evil.json").exists()


def test_a_name_that_only_the_tar_has_is_refused(tmp_path: Path) -> None:
    entry: dict[str, object] = {
        "name": "task.json",
        "bytes": 2,
        "sha256": hashlib.sha256(b"{}").hexdigest(),
    }
    path = crafted(tmp_path, [("../evil.json", b"{}")], listed=[entry])
    with pytest.raises(ExportRefused, match=r"a file named '\.\./evil\.json'"):
        contents(path, tmp_path / "scratch")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = crafted(tmp_path, [("task.json", b"{}"), ("task.json", b"{}")])
    with pytest.raises(ExportRefused, match="perhaps twice"):
        contents(path, tmp_path / "scratch")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    path = crafted(tmp_path, [(f"a{number}.json", b"") for number in range(6)])
    with pytest.raises(ExportRefused, match="more than 5 files"):
        contents(path, tmp_path / "scratch", Limits(file=Bounds(files=5)))


def test_a_file_that_belongs_to_nothing_is_refused(exported: bytes, tmp_path: Path) -> None:
    path = crafted(tmp_path, [("task.json", b"{}"), ("more.json", b"{}")], listed=[])
    with pytest.raises(ExportRefused):
        contents(path, tmp_path / "scratch")
    (tmp_path / "longer.tale").write_bytes(exported + b"x")
    with pytest.raises(ExportRefused, match="something follows its end"):
        contents(tmp_path / "longer.tale", tmp_path / "scratch")


def test_a_newer_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = crafted(tmp_path, [], written_format=2)
    with pytest.raises(ExportRefused, match=r"tale 9\.9, in format 2.*Upgrade tale"):
        contents(path, tmp_path / "scratch")


def test_a_declared_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    huge: dict[str, object] = {"name": "task.json", "bytes": 1 << 50, "sha256": "0" * 64}
    path = crafted(tmp_path, [("task.json", b"{}")], listed=[huge])
    with pytest.raises(ExportRefused, match="unpacks to more than"):
        contents(path, tmp_path / "scratch")


def test_a_real_bomb_is_stopped_with_little_memory(tmp_path: Path) -> None:
    compressor = zstd.ZstdCompressor()
    info = tarfile.TarInfo("manifest.json")
    info.size = 300 << 20
    bomb = [compressor.compress(info.tobuf(tarfile.GNU_FORMAT))]
    bomb += [compressor.compress(bytes(1 << 20)) for _ in range(300)]
    (tmp_path / "bomb.tale").write_bytes(b"".join([*bomb, compressor.flush()]))
    tracemalloc.start()
    try:
        with pytest.raises(ExportRefused, match="its manifest is too large"):
            contents(tmp_path / "bomb.tale", tmp_path / "scratch")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"serialization": "py_pickle", "output": "x"}, "serialized as 'py_pickle', not as JSON"),
        ({"serialization": "custom_serializer"}, "serialized as 'custom_serializer'"),
        ({"deep": [{"serialization": "json+pickle"}]}, "not as JSON"),
        ({"output": base64.b64encode(pickle.dumps([1])).decode()}, "holds a pickle"),
        ({"deep": {"er": [base64.b64encode(pickle.dumps({}, 2)).decode()]}}, "holds a pickle"),
    ],
)
def test_what_would_be_unpickled_is_refused(row: Row, why: str, tmp_path: Path) -> None:
    history = History(Repository(tmp_path / "store"))
    rows = TaskRows({"id": "t-1"}, [], [{"step": 1}, row])
    export_task(tmp_path / "task.tale", rows, history, "t-1")
    with pytest.raises(ExportRefused, match=why):
        contents(tmp_path / "task.tale", tmp_path)


@pytest.mark.parametrize(
    "steps", [b"[1]\n", b"{}", b"nonsense\n", b'{"a":' * 100_000 + b"\n", b"\n"]
)
def test_rows_that_are_none_are_refused(steps: bytes, tmp_path: Path) -> None:
    parts = [("task.json", b"{}"), ("events.jsonl", b""), ("steps.jsonl", steps)]
    path = crafted(tmp_path, [*parts, ("checkpoints.json", b"[]")])
    with pytest.raises(ExportRefused):
        contents(path, tmp_path / "scratch")


def packed(folder: Path, objects: Iterable[tuple[bytes, bytes]]) -> Path:
    """A pack that holds these bytes under these ids, however wrong."""
    folder.mkdir()
    writer = PackWriter(folder)
    for identity, raw in objects:
        writer.add_packed(identity, raw)
    writer.finish()
    [path] = folder.glob("*.pack")
    return path


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x35" + zlib.compress(b"0" * 50_000_000), "not as large as it says"),
        (b"\xbf\x80\x80\x80\x10" + zlib.compress(b"0"), "bytes in an object"),
        (b"\x6a" + b"\x01" + zlib.compress(b"delta"), "header"),
        (b"\x35" + b"not deflated", "inflated"),
        (b"\x35" + zlib.compress(b"12345") + b"tail", "holds more"),
    ],
)
def test_objects_that_are_not_what_they_say_are_refused(
    raw: bytes, why: str, tmp_path: Path
) -> None:
    with pytest.raises(Damaged, match=why):
        Incoming().check(packed(tmp_path / "packs", [(b"i" * 20, raw)]))


def test_too_many_objects_are_refused(tmp_path: Path) -> None:
    objects = [(b"%020d" % number, b"\x31" + zlib.compress(b"x")) for number in range(6)]
    with pytest.raises(Damaged, match="more than 5 objects"):
        Incoming(PackBounds(objects=5)).check(packed(tmp_path / "packs", objects))


@pytest.mark.parametrize("missing", ["blob", "tree", "commit"])
def test_checkpoints_that_lack_something_are_refused(missing: str, tmp_path: Path) -> None:
    blob = b"content"
    tree = b"100644 a\0" + object_id("blob", blob)
    commit = encode_commit(object_id("tree", tree), "words", NOON)
    (tmp_path / "packs").mkdir()
    writer = PackWriter(tmp_path / "packs")
    writer.add("blob", b"another", object_id("blob", b"another"))
    for kind, content in (("blob", blob), ("tree", tree), ("commit", commit)):
        if kind != missing:
            assert kind in ("blob", "tree", "commit")
            writer.add(kind, content, object_id(kind, content))
    writer.finish()
    [path] = (tmp_path / "packs").glob("*.pack")
    incoming = Incoming()
    incoming.check(path)
    with pytest.raises(Damaged, match=f"{missing} [0-9a-f]+ is missing"):
        incoming.require([object_id("commit", commit)])


def test_a_tree_that_leads_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    writer = PackWriter(tmp_path / "packs")
    tree = b"40000 ..\0" + object_id("tree", encode_tree([]))
    commit = encode_commit(object_id("tree", tree), "words", NOON)
    writer.add("tree", encode_tree([]), object_id("tree", encode_tree([])))
    writer.add("tree", tree, object_id("tree", tree))
    writer.add("commit", commit, object_id("commit", commit))
    writer.finish()
    [path] = (tmp_path / "packs").glob("*.pack")
    incoming = Incoming()
    incoming.check(path)
    with pytest.raises(Damaged, match=r"a tree holds b'\.\.'"):
        incoming.require([object_id("commit", commit)])


def test_exporting_and_importing_take_memory_for_one_piece_at_a_time(tmp_path: Path) -> None:
    history = History(Repository(tmp_path / "store"))
    (tmp_path / "w").mkdir()
    for number in range(60):
        (tmp_path / f"w/{number}").write_bytes(os.urandom(1 << 20))
    history.take("t-1", tmp_path / "w", "60 MiB")
    tracemalloc.start()
    try:
        export_task(tmp_path / "task.tale", ROWS, history, "t-1")
        with opened(tmp_path / "task.tale", tmp_path / "scratch") as imported:
            imported.install(History(Repository(tmp_path / "other")), "t-1")
        # A pack in the making (32 MiB) stands twice in memory while it is written.
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_pack_files_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    with (tmp_path / "out").open("wb") as file:
        pack_files(file, [tmp_path / "a.json"], tale="1", about={"x": 1})
    plain = zstd.decompress((tmp_path / "out").read_bytes())
    assert hashlib.sha256(b"{}").hexdigest().encode() in plain
