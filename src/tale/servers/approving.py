"""The user's word on what a task asks, given in the MCP client that waits for the task in `show`.

Accepting the form approves or rejects, as it says. Declining it says no without a word: what the
task wanted to do is not done, and it goes another way; a plan waits on, since a no without a reason
would end its task, which nobody asked for. Closing it, or a client that goes away, leaves the task
waiting. An answer names the question that was seen, so that nothing else is agreed to. Above:
`task_tools`. Beside: `eliciting`, which puts the form. Below: `tasks.engine`, `tasks.watching`,
`tasks.plan_drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tale.errors import PromptRejected, TaskError
from tale.servers.eliciting import Filled, Form
from tale.tasks.engine import Engine
from tale.tasks.leave import Answer
from tale.tasks.outlook import Outlook
from tale.tasks.plan_drawing import plan_block
from tale.tasks.progress import ProgressHub
from tale.tasks.watching import Watching
from tale.wire.contracts import ShowRequest, TaskView

__all__ = ["Approving"]

_SETTLES: Final = frozenset({"approved", "rejected", "paused", "restoring"})
"""Events with which a task waits no more; beside those that end it."""
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "verdict": {
            "type": "string",
            "title": "Your word",
            "enum": ["approve", "reject"],
        },
        "reason": {
            "type": "string",
            "title": "Reason",
            "description": "Why not, or what it is to mind, or your answer. It may stay empty.",
        },
    },
    "required": ["verdict"],
}
_PLAN_ENDS: Final = (
    "Rejected with a reason it is planned anew; without one, the task ends. "
    "Declined or closed, it waits on."
)
_ENDS: Final = (
    "Rejected or declined, it goes another way. Closed without an answer, the task waits on."
)


class Approving:
    """Asks what a waiting task asks."""

    def __init__(self, engine: Engine, hub: ProgressHub, watching: Watching) -> None:
        """Make one.

        Args:
            engine: Takes the answers.
            hub: Tells when a question was answered elsewhere.
            watching: Knows what is asked.
        """
        self._engine = engine
        self._hub = hub
        self._watching = watching

    async def form(self, request: ShowRequest, reply: TaskView) -> Form | None:
        """Give what a task asks to one who waits for it; who only looks is asked nothing."""
        if not request.wait or reply.state != "waiting":
            return None
        found = await self._watching.of(reply.id)
        if not found.asked:
            return None
        return Form(f"{found.digest}|{found.asked}", _message(reply.id, found), _SCHEMA)

    async def take(self, request: ShowRequest, key: str, filled: Filled) -> None:
        """Tell the task what its user says.

        Raises:
            TaskError: It no longer asks that, or a plan was declined.
            PromptRejected: The form says neither yes nor no.
        """
        digest, _, asked = key.partition("|")
        verdict = filled.fields.get("verdict")
        if filled.action == "accept" and verdict not in {"approve", "reject"}:
            raise PromptRejected("It has to say `approve` or `reject`.")
        approved = filled.action == "accept" and verdict == "approve"
        reason = str(filled.fields.get("reason") or "").strip()
        if not asked:
            raise TaskError("It names no question.")
        if filled.action == "decline" and digest:
            raise TaskError(
                "The plan was declined without a reason, so its task waits on.",
                hint="`reject` it with a reason to have it planned anew, or `cancel` the task.",
            )
        await self._engine.answer(request.id, Answer(approved, reason, digest, asked))

    async def settled(self, request: ShowRequest, reply: TaskView) -> None:
        """Wait until the task waits no more."""
        with self._hub.subscribe(request.id, reply.last_event) as events:
            async for event in events:
                if event.kind in _SETTLES:
                    return


def _message(identity: str, found: Outlook) -> str:
    parts = [f"Task {identity} asks: {found.question}"]
    if found.plan:
        seconds: Mapping[str, float] = found.facts[-1].seconds if found.facts else {}
        parts += [_plain(plan_block(found.plan, seconds)), _PLAN_ENDS]
    else:
        parts += [_plain(found.detail), _ENDS]
    return "\n\n".join(filter(None, parts))


def _plain(text: str) -> str:
    """Take out what would move the cursor of a client that is a terminal."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")
