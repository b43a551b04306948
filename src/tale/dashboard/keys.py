"""The keys, and when each can be pressed.

Above: `app`. Below: `view` (the panels).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from textual.binding import Binding, BindingType

from tale.dashboard.view import PANELS, Panel

__all__ = ["BINDINGS", "ENTER", "POSSIBLE"]

BINDINGS: Final[list[BindingType]] = [
    Binding("s", "start", "Start tale"),
    Binding("a", "answer", "Answer"),
    Binding("p", "pause", "Pause"),
    Binding("r", "resume", "Resume"),
    Binding("c", "cancel", "Cancel"),
    Binding("enter", "look", "Open"),
    Binding("enter", "restore", "Restore"),
    Binding("enter", "restart", "Restart"),
    Binding("t", "other_theme", "Light or dark", show=False),
    Binding("right,right_square_bracket", "next_panel(1)", "Next panel", show=False),
    Binding("left,left_square_bracket", "next_panel(-1)", "Panel before", show=False),
    *(
        Binding(str(number), f"panel('{panel}')", PANELS[panel], show=False)
        for number, panel in enumerate(PANELS, 1)
    ),
    Binding("question_mark", "help", "Help"),
    Binding("q", "quit", "Quit"),
]
ENTER: Final[Mapping[str, Panel]] = {
    "look": "tasks",
    "restore": "checkpoints",
    "restart": "servers",
}
"""What Enter does, by the panel in which it does it."""
POSSIBLE: Final[Mapping[str, Set[str]]] = {
    "answer": {"waiting"},
    "pause": {"queued", "running", "waiting"},
    "resume": {"paused"},
    "cancel": {"queued", "running", "waiting", "paused"},
}
"""In which states of the chosen task it can be done."""
