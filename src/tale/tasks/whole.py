"""The last part of a plan: is the whole what was asked for, and what is its user told?

Each part was checked when it was done, but a later one may have broken it. So all checks are run
again on the workspace as it is now, and the files that were promised must be there. What is said of
it rests on that alone: a small model that is asked whether something is missing finds something.
Above: `tasks.engine`. Below: `tasks.checks`, and hands, which read, run and ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from tale.models.backend import Message
from tale.prompts import WHOLE_SYSTEM
from tale.tasks.checks import Check, Verdict, found, judge, plan_checks
from tale.tasks.hands import Hands, ListFiles, Outcome, Question, ReadFile, RunCommand, RunPython
from tale.tasks.plan import outcome_of
from tale.tasks.task import Step, StepResult, Subtask

__all__ = ["check_whole"]

_ANSWER_TOKENS: Final = 200
_TOLD_FILES: Final = 40
_MOST_READ: Final = 60
"""Python files that are looked at together: more take longer to load than they tell."""
_REQUEST_CHARACTERS: Final = 3_000


async def check_whole(
    step: Step, hands: Hands, request: str, plan: Sequence[Subtask]
) -> StepResult:
    """Check what a plan's parts have made together, and say what it is.

    Args:
        step: The last part.
        hands: Who reads, runs and asks.
        request: What the task is about.
        plan: Its parts.

    Raises:
        TaleError: A model could not answer.
    """
    done = [part for part in plan if part.state == "done"]
    _, files = outcome_of(done)
    missing = await _missing(hands, done, files)
    verdicts, why_not = await _checked(hands, request, done, files)
    reply = await hands.ask(_question(step, request, done, files, verdicts))
    holds, said = found(verdicts)
    if missing:
        holds, said = False, ", ".join([*(f"{path} is missing" for path in missing), said][:6])
    failed = [each for each in verdicts if each.held is False]
    faults = [f"{path} was to be written, and is not there." for path in missing]
    faults += [f"`{each.check.name}` fails:\n{each.text}" for each in failed]
    return StepResult(
        reply.text.strip(),
        reply.model,
        reply.role,
        usage=reply.usage,
        reason=reply.reason,
        holds=holds,
        check=said.rstrip(", ") or why_not,
        faults=tuple(faults),
    )


async def _missing(hands: Hands, done: Iterable[Subtask], files: Sequence[str]) -> list[str]:
    """Find what was promised and neither written nor there."""
    promised = dict.fromkeys(path for part in done for path in part.writes)
    return [path for path in promised if path not in files and not await _is_there(hands, path)]


async def _is_there(hands: Hands, path: str) -> bool:
    """Look for a file; one that can't be read as text, such as a picture, is in its folder."""
    if (await hands.act(ReadFile(path))).ok:
        return True
    where = PurePosixPath(path)
    listed = await hands.act(ListFiles(str(where.parent)))
    lines = listed.text.splitlines() if listed.ok else []
    return any(line == where.name or line.startswith(f"{where.name} (") for line in lines)


async def _checked(
    hands: Hands, request: str, done: Sequence[Subtask], files: Sequence[str]
) -> tuple[list[Verdict], str]:
    """Run what can be run; gives why nothing could be, where that is so."""
    python = [path for path in files if path.endswith(".py")][:_MOST_READ]
    contents: dict[str, str] = {}
    for path in python:
        outcome = await hands.act(ReadFile(path))
        if outcome.ok and not outcome.note:  # else it is cut for its length
            contents[path] = outcome.text
    checks = [*plan_checks(request, None, contents), *_given(done)]
    verdicts: list[Verdict] = []
    for check in checks:
        outcome = await hands.act(check.action)
        if outcome.forbidden:
            return verdicts, "you did not allow it"
        if outcome.exit is None and not outcome.ok:
            # It took too long or too much, or nothing runs here at all.
            if not verdicts and not (await hands.act(RunPython("", repeatable=True))).ok:
                return verdicts, "nothing could be run"
            outcome = Outcome(ok=False, text=outcome.text or "It took too long.", exit=-1)
        verdicts.append(judge(check, outcome))
    return verdicts, "there is nothing in it to run"


def _given(done: Iterable[Subtask]) -> list[Check]:
    """Give the parts' own checks, each once."""
    named = {part.check: part.title for part in done if part.check}
    return [
        Check("given", line, RunCommand(line, repeatable=True, about=f"checks: {title}"))
        for line, title in named.items()
    ]


def _question(
    step: Step,
    request: str,
    done: Sequence[Subtask],
    files: Sequence[str],
    verdicts: Sequence[Verdict],
) -> Question:
    """Ask for what the user is told."""
    more = f", and {len(files) - _TOLD_FILES} more" if len(files) > _TOLD_FILES else ""
    told = [
        f"The request:\n{request[:_REQUEST_CHARACTERS]}",
        "Done:\n" + "\n".join(f"- {part.title}" for part in done),
        f"Files: {', '.join(files[:_TOLD_FILES]) or 'none'}{more}",
    ]
    if said := [each.said for each in verdicts if each.said]:
        told.append("Checked:\n" + "\n".join(f"- {each}" for each in said))
    return Question(
        (Message("system", WHOLE_SYSTEM), Message("user", "\n\n".join(told))),
        max_tokens=_ANSWER_TOKENS,
        role=step.role,
        session=step.session or step.task,
    )
