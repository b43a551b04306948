"""May an action be done? By the rules, or by the user's word, for which its task waits.

A question is recorded together with its task's state `waiting`, its answer is an event too: both
outlast any crash, and a step that is replayed finds the answer where it asked. Pure but for the
`Asker`. Above: `tasks.recorded_hands`, which asks before each act, and `tasks.engine`, which is the
`Asker`. Below: `tasks.permissions`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    ListFiles,
    Outcome,
    ReadFile,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.permissions import Allowed, Refused, Rule, needed, tool_name
from tale.tasks.plan_facts import PlanFacts
from tale.tasks.task import Level, Step
from tale.tasks.workspace import Workspace

__all__ = ["Answer", "Asked", "Asker", "Granted", "Trust", "described", "leave_for"]

_SHOWN_CHARACTERS: Final = 200
_DETAIL_CHARACTERS: Final = 4_000
"""Of what is to be written or run: enough to decide, and no flood."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the user lets tasks do.

    Attributes:
        level: What needs no question in tasks of which the user said nothing else.
        rules: The user's word on tools (`server.tool`) and servers.
        sandboxed: Whether programs are shut in.
    """

    level: Level = "workspace"
    rules: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    sandboxed: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the user.

    Attributes:
        id: Names the act that it is about; the same after a crash.
        text: The question.
        action: The kind of act.
        detail: What would be written, run or sent, as far as it is shown; a plan is shown whole.
        digest: Names the plan that it is about; empty where it is about none.
        facts: What is known of that plan beside its parts.
    """

    id: str
    text: str
    action: str
    detail: str = ""
    digest: str = ""
    facts: PlanFacts = field(default_factory=PlanFacts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The user's word.

    Attributes:
        text: What they said beside yes or no; the plan as they want it, where they edited it.
        digest: That of the plan which they saw; empty where nobody says.
        asked: The id of the question which they saw; empty where nobody says.
    """

    approved: bool
    text: str = ""
    digest: str = ""
    asked: str = ""


Asker = Callable[[Asked], Awaitable[Answer]]
"""Gives the user's answer. Where there is none yet the task waits: the call is cancelled."""


@dataclass(frozen=True, slots=True)
class Granted:
    """It may be done.

    Attributes:
        anywhere: Outside of the workspace too.
        said: What the user said to it.
    """

    anywhere: bool = False
    said: str = ""


async def leave_for(
    action: Action, step: Step, trust: Trust, key: str, ask: Asker
) -> Granted | Outcome:
    """Find out whether an action may be done.

    Args:
        action: What is to be done.
        step: Where, and for what.
        trust: What needs no question.
        key: Names the act.
        ask: Asks the user.

    Returns:
        That it may; or what came of it instead, for the agent.
    """
    if isinstance(action, AskUser):
        answer = await ask(Asked(key, action.question, type(action).__name__))
        return Outcome(answer.approved, _said(answer))
    if isinstance(action, ApprovePlan):
        kind = type(action).__name__
        asked = Asked(key, action.question, kind, action.plan, action.digest, action.facts)
        answer = await ask(asked)
        return Outcome(answer.approved, answer.text.strip())
    level = step.permission or trust.level
    verdict = needed(
        action,
        level,
        frozenset(offer.name for offer in step.tools if offer.read_only),
        workspace=Workspace(Path(step.workspace)),
        rules=trust.rules,
        sandboxed=trust.sandboxed,
    )
    if isinstance(verdict, Allowed):
        return Granted(anywhere=level == "full")
    if isinstance(verdict, Refused):
        return Outcome(ok=False, text=verdict.reason)
    text = f"May it {verdict.reason}?"
    answer = await ask(Asked(key, text, type(action).__name__, _detail(action)))
    if answer.approved:
        return Granted(anywhere=True, said=answer.text)
    why = answer.text or "no reason was given"
    told = f"The user did not allow this: {why}. It was not done; go another way."
    return Outcome(ok=False, text=told.replace("..", "."), forbidden=True)


def described(action: Action) -> dict[str, object]:
    """Say in a line what an action does: the data of the event `acting`."""
    match action:
        case RunCommand(line=text, about=about) | RunPython(code=text, about=about):
            what = about or _first_line(text)
        case CallTool():
            what = tool_name(action)
        case AskUser(question=question) | ApprovePlan(question=question):
            what = question
        case ListFiles(path=path) | ReadFile(path=path) | WriteFile(path=path):
            what = path
        case EditFile(path=path):
            what = path
    return {"action": type(action).__name__, "what": what[:_SHOWN_CHARACTERS]}


def _first_line(text: str) -> str:
    """Give the first line of a program that says something, and that there are more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[0]} …" if len(lines) > 1 else "".join(lines)


def _said(answer: Answer) -> str:
    if answer.approved:
        return answer.text or "Yes."
    return f"No. {answer.text}".strip()


def _detail(action: Action) -> str:
    match action:
        case RunPython(about=about) if about:  # a check of the harness's own: the question has it
            detail = ""
        case WriteFile(content=text) | RunPython(code=text):
            detail = text
        case EditFile(old=old, new=new):
            detail = f"{old}\n→\n{new}"
        case CallTool(arguments=arguments):
            detail = "\n".join(f"{name}: {value}" for name, value in arguments.items())
        case _:  # the question has it all
            detail = ""
    if len(detail) > _DETAIL_CHARACTERS:
        detail = f"{detail[:_DETAIL_CHARACTERS]}\n… and {len(detail) - _DETAIL_CHARACTERS:,} more"
    return detail
