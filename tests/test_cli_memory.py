"""`tale memory`: what the person sees and what is asked of the ux server."""

from __future__ import annotations

import io
import json
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon
from tale.cli.main import run
from tale.cli.memory_lines import doomed_lines, found_lines, note_lines, note_rows
from tale.cli.record import Record
from tale.cli.render import Screen

Json = dict[str, Any]
NOTE: Json = {
    "id": "n-1",
    "kind": "fact",
    "text": "My name\nis Ada",
    "pinned": True,
    "said": "2026-01-31T12:00:00Z",
    "source": "conversation",
    "session": "s-1",
    "turns": [3],
    "superseded_by": None,
    "superseded_at": None,
}
FOUND: Json = {
    "session": "s-1",
    "seq": 3,
    "speaker": "user",
    "text": "My name is Ada\x1b[2J",
    "at": "2026-01-31T12:00:00Z",
    "score": 2.5,
    "shares": {"words": 2.0, "recency": 0.5},
    "note": "",
}
DOOMED: Json = {
    "turns": 2,
    "sessions": 1,
    "notes": 1,
    "examples": ["My name is Ada"],
    "waiting": 0,
    "left": [],
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Tale = Callable[..., Done]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    with FakeDaemon(tmp_path).running() as fake:
        fake.tools |= {
            "memory_search": lambda arguments, say: {"found": [FOUND]},
            "memory_notes": lambda arguments, say: {"notes": [NOTE]},
            "memory_note": lambda arguments, say: {
                "note": NOTE,
                "turns": [{"speaker": "user", "text": "My name is Ada", "seq": 3}],
            },
            "memory_add": lambda arguments, say: {**NOTE, "text": arguments["text"]},
            "memory_forget": lambda arguments, say: DOOMED,
        }
        yield fake


@pytest.fixture
def tale(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tale:
    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        code = run(["memory", *arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def test_what_is_found_is_shown_with_where_it_was_said(tale: Tale, daemon: FakeDaemon) -> None:
    out = tale("search", "what", "is", "my", "name").out
    assert daemon.calls_of("memory_search") == [
        {"text": "what is my name", "limit": 10, "around": 1}
    ]
    head, said = out.splitlines()
    assert head.startswith("you, ")
    assert head.endswith("s-1/3")
    assert said == "My name is Ada[2J"
    assert "score" not in out
    daemon.tools["memory_search"] = lambda arguments, say: {"found": []}
    assert "Nothing that is remembered" in tale("search", "x").err


def test_why_says_what_a_score_is_made_of(tale: Tale, daemon: FakeDaemon) -> None:
    assert "score 2.50 = words 2.00 + recency 0.50" in tale("search", "name", "--why").out
    assert json.loads(tale("search", "name", "--json").out) == {"found": [FOUND]}


def test_what_came_of_a_task_says_so_wherever_it_is_shown(tale: Tale, daemon: FakeDaemon) -> None:
    result = {**NOTE, "source": "task", "task": "t-7", "text": "The user asked for “a shop”."}
    found = {**FOUND, "speaker": "note", "note": "n-9", "task": "t-7", "text": result["text"]}
    daemon.tools |= {
        "memory_search": lambda arguments, say: {"found": [found]},
        "memory_notes": lambda arguments, say: {"notes": [result]},
        "memory_note": lambda arguments, say: {"note": result, "turns": []},
    }
    head = tale("search", "shop").out.splitlines()[0]
    assert head.startswith("what came of t-7, ")
    assert head.endswith("n-9")
    assert "result" in tale("show").out
    assert "what came of t-7, " in tale("show", "n-9").out


def test_what_stands_around_a_find_is_shown_and_nothing_twice(
    tale: Tale, daemon: FakeDaemon
) -> None:
    beside = [
        {"seq": 2, "speaker": "assistant", "text": "And what are\nyou called?"},
        {"seq": 4, "speaker": "assistant", "text": "Hello Ada!"},
    ]
    other: Json = {**FOUND, "seq": 4, "speaker": "assistant", "text": "Hello Ada!", "around": []}
    daemon.tools["memory_search"] = lambda arguments, say: {
        "found": [{**FOUND, "text": "My name is Ada", "around": beside}, other]
    }
    lines = tale("search", "name", "-C", "3").out.splitlines()
    assert daemon.calls_of("memory_search")[-1]["around"] == 3
    assert lines[1:4] == ["  tale: And what are you called?", "My name is Ada", ""]
    assert lines[5:] == ["Hello Ada!"]


def test_notes_are_listed_or_one_is_shown(tale: Tale, daemon: FakeDaemon) -> None:
    out = tale("show").out
    assert "* My name is Ada" in out
    assert daemon.calls_of("memory_notes") == [{"limit": 50, "outdated": False}]
    out = tale("show", "n-1").out
    assert "pinned" in out
    assert "noted from a conversation" in out
    assert out.endswith("you\nMy name is Ada\n")


def test_something_is_added(tale: Tale, daemon: FakeDaemon) -> None:
    out = tale("add", "I", "prefer tea", "--pin", "--kind", "preference").out
    assert out == "Noted as n-1: a fact, pinned.\n"
    [asked] = daemon.calls_of("memory_add")
    assert asked == {"text": "I prefer tea", "pinned": True, "kind": "preference"}


def test_without_a_person_nothing_is_forgotten_unless_that_is_sure(
    tale: Tale, daemon: FakeDaemon
) -> None:
    done = tale("forget", "--matching", "Ada")
    assert done.code == 2
    assert "--yes" in done.err
    assert "This forgets 2 turns and 1 note" in done.err
    assert "Tasks, their workspaces and the logs are not touched." in done.err
    assert daemon.calls_of("memory_forget") == [{"matching": "Ada", "dry_run": True}]
    done = tale("forget", "n-1", "--yes")
    assert (done.code, done.out) == (0, "Forgotten: 2 turns, 1 note, 1 conversation whole.\n")
    assert daemon.calls_of("memory_forget")[1:] == [{"id": "n-1"}]


def test_where_it_may_still_be_found_is_said(tale: Tale, daemon: FakeDaemon) -> None:
    daemon.tools["memory_forget"] = lambda arguments, say: {**DOOMED, "left": ["/data/copy"]}
    assert "still be found in /data/copy" in tale("forget", "--session", "s-1", "-y").err


def test_what_is_forgotten_is_named_in_one_way(tale: Tale, daemon: FakeDaemon) -> None:
    assert tale("forget").code == 2
    assert tale("forget", "n-1", "--session", "s-1", "--yes").code == 2
    daemon.tools["memory_forget"] = lambda arguments, say: {**DOOMED, "turns": 0, "notes": 0}
    assert "nothing to forget" in tale("forget", "--matching", "zzz").err
    assert daemon.calls_of("memory_forget")[-1] == {"matching": "zzz", "dry_run": True}


def test_all_of_it_is_exported_as_lines_only_its_owner_can_read(
    tale: Tale, daemon: FakeDaemon, tmp_path: Path
) -> None:
    pages: dict[str, Json] = {
        "": {"records": [{"type": "session", "id": "s-1"}], "after": "s-1/0"},
        "s-1/0": {"records": [{"type": "turn", "text": "\u00fc\n"}], "after": ""},
    }
    daemon.tools["memory_export"] = lambda arguments, say: pages[arguments["after"]]
    file = tmp_path / "memory.jsonl"
    done = tale("export", str(file))
    assert "1 session, 1 turn" in done.err
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"type": "tale-memory", "version": 1}
    assert lines[1:] == [*pages[""]["records"], *pages["s-1/0"]["records"]]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert tale("export", str(file)).code == 2, "it is there already"
    assert tale("export", str(file), "--force").code == 0
    assert tale("export").out == file.read_text(encoding="utf-8")
    assert tale("export", str(tmp_path / "none" / "x")).code == 1


def test_lines_say_what_holds_no_longer() -> None:
    screen = Screen()
    outdated = {**NOTE, "pinned": False, "superseded_by": "n-2", "superseded_at": "2026-02-01"}
    assert note_rows([Record(outdated)])[0][3] == "(outdated) My name is Ada"
    lines = note_lines(Record({"note": outdated, "turns": []}), screen)
    assert "outdated: n-2 has taken its place" in lines
    assert lines[-1] == "(these turns are gone)"
    noted = {**FOUND, "speaker": "note", "note": "n-1"}
    assert found_lines([Record(noted)], screen, why=False)[0].endswith("n-1 from s-1/3")
    waiting = doomed_lines(Record({**DOOMED, "turns": 9, "waiting": 1}))
    assert "1 piece of kept work will still be done." in waiting
    assert "  …" in waiting
