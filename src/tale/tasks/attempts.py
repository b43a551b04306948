"""Work in fenced files, decided: what is asked first, what after a failure, and when it is over.

Pure: a question follows from the attempts so far, so a replay asks the same again. The first is
greedy; greedy retries say the same again, so these are freer. A failed check is told with its exact
error, and in the end the attempt that did best is kept. Above: `tasks.agent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tale.models.backend import Message
from tale.prompts import BY_HAND, MEND, QUESTION_TEST, RAN
from tale.tasks.checks import Verdict, score
from tale.tasks.hands import Question, Reply
from tale.tasks.task import Role, TokensSpent

__all__ = ["Attempt", "Limits", "best_of", "next_question", "spent_on", "times_said"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may take.

    Attributes:
        tries: Answers of a model that are checked: the first one and its corrections.
        turns: Answers in all.
        tokens: Prompt and answers, as sent; no new question is asked past it.
        answer: Tokens of one answer.
        garbled: Answers in a row that can't be understood.
    """

    tries: int = 4
    turns: int = 24
    tokens: int = 60_000
    answer: int = 4096
    garbled: int = 4


_GREEDY, _FREER, _FREEST = 0.0, 0.7, 1.0
_ANEW: Final = frozenset({2, 4})
"""Which tries begin anew, without what was said before. A small model that sees its own fault often
repeats it, so every second correction is another draw instead, with an example done by hand."""
_SAME_AT_MOST: Final = 4
"""The same answer so often, though it is asked ever more freely, and nothing else will come."""
_QUESTION_TESTS_AFTER: Final = 2
"""Failures after which its own test is as suspect as the code: two of ten were wrong."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer, and what came of it.

    Attributes:
        thread: What was said between the opening and it that it builds on: commands and what
            came of them.
        files: What the workspace had of its files afterwards, by path.
        faults: What was wrong with the answer itself, for the model.
        ran: The commands it asked for, each with what came of it; it is asked to go on.
        verdicts: What came of the checks.
    """

    reply: Reply
    thread: tuple[Message, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: tuple[str, ...] = ()
    ran: tuple[tuple[str, str], ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def good(self) -> bool:
        """Nothing is known against it."""
        return not self.faults and all(each.held is not False for each in self.verdicts)

    @property
    def goes_on(self) -> bool:
        """It waits to hear what came of its commands."""
        return bool(self.ran)


def next_question(
    opening: tuple[Message, ...],
    attempts: Sequence[Attempt],
    limits: Limits,
    session: str,
    *,
    role: Role | Literal["auto"] = "auto",
    stop: tuple[str, ...] = (),
) -> tuple[Question, tuple[Message, ...]] | None:
    """Say what is asked next, and the `thread` of its answer; None where it is over.

    The first question goes to `role`, all others to whoever answered that; `stop` ends each answer.
    """
    if attempts:
        # The router would judge a correction by its last message, which is no request.
        role = attempts[0].reply.role
    asking = _Asking(opening, limits, session, role, stop)
    if not attempts:
        return asking.question((), _GREEDY), ()
    last = attempts[-1]
    over = len(attempts) >= limits.turns or spent_on(attempts) >= limits.tokens
    if over or (last.good and not last.goes_on):
        return None
    if last.goes_on:
        ran = "\n\n".join(RAN.format(command=line, output=text) for line, text in last.ran)
        told = "\n\n".join((ran, *last.faults))
        thread = (*last.thread, Message("assistant", last.reply.text), Message("user", told))
        return asking.question(thread, _GREEDY), thread
    tried = [each for each in attempts if not each.goes_on]
    alike = times_said(tried)
    if len(tried) >= limits.tries or alike >= _SAME_AT_MOST:
        return None
    temperature = _FREER if alike == 1 and len(tried) < max(_ANEW) else _FREEST
    from_which = last if last.faults else best_of(tried)
    # What said nothing usable is no beginning of something better.
    unusable = from_which.reply.ran_away or not from_which.reply.text.strip()
    draw = alike > 1 or len(tried) in _ANEW
    anew = draw and not last.faults and not _only_tests_fail(last)
    if unusable or anew:
        return asking.anew(BY_HAND if _has_examples(last) else "", temperature), ()
    said = Message("assistant", from_which.reply.text)
    told = Message("user", _feedback(from_which, tried))
    return asking.question((*from_which.thread, said, told), temperature), from_which.thread


def best_of(attempts: Sequence[Attempt]) -> Attempt:
    """Choose what is kept: what passed most; of equals the first, which was the model's likeliest.

    An attempt with files is better than one without, whatever was checked.
    """
    tried = [each for each in attempts if not each.goes_on] or list(attempts)
    return max(tried, key=lambda each: (not each.reply.ran_away, bool(each.files), _worth(each)))


def times_said(attempts: Sequence[Attempt]) -> int:
    """Count how often the last answer was given, with the same result."""
    last = attempts[-1]
    return sum(each.files == last.files and _told(each) == _told(last) for each in attempts)


def spent_on(attempts: Sequence[Attempt]) -> int:
    """Count the tokens sent and generated so far."""
    total = sum((each.reply.usage for each in attempts), TokensSpent())
    return total.prompt + total.completion


def _worth(attempt: Attempt) -> tuple[int, ...]:
    return (*score(attempt.verdicts), -len(attempt.faults))


def _told(attempt: Attempt) -> tuple[str, ...]:
    return (*attempt.faults, *(each.text for each in attempt.verdicts if each.held is False))


def _has_examples(attempt: Attempt) -> bool:
    return any(each.check.examples for each in attempt.verdicts)


def _only_tests_fail(attempt: Attempt) -> bool:
    failed = {each.check.kind for each in attempt.verdicts if each.held is False}
    return failed == {"tests"}


def _feedback(attempt: Attempt, tried: Sequence[Attempt]) -> str:
    failures = "\n\n".join(_told(attempt))
    own_test = all(map(_only_tests_fail, tried[-_QUESTION_TESTS_AFTER:]))
    doubt = QUESTION_TEST if own_test and len(tried) >= _QUESTION_TESTS_AFTER else ""
    return f"{failures}\n\n{MEND}{doubt and ' '}{doubt}"


@dataclass(frozen=True, slots=True)
class _Asking:
    """What all questions of a step have in common."""

    opening: tuple[Message, ...]
    limits: Limits
    session: str
    role: Role | Literal["auto"]
    stop: tuple[str, ...]

    def anew(self, more: str, temperature: float) -> Question:
        """Ask as in the beginning, with a word more."""
        *before, request = self.opening
        said = f"{request.content}\n\n{more}" if more else request.content
        return replace(
            self.question((), temperature),
            messages=(*before, Message(request.role, said)),
        )

    def question(self, after: tuple[Message, ...], temperature: float) -> Question:
        """Ask after what was said."""
        return Question(
            (*self.opening, *after),
            max_tokens=self.limits.answer,
            temperature=temperature,
            role=self.role,
            session=self.session,
            stop=self.stop,
        )
