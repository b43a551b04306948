"""Acting by whole files in fenced blocks: the form of small models.

One answer does the whole thing, and this writes, runs and checks it. What is asked next is decided
in `tasks.attempts`. Above: `tasks.agent`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, Literal

from tale.models.backend import Message
from tale.prompts import (
    DOCUMENT_SYSTEM,
    NO_FILE,
    RAN,
    REPEATED,
    RUN_SYSTEM,
    TESTED_WORK_SYSTEM,
    TESTS_SYSTEM,
    WORK_SYSTEM,
    calls_system,
)
from tale.tasks.attempts import Attempt, best_of, next_question
from tale.tasks.calls import call_line, is_call, read_calls
from tale.tasks.checks import is_test
from tale.tasks.examples import signatures_in
from tale.tasks.fenced import AFTERWORD, read_fenced
from tale.tasks.fences import NamedFile
from tale.tasks.hands import Reply, RunCommand
from tale.tasks.languages import is_document
from tale.tasks.task import Role, StepResult
from tale.tasks.transcript import Turn
from tale.tasks.workbench import Workbench, first_line, say_how_it_ended

__all__ = ["work_by_fences"]

_ASKS_FOR_TESTS: Final = re.compile(
    r"\btests\b|\b(?:a|unit|pytest|with)[- ]?test\b|\btest (?:cases?|files?|suite)\b"
    r"|\bpytest\b|\bunittest\b",
    re.IGNORECASE,
)
"""Not "test" alone: many functions test whether something is so."""


async def work_by_fences(bench: Workbench) -> StepResult:
    """Do a step; raises as `tasks.agent.work` does."""
    return await _ByFences(bench).do()


class _ByFences:
    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._desk = bench.desk
        self._hands = bench.hands
        self._ran = False
        self._last_ran: list[tuple[str, str]] = []

    async def do(self) -> StepResult:
        opening = (Message("system", self._system()), Message("user", await self._bench.request()))
        attempts: list[Attempt] = []
        step, limits, session = self._bench.step, self._bench.limits, self._bench.session
        # A part of a plan is work, however it is put.
        role: Role | Literal["auto"] = step.role if step.subtask else "auto"
        # One function is one file, so what comes after that is read by nobody.
        one = len(signatures_in(step.text)) == 1 and opening[0].content == WORK_SYSTEM
        stop = AFTERWORD if one else ()
        while asked := next_question(opening, attempts, limits, session, role=role, stop=stop):
            question, thread = asked
            if attempts and not attempts[-1].goes_on:
                await self._hands.note(_why_again(attempts[-1]))
            reply = await self._hands.ask(question)
            attempts.append(await self._carry_out(reply, thread))
        best = best_of(attempts)
        if best.reply.ran_away:
            turns = [Turn(each.reply.text, "\n".join(each.faults)) for each in attempts]
            await self._bench.give_up("repeated themselves without end", opening, turns)
        if best is not attempts[-1]:
            await self._desk.restore(best.files)
        return await self._bench.result(
            best.reply, best.verdicts, [each.reply for each in attempts]
        )

    async def _carry_out(self, reply: Reply, thread: tuple[Message, ...]) -> Attempt:
        """Write, run and check what an answer has."""
        await say_how_it_ended(reply, self._hands)
        step = self._bench.step
        heads = signatures_in(step.text)
        fenced = read_fenced(reply, heads[-1].name if heads else "", step.writes)
        for note in fenced.notes:
            await self._hands.note(note)
        told = read_calls(reply.text, step.tools)
        # What it writes beside a call, it writes without having been told what that gives.
        files = () if told.calls else self._in_place(fenced.files)
        faults = list(await self._desk.write(files))
        ran: list[tuple[str, str]] = []
        for command in fenced.commands:
            if is_call(command, step.tools):
                continue
            outcome = await self._hands.act(RunCommand(command))
            ran.append((command, outcome.told or "(nothing was printed)"))
            self._ran = True
        for call in told.calls:
            outcome = await self._hands.act(call)
            ran.append((call_line(call), outcome.told or "(it gave nothing)"))
            self._ran = True
        faults += told.faults
        if ran and ran == self._last_ran:
            # Told again it would only be done again; so it is corrected instead, more freely.
            faults += [*(RAN.format(command=line, output=text) for line, text in ran), REPEATED]
            self._last_ran, ran = [], []
        else:
            self._last_ran = list(ran)
        if reply.ran_away:
            faults.append(REPEATED)
        elif not (files or self._ran or self._desk.paths) and self._needs_files():
            faults.append(NO_FILE)
        to_check = self._desk.paths or self._bench.step.check
        verdicts = await self._bench.check() if to_check and not ran else ()
        return Attempt(reply, thread, self._bench.written(), tuple(faults), tuple(ran), verdicts)

    def _in_place(self, files: tuple[NamedFile, ...]) -> tuple[NamedFile, ...]:
        """Give a program that was written anew the name it had, so that there are no two."""
        before = [path for path in self._desk.paths if not is_test(path)]
        if len(files) != 1 or len(before) != 1 or files[0].path.endswith(".partial"):
            return files
        [file], [path] = files, before
        names = {each.name for each in signatures_in(file.content)}
        same = names & {each.name for each in signatures_in(self._desk.files.get(path, ""))}
        return (replace(file, path=path),) if same else files

    def _needs_files(self) -> bool:
        return self._bench.found.kind in {"code", "act"} or self._bench.step.check is not None

    def _system(self) -> str:
        offered = self._bench.offered
        if offered.shown:
            writes = self._bench.found.kind == "code"
            return calls_system(offered.lines(), offered.left_out, writes=writes)
        if writes := self._bench.step.writes:
            if all(map(is_test, writes)):
                return TESTS_SYSTEM
            if all(map(is_document, writes)):
                return DOCUMENT_SYSTEM
        # A part of a plan writes what it says; the tests that the whole asks for are another's.
        if not self._bench.step.subtask and _ASKS_FOR_TESTS.search(self._bench.step.text):
            return TESTED_WORK_SYSTEM
        return RUN_SYSTEM if self._bench.found.kind == "act" else WORK_SYSTEM


def _why_again(attempt: Attempt) -> str:
    """Tell the user why the model is asked again."""
    failed = next((each for each in attempt.verdicts if each.held is False), None)
    if failed is None:
        return f"The model is asked again: {first_line(attempt.faults[0])}"
    first = failed.text.split("\n", 1)[0]
    return f"A check failed ({failed.check.name}); the model is asked again. {first}"
