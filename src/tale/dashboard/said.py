"""Short words for figures and states, the same in all panels. Pure.

Above: the views. Below: `cli.render`, which says the same in commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from tale.cli.render import human_bytes, human_seconds
from tale.dashboard.shown import Tone

__all__ = [
    "SERVER_TONES",
    "TASK_MARKS",
    "bytes_of",
    "clock",
    "count_of",
    "milliseconds",
    "percent_of",
    "since",
    "speed_of",
    "tone_of",
]

TASK_MARKS: Final[Mapping[str, tuple[str, Tone]]] = {
    "queued": ("·", "dim"),
    "running": ("▸", "accent"),
    "waiting": ("?", "warn"),
    "paused": ("‖", "warn"),
    "done": ("✓", "good"),
    "failed": ("✗", "bad"),
    "cancelled": ("-", "dim"),
    "dropped": ("-", "dim"),
}
"""How tasks and their parts stand, in a sign."""
SERVER_TONES: Final[Mapping[str, Tone]] = {
    "ready": "good",
    "backoff": "bad",
    "crash-looping": "bad",
    "stopped": "bad",
    "failed": "bad",
    "missing": "bad",
}
"""How servers and models stand; what isn't here is on its way."""


def tone_of(state: str) -> Tone:
    """Give the tone of a server's or a model's state."""
    return SERVER_TONES.get(state, "warn")


def clock(seconds: float) -> str:
    """Write how long something took or takes: `12 s`, `3 min 20 s`."""
    return human_seconds(seconds) if seconds >= 10 else f"{max(0, round(seconds))} s"


def since(when: datetime | None, now: datetime) -> str:
    """Say how long ago something was: `3 min ago`; whole minutes, as it isn't told each second."""
    if when is None:
        return ""
    seconds = max(0.0, (now - when.astimezone(UTC)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def bytes_of(count: float | None) -> str:
    """Write a size; nothing where it isn't known."""
    return "" if count is None else human_bytes(count)


def count_of(count: int) -> str:
    """Write a count: whole below ten thousand, then `48 k`, `1.2 M`."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= max(size, 10_000):
            value = count / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count:,}"


def milliseconds(value: float | None) -> str:
    """Write a time to first token: `91 ms`, `1.4 s`."""
    if value is None:
        return ""
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def percent_of(share: float | None) -> str:
    """Write a share: `62 %`."""
    return "" if share is None else f"{share * 100:.0f} %"


def speed_of(value: float | None) -> str:
    """Write a speed: `38 tok/s`."""
    return "" if value is None else f"{value:.0f} tok/s"
