"""What is asked of the router, and what it answers: values, which everybody above may read.

Above: `router`, which makes them, `dispatch`, which carries them out, and `tale route`, which shows
them. Below: `assess`, `budgets`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tale.errors import TaleError
from tale.models.assess import Assessment, Band, Kind
from tale.models.backend import Role
from tale.models.budgets import Budget

__all__ = ["Decision", "Refusal", "RouteRequest"]


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What is to be judged.

    Attributes:
        text: The user's last message.
        wants_tools: Whether the caller offers tools, which small models use badly.
        wants_json: Whether the answer has to be JSON.
        model: A role or a real name, where the caller wants that model; empty or `auto` leaves it
            to the router. Budget, chain and time limit are decided all the same.
        assessment: What the text is, where that is known already.
        kind: What the text asks for, where the caller knows (a plan, a summary).
        prompt_tokens: The whole prompt as estimated; None estimates it from the text.
        max_tokens: The caller's limit of the answer.
        deadline: Seconds until the answer is of no use any more.
        checkable: The answer comes whole and can be checked, so a small model may try first.
    """

    text: str
    wants_tools: bool = False
    wants_json: bool = False
    model: str = ""
    assessment: Assessment | None = None
    kind: Kind | None = None
    prompt_tokens: int | None = None
    max_tokens: int | None = None
    deadline: float | None = None
    checkable: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is to answer, and how.

    Attributes:
        target: The real name of the model.
        role: Its core role; None for a further model or a remote endpoint.
        assessment: What the text is.
        kind: What is asked for: as assessed, or as the caller said.
        band: How hard that is.
        reason: Why that model, in words.
        confidence: 0.5 to 1: how surely it is the right one.
        prompt_tokens: Tokens of the prompt that are expected, in that model's tokenizer.
        completion_tokens: Tokens of the answer that are expected.
        success: How probably the answer is good.
        seconds: How long it is expected to take.
        budget: The limit of the answer, and the one after it was cut off. Either fits beside the
            prompt into the window.
        words: What to tell the model about the length of its answer; empty to tell it nothing. The
            same for the same text, whoever answers.
        time_limit: Seconds after which the model is taken to hang; within the deadline.
        chain: Real names of those who answer if it can't, in this order.
        cascade: The answer is to be checked, and the first of the chain takes over if it is bad.
        rejected: Every other model, and why it wasn't chosen.
    """

    target: str
    role: Role | None
    assessment: Assessment
    kind: Kind
    band: Band
    reason: str
    confidence: float
    prompt_tokens: int
    completion_tokens: int
    success: float
    seconds: float
    budget: Budget
    words: str
    time_limit: float
    chain: tuple[str, ...]
    cascade: bool = False
    rejected: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """What the pool knows the target by. Both roles may be played by one model."""
        return self.role or self.target


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody can answer.

    Attributes:
        error: What to raise: it says what was asked for, what there is, and what to do.
        assessment: What the text is.
        kind: What is asked for.
        rejected: Every model, and why it can't.
    """

    error: TaleError
    assessment: Assessment
    kind: Kind
    rejected: tuple[tuple[str, str], ...]
