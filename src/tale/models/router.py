"""Who answers a request, with how many tokens, and who else if that fails. Pure.

    request ──assess──▶ kind, band ──prospect──▶ each model's worth ──route──▶ Decision or Refusal

A request, what it was assessed to be, and the models as they stand give one decision, which says
why. Nothing is remembered here and no model is asked: what was learned comes in with `expected`.
What the text itself says about models or routing is material like any other. Above:
`servers.openai_api` (requests), `tale route`. Below: `comparison` (two models), `prospects` (one),
`preferences`, `estimates`, `assess`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from tale.errors import ContextExceeded, ModelForbidden, ServiceUnavailable, TaleError, UnknownModel
from tale.models.assess import Assessment, Band, Kind, assess
from tale.models.backend import Role
from tale.models.budgets import has_own_length, usual_hint
from tale.models.comparison import Choice, alone, compare, label
from tale.models.decision import Decision, Refusal, RouteRequest
from tale.models.estimates import Estimate, Estimates
from tale.models.preferences import Preferences
from tale.models.prospects import Demand, ModelFacts, Prospect, core_worth, prospect

__all__ = ["Decision", "Expected", "ModelFacts", "Refusal", "RouteRequest", "route"]

Expected = Callable[[str, Role | None, Kind, Band], Estimate]
"""`Estimates.of`: what is to be expected of a model (name, role) for a kind and a band."""

# Nobody has said what there is: the pair, up and idle, and nothing learned.
_PAIR: Final = (ModelFacts("ux", "ux"), ModelFacts("task", "task"))
_ROLES: Final[tuple[Role, Role]] = ("ux", "task")
_NO_PREFERENCES: Final = Preferences()
_NOTHING_LEARNED: Final = Estimates()
# As in `memory.context`: rather too many tokens than too few; and what a chat template adds.
_BYTES_PER_TOKEN: Final = 3
_TEMPLATE_TOKENS: Final = 16
# The rest of the deadline is left to whoever takes over.
_FIRST_SHARE: Final = 0.75


@dataclass(slots=True)
class _Field:
    """The models that run for one request, in the order given, and why the others don't."""

    prospects: list[Prospect]
    rejected: list[tuple[str, str]]
    too_small: list[ModelFacts]
    forbidden: list[ModelFacts]


def route(
    request: RouteRequest,
    models: Sequence[ModelFacts] = _PAIR,
    preferences: Preferences = _NO_PREFERENCES,
    expected: Expected = _NOTHING_LEARNED.of,
) -> Decision | Refusal:
    """Decide. Total and deterministic: any text and any models give a decision or a refusal.

    Args:
        request: What is asked.
        models: Every model that could be asked, as it stands: core ones, further ones, and the
            remote endpoints that the user has set up.
        preferences: What the user wants.
        expected: What was learned.
    """
    expected = cache(expected)  # of each model it is asked two or three times
    assessment = request.assessment or assess(request.text)
    demand = _demand(request, assessment)
    asked = "" if request.model == "auto" else request.model
    order = _order(asked, demand, models, preferences, expected)
    if asked:
        # Whoever names a model gets that model: preferences are for what is left to the router.
        named = [model for model in models if asked in model.names][:1]
        entered = _enter(demand, named, Preferences(), expected, order)
        helpers = [model for model in models if model not in named]
        helped = _enter(demand, helpers, preferences, expected, order)
    else:
        entered = helped = _enter(demand, models, preferences, expected, order)
    if not entered.prospects:
        error = _refusal(asked, demand, models, entered)
        return Refusal(error, assessment, demand.kind, tuple(entered.rejected))
    if asked:
        choice = Choice(entered.prospects[0], f"{asked} was asked for")
        entered.prospects += helped.prospects
        entered.rejected += helped.rejected
    else:
        choice = _choose(request.checkable, demand, entered, preferences, order)
    return _decision(request, demand, entered, choice, order, assessment=assessment)


