"""What a user is told outside tale when a task ends or needs them, and how it is put. Pure.

A webhook is signed as the Standard Webhooks specification has it (`webhook-id`,
`webhook-timestamp`, `webhook-signature`: version 1, HMAC-SHA256), so that a receiver can check it
with any of its libraries; the id is the same at each try, so that it can tell a repetition. Above:
`notifier`, which sends. Below: `task`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from tale.clipped import clipped
from tale.tasks.task import TaskEvent

__all__ = [
    "KINDS",
    "PAUSES",
    "Notice",
    "Told",
    "Verdict",
    "desktop_command",
    "notice_of",
    "verdict",
    "webhook_body",
    "webhook_headers",
]

KINDS: Final = ("done", "failed", "approval")
"""Events that a user may want to hear of; cancelling a task is their own doing."""
PAUSES: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0)
"""Seconds before each further try of a webhook: a receiver that restarts, then one that is down."""
_TEXT: Final = 120
"""Characters of a task's text: what a notification shows of it."""
_APPLESCRIPT: Final = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)
_GONE: Final = 410
_OK: Final = range(200, 300)

Verdict = Literal["delivered", "again", "never"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    Attributes:
        id: The same for the same event, whenever it is told.
        kind: One of `KINDS`.
        title: What happened, in a few words.
        body: To which task, and what came of it.
    """

    id: str
    kind: str
    task: str
    title: str
    body: str
    at: datetime


def notice_of(event: TaskEvent, text: str, wanted: Collection[str] = KINDS) -> Notice | None:
    """Say what to tell of an event; None where nobody wants to hear of it.

    Args:
        event: What happened.
        text: What the task is about.
        wanted: Kinds to tell of.
    """
    if event.kind not in wanted or event.kind not in KINDS:
        return None
    about = clipped(text, _TEXT)
    title = {"done": "Task done", "failed": "Task failed", "approval": "Task needs you"}[event.kind]
    said = event.data.get({"failed": "error", "approval": "text"}.get(event.kind, ""))
    body = f"{about}\n{said}" if isinstance(said, str) and said else about
    # Only letters, digits and dashes: the signature separates its parts by dots.
    return Notice(f"{event.task}-{event.seq}", event.kind, event.task, title, body, event.at)


def desktop_command(
    notice: Notice, platform: str, which: Callable[[str], str | None]
) -> tuple[str, ...] | None:
    """Give the command that shows a notice on this desktop; None where there is none.

    The text is an argument of its own and never part of a script.

    Args:
        notice: What to show.
        platform: As `sys.platform`.
        which: Finds a program.
    """
    if platform == "darwin" and (program := which("osascript")):
        script = (part for line in _APPLESCRIPT for part in ("-e", line))
        return (program, *script, notice.title, notice.body)
    if program := which("notify-send"):
        urgency = "normal" if notice.kind == "done" else "critical"
        return (program, f"--urgency={urgency}", "--app-name=tale", "--", notice.title, notice.body)
    return None


def webhook_body(notice: Notice) -> bytes:
    """Write what is posted: `type`, `timestamp` and `data`, as the specification recommends."""
    data = {"task": notice.task, "title": notice.title, "body": notice.body}
    message = {"type": f"task.{notice.kind}", "timestamp": notice.at.isoformat(), "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def webhook_headers(notice: Notice, body: bytes, secret: str, now: int) -> Mapping[str, str]:
    """Give the headers of one try.

    Args:
        notice: What is sent.
        body: As it is sent, to the byte.
        secret: `whsec_` and base64, as receivers give it out, or any text; empty signs nothing.
        now: Unix time of this try, in whole seconds.
    """
    headers = {
        "content-type": "application/json",
        "webhook-id": notice.id,
        "webhook-timestamp": str(now),
    }
    if secret:
        signed = f"{notice.id}.{now}.".encode() + body
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def verdict(status: int) -> Verdict:
    """Say what a receiver's answer means: only 2xx is taken, and 410 wants no more."""
    if status in _OK:
        return "delivered"
    return "never" if status == _GONE else "again"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told already: all from before `since`, and from then on what `ids` has.

    Attributes:
        ids: When each happened, in Unix seconds.
    """

    since: datetime
    ids: Mapping[str, float] = field(default_factory=dict[str, float])

    def add(self, notice: Notice, waiting: Collection[Notice] = ()) -> Told:
        """Take note of one that was told, while others wait.

        What was told from before the oldest of those who wait needs no id any more.
        """
        oldest = min((each.at for each in waiting), default=notice.at)
        since = max(self.since, oldest)
        ids = {**self.ids, notice.id: notice.at.timestamp()}
        return Told(since, {one: at for one, at in ids.items() if at >= since.timestamp()})

    def knows(self, notice: Notice) -> bool:
        """Tell whether it was told."""
        return notice.at < self.since or notice.id in self.ids

    def dump(self) -> str:
        """Write it; `load` reads it."""
        return json.dumps({"since": self.since.isoformat(), "ids": dict(self.ids)})

    @classmethod
    def load(cls, text: str, now: datetime) -> Told:
        """Read it; what can't be read begins now: nobody is told of all tasks ever."""
        try:
            read = json.loads(text)
            since = datetime.fromisoformat(read["since"]).astimezone(UTC)
            ids = {str(one): float(at) for one, at in read["ids"].items()}
        except (AttributeError, ValueError, KeyError, TypeError, OverflowError):
            return cls(now)
        # A clock that was set back must not silence what is to come.
        return cls(min(since, now), ids)


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
