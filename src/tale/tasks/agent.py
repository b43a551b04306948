"""The agent that does a step: it asks, has things done, checks, and decides what comes next.

It only decides. Whatever lies outside of it goes through `Hands`, and it reads no clock and throws
no dice, so that given the same replies it does the same again: that is how a step goes on after a
crash. Two forms of acting: `fences`, in which one answer does the whole thing, for small models;
`json`, one action a turn, for models that hold a form. Above: `tasks.engine` (hands that
record). Below, all pure: `tasks.attempts`, `tasks.moves`,
`tasks.checks`, `tasks.transcript`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from tale.errors import TaskError
from tale.models.assess import Assessment, assess
from tale.models.backend import Message
from tale.models.budgets import word_hint
from tale.prompts import (
    CHAT_SYSTEM,
    NO_FILE,
    NOT_HELD,
    REPEATED,
    RUN_SYSTEM,
    TESTED_WORK_SYSTEM,
    WORK_SYSTEM,
    actions_system,
)
from tale.tasks.attempts import Attempt, Limits, best_of, next_question
from tale.tasks.checks import Verdict, is_test, judge, plan_checks
from tale.tasks.desk import Desk, transcript_path
from tale.tasks.examples import signatures_in
from tale.tasks.fenced import read_fenced
from tale.tasks.fences import NamedFile
from tale.tasks.hands import (
    Action,
    EditFile,
    Hands,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.languages import is_file_name
from tale.tasks.moves import AskUser, Finish, Garbled, move_schema, read_move
from tale.tasks.task import Role, Step, StepResult, TokensSpent
from tale.tasks.transcript import Turn, for_model, for_reader

__all__ = ["work"]

_TALK_TOKENS: Final = 1024
_TALK_TEMPERATURE: Final = 0.3
_ACTION_TOKENS: Final = 3072
_ASKS_FOR_TESTS: Final = re.compile(
    r"\btests\b|\b(?:a|unit|pytest|with)[- ]?test\b|\btest (?:cases?|files?|suite)\b"
    r"|\bpytest\b|\bunittest\b",
    re.IGNORECASE,
)
"""Not "test" alone: many functions test whether something is so."""
_LISTED: Final = 60
_SHOWN_FILES: Final = 4
_SHOWN_CHARACTERS: Final = 6_000
"""Of files that the request names: some 1,500 tokens."""
_SAME_AGAIN: Final = 3
"""The same action with the same result so often, and the step is given up."""


async def work(step: Step, hands: Hands, limits: Limits | None = None) -> StepResult:
    """Do a step.

    Args:
        step: What to do, and where.
        hands: Who asks and acts for it.
        limits: What it may take.

    Raises:
        TaleError: A model could not answer, or the workspace can't be written.
        TaskError: The models' answers were of no use however often they were asked; the transcript
            is in the workspace.
    """
    if step.kind == "talk":
        return await _talk(step, hands)
    return await _Work(step, hands, limits or Limits()).do()


async def _talk(step: Step, hands: Hands) -> StepResult:
    messages = (Message("system", CHAT_SYSTEM), Message("user", step.text))
    reply = await hands.ask(
        Question(messages, _TALK_TOKENS, _TALK_TEMPERATURE, session=step.session or step.task)
    )
    await _say_how_it_ended(reply, hands)
    return StepResult(
        reply.text, reply.model, reply.role, usage=reply.usage, reason=reply.reason, turns=1
    )


async def _say_how_it_ended(reply: Reply, hands: Hands) -> None:
    if reply.ran_away:
        await hands.note("The answer repeated itself without end; it was stopped.")
    elif reply.finish == "length":
        await hands.note("The answer was cut off: it reached the most tokens one answer has.")


class _Work:
    """A step of work while it is done."""

    def __init__(self, step: Step, hands: Hands, limits: Limits) -> None:
        self._step = step
        self._hands = hands
        self._limits = limits
        self._session = step.session or step.task
        # A part of a plan is work, however it is put.
        self._role: Role | Literal["auto"] = step.role if step.subtask else "auto"
        self._desk = Desk(hands)
        self._found: Assessment = assess(step.text)
        self._ran = False
        self._can_run: bool | None = None
        """Whether anything can be run here; None until that is known."""

    async def do(self) -> StepResult:
        """Do it in the form that suits its model."""
        request = await self._request()
        return await (
            self._by_json(request) if self._step.form == "json" else self._by_fences(request)
        )

    async def _request(self) -> str:
        """Give the text with the files that it is about, and what it may say in words."""
        parts = [self._step.text]
        listed = await self._hands.act(ListFiles())
        names = [line.strip() for line in listed.text.splitlines() if line.strip()]
        if listed.ok and names and not listed.text.endswith("is empty."):
            more = f"\n… and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            parts.append("Files in the workspace:\n" + "\n".join(names[:_LISTED]) + more)
            parts += await self._named_files(names)
        if hint := word_hint(self._step.text, self._found.kind, self._found.band):
            parts.append(hint)
        return "\n\n".join(parts)

    async def _named_files(self, names: Sequence[str]) -> list[str]:
        """Read the files that the request names, so that the model needn't ask for them."""
        words = re.findall(r"[\w./\\-]+", self._step.text)
        named = dict.fromkeys(word.strip(".") for word in words if is_file_name(word.strip(".")))
        there = [each for each in named if any(name.split()[0] == each for name in names)]
        parts: list[str] = []
        for path in there[:_SHOWN_FILES]:
            outcome = await self._hands.act(ReadFile(path))
            if outcome.ok and len(outcome.text) <= _SHOWN_CHARACTERS:
                self._desk.saw(path, outcome.text)
                parts.append(f"FILE: {path}\n```\n{outcome.text.rstrip()}\n```")
        return parts

    # -- whole files in fences ---------------------------------------------------------------------

    async def _by_fences(self, request: str) -> StepResult:
        opening = (Message("system", self._system()), Message("user", request))
        attempts: list[Attempt] = []
        while asked := next_question(opening, attempts, self._limits, self._session, self._role):
            question, thread = asked
            if attempts and not attempts[-1].goes_on:
                await self._hands.note(_why_again(attempts[-1]))
            reply = await self._hands.ask(question)
            attempts.append(await self._carry_out(reply, thread))
        best = best_of(attempts)
        if best.reply.ran_away:
            turns = [Turn(each.reply.text, "\n".join(each.faults)) for each in attempts]
            await self._give_up("repeated themselves without end", opening, turns)
        if best is not attempts[-1]:
            await self._desk.restore(best.files)
        return await self._result(best.reply, best.verdicts, [each.reply for each in attempts])

    async def _carry_out(self, reply: Reply, thread: tuple[Message, ...]) -> Attempt:
        """Write, run and check what an answer has."""
        await _say_how_it_ended(reply, self._hands)
        heads = signatures_in(self._step.text)
        fenced = read_fenced(reply, heads[-1].name if heads else "")
        for note in fenced.notes:
            await self._hands.note(note)
        faults = list(await self._desk.write(self._in_place(fenced.files)))
        ran: list[tuple[str, str]] = []
        for command in fenced.commands:
            outcome = await self._hands.act(RunCommand(command))
            ran.append((command, outcome.text or "(nothing was printed)"))
            self._ran = True
        if reply.ran_away:
            faults.append(REPEATED)
        elif not (fenced.files or self._ran or self._desk.paths) and self._needs_files():
            faults.append(NO_FILE)
        to_check = self._desk.paths or self._step.check
        verdicts = await self._check() if to_check and not ran else ()
        return Attempt(reply, thread, self._written(), tuple(faults), tuple(ran), verdicts)

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
        return self._found.kind in {"code", "act"} or self._step.check is not None

    def _written(self) -> dict[str, str]:
        files = self._desk.files
        return {path: files[path] for path in self._desk.paths if path in files}

    def _system(self) -> str:
        if _ASKS_FOR_TESTS.search(self._step.text):
            return TESTED_WORK_SYSTEM
        return RUN_SYSTEM if self._found.kind == "act" else WORK_SYSTEM

    # -- one action a turn as JSON -----------------------------------------------------------------

    async def _by_json(self, request: str) -> StepResult:
        tools = self._step.tools
        opening = (
            Message("system", actions_system([(each.name, each.description) for each in tools])),
            Message("user", request),
        )
        schema = move_schema(tools)
        turns: list[Turn] = []
        replies: list[Reply] = []
        done: list[tuple[Action, Outcome]] = []
        garbled = rejected = same = 0
        verdicts: tuple[Verdict, ...] = ()
        while True:
            spent = sum((each.usage for each in replies), TokensSpent())
            if len(replies) >= self._limits.turns or (
                spent.prompt + spent.completion >= self._limits.tokens
            ):
                await self._hands.note("It was ended: the step used up what it may take.")
                return await self._result(replies[-1], await self._check(), replies)
            question = Question(
                (*opening, *for_model(turns)),
                _ACTION_TOKENS,
                0.0 if not (garbled or same) else 0.7,
                role=self._step.role,
                schema=schema,
                session=self._session,
            )
            reply = await self._hands.ask(question)
            replies.append(reply)
            move = read_move(reply.text, tools)
            match move:
                case Garbled(fault):
                    garbled += 1
                    turns.append(Turn(reply.text, fault))
                    if garbled >= self._limits.garbled:
                        await self._give_up("could not be understood", opening, turns)
                    continue
                case AskUser(text):
                    return await self._result(reply, verdicts, replies, asks=text)
                case Finish(text):
                    verdicts = await self._check()
                    failed = [each.text for each in verdicts if each.held is False]
                    if not failed or rejected >= self._limits.tries - 1:
                        return await self._result(reply, verdicts, replies, answer=text)
                    rejected += 1
                    told = NOT_HELD.format(failures="\n\n".join(failed))
                case _:
                    outcome = await self._act(move)
                    again = bool(done) and done[-1] == (move, outcome)
                    same = same + 1 if again else 0
                    done.append((move, outcome))
                    told = outcome.text or ("Done." if outcome.ok else "It failed.")
                    if same >= _SAME_AGAIN - 1:
                        await self._give_up("did the same again and again", opening, turns)
                    told = f"{told}\n{REPEATED}" if again else told
            garbled = 0
            turns.append(Turn(reply.text, told))

    async def _act(self, action: Action) -> Outcome:
        match action:
            case WriteFile(path, content):
                faults = await self._desk.write([NamedFile(path, content)])
                return Outcome(not faults, "\n".join(faults) or f"{path} is written.")
            case EditFile():
                return await self._desk.act(action)
            case ReadFile(path):
                outcome = await self._hands.act(action)
                if outcome.ok and not outcome.note:
                    self._desk.saw(path, outcome.text)
                return outcome
            case _:
                return await self._hands.act(action)

    # -- checks and the end ------------------------------------------------------------------------

    async def _check(self) -> tuple[Verdict, ...]:
        """Try what can be tried; code that does not load is not tried further."""
        verdicts: list[Verdict] = []
        for check in plan_checks(self._step.text, self._step.check, self._written()):
            if self._can_run is False:
                break
            outcome = await self._hands.act(check.action)
            if outcome.exit is None and self._can_run is None:
                # It took too long, or nothing runs here at all.
                probe = await self._hands.act(RunPython("", repeatable=True))
                self._can_run = probe.ok
            elif outcome.exit is not None:
                self._can_run = True
            if self._can_run is False:
                await self._hands.note(f"Nothing could be checked: {_sentence(outcome.text)}")
                break
            if outcome.exit is None:
                outcome = Outcome(ok=False, text=outcome.text or "It took too long.", exit=-1)
            verdicts.append(judge(check, outcome))
            if check.kind == "code" and verdicts[-1].held is False and not verdicts[-1].examples:
                break
        return tuple(verdicts)

    async def _result(
        self,
        reply: Reply,
        verdicts: Sequence[Verdict],
        replies: Sequence[Reply],
        *,
        answer: str | None = None,
        asks: str = "",
    ) -> StepResult:
        tried = [each for each in verdicts if each.held is not None]
        failed = [each for each in tried if not each.held]
        said = ", ".join(f"{each.check.name}: {'yes' if each.held else 'no'}" for each in tried)
        for each in failed:
            await self._hands.note(f"A check fails still ({each.check.name}): {each.text}")
        return StepResult(
            reply.text if answer is None else answer,
            reply.model,
            reply.role,
            self._desk.paths,
            sum((each.usage for each in replies), TokensSpent()),
            reply.reason,
            turns=len(replies),
            holds=not failed if tried else None,
            check=said,
            asks=asks,
        )

    async def _give_up(self, what: str, opening: Sequence[Message], turns: Sequence[Turn]) -> None:
        path = transcript_path(self._step.task)
        written = await self._hands.act(WriteFile(path, for_reader(opening, turns)))
        where = f"What was said is in {path} in the workspace. " if written.ok else ""
        raise TaskError(
            f"The model's answers {what}, {len(turns)} times.",
            hint=f"{where}Say it in other words or in smaller parts, or give it to a larger model.",
        )


def _why_again(attempt: Attempt) -> str:
    """Tell the user why the model is asked again."""
    failed = next((each for each in attempt.verdicts if each.held is False), None)
    if failed is None:
        return f"The model is asked again: {_sentence(attempt.faults[0])}"
    first = failed.text.split("\n", 1)[0]
    return f"A check failed ({failed.check.name}); the model is asked again. {first}"


def _sentence(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if line.endswith((".", "…")) else f"{line}."
