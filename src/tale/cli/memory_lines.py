"""How what is remembered looks on a terminal.

Pure. Above: `memory`. Below: `render`, `sessions` (turns), `task_lines` (times).
"""

from __future__ import annotations

from collections.abc import Sequence

from tale.cli.record import Record
from tale.cli.render import Screen, clean, clip, one_line, plural
from tale.cli.sessions import turn_lines
from tale.cli.task_lines import ago
from tale.cli.views import read_time

__all__ = ["doomed_lines", "found_lines", "note_lines", "note_rows"]

_SHOWN = 400
_BESIDE = 160
"""Characters of a turn that was found, and of one beside it."""
_SPEAKERS = {"user": "you", "assistant": "tale", "note": "noted"}
_SOURCES = {
    "conversation": "noted from a conversation",
    "user": "added by you",
}


def found_lines(found: Sequence[Record], screen: Screen, *, why: bool) -> list[str]:
    """Write what was found, each with where and when it was said, and what stands around it.

    A turn beside one that was found itself is not told twice.

    Args:
        found: The best first.
        screen: Says how it may look.
        why: Whether to tell what each score is made of.
    """
    lines: list[str] = []
    there = {(one.text("session"), one.integer("seq")) for one in found if not one.text("note")}
    for one in found:
        where = one.text("note")
        if one.text("session"):
            turn = f"{one.text('session')}/{one.integer('seq')}"
            where = f"{where} from {turn}" if where else turn
        speaker = _SPEAKERS.get(one.text("speaker"), "")
        if task := one.text("task"):
            speaker, where = f"what came of {task}", one.text("note")
        head = screen.style(f"{speaker}, {ago(read_time(one, 'at'))}", "bold")
        lines.append(f"{head}  {screen.style(where, 'dim')}")
        if why:
            shares = one.record("shares")
            parts = [f"{name} {shares.number(name) or 0:.2f}" for name in shares.raw]
            said = f"score {one.number('score') or 0:.2f} = {' + '.join(parts)}"
            lines.append(screen.style(said, "dim"))
        beside = [
            turn
            for turn in one.records("around")
            if (one.text("session"), turn.integer("seq")) not in there
        ]
        before = [turn for turn in beside if turn.integer("seq") < one.integer("seq")]
        lines += [_beside(turn, screen) for turn in before]
        lines.append(clip(one_line(one.text("text")), _SHOWN))
        lines += [_beside(turn, screen) for turn in beside[len(before) :]]
        lines.append("")
    return lines[:-1]


def _beside(turn: Record, screen: Screen) -> str:
    said = clip(one_line(turn.text("text")), _BESIDE)
    return screen.style(f"  {_SPEAKERS.get(turn.text('speaker'), '')}: {said}", "dim")


def note_rows(notes: Sequence[Record]) -> list[list[str]]:
    """Write notes as rows of a table: id, kind, when it was said, what."""
    return [
        [
            note.text("id"),
            "result" if note.text("source") == "task" else note.text("kind"),
            ago(read_time(note, "said")),
            _marks(note) + one_line(note.text("text")),
        ]
        for note in notes
    ]


def note_lines(reply: Record, screen: Screen) -> list[str]:
    """Write one note in full, then the turns that it came from."""
    note = reply.record("note")
    lines = [screen.style(clean(note.text("text")), "bold")]
    when = ago(read_time(note, "said"))
    if task := note.text("task"):
        lines.append(f"what came of {task}, {when}")
    else:
        source = _SOURCES.get(note.text("source"), "")
        lines.append(f"a {note.text('kind')}, said {when}, {source}")
    if note.flag("pinned"):
        lines.append("pinned: every conversation knows it")
    if note.text("superseded_at"):
        by = note.text("superseded_by")
        lines.append(f"outdated: {by} has taken its place" if by else "outdated")
    if note.text("session"):
        lines += ["", screen.style(f"from {note.text('session')}:", "dim")]
        lines += turn_lines(reply, screen) or ["(these turns are gone)"]
    return lines


def doomed_lines(doomed: Record) -> list[str]:
    """Say what would be forgotten, and what would not."""
    turns, notes = doomed.integer("turns"), doomed.integer("notes")
    lines = [f"This forgets {plural(turns, 'turn')} and {plural(notes, 'note')}:"]
    examples = doomed.texts("examples")
    lines += [f"  {one_line(text)}" for text in examples]
    if turns > len(examples) and examples:
        lines.append("  …")
    if sessions := doomed.integer("sessions"):
        lines.append(f"Nothing stays of {plural(sessions, 'conversation')}.")
    if waiting := doomed.integer("waiting"):
        lines.append(f"{plural(waiting, 'piece')} of kept work will still be done.")
    lines.append("Tasks, their workspaces and the logs are not touched.")
    return lines


def _marks(note: Record) -> str:
    return ("* " if note.flag("pinned") else "") + (
        "(outdated) " if note.text("superseded_at") else ""
    )
