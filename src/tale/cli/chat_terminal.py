"""The conversation as a person sees it: a prompt, answers as they are generated, tasks in between.

While the prompt waits, lines about tasks appear above it (prompt_toolkit redraws the input); while
an answer is written they wait for its end. Ctrl-C stops an answer; at the prompt, twice, or Ctrl-D,
leaves. Above: `chat`. Below: `conversation`, `chat_word`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from tale.cli.answer import AnswerWriter
from tale.cli.chat_word import WORDS, Word
from tale.cli.connection import Connection
from tale.cli.conversation import Conversation, HandedOver, Heard, Outcome
from tale.cli.follow import PATIENCE_SECONDS
from tale.cli.keyboard import unechoed
from tale.cli.record import Record
from tale.cli.render import Screen, clean, plural
from tale.cli.sessions import turn_lines
from tale.cli.spinner import Spinner
from tale.cli.task_calls import show_task
from tale.cli.task_lines import asks_line, check_line, event_line, file_lines, summary_line
from tale.cli.views import Event
from tale.errors import TaleError

__all__ = ["Prompt", "TerminalChat", "terminal_chat"]

_HELP = """\
Type, and Enter sends. Work is handed over as a task; its progress appears here.
  /new      begin another conversation
  /tasks    tasks of this conversation that still run
  /approve  let a task do what it asks for, or answer it: /approve Port 8080
  /edit     change the plan that it asks about, in your editor
  /reject   don't let it: /reject Only the standard library
  /exit     leave; so do Ctrl-D, and Ctrl-C twice
Ctrl-C stops an answer. Tasks go on when you leave."""
_COMMANDS = ("/new", "/tasks", *WORDS, "/help", "/exit")
_TURNS_SHOWN = 6


class Prompt(Protocol):
    """Asks for a line. Raises `KeyboardInterrupt` on Ctrl-C and `EOFError` on Ctrl-D."""

    def __call__(self) -> str:
        """Wait for the next line."""
        ...


class _Board:
    """Lines about tasks: shown at once above a waiting prompt, kept while an answer is written."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._open = False
        self._kept: list[str] = []

    def tell(self, lines: list[str]) -> None:
        with self._lock:
            if self._open:
                self._write("".join(f"{line}\n" for line in lines))
            else:
                self._kept += lines

    @contextmanager
    def opened(self) -> Generator[None]:
        """Show lines while the block runs, those first that were kept."""
        with self._lock:
            self._open = True
            if self._kept:
                self._write("".join(f"{line}\n" for line in self._kept))
                self._kept.clear()
        try:
            yield
        finally:
            with self._lock:
                self._open = False


