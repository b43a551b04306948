"""The agent that asks once: one model call, and the files it gave written into the workspace.

It stands in for `tasks.agent` until that works with hands. Above: `tasks.engine`. Below:
`tasks.fences`.
"""

from __future__ import annotations

import re
from typing import Final

from tale.models.assess import assess
from tale.models.backend import Message
from tale.models.budgets import word_hint
from tale.prompts import CHAT_SYSTEM, TESTED_WORK_SYSTEM, WORK_SYSTEM
from tale.tasks.fences import Fences, NamedFile, parse_fences
from tale.tasks.hands import Hands, Question, Reply, WriteFile
from tale.tasks.languages import SHELLS, default_name
from tale.tasks.task import Step, StepResult

__all__ = ["work"]

_MAX_TOKENS: Final = {"talk": 1024, "work": 4096}
_TEMPERATURES: Final = {"talk": (0.3,), "work": (0.0, 0.7)}
"""One for each try. Work is greedy first, so that the same step gives the same files; an answer
that runs away does so again at 0, so the second try is freer."""
_ASKS_FOR_TESTS: Final = re.compile(
    r"\btests\b|\b(?:a|unit|pytest|with)[- ]?test\b|\btest (?:cases?|files?|suite)\b"
    r"|\bpytest\b|\bunittest\b",
    re.IGNORECASE,
)


async def work(step: Step, hands: Hands) -> StepResult:
    """Do a step; raises `TaleError`s."""
    said = await _ask(step, hands)
    if said.ran_away:
        await hands.note("The answer repeated itself without end; it was stopped.")
    elif said.finish == "length":
        await hands.note("The answer was cut off: it reached the most tokens one answer has.")
    files = () if step.kind == "talk" else await _write(said, hands)
    return StepResult(said.text, said.model, said.role, files, said.usage, said.reason)


async def _ask(step: Step, hands: Hands) -> Reply:
    """Ask the model, a second time where its first answer runs away."""
    first, *others = _TEMPERATURES[step.kind]
    said = await hands.ask(_question(step, first))
    for temperature in others:
        if not said.ran_away:
            break
        await hands.note("The answer repeated itself without end; the model is asked again.")
        said = await hands.ask(_question(step, temperature))
    return said


def _question(step: Step, temperature: float) -> Question:
    messages = (Message("system", _system(step)), Message("user", _asked(step)))
    # A part of a plan is work, however it is put.
    role = step.role if step.subtask else "auto"
    return Question(messages, _MAX_TOKENS[step.kind], temperature, role, session=step.session)


def _system(step: Step) -> str:
    if step.kind == "talk":
        return CHAT_SYSTEM
    return TESTED_WORK_SYSTEM if _ASKS_FOR_TESTS.search(step.text) else WORK_SYSTEM


def _asked(step: Step) -> str:
    if step.kind == "talk":
        return step.text
    found = assess(step.text)
    hint = word_hint(step.text, found.kind, found.band)
    return f"{step.text}\n\n{hint}" if hint else step.text


async def _write(said: Reply, hands: Hands) -> tuple[str, ...]:
    """Write the files of an answer; what can't be written is told, and the others still are."""
    found = parse_fences(said.text)
    for problem in found.problems:
        await hands.note(problem)
    written: list[str] = []
    for file in found.files or await _only_block(found, hands):
        # Half a file must not take the place of a whole one.
        cut_off = said.finish == "length" and not file.complete
        path = f"{file.path}.partial" if cut_off else file.path
        outcome = await hands.act(WriteFile(path, file.content))
        if not outcome.ok:
            await hands.note(outcome.text)
        written += [change.path for change in outcome.files]
        for change in outcome.files:
            if change.replaced:
                await hands.note(f"{change.path} was there already; it was replaced.")
    return tuple(written)


async def _only_block(found: Fences, hands: Hands) -> tuple[NamedFile, ...]:
    """Make a file of the one block that an answer has, though it names none."""
    blocks = [block for block in found.blocks if block.language not in SHELLS]
    if len(blocks) != 1 or not blocks[0].content.strip():
        return ()
    block = blocks[0]
    name = default_name(block.language)
    await hands.note(f"The model named no file; its code is in {name}.")
    return (NamedFile(name, block.content, block.complete),)
