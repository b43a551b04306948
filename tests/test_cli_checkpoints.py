"""`tale checkpoints`, `restore` and `fork` against a fake daemon."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, Json, Say, ToolError, event, task
from tale.cli.main import run
from tale.cli.record import Record
from tale.cli.task_lines import event_line
from tale.cli.views import Event
from tale.wire.checkpoint_contracts import (
    CheckpointList,
    CheckpointView,
    LeftOutView,
    RestoreReply,
)
from tale.wire.contracts import TaskView

Tale = Callable[..., tuple[int, str, str]]


def checkpoint(number: int, why: str, **fields: Any) -> CheckpointView:
    shown = CheckpointView(
        number=number,
        id=f"{number:040x}",
        at=datetime.now(UTC),
        why=why,
        files=number,
        size=2048 * number,
        stored=10,
        changes=1,
        changed=("a.py",),
        pinned=False,
        omissions=0,
        left_out=(),
    )
    return shown.model_copy(update=fields)


def restored(**fields: Any) -> Json:
    reply = RestoreReply(
        task=TaskView.model_validate(task(state="paused")),
        number=2,
        saved=5,
        written=1,
        removed=3,
        kept=(),
        again=(),
        anew=True,
    )
    return reply.model_copy(update=fields).model_dump(mode="json")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    with FakeDaemon(tmp_path).running() as fake:
        yield fake


@pytest.fixture
def tale(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tale:
    def call(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def giving(reply: Json) -> Callable[[Json, Say], Json]:
    return lambda arguments, say: reply


def test_checkpoints_are_a_table_and_what_the_newest_leaves_out_is_named(
    tale: Tale, daemon: FakeDaemon
) -> None:
    left_out = (LeftOutView(path="build", why="ignored"), LeftOutView(path="x", why="a socket"))
    listed = CheckpointList(
        task="t1",
        checkpoints=(
            checkpoint(1, "before its first effect", changes=0, pinned=True),
            checkpoint(2, "after writing a.py", omissions=7, left_out=left_out),
        ),
    )
    daemon.tools["checkpoints"] = giving(listed.model_dump(mode="json"))
    code, out, err = tale("checkpoints", "t1")
    head, first, second = (" ".join(line.split()) for line in out.splitlines())
    assert (code, head) == (0, "N TAKEN FILES CHANGED SIZE LEFT OUT PINNED WHY")
    assert first == "1 just now 1 2 KiB pinned before its first effect"
    assert second == "2 just now 2 1 4 KiB 7 after writing a.py"
    assert "Not in checkpoint 2: build (ignored), x (a socket), 5 more." in err
    assert "`tale restore t1 N`" in err
    assert json.loads(tale("checkpoints", "t1", "--json")[1])["task"] == "t1"


def test_a_task_without_checkpoints_says_when_there_will_be_one(
    tale: Tale, daemon: FakeDaemon
) -> None:
    daemon.tools["checkpoints"] = giving({"task": "t1", "checkpoints": []})
    code, out, err = tale("checkpoints", "t1")
    assert (code, out) == (0, "")
    assert "t1 has no checkpoints" in err


def test_a_checkpoint_is_pinned_and_unpinned(tale: Tale, daemon: FakeDaemon) -> None:
    shown = checkpoint(3, "why", pinned=True).model_dump(mode="json")
    daemon.tools["pin"] = daemon.tools["unpin"] = giving(shown)
    _, pinned, _ = tale("checkpoints", "t1", "--pin", "3")
    _, unpinned, _ = tale("checkpoints", "t1", "--unpin", "3")
    assert pinned == "Checkpoint 3 of t1 is kept until you unpin it.\n"
    assert unpinned == "Checkpoint 3 of t1 is thinned out as the others are.\n"
    assert json.loads(tale("checkpoints", "t1", "--pin", "3", "--json")[1])["pinned"] is True
    assert daemon.calls_of("unpin") == [{"id": "t1", "number": 3}]
    code, _, err = tale("checkpoints", "t1", "--pin", "1", "--unpin", "2")
    assert (code, "not both" in err) == (2, True)


def test_restoring_says_what_was_done_and_how_to_undo_it(tale: Tale, daemon: FakeDaemon) -> None:
    daemon.tools["restore"] = giving(restored(again=("b", "c")))
    code, out, err = tale("restore", "t1", "2")
    assert (code, out.splitlines()) == (
        0,
        [
            "/work/space is as it was at checkpoint 2: 1 file written, 3 files removed.",
            "What it held before is checkpoint 5: `tale restore t1 5`.",
        ],
    )
    assert "t1 is paused; after `tale resume t1` it begins anew with these files." in err
    assert "Of its parts, b, c will be done again." in err
    assert daemon.calls_of("restore") == [{"id": "t1", "number": 2}]
    assert json.loads(tale("restore", "t1", "2", "--json")[1])["saved"] == 5


def test_restoring_what_is_there_already_has_nothing_to_undo(
    tale: Tale, daemon: FakeDaemon
) -> None:
    daemon.tools["restore"] = giving(restored(written=0, removed=0, anew=False))
    assert tale("restore", "t1", "2") == (
        0,
        "/work/space is as it was at checkpoint 2: nothing differed.\n",
        "",
    )


def test_what_could_not_be_brought_back_is_named(tale: Tale, daemon: FakeDaemon) -> None:
    kept = (LeftOutView(path="log", why="it is in the way"),)
    daemon.tools["restore"] = giving(restored(kept=kept))
    assert "Left as it is: log (it is in the way)." in tale("restore", "t1", "2")[2]


def test_a_task_that_runs_is_not_restored(tale: Tale, daemon: FakeDaemon) -> None:
    def refuse(arguments: Json, say: Say) -> Json:
        raise ToolError("task", "Task t1 is running.", "`tale pause t1` lets it rest.")

    daemon.tools["restore"] = refuse
    code, out, err = tale("restore", "t1", "2")
    assert (code, out) == (1, "")
    assert "`tale pause t1`" in err


def test_a_fork_prints_the_new_task_and_is_repeated_under_the_same_key(
    tale: Tale, daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.tools["fork"] = giving(task("t2", state="queued"))
    code, out, err = tale("fork", "t1", "2", "-w", str(tmp_path / "new"), "--text", "Go on")
    assert (code, out) == (0, "t2\n")
    assert "/work/space" in err
    assert "`tale watch t2`" in err
    assert tale("fork", "t1", "2", "--text", "-", stdin=b"from a pipe")[0] == 0
    assert json.loads(tale("fork", "t1", "2", "--json")[1])["id"] == "t2"
    first, second, third = daemon.calls_of("fork")
    assert len({call.pop("key") for call in (first, second, third)}) == 3
    assert first == {
        "id": "t1",
        "number": 2,
        "workspace": str(tmp_path / "new"),
        "text": "Go on",
    }
    assert second == {"id": "t1", "number": 2, "text": "from a pipe"}
    assert third == {"id": "t1", "number": 2}


def test_a_number_is_a_number(tale: Tale, daemon: FakeDaemon) -> None:
    for command in ("restore", "fork"):
        code, _, err = tale(command, "t1", "0")
        assert code == 2
        assert f"`tale {command} --help`" in err
    assert daemon.calls == []


def test_events_tell_of_files_that_went_back_and_of_forks() -> None:
    def said(kind: str, **data: Any) -> str:
        return event_line(Event.read(Record(event(1, kind, **data))))

    assert said("restoring", number=2, saved=5) == "the files go back to checkpoint 2"
    assert said("restored", number=2, saved=5) == (
        "the files are those of checkpoint 2 again; checkpoint 5 has what they were before"
    )
    assert said("restored", number=2) == "the files are those of checkpoint 2 again"
    assert said("queued") == "queued"
    assert said("queued", forked={"task": "t0", "number": 3}) == (
        "queued, with the files of checkpoint 3 of t0"
    )
