"""Tasks that have ended, in the order in which they did, for whoever remembers what came of them.

Each has a number that counts them without a gap, given in the transaction that ended it; so a
reader who knows the last number that it took in misses none and takes none twice. Private tasks
have one, too, and are passed over. Above: `servers.results`. Below: `storage`, `task_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from tale.storage.database import Database
from tale.storage.schema import task_events, tasks
from tale.tasks.plan_text import looks_like_plan
from tale.tasks.task import Task
from tale.tasks.task_rows import load_plan, task_of
from tale.tasks.view_part import text

__all__ = ["Ended", "Page", "Verdict", "ended_after"]

_ASKED: Final = ("approval", "approved", "rejected")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a task's user was asked, and what they said.

    Attributes:
        plan: Whether it was about its plan.
        asked: The question; empty where it was about its plan.
        yes: Whether they agreed.
        said: Their words; empty where they only agreed or not, or gave a plan of their own.
    """

    plan: bool
    asked: str
    yes: bool
    said: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended.

    Attributes:
        number: Which one it was.
        key: Names its submission.
        parts: Titles of what was done of its plan; none where it had none.
        verdicts: What its user said, in order.
    """

    number: int
    task: Task
    key: str | None
    parts: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, in order; `through` is the number of the last that was looked at."""

    ended: tuple[Ended, ...]
    through: int


async def ended_after(database: Database, number: int, limit: int) -> Page:
    """Read the first tasks that ended after the one of a number, at most `limit`."""
    query = select(tasks).where(tasks.c.ended > number).order_by(tasks.c.ended).limit(limit)

    def work(connection: Connection) -> Page:
        rows = connection.execute(query).mappings().all()
        found = tuple(
            Ended(
                row["ended"],
                task_of(row),
                row["key"],
                tuple(_titles(connection, row["id"])),
                tuple(_verdicts(connection, row["id"])),
            )
            for row in rows
            if not row["private"]
        )
        return Page(found, rows[-1]["ended"] if rows else number)

    return await database.read(work)


def _titles(connection: Connection, task: str) -> Iterator[str]:
    for part in load_plan(connection, task):
        if part.state == "done" and not part.id.startswith("+"):
            yield part.title


def _verdicts(connection: Connection, task: str) -> Iterator[Verdict]:
    query = (
        select(task_events.c.kind, task_events.c.data)
        .where(task_events.c.task == task, task_events.c.kind.in_(_ASKED))
        .order_by(task_events.c.seq)
    )
    asked: Mapping[str, object] = {}
    for kind, data in connection.execute(query):
        if kind == "approval":
            asked = data
            continue
        plan, said = bool(text(asked, "digest")), text(data, "text").strip()
        if plan and looks_like_plan(said):
            said = ""
        question = "" if plan else text(asked, "text").strip()
        yield Verdict(plan, question, kind == "approved", said)
