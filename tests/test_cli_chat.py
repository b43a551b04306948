"""The conversation: through a pipe, and with a person at a terminal."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, Gone, ToolError, event, task
from tale.cli import editing
from tale.cli.chat_commands import COMMANDS
from tale.cli.chat_terminal import TerminalChat
from tale.cli.connection import Connection
from tale.cli.conversation import Conversation
from tale.cli.main import run
from tale.cli.render import Screen
from tale.tasks.plan_text import write_plan_text
from tale.tasks.task import Subtask
from terminal import Terminal

Json = dict[str, Any]
PLAN = write_plan_text([Subtask("a", "Model", "Write a.py"), Subtask("b", "Pages", "…", ("a",))])


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    with FakeDaemon(tmp_path).running() as fake:
        fake.events["t1"] = [
            event(1, "queued"),
            event(2, "started", role="task", reason="code"),
            event(3, "file", path="dates.py", bytes=100),
            event(4, "done", answer="Made dates.py."),
        ]
        fake.tools["show"] = lambda arguments, say: task(answer="Made dates.py.", role="task")
        yield fake


def _handing_over(fake: FakeDaemon) -> Callable[[Json, Any], Json]:
    def chat(arguments: Json, say: Any) -> Json:
        reply = fake.chat(arguments, lambda data: None)
        if "write" in arguments["text"]:
            say({"session": "s1"})
            say({"task": "t1"})
            say({"token": "On it."})
            return {**reply, "answer": "On it.", "task": "t1"}
        return reply

    return chat


def _keeping(fake: FakeDaemon) -> Callable[[Json, Any], Json]:
    def chat(arguments: Json, say: Any) -> Json:
        reply = fake.chat(arguments, lambda data: None)
        say({"session": "s1"})
        say({"kept": "s1/1"})
        say({"token": "It is kept."})
        return {**reply, "answer": "It is kept.", "kept": "s1/1"}

    return chat


class TestPiped:
    @pytest.fixture
    def chat(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., tuple[int, str, str]]:
        def call(stdin: bytes, *arguments: str) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run(["chat", *arguments])
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return call

    def test_each_line_is_a_turn_of_one_conversation(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        code, out, err = chat(b"one\n\ntwo\n")
        assert (code, out, err) == (0, "You said: one\nYou said: two\n", "")
        assert daemon.calls_of("chat") == [{"text": "one"}, {"text": "two", "session": "s1"}]

    def test_a_private_conversation_is_private_with_every_turn(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        assert chat(b"one\ntwo\n", "--private")[0] == 0
        first, second = daemon.calls_of("chat")
        assert first == {"text": "one", "private": True}
        assert second == {"text": "two", "session": "s1", "private": True}
        code, _, err = chat(b"three\n", "--private", "--session", "s1")
        assert code == 2
        assert "nothing is kept" in err

    def test_the_end_waits_for_tasks_and_prints_their_results(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]], tmp_path: Path
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        code, out, err = chat(b"write it\nand you?\n", "-w", str(tmp_path), "-s", "s1")
        assert code == 0
        assert out == "On it.\nYou said: and you?\nMade dates.py.\n"
        assert "task t1" in err
        assert daemon.calls_of("chat")[0]["workspace"] == str(tmp_path)

    def test_a_task_that_waits_for_a_server_says_so(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.events["t1"].insert(2, event(3, "note", text="No execution server is there."))
        _, out, err = chat(b"write it\n")
        assert out == "On it.\nMade dates.py.\n"
        assert "task t1: No execution server is there.\n" in err

    def test_a_task_that_waits_for_its_user_says_so(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.events["t1"].insert(2, event(3, "approval", text="May it run 'make'?"))
        _, _, err = chat(b"write it\n")
        assert "task t1: waits for your word: May it run 'make'?\n`tale approve t1`" in err

    @pytest.mark.parametrize("command", ["/approve", "/edit", "/reject"])
    def test_a_command_is_not_said_and_named_another_way(
        self, chat: Any, daemon: FakeDaemon, command: str
    ) -> None:
        code, out, err = chat(f"{command} t1\nhello\n".encode())
        assert (code, out) == (0, "You said: hello\n")
        assert "Line 1 is not said: a pipe has no commands." in err
        assert f"`tale {command[1:]} ID" in err
        assert daemon.calls_of(command[1:]) == []

    def test_kept_work_is_followed_once_it_is_a_task(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _keeping(daemon)
        daemon.tools["kept_task"] = lambda arguments, say: {"task": "t1"}
        code, out, _ = chat(b"write it\n")
        assert (code, out) == (0, "It is kept.\nMade dates.py.\n")
        assert daemon.calls_of("kept_task") == [{"key": "s1/1"}]

    def test_kept_work_that_is_refused_later_is_told(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        def refuse(arguments: Json, say: Any) -> Json:
            raise ToolError("task_error", "It could not be started.")

        daemon.tools["chat"] = _keeping(daemon)
        daemon.tools["kept_task"] = refuse
        code, _, err = chat(b"write it\n")
        assert code == 1
        assert "It could not be started." in err

    def test_a_ux_server_that_is_late_is_told_of_and_waited_for(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.not_ready = 1
        code, out, err = chat(b"hi\n")
        assert (code, out) == (0, "You said: hi\n")
        assert "The ux server, which holds conversations, is not there." in err
        assert "`tale submit" in err
        assert "ux is in state 'backoff'" in err

    def test_a_ux_server_that_does_not_come_is_an_error_that_says_what_works(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.not_ready = 2
        code, out, err = chat(b"hi\n")
        assert (code, out) == (1, "")
        assert "error: The ux server, which holds conversations, is not there. Not ready" in err
        assert 'hint: `tale logs ux` says why. `tale submit "…"` works without it.\n' in err

    def test_a_ux_server_that_breaks_off_is_an_error_that_says_what_works(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        def die(arguments: Json, say: Any) -> Json:
            raise Gone

        daemon.tools["chat"] = die
        code, _, err = chat(b"hi\n")
        assert code == 1
        assert "error: The ux server" in err
        assert "works without it" in err

    def test_what_holds_an_answer_up_is_told_beside_it(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        def slowly(arguments: Json, say: Any) -> Json:
            say({"note": "The models are being brought back."})
            return daemon.chat(arguments, say)

        daemon.tools["chat"] = slowly
        assert chat(b"hi\n") == (0, "You said: hi\n", "The models are being brought back.\n")

    def test_a_task_that_failed_is_exit_code_1(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        failed = task(state="failed", error="broke", hint="mend", answer=None)
        daemon.tools["show"] = lambda arguments, say: failed
        code, _, err = chat(b"write it\n")
        assert code == 1
        assert "error: task t1 failed: broke\nhint: mend\n" in err

    def test_a_task_that_can_not_be_followed_is_told(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        del daemon.events["t1"]
        code, _, err = chat(b"write it\n")
        assert code == 1
        assert "No task 't1'." in err

    def test_json_is_each_reply_then_each_task(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        _, out, _ = chat(b"write it\n", "--json")
        reply, done = map(json.loads, out.splitlines())
        assert (reply["task"], done["id"], done["state"]) == ("t1", "t1", "done")

    def test_a_line_that_is_no_text_is_named(
        self, daemon: FakeDaemon, chat: Callable[..., tuple[int, str, str]]
    ) -> None:
        code, _, err = chat(b"one\ncaf\xe9\n")
        assert code == 2
        assert "Line 2 is not UTF-8" in err


class _Person:
    """Types fixed lines; raises what is an exception, calls what is a function and goes on."""

    def __init__(self, *steps: str | BaseException | Callable[[], None]) -> None:
        self._steps = list(steps)
        self.begun = ""

    def __call__(self, begun: str = "") -> str:
        self.begun = begun
        while True:
            match self._steps.pop(0) if self._steps else EOFError():
                case str() as line:
                    return line
                case BaseException() as error:
                    raise error
                case act:
                    act()


class _Talk:
    """A terminal conversation on strings."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.above: list[str] = []
        self.heard: Callable[[str], None] = lambda text: None
        self.began = threading.Event()
        self.told = threading.Event()
        self.asked = threading.Event()
        screen = Screen(self.out, self.err, out_is_terminal=True, err_is_terminal=False)
        connection = Connection(daemon.paths)
        self.conversation = Conversation(connection, None, None)
        self.chat = TerminalChat(
            connection, screen, self.conversation, write_above=self._write_above
        )

    def _write_above(self, text: str) -> None:
        self.above.append(text)
        self.heard(text)
        self.began.set()
        if "done" in text or "failed" in text or "No task" in text:
            self.told.set()
        if "asks: " in text:
            self.asked.set()

    def wait_for_question(self) -> None:
        """Wait until it was told what a task asks."""
        assert self.asked.wait(20)

    def wait(self) -> None:
        """Wait until a task's end was told."""
        assert self.told.wait(20)

    def run(self, *steps: str | BaseException | Callable[[], None]) -> None:
        self.chat.run(_Person(*steps), contextlib.nullcontext)
        self.chat.farewell()


