"""Tasks, events and conversations as the commands show them.

The same fields as the shapes of `wire.contracts` of the same names (a test compares them), read
without pydantic: see `record`. Above: the commands. Below: `record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tale.cli.record import Record

__all__ = [
    "FINAL_KINDS",
    "Eta",
    "Event",
    "Part",
    "Planning",
    "Progress",
    "RecalledTurn",
    "Reply",
    "Task",
    "Usage",
    "read_time",
]

FINAL_KINDS = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens spent."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    @classmethod
    def read(cls, record: Record) -> Usage:
        """Read it from a reply."""
        return cls(record.integer("prompt"), record.integer("completion"), record.integer("cached"))


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a task is done."""

    median: float
    low: float
    high: float
    why: str = ""

    @classmethod
    def read(cls, record: Record) -> Eta:
        """Read it from a reply."""
        low, high = record.number("low") or 0.0, record.number("high") or 0.0
        return cls(record.number("median") or 0.0, low, high, record.text("why"))


@dataclass(frozen=True, slots=True)
class Part:
    """A subtask as it stands."""

    id: str
    title: str
    state: str
    percent: int = 0
    elapsed: float = 0.0
    expected: float = 0.0
    tokens: int = 0
    holds: bool | None = None
    check: str = ""
    kind: str = ""
    depends_on: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    acceptance: str = ""
    size: str = ""
    priority: int = 0

    @classmethod
    def read(cls, record: Record) -> Part:
        """Read it from a reply."""
        return cls(
            record.text("id"),
            record.text("title"),
            record.text("state"),
            record.integer("percent"),
            record.number("elapsed") or 0.0,
            record.number("expected") or 0.0,
            record.integer("tokens"),
            record.truth("holds"),
            record.text("check"),
            record.text("kind"),
            record.texts("depends_on"),
            record.texts("reads"),
            record.texts("writes"),
            record.text("acceptance"),
            record.text("size"),
            record.integer("priority"),
        )


@dataclass(frozen=True, slots=True)
class Planning:
    """How a plan was made, or changed."""

    why: str = ""
    changes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    remembered: tuple[str, ...] = ()

    @classmethod
    def read(cls, record: Record) -> Planning:
        """Read it from a reply, or from the data of an event."""
        return cls(
            record.text("why"),
            record.texts("changes"),
            record.texts("used"),
            record.texts("notes"),
            record.record("seconds").numbers(),
            record.texts("remembered"),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is, and when it will be done."""

    state: str = ""
    percent: int = 0
    setback: str = ""
    elapsed: float = 0.0
    eta: Eta | None = None
    speed: float | None = None
    tokens: int = 0
    doing: tuple[str, ...] = ()
    tool: str = ""
    question: str = ""
    parts: tuple[Part, ...] = ()
    words: str = ""

    @classmethod
    def read(cls, record: Record) -> Progress:
        """Read it from a reply, or from the data of an event `progress`."""
        return cls(
            state=record.text("state"),
            percent=record.integer("percent"),
            setback=record.text("setback"),
            elapsed=record.number("elapsed") or 0.0,
            eta=Eta.read(record.record("eta")) if "eta" in record else None,
            speed=record.number("speed"),
            tokens=record.integer("tokens"),
            doing=record.texts("doing"),
            tool=record.text("tool"),
            question=record.text("question"),
            parts=tuple(map(Part.read, record.records("parts"))),
            words=record.text("words"),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stood when it was asked for."""

    id: str
    text: str
    state: str
    workspace: str
    priority: int
    session: str | None
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    answer: str | None
    files: tuple[str, ...]
    role: str | None
    model: str | None
    reason: str | None
    usage: Usage
    error: str | None
    hint: str | None
    last_event: int
    permission: str | None = None
    approve: str | None = None
    plan: str = ""
    detail: str = ""
    digest: str = ""
    planning: tuple[Planning, ...] = ()
    asked: str = ""
    action: str = ""
    progress: Progress | None = None
    holds: bool | None = None
    check: str = ""
    record: Record = field(default_factory=Record, repr=False, compare=False)

    @classmethod
    def read(cls, record: Record) -> Task:
        """Read it from a reply."""
        return cls(
            id=record.text("id"),
            text=record.text("text"),
            state=record.text("state"),
            workspace=record.text("workspace"),
            priority=record.integer("priority"),
            session=record.text("session") or None,
            created=read_time(record, "created"),
            started=read_time(record, "started"),
            finished=read_time(record, "finished"),
            answer=record.text("answer") or None,
            files=record.texts("files"),
            role=record.text("role") or None,
            model=record.text("model") or None,
            reason=record.text("reason") or None,
            usage=Usage.read(record.record("usage")),
            error=record.text("error") or None,
            hint=record.text("hint") or None,
            last_event=record.integer("last_event"),
            permission=record.text("permission") or None,
            approve=record.text("approve") or None,
            plan=record.text("plan"),
            detail=record.text("detail"),
            digest=record.text("digest"),
            planning=tuple(map(Planning.read, record.records("planning"))),
            asked=record.text("asked"),
            action=record.text("action"),
            progress=Progress.read(record.record("progress")) if "progress" in record else None,
            holds=record.truth("holds"),
            check=record.text("check"),
            record=record,
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINAL_KINDS

    @property
    def seconds(self) -> float | None:
        """How long it worked; None while it hasn't ended."""
        if self.finished is None or (since := self.started or self.created) is None:
            return None
        return (self.finished - since).total_seconds()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task; `wire.contracts.Event` lists the kinds."""

    task: str
    seq: int
    at: datetime | None
    kind: str
    data: Record

    @classmethod
    def read(cls, record: Record) -> Event:
        """Read it from the stream."""
        return cls(
            record.text("task"),
            record.integer("seq"),
            read_time(record, "at"),
            record.text("kind"),
            record.record("data"),
        )

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the task."""
        return self.kind in FINAL_KINDS


@dataclass(frozen=True, slots=True)
class RecalledTurn:
    """Something that was said elsewhere and stood beside the question."""

    session: str
    seq: int
    text: str
    score: float

    @classmethod
    def read(cls, record: Record) -> RecalledTurn:
        """Read it from a reply."""
        score = record.number("score") or 0.0
        return cls(record.text("session"), record.integer("seq"), record.text("text"), score)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one turn of a conversation."""

    session: str
    answer: str
    model: str
    role: str
    task: str | None
    kept: str | None
    usage: Usage
    reason: str = ""
    recalled: tuple[RecalledTurn, ...] = ()
    record: Record = field(default_factory=Record, repr=False, compare=False)

    @classmethod
    def read(cls, record: Record) -> Reply:
        """Read it from a reply."""
        return cls(
            record.text("session"),
            record.text("answer"),
            record.text("model"),
            record.text("role"),
            record.text("task") or None,
            record.text("kept") or None,
            Usage.read(record.record("usage")),
            record.text("reason"),
            tuple(map(RecalledTurn.read, record.records("recalled"))),
            record,
        )


def read_time(record: Record, key: str) -> datetime | None:
    """Read an ISO time; None where there is none."""
    try:
        return datetime.fromisoformat(record.text(key))
    except ValueError:
        return None
