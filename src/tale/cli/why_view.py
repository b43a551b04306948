"""`/why`: who gave the last answer of a conversation, and what went into it. Pure.

Above: `chat_terminal`. Below: `views`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tale.cli.render import Screen, clip, human_seconds, one_line
from tale.cli.views import Reply

__all__ = ["Answered", "why_lines"]

_WIDTH: Final = len("answered by")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with what was seen of it here.

    Attributes:
        reply: What the ux server said of it.
        first_token: Seconds from the question to the first word; None where none came by itself.
        seconds: Seconds to the last one.
    """

    reply: Reply
    first_token: float | None
    seconds: float


def why_lines(answered: Answered, screen: Screen) -> Iterator[str]:
    """Say which model it was and why, how long it took, what was sent, and what was recalled."""
    reply = answered.reply
    columns = screen.size()[0]
    yield _row(screen, "answered by", _who(reply))
    if reply.reason:
        yield _row(screen, "because", one_line(reply.reason))
    yield _row(screen, "time", _time(answered))
    usage = reply.usage
    if usage.prompt:
        computed = max(0, usage.prompt - usage.cached)
        said = f"{usage.prompt:,} tokens: {usage.cached:,} from the cache, {computed:,} computed"
        yield _row(screen, "sent", said)
    if not reply.model:
        return
    if not reply.recalled:
        yield _row(screen, "recalled", "nothing beyond this conversation")
    for number, one in enumerate(reply.recalled):
        where = f"{one.session}/{one.seq}" if one.seq else one.session
        room = max(20, columns - _WIDTH - len(where) - 12)
        said = f"{one.score:.2f}  {clip(one_line(one.text), room)}  "
        yield _row(screen, "" if number else "recalled", said + screen.style(where, "dim"))


def _who(reply: Reply) -> str:
    if reply.model:
        return f"{reply.model} ({reply.role})"
    return f"no model: it became task {reply.task}" if reply.task else "no model"


def _time(answered: Answered) -> str:
    written, seconds = answered.reply.usage.completion, answered.seconds
    said: list[str] = []
    if answered.first_token is not None:
        said.append(f"first word after {human_seconds(answered.first_token)}")
        seconds -= answered.first_token
    if written:
        speed = f" ({(written - 1) / seconds:.0f}/s)" if written > 1 and seconds > 0 else ""
        said.append(f"{written:,} tokens in {human_seconds(answered.seconds)}{speed}")
    else:
        said.append(f"{human_seconds(answered.seconds)} in all")
    return ", ".join(said)


def _row(screen: Screen, name: str, said: str) -> str:
    return f"{screen.style(name.ljust(_WIDTH), 'dim')}  {said}"
