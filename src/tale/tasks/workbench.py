"""What both forms of acting have in common: the request, the checks, the end of a step.

Effects only through hands. Above: `tasks.by_fences`, `tasks.by_json`. Below: `tasks.desk`,
`tasks.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from tale.errors import TaskError
from tale.models.assess import Assessment, assess
from tale.models.backend import Message
from tale.models.budgets import word_hint
from tale.prompts import THIS_PART
from tale.tasks.attempts import Limits
from tale.tasks.checks import Verdict, found, is_test, judge, plan_checks
from tale.tasks.desk import Desk, transcript_path
from tale.tasks.hands import Hands, ListFiles, Outcome, ReadFile, Reply, RunPython, WriteFile
from tale.tasks.languages import is_file_name
from tale.tasks.offers import Choice, choose
from tale.tasks.task import Step, StepResult, TokensSpent
from tale.tasks.transcript import Turn, for_reader
from tale.tasks.workspace import Workspace

__all__ = ["Workbench", "first_line", "say_how_it_ended"]

_LISTED: Final = 60
_SHOWN_FILES: Final = 4
_SHOWN_CHARACTERS: Final = 6_000
"""Of files that the request names: some 1,500 tokens."""


class Workbench:
    """Where one step of work is done.

    Attributes:
        step: What is to be done.
        hands: Who asks and acts.
        limits: What it may take.
        desk: The files of the step.
        found: What is asked for.
        session: What its questions have in common, for the prefix cache.
        offered: The external tools that the model is shown.
    """

    def __init__(self, step: Step, hands: Hands, limits: Limits) -> None:
        self.step = step
        self.hands = hands
        self.limits = limits
        self.desk = Desk(hands, Workspace(Path(step.workspace)))
        self._told = f"{step.context}\n\n{self._own()}" if step.context else step.text
        found = assess(self._told)
        self.found: Assessment = replace(found, kind=step.wanted) if step.wanted else found
        self.session = step.session or step.task
        self.offered: Choice = choose(step.tools, self._told, step.form)
        self._can_run: bool | None = None
        """Whether anything can be run here; None until that is known."""
        self._why_not = ""
        self._lacked: set[str] = set()
        """Packages that a check lacked, of which the model was told."""

    async def request(self) -> str:
        """Give the text with the files that it is about, and what it may say in words.

        What a part belongs to comes first, as it is the same for many; its own text comes last.
        """
        parts = [self.step.context or self.step.text]
        listed = await self.hands.act(ListFiles())
        names = [line.strip() for line in listed.text.splitlines() if line.strip()]
        if listed.ok and names and not listed.text.endswith("is empty."):
            more = f"\n… and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            parts.append("Files in the workspace:\n" + "\n".join(names[:_LISTED]) + more)
            parts += await self._named_files(names)
        if self.step.context:
            parts.append(self._own())
        if hint := word_hint(self._told, self.found.kind, self.found.band):
            parts.append(hint)
        return "\n\n".join(parts)

    def _own(self) -> str:
        return f"{THIS_PART}\n{self.step.text}"

    async def _named_files(self, names: Sequence[str]) -> list[str]:
        """Read the files that the request names, so that the model needn't ask for them."""
        words = re.findall(r"[\w./\\-]+", self._told)
        named = dict.fromkeys(word.strip(".") for word in words if is_file_name(word.strip(".")))
        there = [each for each in named if any(name.split()[0] == each for name in names)]
        parts: list[str] = []
        for path in there[:_SHOWN_FILES]:
            outcome = await self.hands.act(ReadFile(path))
            if outcome.ok and len(outcome.text) <= _SHOWN_CHARACTERS:
                self.desk.saw(path, outcome.text)
                parts.append(f"FILE: {path}\n```\n{outcome.text.rstrip()}\n```")
        return parts

    def written(self) -> dict[str, str]:
        """Give the content of the files that the step wrote, as it is now."""
        files = self.desk.files
        return {path: files[path] for path in self.desk.paths if path in files}

    async def check(self) -> tuple[Verdict, ...]:
        """Try what can be tried; code that does not load is not tried further."""
        verdicts: list[Verdict] = []
        told = frozenset(self._lacked)
        # Tests that were there and that the request names are to pass too.
        tests = {path: text for path, text in self.desk.files.items() if is_test(path)}
        files = {**tests, **self.written()}
        for check in plan_checks(self.step.text, self.step.check, files):
            if self._can_run is False:
                break
            outcome = await self.hands.act(check.action)
            if outcome.forbidden:
                self._can_run, self._why_not = False, "you did not allow it"
                break
            if outcome.exit is None and self._can_run is None:
                # It took too long, or nothing runs here at all.
                probe = await self.hands.act(RunPython("", repeatable=True))
                self._can_run = probe.ok
            elif outcome.exit is not None:
                self._can_run = True
            if self._can_run is False:
                self._why_not = "nothing could be run"
                await self.hands.note(f"Nothing could be checked: {first_line(outcome.text)}")
                break
            if outcome.exit is None:
                outcome = Outcome(ok=False, text=outcome.text or "It took too long.", exit=-1)
            verdicts.append(judge(check, replace(outcome, text=outcome.told), told))
            self._lacked.add(verdicts[-1].lacks)
            if check.kind == "code" and verdicts[-1].held is False and not verdicts[-1].examples:
                break
        return tuple(verdicts)

    async def result(
        self,
        reply: Reply,
        verdicts: Sequence[Verdict],
        replies: Sequence[Reply],
        *,
        answer: str | None = None,
    ) -> StepResult:
        """End the step, and tell the user of checks that still fail.

        Args:
            reply: The answer that is kept.
            verdicts: What came of its checks.
            replies: All answers, which count.
            answer: What the user is told, where that isn't the reply itself.
        """
        tried = [each for each in verdicts if each.held is not None]
        failed = [each for each in tried if not each.held]
        holds, said = found(verdicts)
        if holds is None and self.desk.paths:
            said = self._why_not or "there is nothing in it to run"
        for each in failed:
            await self.hands.note(f"A check fails still ({each.check.name}): {each.text}")
        return StepResult(
            reply.text if answer is None else answer,
            reply.model,
            reply.role,
            self.desk.paths,
            sum((each.usage for each in replies), TokensSpent()),
            reply.reason,
            turns=len(replies),
            holds=holds,
            check=said,
            faults=tuple(f"{each.check.name}: {each.text}" for each in failed),
        )

    async def give_up(
        self, what: str, opening: Sequence[Message], turns: Sequence[Turn]
    ) -> NoReturn:
        """Write down what was said, and fail.

        Raises:
            TaskError: Always.
        """
        path = transcript_path(self.step.task)
        written = await self.hands.act(WriteFile(path, for_reader(opening, turns)))
        where = f"What was said is in {path} in the workspace. " if written.ok else ""
        raise TaskError(
            f"The model's answers {what}, {len(turns)} times.",
            hint=f"{where}Say it in other words or in smaller parts, or give it to a larger model.",
        )


async def say_how_it_ended(reply: Reply, hands: Hands) -> None:
    """Tell the user of an answer that did not end by itself."""
    if reply.ran_away:
        await hands.note("The answer repeated itself without end; it was stopped.")
    elif reply.finish == "length":
        await hands.note("The answer was cut off: it reached the most tokens one answer has.")


def first_line(text: str) -> str:
    """Give the first line as a sentence."""
    line = text.strip().split("\n", 1)[0]
    return line if line.endswith((".", "…")) else f"{line}."
