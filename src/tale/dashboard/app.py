"""The dashboard: one screen that says what tale is doing, whether it is well, and what it took.

Facts come in as updates of a `Source` and make a new `State`; `view` makes what is shown of it.
Keys ask `Actions`. Both run in threads of their own, so that the screen never waits. Above:
`cli.dashboard`. Below: `view` (pure), `panel`, `dialogs`, `source`, `actions`, `logs`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from textual.app import App, ComposeResult, SystemCommand
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer

from tale.dashboard.actions import Actions
from tale.dashboard.doing import Doing
from tale.dashboard.keys import BINDINGS, ENTER, POSSIBLE
from tale.dashboard.lines import OneLine, TableLines
from tale.dashboard.logs import Logs
from tale.dashboard.panel import PanelBox
from tale.dashboard.shown import Span
from tale.dashboard.source import Away, Live, Source, Stopped, Update
from tale.dashboard.theme import DARK, LIGHT
from tale.dashboard.view import PANELS, Panel, State, view

__all__ = ["Dashboard"]

_LOG_SECONDS: Final = 1.0
_AGE_SECONDS: Final = 20.0
"""Between two looks at the clock where nothing happens: what is shown is in minutes."""
_ON_THE_RIGHT: Final = {"models", "servers", "tokens"}
_NAMES: Final[list[Panel]] = list(PANELS)


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


class Dashboard(App[None]):
    """The application."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "tale"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (124, "-wide")]  # noqa: RUF012 - Textual's form
    VERTICAL_BREAKPOINTS = [(0, "-low"), (38, "-high")]  # noqa: RUF012
    BINDINGS = BINDINGS

    class Arrived(Message):
        """The source told something."""

        def __init__(self, update: Update | Exception) -> None:
            """Keep it, or why nothing comes any more."""
            super().__init__()
            self.update = update

    def __init__(
        self,
        source: Source,
        actions: Actions,
        logs: Logs,
        *,
        light: bool = False,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Make it; nothing is asked yet.

        Args:
            source: Tells how all is.
            actions: Does what is asked for.
            logs: Has the end of the log.
            light: Whether the terminal's ground is light.
            now: The clock.
        """
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if light else DARK.name
        self.animation_level = "none"
        self.state = State()
        self.doing = Doing(self, actions)
        self._source, self._logs, self._now = source, logs, now
        self._stop = threading.Event()
        self._boxes: dict[Panel, PanelBox] = {name: PanelBox(name) for name in PANELS}
        self._active: Panel = "task"
        self._offered: tuple[object, ...] = ()
        self._asking: Timer | None = None
        self._known = ("", -1)

    # -- the screen --------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield OneLine(id="header")
        yield OneLine(id="vitals")
        with Container(id="body"):
            with Container(id="columns"):
                with Vertical(id="left"):
                    yield from (self._boxes[name] for name in ("tasks", "task", "checkpoints"))
                with Vertical(id="right"):
                    yield from (self._boxes[name] for name in ("models", "servers", "tokens"))
            yield self._boxes["log"]
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to listen."""
        self._activate("task")
        self._boxes["tasks"].lines.focus()
        self._read_log()
        self.set_interval(_LOG_SECONDS, self._read_log)
        self.set_interval(_AGE_SECONDS, self._show)
        threading.Thread(target=self._listen, name="overview", daemon=True).start()
        self._show()

    def on_unmount(self) -> None:
        """Listen no more."""
        self._stop.set()

    def _listen(self) -> None:
        try:
            for update in self._source.updates(self._stop):
                self._hand_over(update)
        except Exception as error:  # noqa: BLE001 - a thread ends here; the application raises it
            self._hand_over(error)

    def _hand_over(self, update: Update | Exception) -> None:
        with suppress(RuntimeError):  # the application has just ended
            if not self._stop.is_set():
                self.post_message(self.Arrived(update))

    def on_dashboard_arrived(self, event: Arrived) -> None:
        """Take what the source told."""
        match event.update:
            case Live(overview):
                self.update(link="live", why="", overview=overview, servers=None)
            case Away(why, servers):
                starting = self.state.link == "starting" and self.state.overview is None
                link = "starting" if starting else "away"
                self.update(link=link, why=why, servers=servers or self.state.servers)
            case Exception() as error:
                raise error
            case Stopped():
                if self.state.link != "starting":
                    self.update(link="stopped", why="", servers=None, overview=None)
        self._ask_for_checkpoints()

    def update(self, **changes: object) -> None:
        """Know something else from now on, and show it."""
        before = self.state.task
        self.state = replace(self.state, **changes)  # pyright: ignore[reportArgumentType]
        after = self.state.task
        if (before and before.id) != (after and after.id):
            self._forget_checkpoints()
        self._show()

    def _show(self) -> None:
        if not self.is_running or not self.screen_stack:
            return
        shown = view(self.state, self._now())
        main = self.screen_stack[0]
        name = Span("tale  ", "accent")
        sign = Span("● " if shown.header.tone == "good" else "○ ", shown.header.tone)
        tone = "plain" if shown.header.tone == "good" else shown.header.tone
        verdict = Span(shown.header.verdict, tone)
        main.query_one("#header", OneLine).show((name, sign, verdict), shown.header.right)
        main.query_one("#vitals", OneLine).show((Span("      "), *shown.header.vitals))
        chosen = self.state.task
        for panel, box in self._boxes.items():
            box.show(shown.panels[panel], chosen.id if panel == "tasks" and chosen else None)
        panel = self._focused_panel()
        key = self._boxes[panel].lines.key if panel else ""
        offered = (self.state.link, chosen and (chosen.id, chosen.state), panel, bool(key))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _read_log(self) -> None:
        entries = self._logs.latest()
        if entries is not self.state.log:
            self.update(log=entries)

    # -- panels ------------------------------------------------------------------------------------

    def _focused_panel(self) -> Panel | None:
        return next((name for name, box in self._boxes.items() if box.lines.has_focus), None)

    def _activate(self, panel: Panel) -> None:
        """Have a panel shown, where there is room for only one beside the tasks."""
        if panel != "tasks":
            self._active = panel
        for name, box in self._boxes.items():
            box.set_class(name == self._active, "-active")
        main = self.screen_stack[0]
        main.set_class(self._active in _ON_THE_RIGHT, "-right-active")
        main.set_class(self._active == "log", "-log-active")

    @property
    def _roomy(self) -> bool:
        return self.screen_stack[0].has_class("-wide") and self.screen_stack[0].has_class("-high")

    def _show_heads(self) -> None:
        for box in self._boxes.values():
            box.show_head(tabs=not self._roomy)

    def on_descendant_focus(self) -> None:
        """Show which panel has the keys."""
        self._show_heads()
        self._show()

    def on_table_lines_seen(self) -> None:
        """Take note that the room is shared anew."""
        self._show_heads()
        self._ask_for_checkpoints()

    def action_panel(self, panel: Panel) -> None:
        """Go to a panel."""
        self._activate(panel)
        self.call_after_refresh(self._boxes[panel].lines.focus)

    def action_next_panel(self, step: int) -> None:
        """Go to the panel beside this one."""
        at = _NAMES.index(self._focused_panel() or self._active)
        self.action_panel(_NAMES[(at + step) % len(_NAMES)])

    def action_other_theme(self) -> None:
        """Change between light and dark."""
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name

    def action_help(self) -> None:
        """Show the keys."""
        self.doing.help()

    def on_table_lines_moved(self, event: TableLines.Moved) -> None:
        """Choose another task."""
        if event.lines is self._boxes["tasks"].lines and event.key != self.state.chosen:
            self.update(chosen=event.key)
            self._ask_for_checkpoints()

    # -- checkpoints -------------------------------------------------------------------------------

    def _ask_for_checkpoints(self) -> None:
        """Ask for the chosen task's, where they are seen and may be others than those known."""
        task = self.state.task
        if task is None or self.state.link != "live" or not self._sees("checkpoints"):
            return
        if self._asking is None and self._known != (task.id, task.last_event):
            # Whoever runs through a list asks for the last one only.
            quick = self._known[0] != task.id
            self._asking = self.set_timer(0.15 if quick else 2.0, self._look_for_checkpoints)

    def _forget_checkpoints(self) -> None:
        """Know none: those that are known are of the task that was chosen before."""
        self.state = replace(self.state, checkpoints=None)
        self._known = ("", -1)
        if self._asking is not None:
            self._asking.stop()
            self._asking = None

    def _look_for_checkpoints(self) -> None:
        self._asking = None
        if (task := self.state.task) is not None:
            self._known = (task.id, task.last_event)
            self.doing.look_for_checkpoints(task.id)

    def _sees(self, panel: Panel) -> bool:
        return self._boxes[panel].lines.region.height > 0

    # -- keys --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done."""
        del parameters
        if not hasattr(self, "state"):
            return True
        if action == "start":
            return self.state.link == "stopped"
        if panel := ENTER.get(action):
            return self._focused_panel() == panel and bool(self._boxes[panel].lines.key)
        if (states := POSSIBLE.get(action)) is None:
            return True
        task = self.state.task
        return task is not None and self.state.link == "live" and task.state in states

    def action_start(self) -> None:
        """Start the daemon."""
        self.doing.start()

    def action_answer(self) -> None:
        """Answer what the chosen task asks."""
        if (task := self.state.task) is not None:
            self.doing.answer(task.id)

    def action_pause(self) -> None:
        """Let the chosen task rest."""
        if (task := self.state.task) is not None:
            self.doing.pause(task.id)

    def action_resume(self) -> None:
        """Let it go on."""
        if (task := self.state.task) is not None:
            self.doing.resume(task.id)

    def action_cancel(self) -> None:
        """End it, if that is really meant."""
        if (task := self.state.task) is not None:
            self.doing.cancel(task)

    def action_look(self) -> None:
        """Look closer at the chosen task."""
        self.action_panel("task")

    def action_restore(self) -> None:
        """Bring the chosen task's files back to the chosen checkpoint."""
        if (task := self.state.task) is not None:
            self.doing.restore(task, int(self._boxes["checkpoints"].lines.key))

    def action_restart(self) -> None:
        """Restart the chosen server."""
        self.doing.restart(self._boxes["servers"].lines.key)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Give the commands of the palette: what can be done now, and where one can go."""
        for binding in self._bindings.key_to_bindings.values():
            for one in binding:
                name = one.action.split("(")[0]
                if name in {"next_panel", "command_palette", "quit"} or not one.description:
                    continue
                if self.check_action(name, ()):
                    title = f"Go to {one.description}" if name == "panel" else one.description
                    yield SystemCommand(
                        title, f"Key {self.get_key_display(one)}", self._runner(one.action)
                    )
        del screen
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)
        yield SystemCommand("Quit", "Leave; tale runs on", self.action_quit)

    def _runner(self, action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action)

        return run
