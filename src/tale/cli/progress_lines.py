"""How far a task is, as text: bars, marks, and the time that is left. Pure.

Above: `bars`, which draws these lines, and `follow`. Below: `views`, `render`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tale.cli.render import Style, clip, display_width, human_seconds, paint
from tale.cli.views import Eta, Part, Progress

__all__ = ["bar", "left_text", "progress_line", "progress_lines"]

_BARS = ((90, 24), (70, 16), (0, 8))
"""How wide a terminal has to be for how wide a bar."""
_PARTS_SHOWN = 12
_MARKS: dict[str, tuple[str, Style]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "dropped": ("-", "dim"),
}
_LARGE = 90.0
"""Seconds from which on they are told in minutes."""
_UNITS = ((172_800.0, 86_400.0, "d"), (5400.0, 3600.0, "h"), (_LARGE, 60.0, "min"), (0.0, 1.0, "s"))


def left_text(eta: Eta) -> str:
    """Say how long it will be: `about 4 min (2-7)`, `about 50 s (20 s-2 min)`."""
    size, unit = next((size, unit) for least, size, unit in _UNITS if eta.median >= least)
    middle = _figure(eta.median, size)
    if eta.low >= 0.7 * size and (eta.high < _LARGE or unit != "s"):
        low, high = _figure(eta.low, size), _figure(eta.high, size)
    else:
        low, high = _rough(eta.low), _rough(eta.high)
    return f"about {middle} {unit}" + (f" ({low}-{high})" if low != high else "")


def _rough(seconds: float) -> str:
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{_figure(seconds, size)} {unit}"


def _figure(seconds: float, size: float) -> str:
    """Give one or two digits: more would promise too much."""
    count = seconds / size
    return str(round(count / 5) * 5 if size == 1.0 and count >= 20 else max(1, round(count)))


def bar(percent: int, width: int) -> tuple[str, str]:
    """Give the filled and the empty part of a bar."""
    filled = min(width, max(0, round(percent * width / 100)))
    return "━" * filled, "─" * (width - filled)


def progress_line(progress: Progress) -> str:
    """Say in one line how far a task is: `40 %, about 4 min (2-7) left`."""
    parts = [f"{progress.percent} %"]
    if progress.eta is not None:
        parts.append(f"{left_text(progress.eta)} left")
    if progress.doing:
        parts.append(", ".join(progress.doing))
    if progress.tool:
        parts.append(progress.tool)
    return ", ".join(parts)


def progress_lines(progress: Progress, *, tail: str, width: int, color: bool) -> list[str]:
    """Draw a task: a line for each subtask, one for the whole, and what is generated just now.

    Args:
        progress: How far it is.
        tail: The end of what the model writes.
        width: Cells in a line.
        color: Whether lines may be styled.
    """

    def style(text: str, *styles: Style) -> str:
        return paint(text, *styles) if color else text

    shown = _most_telling(progress.parts)
    cells = next(cells for least, cells in _BARS if width >= least)
    room = max(8, min(34, width - cells - 44))
    rows = [*map(_part_row, shown), _whole_row(progress, has_parts=bool(shown))]
    if len(progress.doing) == 1 and progress.speed:
        at = next((n for n, part in enumerate(shown) if part.state == "running"), None)
        rows = [
            replace(row, rest=_speed(progress)) if n == at else row for n, row in enumerate(rows)
        ]
    name_width = min(room, max(display_width(row.name) for row in rows))
    lines: list[str] = []
    for row in rows:
        filled, empty = bar(row.percent, cells)
        name = _padded(clip(row.name, name_width), name_width)
        drawn = style(filled, row.tint) + style(empty, "dim")
        name = style(name, *row.styles) if row.styles else name
        line = f"{style(row.mark, row.tint)} {name} {drawn} {row.percent:>3} %  {row.took:>10}"
        rest = clip(row.rest, max(0, width - cells - name_width - 23))
        lines.append(f"{line}  {rest}".rstrip())
    if hidden := len(progress.parts) - len(shown):
        lines.insert(-1, style(f"  … and {hidden} more", "dim"))
    if progress.setback and progress.state == "running":
        lines.append(style(clip(f"  went back: {progress.setback}", width), "yellow"))
    if progress.question:
        lines.append(style(clip(f"  asks: {progress.question}", width), "yellow"))
    elif progress.tool:
        lines.append(style(clip(f"  runs: {progress.tool}", width), "dim"))
    elif tail.strip():
        lines.append(style(f"  │ {_last_line(tail, width - 5)}", "dim"))
    return lines


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    percent: int
    took: str
    rest: str = ""
    mark: str = " "
    tint: Style = "cyan"
    styles: tuple[Style, ...] = ()


def _part_row(part: Part) -> _Row:
    mark, tint = _MARKS.get(part.state, _MARKS["waiting"])
    took = _clock(part.elapsed)
    if part.state == "waiting":
        took = f"~{_clock(max(1.0, part.expected))}" if part.expected else ""
    styles: dict[str, tuple[Style, ...]] = {
        "running": ("bold",),
        "waiting": ("dim",),
        "dropped": ("dim",),
    }
    return _Row(part.title, part.percent, took, "", mark, tint, styles.get(part.state, ()))


def _whole_row(progress: Progress, *, has_parts: bool) -> _Row:
    rest = left_text(progress.eta) if progress.eta else ""
    speed = "" if has_parts else _speed(progress)
    names = {"": "starting", "running": "working", "approval": "waiting", "done": "done"}
    name = "total" if has_parts else names.get(progress.state, progress.state)
    tint: Style = "green" if progress.percent == 100 else "cyan"
    rest = "  ".join(filter(None, (rest, speed)))
    return _Row(name, progress.percent, _clock(progress.elapsed), rest, " ", tint, ("bold",))


def _clock(seconds: float) -> str:
    if seconds < 1:
        return ""
    return human_seconds(seconds) if seconds >= 10 else f"{int(seconds)} s"


def _most_telling(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Give the subtasks around those that run, where there are too many for a screen."""
    if len(parts) <= _PARTS_SHOWN:
        return parts
    open_ = [number for number, part in enumerate(parts) if part.state in {"running", "waiting"}]
    first = max(0, min(open_[0] - 2 if open_ else 0, len(parts) - _PARTS_SHOWN))
    return parts[first : first + _PARTS_SHOWN]


def _speed(progress: Progress) -> str:
    return f"{progress.speed:.0f} tok/s" if progress.speed else ""


def _last_line(tail: str, width: int) -> str:
    """Give the end of the last line that has something in it."""
    line = next((each for each in reversed(tail.splitlines()) if each.strip()), "").strip()
    if display_width(line) <= width:
        return line
    while line and display_width(line) >= width:
        line = line[1:]
    return f"…{line}"


def _padded(text: str, width: int) -> str:
    return text + " " * max(0, width - display_width(text))
