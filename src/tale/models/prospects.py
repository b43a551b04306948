"""What one model promises for one request: does it fit, how well, how soon, and what it is worth.

Pure. Worth is the chance of a good answer less what getting it costs, on one scale: an answer that
is surely good, at once and for nothing, is worth 1. Above: `router`, which compares. Below:
`estimates` and `budgets`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from tale.models.assess import Band, Kind
from tale.models.backend import Role
from tale.models.budgets import Budget, budget
from tale.models.estimates import Estimate

__all__ = ["Demand", "ModelFacts", "Prospect", "core_worth", "prospect"]

# The large model is what all work waits for, and its tokens take three times the computing: the
# small one answers unless the large one is right in so many more of a hundred cases. A remote
# endpoint costs money, and the text leaves the machine.
# Work goes on for long while somebody may want to talk: the small model, whose processor time comes
# first, is kept free for that.
_WORK_ON_UX: Final = 0.2
_PRICES: Final = {"ux": 0.0, "task": 0.12, "local": 0.12, "remote": 0.3}
# A second that the model works, and one that it hasn't begun yet, during which nothing shows.
_WORKING: Final = 0.002
_WAITING: Final = 0.005
# However long it takes, a good answer late is still better than a bad one at once.
_COST_LIMIT: Final = 0.6
# What an answer that comes too late is still worth: the limit on time is a guess too.
_TOO_LATE: Final = 0.2
# A model that isn't up and doesn't say when it will be.
_UNKNOWN_WAIT: Final = 60.0
# Half of a prompt is in the prefix cache: system prompts and conversations begin alike.
_COMPUTED: Final = 0.5
# Prompts are estimated at 3 bytes a token; prose has at most 5.
_DENSEST: Final = 0.6
# As much is kept for the answer where a conversation is shortened.
_LEAST_ROOM: Final = 512
# Small models call tools that aren't there; grammars keep their JSON well-formed, not right.
_SKILL: Final[dict[str, tuple[float, float]]] = {"ux": (0.6, 0.95)}  # with tools, with JSON
# A limit on time is for what hangs or crawls: four times slower than usual is a busy machine.
_PATIENCE: Final = 2.0
_LEAST_LIMIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model as it stands now.

    Attributes:
        name: What it is asked for by: its real name, or that of the endpoint in the settings.
        role: Its core role; None for a further model or a remote endpoint.
        context: Tokens of its window, the answer included.
        up: It can answer, now or as soon as `ready_in` says: a load that takes its usual course.
        state: What it is doing, in a word that follows "is".
        ready_in: Seconds until it can answer; None if unknown, or if it can now.
        slots: Requests that it generates side by side.
        in_flight: Requests that it is generating.
        waiting: Requests that wait for one of its slots.
        local: It runs on the user's own machines.
        per_token: Measured seconds for a token of an answer; None takes the learned ones.
        learned_as: The name under which its outcomes are kept, where that is another.
    """

    name: str
    role: Role | None = None
    context: int = 8192
    up: bool = True
    state: str = "ready"
    ready_in: float | None = None
    slots: int = 1
    in_flight: int = 0
    waiting: int = 0
    local: bool = True
    per_token: float | None = None
    learned_as: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called: by its real name, and by its role."""
        return (self.name,) if self.role is None else (self.name, self.role)

    @property
    def sort(self) -> Literal["ux", "task", "local", "remote"]:
        """What it costs is a matter of this."""
        return self.role or ("local" if self.local else "remote")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks of any model.

    Attributes:
        kind: What is asked for.
        band: How hard that is.
        prompt: Tokens of the whole prompt, as estimated.
        source: Tokens of the user's own message.
        own_length: The message says how long the answer is to be.
        max_tokens: The caller's limit of the answer.
        wants_tools: Tools are offered.
        wants_json: The answer has to be JSON.
        deadline: Seconds until it is of no use any more.
        work: It becomes a task, rather than being answered in the conversation.
    """

    kind: Kind
    band: Band
    prompt: int
    source: int = 0
    own_length: bool = False
    max_tokens: int | None = None
    wants_tools: bool = False
    wants_json: bool = False
    deadline: float | None = None
    work: bool = False


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one model promises.

    Attributes:
        model: The model.
        success: How probably its answer is good, and in time.
        wait: Seconds until it begins.
        seconds: Seconds until the answer is there, `wait` among them.
        time_limit: Seconds after which it is taken to hang.
        prompt: Tokens of the prompt, in its tokenizer.
        completion: Tokens of the answer that are expected.
        budget: The limits of the answer.
        tight: The prompt fits only if it has fewer tokens than were estimated.
        price: What the model costs, however long it takes.
        cost: What the answer costs, on the scale of `success`.
        weight: What the user multiplies its success by.
    """

    model: ModelFacts
    success: float
    wait: float
    seconds: float
    time_limit: float
    prompt: int
    completion: int
    budget: Budget
    tight: bool
    price: float
    cost: float
    weight: float

    @property
    def worth(self) -> float:
        """What decides."""
        return self.success * self.weight - self.cost

    @property
    def wait_cost(self) -> float:
        """The part of the cost that is owed to waiting."""
        return self.cost - _price_of_time(self.seconds - self.wait, 0.0) - self.price


def prospect(
    model: ModelFacts, demand: Demand, expected: Estimate, weight: float = 1.0
) -> Prospect | None:
    """Judge one model; None where its window can't hold the request.

    Args:
        model: The model.
        demand: What is asked of it.
        expected: What was learned of it for this kind and band.
        weight: What the user multiplies its success by.
    """
    prompt, tight = _fits(demand.prompt, model.context, expected.prompt_scale)
    limits = budget(
        demand.kind,
        expected.completion_most,
        source=demand.source,
        own_length=demand.own_length,
        room=_room(model.context, prompt, demand.prompt, tight=tight),
        asked=demand.max_tokens,
    )
    if limits is None:
        return None
    wanted = max(expected.completion, demand.source if demand.kind == "transform" else 0)
    completion = max(1, min(round(wanted), limits.raised))
    per_token = expected.per_token if model.per_token is None else model.per_token
    prefill = expected.first_token + prompt * _COMPUTED * expected.per_prompt_token
    work = prefill + completion * per_token
    wait = _wait(model, work)
    price = _price(model.sort, demand)
    success = expected.success * _skill(model.role, demand) * min(1.0, limits.raised / wanted)
    if demand.deadline is not None and wait + work > demand.deadline:
        success *= _TOO_LATE
    return Prospect(
        model,
        success,
        wait,
        wait + work,
        _LEAST_LIMIT + wait + _PATIENCE * (prefill / _COMPUTED + limits.raised * per_token),
        prompt,
        completion,
        limits,
        tight,
        price,
        price + _price_of_time(work, wait),
        weight,
    )


def core_worth(role: Role, demand: Demand, expected: Estimate, weight: float) -> float:
    """Give what the model of a role is worth for a request when nothing is going on."""
    work = expected.first_token + expected.completion * expected.per_token
    return (
        expected.success * _skill(role, demand) * weight
        - _price(role, demand)
        - _price_of_time(work)
    )


def _fits(estimated: int, context: int, scale: float) -> tuple[int, bool]:
    """Give the tokens that a prompt has in a model's tokenizer, and whether it is tight.

    What was learned may say less than the estimate, and the next prompt be code or Chinese: so the
    larger one has to fit. Where it doesn't, the prompt may still be prose, and the model is tried
    if there is no other.
    """
    learned = math.ceil(estimated * scale)
    if max(estimated, learned) < context:
        return learned, False
    return math.ceil(estimated * min(scale, _DENSEST)), True


def _room(context: int, prompt: int, estimated: int, *, tight: bool) -> int:
    """Give the tokens that an answer may be allowed.

    A strict server refuses a limit that doesn't fit beside the prompt, and half of all prompts have
    more tokens than were learned: so the larger figure counts. A prompt that nearly fills the
    window by that one has probably fewer, and its answer isn't cut off to a few words.
    """
    likely = context - prompt
    return likely if tight else max(context - max(prompt, estimated), min(likely, _LEAST_ROOM))


def _skill(role: Role | None, demand: Demand) -> float:
    """Give what is left of a model's success with tools, or in JSON."""
    tools, json = _SKILL.get(role or "", (1.0, 1.0))
    return (tools if demand.wants_tools else 1.0) * (json if demand.wants_json else 1.0)


def _wait(model: ModelFacts, work: float) -> float:
    """Estimate the seconds until a model begins: until it is up, and until a slot is free."""
    unsaid = 0.0 if model.up else _UNKNOWN_WAIT
    coming = unsaid if model.ready_in is None else max(0.0, model.ready_in)
    slots = max(1, model.slots)
    before = model.in_flight + model.waiting - slots + 1
    # Those before are taken to need as long as this one, and to be half done.
    return coming + (max(0, before) / slots) * work * (0.5 if model.waiting == 0 else 1.0)


def _price(sort: str, demand: Demand) -> float:
    return _PRICES[sort] + (_WORK_ON_UX if demand.work and sort == "ux" else 0.0)


def _price_of_time(work: float, wait: float = 0.0) -> float:
    return min(_COST_LIMIT, work * _WORKING + wait * _WAITING)
