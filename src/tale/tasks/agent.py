"""The agent that does a step: one model call, and the files it gave written into the workspace.

The model writes files as fenced blocks and this module, not the model, performs the effects, which
is what small models do most reliably. A loop with tools and checks will stand behind the same
function. Above: `servers.execution`. Below: `tasks.fences`, `tasks.workspace`, and the models
server through `models.caller`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread

from tale.models.assess import assess
from tale.models.backend import ChatRequest, Chunk, FinishReason, Message, Role, Usage
from tale.models.budgets import word_hint
from tale.models.caller import ModelCaller, Purpose
from tale.models.runaway import before_rambling, runs_away
from tale.prompts import CHAT_SYSTEM, TESTED_WORK_SYSTEM, WORK_SYSTEM
from tale.tasks.fences import Fences, NamedFile, parse_fences
from tale.tasks.languages import SHELLS, default_name
from tale.tasks.task import (
    STEP_SECONDS,
    Began,
    FileWritten,
    Noted,
    Report,
    Step,
    StepResult,
    TokenSaid,
    TokensSpent,
)
from tale.tasks.workspace import Refused, Workspace

__all__ = ["run_step"]

_MAX_TOKENS: Final = {"talk": 1024, "work": 4096}
_TEMPERATURES: Final = {"talk": (0.3,), "work": (0.0, 0.7)}
"""One for each try. Work is greedy first, so that the same step gives the same files; an answer
that runs away does so again at 0, so the second try is freer."""
_CHECK_CHARACTERS: Final = 256
_ASKS_FOR_TESTS: Final = re.compile(
    r"\btests\b|\b(?:a|unit|pytest|with)[- ]?test\b|\btest (?:cases?|files?|suite)\b"
    r"|\bpytest\b|\bunittest\b",
    re.IGNORECASE,
)
"""Not "test" alone: many functions test whether something is so."""


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer as it came; `ran_away` where it was stopped because it repeated itself."""

    text: str
    model: str
    role: Role
    reason: str
    finish: FinishReason
    usage: Usage
    ran_away: bool


async def run_step(step: Step, models: ModelCaller, report: Report) -> StepResult:
    """Do a step.

    Args:
        step: What to do, and where.
        models: Whom to ask.
        report: Hears that it began, then tokens, files and notes as they come.

    Raises:
        TaleError: The model could not answer, or the workspace can't be written.
    """
    await report(Began())
    said = await _ask(step, models, report)
    if said.ran_away:
        await report(Noted("The answer repeated itself without end; it was stopped."))
    elif said.finish == "length":
        await report(Noted("The answer was cut off: it reached the most tokens one answer has."))
    files = () if step.kind == "talk" else await _write(step, said.text, said.finish, report)
    spent = TokensSpent(said.usage.prompt, said.usage.completion, said.usage.cached)
    return StepResult(said.text, said.model, said.role, files, spent, said.reason)


async def _ask(step: Step, models: ModelCaller, report: Report) -> _Said:
    """Ask the model, a second time where its first answer runs away."""
    first, *others = _TEMPERATURES[step.kind]
    said = await _ask_once(step, models, report, first)
    for temperature in others:
        if not said.ran_away:
            break
        await report(Noted("The answer repeated itself without end; the model is asked again."))
        said = await _ask_once(step, models, report, temperature)
    return said


async def _ask_once(step: Step, models: ModelCaller, report: Report, temperature: float) -> _Said:
    request = ChatRequest(
        (Message("system", _system(step)), Message("user", _asked(step))),
        max_tokens=_MAX_TOKENS[step.kind],
        temperature=temperature,
    )
    text, checked, ran_away = "", 0, False
    last = Chunk()

    async def held_up(why: str) -> None:
        await report(Noted(why))

    # The task is a session of its own unless it comes from a conversation.
    purpose = Purpose(session=step.session or step.task)
    async with models.stream(
        request, "auto", STEP_SECONDS, purpose=purpose, held_up=held_up
    ) as answer:
        async for chunk in answer:
            if chunk.text:
                text += chunk.text
                await report(TokenSaid(chunk.text))
            last = chunk if chunk.finish else last
            if len(text) - checked >= _CHECK_CHARACTERS:
                checked = len(text)
                if ran_away := _repeats(step, text):
                    break
        model, role, reason = answer.model, answer.role or step.role, answer.reason
    finish = "length" if ran_away else last.finish or "stop"
    return _Said(text, model, role, reason, finish, last.usage or Usage(), ran_away)


def _system(step: Step) -> str:
    if step.kind == "talk":
        return CHAT_SYSTEM
    return TESTED_WORK_SYSTEM if _ASKS_FOR_TESTS.search(step.text) else WORK_SYSTEM


def _asked(step: Step) -> str:
    """Give the text with what it may say in words, where nobody else says so.

    `CHAT_SYSTEM` asks for a few sentences already, in tokens that are cached: told again with each
    question, the 0.5B said a quarter less, and the hints themselves took as much.
    """
    if step.kind == "talk":
        return step.text
    found = assess(step.text)
    hint = word_hint(step.text, found.kind, found.band)
    return f"{step.text}\n\n{hint}" if hint else step.text


def _repeats(step: Step, text: str) -> bool:
    return runs_away(text) or (step.kind == "talk" and before_rambling(text) is not None)


async def _write(step: Step, text: str, finish: FinishReason, report: Report) -> tuple[str, ...]:
    """Write the files of an answer; what can't be written is told, and the others still are."""
    found = parse_fences(text)
    for problem in found.problems:
        await report(Noted(problem))
    workspace = Workspace(Path(step.workspace))
    written: list[str] = []
    for file in found.files or await _only_block(found, report):
        # Half a file must not take the place of a whole one.
        cut_off = finish == "length" and not file.complete
        path = f"{file.path}.partial" if cut_off else file.path
        outcome = await to_thread.run_sync(workspace.write, path, file.content)
        if isinstance(outcome, Refused):
            await report(Noted(f"{outcome.path} was not written: {outcome.why}."))
            continue
        written.append(outcome.path)
        await report(FileWritten(outcome.path, outcome.bytes))
        if outcome.replaced:
            await report(Noted(f"{outcome.path} was there already; it was replaced."))
    return tuple(written)


async def _only_block(found: Fences, report: Report) -> tuple[NamedFile, ...]:
    """Make a file of the one block that an answer has, though it names none."""
    blocks = [block for block in found.blocks if block.language not in SHELLS]
    if len(blocks) != 1 or not blocks[0].content.strip():
        return ()
    block = blocks[0]
    name = default_name(block.language)
    await report(Noted(f"The model named no file; its code is in {name}."))
    return (NamedFile(name, block.content, block.complete),)