def _demand(request: RouteRequest, assessment: Assessment) -> Demand:
    source = len(request.text.encode(errors="replace")) // _BYTES_PER_TOKEN + 1
    prompt = source + _TEMPLATE_TOKENS if request.prompt_tokens is None else request.prompt_tokens
    return Demand(
        kind=request.kind or assessment.kind,
        band=assessment.band,
        prompt=max(1, prompt),
        source=source,
        own_length=has_own_length(request.text),
        max_tokens=request.max_tokens,
        wants_tools=request.wants_tools,
        wants_json=request.wants_json,
        deadline=request.deadline,
        work=assessment.work,
    )


def _order(
    asked: str,
    demand: Demand,
    models: Sequence[ModelFacts],
    preferences: Preferences,
    expected: Expected,
) -> tuple[str, ...]:
    """Name who is to answer, and who helps out, in this order. Nobody's state is looked at."""
    first = asked or preferences.pin.get(demand.kind, "")
    named = next((model for model in models if first in model.names), None)
    if named is not None and named.role is not None:
        return (named.role, *preferences.chain(named.role))
    if asked:
        return (asked,)  # a further model, asked for by name, is nobody's stand-in
    role = _suited(demand, models, preferences, expected)
    chain = (role, *preferences.chain(role))
    return (first, *chain) if first else chain


def _suited(
    demand: Demand, models: Sequence[ModelFacts], preferences: Preferences, expected: Expected
) -> Role:
    """Tell which role a request is for, however loaded its model is just now."""

    def worth(role: Role) -> float:
        model = next((model for model in models if model.role == role), ModelFacts(role, role))
        estimate = expected(model.learned_as or model.name, role, demand.kind, demand.band)
        return core_worth(role, demand, estimate, preferences.weight_of(demand.kind, model.names))

    return max(_ROLES, key=worth)


def _enter(
    demand: Demand,
    models: Sequence[ModelFacts],
    preferences: Preferences,
    expected: Expected,
    order: tuple[str, ...],
) -> _Field:
    """Sort out who can't, or may not, answer at all."""
    found = _Field([], [], [], [])
    for model in models:
        if model.role is None and model.name not in order:
            found.rejected.append((model.name, "is in no fallback chain for this"))
        elif preferences.forbids(demand.kind, model.names):
            found.forbidden.append(model)
            found.rejected.append((model.name, f"is forbidden for {demand.kind} by [routing]"))
        else:
            weight = preferences.weight_of(demand.kind, model.names)
            estimate = expected(
                model.learned_as or model.name, model.role, demand.kind, demand.band
            )
            if promise := prospect(model, demand, estimate, weight):
                found.prospects.append(promise)
            else:
                found.too_small.append(model)
                found.rejected.append((model.name, _too_small(model, demand)))
    return found


def _choose(
    checkable: bool,
    demand: Demand,
    entered: _Field,
    preferences: Preferences,
    order: tuple[str, ...],
) -> Choice:
    """Choose among those that can answer now; only if there is none, among those that will."""
    best_standing = min(map(_standing, entered.prospects))
    able = [promise for promise in entered.prospects if _standing(promise) == best_standing]
    in_order = [promise for name in order for promise in able if name in promise.model.names]
    core = [promise for promise in able if promise.model.role is not None]
    first = in_order[0] if in_order else max(core, key=lambda promise: promise.worth)
    if order[0] not in first.model.names:
        return Choice(first, f"{order[0]} {_why_not(order[0], entered)}")
    if preferences.pin.get(demand.kind) in first.model.names:
        return Choice(first, f"[routing.pin] gives {demand.kind} to {label(first)}")
    others = [promise for promise in core if promise is not first]
    return compare(first, others, demand, checkable=checkable) if others else alone(first)


def _why_not(name: str, entered: _Field) -> str:
    """Say why the model that suits best doesn't answer."""
    for promise in entered.prospects:
        if name in promise.model.names:
            return _unable(promise)
    for model in (*entered.forbidden, *entered.too_small):
        if name in model.names:
            return dict(entered.rejected)[model.name]
    return "isn't there"