class TerminalChat:
    """The loop of prompt and answer."""

    def __init__(
        self,
        connection: Connection,
        screen: Screen,
        conversation: Conversation,
        *,
        write_above: Callable[[str], None],
        hushed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Prepare.

        Args:
            connection: The daemon.
            screen: Where answers go.
            conversation: The conversation.
            write_above: Writes text above the waiting prompt.
            hushed: Makes what must be in force while an answer is written.
        """
        self._connection = connection
        self._screen = screen
        self._conversation = conversation
        self._hushed = hushed
        self._board = _Board(write_above)
        self._word = Word(connection, screen)
        self.handed = HandedOver(
            connection, self._on_event, self._on_end, on_gap=self._on_gap, patience=PATIENCE_SECONDS
        )

    def run(self, prompt: Prompt, around: Callable[[], AbstractContextManager[object]]) -> None:
        """Converse until the person leaves.

        Args:
            prompt: Asks for a line.
            around: Makes what must be in force while it asks.
        """
        asked_to_leave = False
        while True:
            try:
                with around(), self._board.opened():
                    line = prompt().strip()
            except KeyboardInterrupt:
                if asked_to_leave:
                    return
                asked_to_leave = True
                self._screen.note("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            except EOFError:
                return
            asked_to_leave = False
            if line in ("/exit", "/quit"):
                return
            if line.startswith("/"):
                self._command(line)
            elif line:
                with self._hushed():
                    self._turn(line)

    def take_up(self, tasks: Iterable[str]) -> None:
        """Tell of those tasks from now on that have not ended; of what they ask, at once."""
        for task in filter(None, tasks):
            found = show_task(self._connection, task)
            if found.ended:
                continue
            if found.progress and found.progress.question:
                self._word.asked(found.id, found.asked, found.digest)
                self._tell_question(asks_line(found), plan=bool(found.digest))
            self.handed.follow(task, after=found.last_event)

    def farewell(self) -> None:
        """Say what goes on, and how to come back."""
        if running := self.handed.running:
            goes = "goes" if len(running) == 1 else "go"
            self._screen.note(
                f"{plural(len(running), 'task')} {goes} on in the background:", "bold"
            )
            for task in running:
                self._screen.note(f"  tale watch {task}")
        if self.handed.kept:
            self._screen.note("Work that is kept starts by itself; `tale tasks` shows it then.")
        if self._conversation.private:
            self._screen.note("Nothing of this conversation is kept.")
        elif self._conversation.session:
            self._screen.note(f"`tale chat --session {self._conversation.session}` continues.")

    def _turn(self, text: str) -> None:
        writer = AnswerWriter(self._screen)
        try:
            with Spinner(self._screen, "thinking", self._connection.waiting_for) as spinner:

                def on_token(token: str) -> None:
                    spinner.stop()
                    writer.token(token)

                handed = self.handed
                heard = Heard(handed.follow, handed.follow_kept, spinner.note, on_token)
                reply = self._conversation.say(text, heard)
        except KeyboardInterrupt:
            writer.end_line()
            self._screen.note("stopped")
            return
        except TaleError as error:
            writer.end_line()
            self._screen.error(error.message, error.hint)
            return
        writer.finish(reply.answer)
        if reply.task:
            self._screen.note(f"handed over as task {reply.task}")
        elif reply.model and reply.role == "task":
            # The small model is what answers; anything else is worth a word.
            self._screen.note(f"{reply.model} ({reply.role})")
        self._screen.print()

    def _command(self, line: str) -> None:
        if line == "/new":
            self._conversation.begin_anew()
            self._screen.note("A new conversation.")
        elif line == "/tasks":
            running = self.handed.running
            self._screen.note("\n".join(running) if running else "No task is running.")
        elif line.split(maxsplit=1)[0] in WORDS:
            self._word.give(line)
        else:
            if line not in ("/help", "/?"):
                self._screen.note(f"There is no {line}.", "yellow")
            self._screen.note(_HELP)

    def _on_event(self, event: Event) -> None:
        if event.kind == "approval":
            data = event.data
            self._word.asked(event.task, data.text("id"), data.text("digest"))
        elif event.kind in ("approved", "rejected") or event.is_final:
            self._word.settled(event.task)
        line = event_line(event)
        if line and not event.is_final and event.kind != "queued":
            text = f"task {event.task}  {clean(line)}"
            if event.kind == "approval":
                self._tell_question(text, plan=bool(event.data.text("digest")))
            else:
                self._board.tell([self._dim(text)])

    def _on_gap(self, text: str) -> None:
        self._board.tell([self._dim(text)])

    def _tell_question(self, text: str, *, plan: bool) -> None:
        edit = ", /edit" if plan else ""
        here = self._dim(f"So do /approve{edit} and /reject here.")
        self._board.tell([self._screen.style(text, "yellow"), here])

    def _on_end(self, outcome: Outcome) -> None:
        style = self._screen.style
        task = outcome.result
        if task is None:
            reason = outcome.error.message if outcome.error else "lost"
            self._board.tell([style(f"task {outcome.task}  {reason}", "red")])
            return
        if task.state != "done":
            said = f"task {task.id}  {task.state}" + (f": {task.error}" if task.error else "")
            hint = [self._dim(task.hint)] if task.hint else []
            self._board.tell([style(clean(said), "red"), *hint])
            return
        head = style(f"task {task.id}  done", "bold", "green")
        answer = [clean(task.answer).strip("\n")] if task.answer else []
        files = [style(line, "green") for line in file_lines(task)]
        doubt = "yellow" if task.holds is False else "dim"
        checked = [style(line, doubt) for line in filter(None, [check_line(task)])]
        self._board.tell([head, *answer, *files, *checked, self._dim(summary_line(task)), ""])

    def _dim(self, text: str) -> str:
        return self._screen.style(text, "dim")


def terminal_chat(connection: Connection, screen: Screen, conversation: Conversation) -> None:
    """Converse with the person at this terminal."""
    before = Record()
    if conversation.session:
        arguments = {"id": conversation.session, "limit": _TURNS_SHOWN}
        before = connection.call("ux", "session", arguments)
        for line in turn_lines(before, screen):
            screen.print(line)
        screen.print()
    else:
        screen.note("Enter sends, /help explains, Ctrl-D leaves.")
    if conversation.private:
        screen.note("Nothing of this conversation is kept, but for work that becomes a task.")
    chat = TerminalChat(connection, screen, conversation, write_above=_write_above, hushed=unechoed)
    chat.take_up(turn.text("task") for turn in before.records("turns"))
    session: PromptSession[str] = PromptSession(
        history=_history(connection, conversation),
        completer=WordCompleter(_COMMANDS, sentence=True),
        complete_while_typing=False,  # a menu would cover what tasks tell
    )
    message: StyleAndTextTuples = [("bold ansicyan" if screen.color else "", "> ")]

    def prompt() -> str:
        return session.prompt(message, rprompt=lambda: _working(chat.handed))

    chat.run(prompt, lambda: patch_stdout(raw=True))
    chat.farewell()


def _history(connection: Connection, conversation: Conversation) -> History:
    """Give where what is typed is kept; of a private conversation nothing is."""
    if conversation.private:
        return InMemoryHistory()
    history = connection.paths.data / "chat_history"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.touch(mode=0o600)
    return FileHistory(str(history))


def _write_above(text: str) -> None:
    # While the prompt waits, this is prompt_toolkit's stand-in, which redraws the input below.
    sys.stdout.write(text)
    sys.stdout.flush()


def _working(handed: HandedOver) -> str:
    count = len(handed.running)
    return f"{plural(count, 'task')} at work" if count else ""
