"""The conversation as a person sees it: a prompt, answers as they are generated, tasks in between.

While the prompt waits, tasks are cards above it, and what becomes of them is printed there once;
while an answer is written that waits for its end. Ctrl-C stops an answer; at an empty prompt,
twice, or Ctrl-D, leaves. Above: `chat`. Below: `conversation`, `chat_prompt` (where one types),
`chat_actions` (commands), `chat_verdicts`, `answer`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from prompt_toolkit.patch_stdout import patch_stdout

from tale.cli.answer import AnswerWriter, begin_imports
from tale.cli.board import Board
from tale.cli.chat_commands import ChatCommand, typed
from tale.cli.chat_offers import Offers
from tale.cli.chat_prompt import ChatPrompt
from tale.cli.chat_tasks import ChatTasks
from tale.cli.connection import Connection
from tale.cli.conversation import Conversation, Heard
from tale.cli.editing import text_in_editor
from tale.cli.keyboard import unechoed
from tale.cli.render import Screen, plural
from tale.cli.sessions import turn_lines
from tale.cli.spinner import Spinner
from tale.cli.views import Reply
from tale.errors import TaleError

if TYPE_CHECKING:
    from tale.cli.chat_actions import Actions

__all__ = ["Prompt", "TerminalChat", "terminal_chat"]

_TURNS_SHOWN: Final = 6
_PRIVATE: Final = "Nothing of this conversation is kept, but for work that becomes a task."
_CLEAR: Final = "\x1b[2J\x1b[H"

Hushed = Callable[[Callable[[], None]], AbstractContextManager[object]]


class Prompt(Protocol):
    """Asks for what is said next. Raises `KeyboardInterrupt` on Ctrl-C and `EOFError` on Ctrl-D."""

    def __call__(self, begun: str = "") -> str:
        """Wait for it; `begun` stands there already."""
        ...


class TerminalChat:
    """The loop of prompt and answer."""

    def __init__(
        self,
        connection: Connection,
        screen: Screen,
        conversation: Conversation,
        *,
        write_above: Callable[[str], None],
        hushed: Hushed = nullcontext,
    ) -> None:
        """Prepare.

        Args:
            connection: The daemon.
            screen: Where answers go.
            conversation: The conversation.
            write_above: Writes text above the waiting prompt.
            hushed: Makes what must be in force while an answer is written; calls what it is given
                when the chat was stopped and goes on.
        """
        self._connection = connection
        self._screen = screen
        self._conversation = conversation
        self._hushed = hushed
        self._board = Board(write_above)
        self._answered: tuple[Reply, float | None, float] | None = None
        self._begun = ""
        self.tasks = ChatTasks(connection, screen, self._board.tell)

    def run(self, prompt: Prompt, around: Callable[[], AbstractContextManager[object]]) -> None:
        """Converse until the person leaves.

        Args:
            prompt: Asks for what is said.
            around: Makes what must be in force while it asks.
        """
        asked_to_leave = False
        while True:
            begun, self._begun = self._begun, ""
            try:
                with around(), self._board.opened():
                    said = (prompt(begun) if begun else prompt()).strip()
            except KeyboardInterrupt:
                if asked_to_leave:
                    return
                asked_to_leave = True
                self._screen.note("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            except EOFError:
                return
            asked_to_leave = False
            if command := typed(said):
                if command.command is None:
                    self._actions().unknown(command.name)
                elif command.command.name == "quit":
                    return
                else:
                    self._do(command.command, command.words)
            elif said:
                self._turn(said)

    def go_on_with(self, session: str) -> None:
        """Show the end of a conversation, and have what is said next belong to it.

        Raises:
            TaleError: There is none of that id.
        """
        asked = {"id": session, "limit": _TURNS_SHOWN}
        before = self._connection.call("ux", "session", asked)
        self._conversation.begin_anew(session=session)
        for line in turn_lines(before, self._screen):
            self._screen.print(line)
        self._screen.print()
        self.tasks.take_up(turn.text("task") for turn in before.records("turns"))

    def farewell(self) -> None:
        """Say what goes on, and how to come back."""
        if running := self.tasks.handed.running:
            goes = "goes" if len(running) == 1 else "go"
            self._screen.note(
                f"{plural(len(running), 'task')} {goes} on in the background:", "bold"
            )
            for task in running:
                self._screen.note(f"  tale watch {task}")
        if self.tasks.handed.kept:
            self._screen.note("Work that is kept starts by itself; `tale tasks` shows it then.")
        if self._conversation.private:
            self._screen.note("Nothing of this conversation is kept.")
        elif self._conversation.session:
            self._screen.note(f"`tale chat --session {self._conversation.session}` continues.")

    def _turn(self, text: str) -> None:
        writer = AnswerWriter(self._screen)
        with self._hushed(writer.moved):
            self._answer(text, writer)

    def _answer(self, text: str, writer: AnswerWriter) -> None:
        if self._screen.redraws:
            threading.Thread(target=begin_imports, daemon=True).start()
        began = time.monotonic()
        first: float | None = None
        try:
            with Spinner(self._screen, "thinking", self._connection.waiting_for) as spinner:

                def on_token(token: str) -> None:
                    nonlocal first
                    first = time.monotonic() - began if first is None else first
                    spinner.stop()
                    writer.token(token)

                def on_note(note: str) -> None:
                    writer.end_line()
                    spinner.note(note)

                def on_task(task: str) -> None:
                    self.tasks.follow(task, text)

                heard = Heard(on_task, self.tasks.handed.follow_kept, on_note, on_token)
                reply = self._conversation.say(text, heard)
        except KeyboardInterrupt:
            writer.end_line()
            self._screen.note("stopped")
            return
        except TaleError as error:
            writer.end_line()
            self._screen.error(error.message, error.hint)
            return
        self._answered = (reply, first, time.monotonic() - began)
        writer.finish(reply.answer)
        if reply.task:
            self._screen.note(f"handed over as task {reply.task}")
        elif reply.model and reply.role == "task":
            # The small model is what answers; anything else is worth a word.
            self._screen.note(f"{reply.model} ({reply.role})")
        self._screen.print()

    def _do(self, command: ChatCommand, words: tuple[str, ...]) -> None:
        """Do a command; what goes wrong is told."""
        try:
            self._change(command, words)
        except TaleError as error:
            self._screen.error(error.message, error.hint)
        except KeyboardInterrupt:
            self._screen.note("stopped")

    def _change(self, command: ChatCommand, words: tuple[str, ...]) -> None:
        match command.name:
            case "new":
                self._conversation.begin_anew()
                self._screen.note("A new conversation.")
            case "private":
                self._conversation.begin_anew(private=True)
                self._screen.note(_PRIVATE)
            case "sessions" if words:
                self.go_on_with(words[0])
            case "why":
                self._why()
            case "editor":
                self._begun = text_in_editor(" ".join(words))
            case "clear":
                self._screen.write(_CLEAR if self._screen.redraws else "")
            case _:
                self._actions().do(command, words)

    def _actions(self) -> Actions:
        from tale.cli.chat_actions import Actions  # noqa: PLC0415 - a prompt is there sooner

        tasks = self.tasks
        return Actions(self._connection, self._screen, tasks.verdicts, tasks.handed.followed)

    def _why(self) -> None:
        if self._answered is None:
            self._screen.note("Nothing was answered here yet.")
            return
        from tale.cli.why_view import Answered, why_lines  # noqa: PLC0415

        for line in why_lines(Answered(*self._answered), self._screen):
            self._screen.print(line)


def terminal_chat(connection: Connection, screen: Screen, conversation: Conversation) -> None:
    """Converse with the person at this terminal."""
    chat = TerminalChat(
        connection,
        screen,
        conversation,
        write_above=_write_above,
        hushed=unechoed,
    )
    history = connection.paths.chat_history
    history.parent.mkdir(parents=True, exist_ok=True)
    history.touch(mode=0o600)
    prompt = ChatPrompt(
        screen,
        history,
        keeps=lambda: not conversation.private,
        cards=chat.tasks.cards,
        offers=Offers(connection, chat.tasks.verdicts).of,
    )
    chat.tasks.cards.watch(prompt.redraw)
    with unechoed():
        if conversation.session:
            chat.go_on_with(conversation.session)
        else:
            screen.note("Enter sends, /help explains, Ctrl-D leaves.")
        if conversation.private:
            screen.note(_PRIVATE)
        # Between two prompts, too, Enter has to stay what it is.
        chat.run(prompt, lambda: patch_stdout(raw=True))
    chat.farewell()


def _write_above(text: str) -> None:
    # While the prompt waits, this is prompt_toolkit's stand-in, which redraws the input below.
    sys.stdout.write(text)
    sys.stdout.flush()
