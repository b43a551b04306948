"""Where a person types: lines and pastes, commands with what they are, cards of tasks above.

Everything of prompt_toolkit's is here. Enter sends, Alt-Enter and Ctrl-J begin a line; what is
typed is kept for the next time, unless the conversation is private. Above: `chat_terminal`. Below:
`chat_commands`, `pastes`, `task_cards`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    get_common_complete_suffix,
)
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.styles import Style

from tale.cli.chat_commands import COMMANDS, Takes, typed
from tale.cli.pastes import Pastes
from tale.cli.render import Screen, clean, paint
from tale.cli.task_cards import Cards, card_lines

__all__ = ["ChatPrompt", "Offers"]

_STYLE = Style.from_dict(
    {
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit ansibrightblack",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
        "placeholder": "ansibrightblack",
    }
)
_HINT = "Ask, or / for commands"


Offers = Callable[[Takes], Sequence[tuple[str, str]]]
"""Gives the words that may stand behind a command, each with what it is."""


class ChatPrompt:
    """Asks for what the person says next."""

    def __init__(
        self,
        screen: Screen,
        history: Path,
        *,
        keeps: Callable[[], bool],
        cards: Cards,
        offers: Offers,
    ) -> None:
        """Prepare; nothing is shown.

        Args:
            screen: Where it asks.
            history: The file with what was typed before; it has to be there.
            keeps: Tells whether what is typed now is written into it.
            cards: The tasks that are shown above.
            offers: Looks up what may stand behind a command; called in a thread first.
        """
        self._screen = screen
        self._cards = cards
        self._pastes = Pastes()
        completions = _Completions(offers)
        slash = Condition(lambda: get_app().current_buffer.text.startswith("/"))
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            history=_History(history, self._pastes, keeps),
            completer=completions,
            complete_while_typing=slash,  # elsewhere a menu would be in the way
            key_bindings=_keys(self._pastes, cards, completions),
            prompt_continuation="  ",
            placeholder=_placeholder,
            style=_STYLE,
            enable_suspend=True,
            enable_open_in_editor=True,
        )

    def __call__(self, begun: str = "") -> str:
        """Wait for it.

        Args:
            begun: What stands there already.

        Raises:
            KeyboardInterrupt: Ctrl-C where nothing was typed.
            EOFError: Ctrl-D.
        """
        said = self._session.prompt(self._message, default=self._pastes.folded(begun))
        return self._pastes.whole(said)

    def redraw(self) -> None:
        """Draw the cards again, if it waits; from any thread."""
        self._session.app.invalidate()

    def _message(self) -> ANSI:
        sign = paint("> ", "bold", "cyan") if self._screen.color else "> "
        if get_app().is_done or not self._screen.redraws:
            return ANSI(sign)
        columns = get_app().output.get_size().columns
        lines = card_lines(self._cards.all(), columns, color=self._screen.color)
        return ANSI("\n".join(["", *lines, sign]) if lines else sign)


def _placeholder() -> StyleAndTextTuples:
    # What a search has found is shown without being typed.
    return [] if get_app().layout.is_searching else [("class:placeholder", _HINT)]


class _History(FileHistory):
    """What was typed, long pastes whole in the file and folded on the screen."""

    def __init__(self, file: Path, pastes: Pastes, keeps: Callable[[], bool]) -> None:
        super().__init__(str(file))
        self._pastes = pastes
        self._keeps = keeps

    def load_history_strings(self) -> Iterable[str]:
        """Give them, the last first."""
        return map(self._pastes.folded, super().load_history_strings())

    def store_string(self, string: str) -> None:
        """Write one down, if it is to be kept."""
        if self._keeps():
            super().store_string(self._pastes.whole(string))


class _Completions(Completer):
    def __init__(self, offers: Offers) -> None:
        self._offers = offers

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Offer commands, and behind them what they take."""
        del complete_event
        line = document.text_before_cursor
        if not line.startswith("/") or "\n" in line:
            return
        name, space, rest = line.partition(" ")
        if not space:
            for one in COMMANDS:
                if one.name.startswith(name[1:]):
                    more = " " if one.takes else ""
                    shown = f"/{one.name} {one.arguments}".rstrip()
                    yield Completion(
                        f"/{one.name}{more}", -len(line), display=shown, display_meta=one.help
                    )
        elif " " not in rest:
            for word, about in self._offers(_takes(line)):
                if word.startswith(rest):
                    yield Completion(word, -len(rest), display_meta=about)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Offer the same: commands at once, the rest as soon as it is looked up."""
        if (line := document.text_before_cursor).startswith("/") and " " in line:
            await asyncio.to_thread(self._offers, _takes(line))
        for completion in self.get_completions(document, complete_event):
            yield completion


def _takes(line: str) -> Takes:
    command = typed(line)
    return command.command.takes if command and command.command else ""


def _keys(pastes: Pastes, cards: Cards, completions: _Completions) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("tab")
    def _complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        asked = CompleteEvent(completion_requested=True)
        before = buffer.document.text_before_cursor
        # A menu that is on its way would swallow the key; names need not be waited for.
        found = (
            list(completions.get_completions(buffer.document, asked)) if " " not in before else []
        )
        if buffer.complete_state:
            buffer.complete_next()
        elif len(found) == 1:
            buffer.apply_completion(found[0])
        else:
            buffer.insert_text(get_common_complete_suffix(buffer.document, found))
            buffer.start_completion()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.complete_state = None  # a command that is chosen in the menu stands there already
        buffer.validate_and_handle()

    @keys.add("c-j")
    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    def _interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    @keys.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        data = clean(event.data.replace("\r\n", "\n").replace("\r", "\n"))
        event.current_buffer.insert_text(pastes.folded(data))

    @keys.add("backspace")
    @keys.add("c-h")
    def _erase(event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        event.current_buffer.delete_before_cursor(pastes.ending(before) or 1)

    _answer_keys(keys, cards)
    del _complete, _send, _new_line, _interrupt, _paste, _erase
    return keys


def _answer_keys(keys: KeyBindings, cards: Cards) -> None:
    """Have three keys answer the task that has asked first, while nothing is typed."""

    def asking() -> list[str]:
        return [card.task for card in cards.all() if card.asks]

    waits = Condition(lambda: bool(asking()) and not get_app().current_buffer.text)

    @keys.add("escape", "a", filter=waits)
    def _approve(event: KeyPressEvent) -> None:
        event.current_buffer.text = f"/approve {asking()[0]}"
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "e", filter=waits)
    def _edit(event: KeyPressEvent) -> None:
        event.current_buffer.text = f"/edit {asking()[0]}"
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "r", filter=waits)
    def _reject(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(f"/reject {asking()[0]} ")  # and why

    del _approve, _edit, _reject
