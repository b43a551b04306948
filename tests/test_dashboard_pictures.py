"""What the dashboard looks like: whole screens as text, and whether every word can be read.

A picture that is meant to change is written anew with `UPDATE_PICTURES=1 pytest` and looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from rich.color import Color, ColorSystem
from rich.segment import Segment
from textual.geometry import Size
from textual.pilot import Pilot

from dashboard_world import NOW, Recorded, Script, Written, busy, failing, overview
from tale.dashboard.app import Dashboard
from tale.dashboard.dialogs import Dialog
from tale.dashboard.lines import TableLines
from tale.dashboard.panel import PanelBox
from tale.dashboard.source import Live, Stopped, Update
from tale.dashboard.theme import DARK, LIGHT

pytestmark = pytest.mark.anyio

PICTURES = Path(__file__).parent / "pictures"
DOCUMENTED = Path(__file__).parents[1] / "docs" / "pictures"
SIZES = ((80, 24), (200, 50))
SHOWN = Live(busy(tasks=busy().tasks[:-1]))
SCENES: dict[str, tuple[Update, tuple[str, ...]]] = {
    "busy": (Live(busy()), ("down",)),
    "failing": (Live(failing()), ("5",)),
    "empty": (Live(overview()), ("6",)),
    "stopped": (Stopped(), ()),
    "asking": (Live(busy()), ("a",)),
    "restoring": (Live(busy()), ("3", "enter")),
    "help": (Live(busy()), ("question_mark",)),
}
_OPENING = {"a", "enter", "question_mark"}
"""Keys that open a dialog."""
_DRAWN = set("─━│├└╭╮╰╯▁▂▃▄▅▆▇█▔▊▎ ")
"""What is drawn, not read."""


@asynccontextmanager
async def scene(
    update: Update, keys: tuple[str, ...], size: tuple[int, int], *, light: bool = False
) -> AsyncGenerator[tuple[Dashboard, Pilot[None]]]:
    """Give a dashboard once all of a scene is on its screen."""
    app = Dashboard(Script(update), Recorded(), Written(), light=light, now=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        while app.state.link == "opening":
            await pilot.pause(0.01)
        await _settled(app, pilot)
        for key in keys:
            await pilot.press(key)
            await _settled(app, pilot)
        while keys and keys[-1] in _OPENING and len(app.screen_stack) < 2:
            await pilot.pause(0.01)
        await _settled(app, pilot)
        yield app, pilot


async def _settled(app: Dashboard, pilot: Pilot[None]) -> None:
    """Wait until the chosen task's checkpoints are there, where they are seen."""
    await pilot.pause()
    lines = app.screen_stack[0].query_one("#checkpoints-lines", TableLines)
    with anyio.fail_after(60):
        while lines.region.height and lines.text == "Looking …":
            await pilot.pause(0.01)
    await pilot.pause()


def lines_of(app: Dashboard) -> list[list[Segment]]:
    size = Size(app.size.width, app.size.height)
    painted = app.screen._compositor  # pyright: ignore[reportPrivateUsage]
    return [list(strip) for strip in painted.render_strips(size)]


@pytest.mark.parametrize("name", SCENES)
async def test_a_screen_is_as_it_was_looked_at_and_can_be_read(name: str) -> None:
    update, keys = SCENES[name]
    async with scene(update, keys, SIZES[0]) as (app, pilot):
        for columns, rows in SIZES:
            await pilot.resize_terminal(columns, rows)
            await _settled(app, pilot)
            lines = lines_of(app)
            drawn = "".join("".join(s.text for s in line).rstrip() + "\n" for line in lines)
            _compare(drawn, PICTURES / f"dashboard-{name}-{columns}x{rows}.txt")
        for theme in (DARK, LIGHT):
            app.theme = theme.name
            await _settled(app, pilot)
            for segment in _read(app):
                _assert_readable(segment)


@pytest.mark.parametrize(
    ("name", "keys", "size", "light"),
    [
        ("dashboard", ("down",), (150, 42), False),
        ("dashboard-asking", ("a",), (80, 24), True),
    ],
)
async def test_the_documentation_shows_it_as_it_is(
    name: str, keys: tuple[str, ...], size: tuple[int, int], light: bool
) -> None:
    async with scene(SHOWN, keys, size, light=light) as (app, _):
        drawn = app.export_screenshot(title="tale dashboard", simplify=True)
    # A page that is read offline fetches no fonts, and the same picture is the same file.
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"terminal-\d+", "terminal", drawn)
    drawn = "".join(f"{line.rstrip()}\n" for line in drawn.splitlines())
    _compare(drawn, DOCUMENTED / f"{name}.svg")


def _compare(drawn: str, file: Path) -> None:
    if os.environ.get("UPDATE_PICTURES"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(drawn, encoding="utf-8")
    assert drawn == file.read_text(encoding="utf-8")


def _read(app: Dashboard) -> Iterator[Segment]:
    """Give what is to be read: of a dialog, only that; what is behind it is dimmed on purpose."""
    screen = app.screen
    part = screen.query_one("#box").region if isinstance(screen, Dialog) else screen.region
    for y, line in enumerate(lines_of(app)):
        x = 0
        for segment in line:
            if part.contains(x, y) and not set(segment.text) <= _DRAWN:
                yield segment
            x += segment.cell_length


def _assert_readable(segment: Segment) -> None:
    style = segment.style
    assert style is not None
    assert style.color is not None
    assert style.bgcolor is not None
    assert _contrast(style.color, style.bgcolor) >= 4.5, segment
    few = [color.downgrade(ColorSystem.EIGHT_BIT) for color in (style.color, style.bgcolor)]
    assert _contrast(*few) >= 4.0, segment


def _contrast(one: Color, other: Color) -> float:
    """How much two colours differ, from 1 to 21 (WCAG 2.2; from 4.5 on text is easily read)."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (_linear(part / 255) for part in color.get_truecolor())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


async def test_the_screen_is_painted_anew_only_where_something_has_changed() -> None:
    async with scene(Live(busy()), (), (200, 50)) as (app, _):

        def painted() -> dict[str, int]:
            panels: dict[str, int] = {}
            for box in app.query(PanelBox):
                if due := box.lines._repaint_regions:  # pyright: ignore[reportPrivateUsage]
                    panels[box.panel] = len(due)
            return panels

        app.update(overview=busy())
        assert painted() == {}
        one, *others = busy().servers
        app.update(overview=busy(servers=(one.model_copy(update={"cpu": 40.0}), *others)))
        assert painted() == {"servers": 1}