class TestTerminal:
    def test_answers_are_streamed_and_the_session_is_told_at_the_end(
        self, daemon: FakeDaemon
    ) -> None:
        talk = _Talk(daemon)
        talk.run("hello", "  ", "again")
        assert talk.out.getvalue() == "You said: hello\n\nYou said: again\n\n"
        assert "`tale chat --session s1` continues." in talk.err.getvalue()

    def test_a_task_shows_its_progress_above_the_prompt(self, daemon: FakeDaemon) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        talk = _Talk(daemon)
        talk.run("write it", talk.wait, "and you?")
        assert talk.out.getvalue() == "On it.\n\nYou said: and you?\n\n"
        assert "handed over as task t1" in talk.err.getvalue()
        above = "".join(talk.above).splitlines()
        assert above[:4] == [
            "task t1  started on the task model: code",
            "task t1  wrote dates.py (100 B)",
            "task t1  done",
            "Made dates.py.",
        ]

    def test_kept_work_shows_its_progress_once_it_is_a_task(self, daemon: FakeDaemon) -> None:
        daemon.tools["chat"] = _keeping(daemon)
        daemon.tools["kept_task"] = lambda arguments, say: {"task": "t1"}
        talk = _Talk(daemon)
        talk.run("write it", talk.wait)
        assert talk.out.getvalue() == "It is kept.\n\n"
        assert "task t1  done" in "".join(talk.above).splitlines()

    def test_leaving_says_that_kept_work_starts_by_itself(self, daemon: FakeDaemon) -> None:
        back = threading.Event()

        def wait(arguments: Json, say: Any) -> Json:
            back.wait(30)
            return {"task": "t1"}

        daemon.tools["chat"] = _keeping(daemon)
        daemon.tools["kept_task"] = wait
        talk = _Talk(daemon)
        talk.run("write it", "/tasks")
        back.set()
        said = talk.err.getvalue()
        assert "kept starts by itself; `tale tasks`" in said
        assert "tale watch" not in said

    def test_what_holds_an_answer_up_is_told_above_it(self, daemon: FakeDaemon) -> None:
        def slowly(arguments: Json, say: Any) -> Json:
            say({"note": "The models are being brought back."})
            return daemon.chat(arguments, say)

        daemon.tools["chat"] = slowly
        talk = _Talk(daemon)
        talk.run("hi")
        assert "The models are being brought back.\n" in talk.err.getvalue()
        assert talk.out.getvalue() == "You said: hi\n\n"

    def test_what_a_task_asks_and_what_was_checked_are_told_above_the_prompt(
        self, daemon: FakeDaemon
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.events["t1"].insert(2, event(3, "approval", text="May it run 'make'?"))
        checked = task(answer="Made it.", holds=True, check="2 tests passed")
        daemon.tools["show"] = lambda arguments, say: checked
        talk = _Talk(daemon)
        talk.run("write it", talk.wait)
        above = "".join(talk.above)
        assert "task t1 asks: May it run 'make'?\n/approve or /reject answers it." in above
        assert "\nchecked: 2 tests passed\n" in above

    def test_a_waiting_task_is_answered_in_the_conversation(self, daemon: FakeDaemon) -> None:
        daemon.tools["show"] = lambda arguments, say: task(
            arguments["id"], state="waiting", progress={"question": "May it?"}, last_event=3
        )
        daemon.events["t2"] = [event(4, "done", "t2")]
        daemon.hold.clear()
        talk = _Talk(daemon)
        talk.run("/approve")
        assert "No task of this conversation waits for your word." in talk.err.getvalue()
        talk.chat.tasks.take_up(["t1", "t2"])
        talk.run("/approve", "/reject t2 not so", "/approve t1", "/tasks")
        assert "Several tasks wait; name one of them: /approve t1" in talk.err.getvalue()
        assert daemon.calls_of("reject") == [{"id": "t2", "text": "not so"}]
        assert daemon.calls_of("approve") == [{"id": "t1", "text": ""}]

    def test_the_only_waiting_task_needs_no_name(self, daemon: FakeDaemon) -> None:
        def refuse(arguments: Json, say: Any) -> Json:
            raise ToolError("task", "Task t1 is done; it asks for nothing.", "")

        daemon.tools["show"] = lambda arguments, say: task(
            state="waiting", progress={"question": "Which port?"}, last_event=3
        )
        daemon.hold.clear()
        daemon.tools["reject"] = refuse
        talk = _Talk(daemon)
        talk.chat.tasks.take_up(["t1"])
        talk.run("/approve t-1w3k9f00", "/approve Port 8080", "/reject")
        assert "Task t-1w3k9f00 of this conversation asks nothing" in talk.err.getvalue()
        assert daemon.calls_of("approve") == [{"id": "t1", "text": "Port 8080"}]
        assert "Task t1 is done; it asks for nothing." in talk.err.getvalue()

    def test_a_plan_is_changed_in_the_conversation(
        self, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = {"state": "waiting", "progress": {"question": "May it?"}, "last_event": 3}
        about = {"plan": PLAN, "digest": "d1", "asked": "q1"}
        daemon.tools["show"] = lambda arguments, say: task(**waits, **about)
        daemon.hold.clear()
        edits = iter([PLAN.replace("Pages", "Views"), None])

        def edit(text: str, extension: str) -> str | None:
            del extension
            assert text == PLAN
            return next(edits)

        def is_terminal(number: int) -> bool:
            return number == 0

        monkeypatch.setattr(editing.os, "isatty", is_terminal)
        monkeypatch.setattr(editing.click, "edit", edit)
        talk = _Talk(daemon)
        talk.run("/edit")
        assert "No task of this conversation waits for your word." in talk.err.getvalue()
        talk.chat.tasks.take_up(["t1"])
        talk.run("/edit", "/edit t1")
        above = "".join(talk.above)
        assert "b  Pages (after a)" in above
        assert "/approve or /reject answers it, /edit changes the plan." in above
        assert "Nothing was changed; the task waits on." in talk.err.getvalue()
        [told] = daemon.calls_of("approve")
        assert (told["id"], told["digest"], told["asked"]) == ("t1", "d1", "q1")
        assert "Views" in told["text"]

    def test_a_task_that_asks_about_no_plan_has_none_to_edit(self, daemon: FakeDaemon) -> None:
        daemon.tools["show"] = lambda arguments, say: task(
            state="waiting", progress={"question": "May it?"}, last_event=3
        )
        daemon.hold.clear()
        talk = _Talk(daemon)
        talk.chat.tasks.take_up(["t1"])
        talk.run("/edit")
        assert "Task t1 asks about no plan just now." in talk.err.getvalue()
        assert "/edit" not in "".join(talk.above)

    def test_a_word_names_the_question_that_was_seen(self, daemon: FakeDaemon) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        asked = event(3, "approval", text="May it?", id="q1", digest="d1")
        daemon.events["t1"].insert(2, asked)
        daemon.hold.clear()
        talk = _Talk(daemon)
        talk.run("write it", talk.wait_for_question, "/approve")
        assert daemon.calls_of("approve") == [
            {"id": "t1", "text": "", "digest": "d1", "asked": "q1"}
        ]

    def test_tasks_of_a_conversation_that_is_continued_are_told_of_from_there(
        self, daemon: FakeDaemon
    ) -> None:
        states = {
            "t1": task(state="running", last_event=2),
            "t2": task("t2", state="waiting", progress={"question": "May it run?"}, last_event=0),
            "t3": task("t3"),
        }
        daemon.tools["show"] = lambda arguments, say: states[arguments["id"]]
        daemon.hold.clear()
        talk = _Talk(daemon)
        talk.chat.tasks.take_up(["", "t1", "t2", "t3"])
        assert talk.chat.tasks.handed.followed == ["t1", "t2"]
        assert daemon.waiting.wait(20)
        daemon.events["t2"] = [event(1, "done", "t2")]
        states["t1"], states["t2"] = task(), task("t2")
        daemon.hold.set()
        talk.chat.tasks.handed.wait()
        talk.run()
        above = "".join(talk.above)
        assert "task t2 asks: May it run?\n/approve or /reject answers it." in above
        assert "started" not in above
        assert "task t1  done" in above

    def test_a_failed_task_says_why_above_the_prompt(self, daemon: FakeDaemon) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        failed = task(state="failed", error="broke", hint="mend it")
        daemon.tools["show"] = lambda arguments, say: failed
        talk = _Talk(daemon)
        talk.run("write it", talk.wait)
        assert "task t1  failed: broke\nmend it\n" in "".join(talk.above)

    def test_a_task_that_can_not_be_followed_is_told_above_the_prompt(
        self, daemon: FakeDaemon
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        del daemon.events["t1"]
        talk = _Talk(daemon)
        talk.run("write it", talk.wait)
        assert "No task 't1'." in "".join(talk.above)

    def test_leaving_says_which_tasks_go_on(self, daemon: FakeDaemon) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.hold.clear()
        talk = _Talk(daemon)
        talk.run("write it", "/tasks")
        assert "\nt1  " in talk.out.getvalue()
        said = talk.err.getvalue()
        assert "1 task goes on in the background:\n  tale watch t1\n" in said

    def test_an_error_of_a_turn_does_not_end_the_conversation(self, daemon: FakeDaemon) -> None:
        def refuse(arguments: Json, say: Any) -> Json:
            raise ToolError("prompt_rejected", "Too large.", "Shorten it.")

        daemon.tools["chat"] = refuse
        talk = _Talk(daemon)
        talk.run("x", "/exit")
        assert "error: Too large.\nhint: Shorten it.\n" in talk.err.getvalue()

    def test_ctrl_c_in_an_answer_stops_the_answer_alone(self, daemon: FakeDaemon) -> None:
        def interrupted(arguments: Json, say: Any) -> Json:
            if arguments["text"] == "stop":
                say({"session": "s9"})
                say({"token": "Hal"})
            return daemon.chat(arguments, say)

        daemon.tools["chat"] = interrupted
        talk = _Talk(daemon)
        write = talk.out.write

        def write_or_interrupt(text: str) -> int:
            if text == "Hal":
                write(text)
                raise KeyboardInterrupt
            return write(text)

        talk.out.write = write_or_interrupt  # type: ignore[method-assign]
        talk.run("stop", "go on")
        assert "stopped\n" in talk.err.getvalue()
        assert talk.out.getvalue().endswith("You said: go on\n\n")
        assert daemon.calls_of("chat")[1] == {"text": "go on", "session": "s9"}

    def test_a_task_is_told_on_when_the_daemon_is_back(self, tmp_path: Path) -> None:
        daemon, again = FakeDaemon(tmp_path), FakeDaemon(tmp_path)
        daemon.breaks = [2]
        talk = _Talk(daemon)
        with contextlib.ExitStack() as back:

            def come_back(text: str) -> None:
                if "`tale serve` brings it back" in text:
                    back.enter_context(again.running())

            def follow() -> None:
                with daemon.running():
                    talk.chat.tasks.handed.follow("t1")
                    assert talk.began.wait(20)
                talk.wait()

            talk.heard = come_back
            talk.run(follow)
        assert "It is back." in "".join(talk.above)

    def test_ctrl_c_twice_leaves_and_once_does_not(self, daemon: FakeDaemon) -> None:
        talk = _Talk(daemon)
        ctrl_c = KeyboardInterrupt()
        talk.run(ctrl_c, "hello", ctrl_c, ctrl_c, "never")
        assert [call["text"] for call in daemon.calls_of("chat")] == ["hello"]
        assert talk.err.getvalue().count("leaves.") == 2

    def test_every_command_does_something_and_none_is_sent(
        self, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def edit(text: str, extension: str) -> str:
            assert (text, extension) == ("so far", ".md")
            return "Written\nthere\n"

        monkeypatch.setattr(editing.click, "edit", edit)
        found = {"session": "s-1", "seq": 3, "speaker": "user", "text": "Tea", "score": 1.0}
        daemon.tools |= {
            "memory_notes": lambda arguments, say: {"notes": [{"id": "n-1", "text": "Likes tea"}]},
            "memory_search": lambda arguments, say: {"found": [found]},
            "session": lambda arguments, say: {"turns": [{"speaker": "user", "text": "Earlier"}]},
        }
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.hold.clear()
        talk = _Talk(daemon)
        person = _Person(
            "/why",
            *(f"/{one.name}" for one in COMMANDS if one.name not in ("quit", "editor", "private")),
            "write it",
            *("/why", "/tasks", "/show", "/pause t1", "/resume t1", "/cancel t1", "/pause"),
            *("/memory tea", "/sessions s-9", "/private", "/editor so far"),
            lambda: said.append(person.begun),
            "go on",
        )
        said: list[str] = []
        talk.chat.run(person, contextlib.nullcontext)
        assert said == ["Written\nthere"]
        [first, second] = daemon.calls_of("chat")
        assert first == {"text": "write it"}
        assert second == {"text": "go on", "private": True}
        told, shown = talk.err.getvalue(), talk.out.getvalue()
        for words in (
            *("Nothing was answered here yet.", "A new conversation.", "t1 rests.", "t1 goes on."),
            *("t1 is cancelled.", "Nothing of this conversation is kept", "No conversations yet."),
        ):
            assert words in told
        for words in ("/help", "answered by  tiny (ux)", "Likes tea", "Tea", "Earlier"):
            assert words in shown

    def test_commands_are_not_sent(self, daemon: FakeDaemon) -> None:
        talk = _Talk(daemon)
        talk.run("hello", "/new", "/help", "/tasks", "/nonsense", "again", "/quit")
        assert daemon.calls_of("chat") == [{"text": "hello"}, {"text": "again"}]
        said = talk.err.getvalue()
        assert "A new conversation." in said
        assert "There is no /nonsense. /help lists what there is." in said
        assert "No task has come of this conversation." in said


class TestOnARealTerminal:
    def test_a_conversation_with_a_task_and_ctrl_d(
        self, daemon: FakeDaemon, tmp_path: Path
    ) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        daemon.tools["session"] = lambda arguments, say: {
            "turns": [{"speaker": "user", "text": "Earlier words"}]
        }
        with Terminal(tmp_path, "chat", "--session", "s1") as terminal:
            assert "Earlier words" in terminal.until("> ")
            terminal.type("write it\r")
            terminal.until("Made dates.py.")
            terminal.type("/ed\t")
            terminal.until("/edit")
            terminal.type("\r")
            terminal.until("No task of this conversation waits for your word.")
            terminal.type("hello\r")
            terminal.until("You said: hello")
            terminal.until("> ", after="You said: hello")
            terminal.type("\x04")
            assert terminal.end() == 0
        assert "`tale chat --session s1` continues." in terminal.text
        history = tmp_path / "chat_history"
        assert "+write it" in history.read_text()
        assert history.stat().st_mode & 0o777 == 0o600

    def test_several_lines_and_long_pastes_are_sent_whole_and_kept_for_the_next_time(
        self, daemon: FakeDaemon, tmp_path: Path
    ) -> None:
        pasted = "\n".join(f"line {number}" for number in range(30))
        with Terminal(tmp_path, "chat") as terminal:
            terminal.until("> ")
            terminal.type("never mind\x03one\ntwo\x1b\rthree \x1b[200~" + pasted + "\x1b[201~")
            terminal.until("[pasted 30 lines]")
            terminal.type("\r")
            terminal.until("You said: one")
            terminal.until("> ", after="line 29")
            terminal.type("/private\r")
            terminal.until("Nothing of this conversation is kept")
            terminal.until("> ", after="is kept")
            terminal.type("secret\r")
            terminal.until("You said: secret")
            terminal.until("> ", after="said: secret")
            terminal.type("\x04")
            assert terminal.end() == 0
        whole = f"one\ntwo\nthree {pasted}"
        assert [call["text"] for call in daemon.calls_of("chat")] == [whole, "secret"]
        kept = (tmp_path / "chat_history").read_text()
        assert "+line 29" in kept
        assert "secret" not in kept
        assert "never mind" not in kept

    def test_ctrl_c_ends_the_answer_at_the_server_and_what_was_typed_ahead_is_said(
        self, daemon: FakeDaemon, tmp_path: Path
    ) -> None:
        stopped = threading.Event()

        def endless(arguments: Json, say: Any) -> Json:
            if arguments["text"] != "tell":
                return daemon.chat(arguments, say)
            try:
                for number in itertools.count():
                    say({"token": f"word {number}\n\n"})
                    stopped.wait(0.01)
            except OSError:
                stopped.set()
            raise Gone

        daemon.tools["chat"] = endless
        with Terminal(tmp_path, "chat") as terminal:
            terminal.until("> ")
            terminal.type("tell\r")
            terminal.until("word 3")
            terminal.type("go on\r")
            terminal.until("word 9")
            terminal.type("\x03")
            terminal.until("stopped")
            terminal.until("You said: go on", after="stopped")
            assert stopped.wait(30)
            terminal.until("> ", after="said: go on")
            terminal.type("\x04")
            assert terminal.end() == 0

    def test_a_key_answers_what_a_task_asks(self, daemon: FakeDaemon, tmp_path: Path) -> None:
        daemon.tools["chat"] = _handing_over(daemon)
        asked = event(3, "approval", text="May it?", id="q1", digest="d1", detail=PLAN)
        daemon.events["t1"] = [event(1, "queued"), asked, event(4, "done", answer="x")]
        daemon.hold.clear()

        def approve(arguments: Json, say: Any) -> Json:
            daemon.hold.set()
            return task(state="queued")

        daemon.tools["approve"] = approve
        with Terminal(tmp_path, "chat") as terminal:
            terminal.until("> ")
            terminal.type("write it\r")
            terminal.until("Pages (after a)")
            terminal.until("Alt-A approves, Alt-E edits, Alt-R rejects")
            terminal.type("\x1ba")
            terminal.until("Made dates.py.")
            terminal.until("> ", after="dates.py.")
            terminal.type("\x04")
            assert terminal.end() == 0
        assert daemon.calls_of("approve") == [
            {"id": "t1", "text": "", "digest": "d1", "asked": "q1"}
        ]

    def test_submit_streams_with_a_spinner_that_leaves(
        self, daemon: FakeDaemon, tmp_path: Path
    ) -> None:
        daemon.events["t1"] = [
            event(1, "started", role="ux"),
            event(1, "token", text="Made "),
            event(1, "token", text="dates.py."),
            event(2, "done"),
        ]
        with Terminal(tmp_path, "submit", "x") as terminal:
            assert terminal.end() == 0
        assert terminal.text.count("Made dates.py.") == 1
        assert "\x1b[2mtiny (task)" in terminal.text


def test_ctrl_c_in_a_piped_submit_is_exit_code_130(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.hold.clear()
    command = [sys.executable, "-m", "tale.cli", "submit", "x"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert daemon.waiting.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"tale watch t1" in err


def test_a_reader_that_leaves_early_is_no_error(daemon: FakeDaemon) -> None:
    daemon.tools["list"] = lambda arguments, say: {"tasks": [task(str(n)) for n in range(900)]}
    command = f"set -o pipefail; {sys.executable} -m tale.cli tasks -n 1000 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ID")
    assert done.stderr == ""
