"""Who answers a request, with how many tokens, and who else if that fails. Pure.

A request, what it was assessed to be, and the models as they stand give one decision, which says
why. Nothing is remembered here and no model is asked: what was learned comes in with the models.
Above: `servers.openai_api` (requests), `tale route`. Below: `assess`, `estimates`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tale.models.assess import Assessment, assess
from tale.models.backend import Role

__all__ = ["Decision", "RouteRequest", "route"]


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What is to be judged.

    Attributes:
        text: The user's last message.
        wants_tools: Whether the caller offers tools, which small models use badly.
    """

    text: str
    wants_tools: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is to answer.

    Attributes:
        role: The core role.
        assessment: What the text is.
        reason: Why that role, in words.
    """

    role: Role
    assessment: Assessment
    reason: str


def route(request: RouteRequest) -> Decision:
    """Decide. Total and deterministic: any text gives a decision."""
    assessment = assess(request.text)
    if request.wants_tools:
        return Decision("task", assessment, "tools are offered")
    return Decision("task" if assessment.work else "ux", assessment, assessment.reason)