def _standing(promise: Prospect) -> tuple[bool, bool]:
    return (not promise.model.up, promise.tight)


def _unable(promise: Prospect) -> str:
    model = promise.model
    return f"has only {model.context:,} tokens" if model.up else f"is {model.state}"


def _decision(
    request: RouteRequest,
    demand: Demand,
    entered: _Field,
    choice: Choice,
    order: tuple[str, ...],
    *,
    assessment: Assessment,
) -> Decision:
    target, model = choice.prospect, choice.prospect.model
    ordered = [p for name in order for p in entered.prospects if name in p.model.names]
    if choice.then is not None:
        ordered.insert(0, choice.then)
    # Stable: those that are up first, each in the order of the chain.
    ordered.sort(key=lambda promise: not promise.model.up)
    chain = dict.fromkeys(p.model.name for p in ordered if p.model.name != model.name)
    limit = target.time_limit
    if request.deadline is not None:
        share = _FIRST_SHARE if chain else 1.0
        limit = min(limit, max(0.0, request.deadline) * share)
    lost = [
        (p.model.name, _lost(p, target)) for p in entered.prospects if p.model.name != model.name
    ]
    free = not (demand.wants_tools or demand.wants_json or demand.own_length)
    return Decision(
        target=model.name,
        role=model.role,
        assessment=assessment,
        kind=demand.kind,
        band=demand.band,
        reason=f"{assessment.reason} ({demand.kind}, {demand.band}): {choice.why}",
        confidence=min(choice.confidence, assessment.confidence) if choice.judged else 1.0,
        prompt_tokens=target.prompt,
        completion_tokens=target.completion,
        success=target.success,
        seconds=target.seconds,
        budget=target.budget,
        words=usual_hint(demand.kind, demand.band) if free else "",
        time_limit=limit,
        chain=tuple(chain),
        cascade=choice.then is not None,
        rejected=(*entered.rejected, *lost),
    )


def _lost(promise: Prospect, target: Prospect) -> str:
    """Say why one that could have answered doesn't."""
    if not promise.model.up or (promise.tight and not target.tight):
        return _unable(promise)
    return (
        f"{promise.success:.0%} likely right after {promise.seconds:.0f} s,"
        f" against {target.success:.0%} after {target.seconds:.0f} s"
    )


def _too_small(model: ModelFacts, demand: Demand) -> str:
    return f"has a window of {model.context:,} tokens; the prompt has about {demand.prompt:,}"


def _refusal(
    asked: str, demand: Demand, models: Sequence[ModelFacts], entered: _Field
) -> TaleError:
    """Say why nobody can answer, and what to do."""
    if asked and not any(asked in model.names for model in models):
        roles = (model.role for model in models if model.role is not None)
        known = ", ".join(dict.fromkeys(("auto", *roles, *(model.name for model in models))))
        return UnknownModel(f"No model named {asked!r} is known.", hint=f"Known: {known}.")
    if entered.too_small:
        if demand.max_tokens is not None and demand.max_tokens < 1:
            return ContextExceeded("max_tokens leaves no room for an answer.", hint="Raise it.")
        windows = ", ".join(f"{m.role or m.name} {m.context:,}" for m in entered.too_small)
        barred = "".join(
            f"; {m.role or m.name} is forbidden by [routing]" for m in entered.forbidden
        )
        return ContextExceeded(
            f"The prompt has about {demand.prompt:,} tokens, and no window holds it: "
            f"{windows}{barred}.",
            hint="Shorten or split it, or give a model a larger `context` in tale.toml.",
        )
    if entered.forbidden:
        names = ", ".join((model.role or model.name) for model in entered.forbidden)
        return ModelForbidden(
            f"[routing] forbids every model that could answer a request of kind {demand.kind}: "
            f"{names}.",
            hint="Take one out of routing.forbid in tale.toml, or name the model in the request.",
        )
    return ServiceUnavailable("No model is set up.", hint="`tale models` shows them.")
