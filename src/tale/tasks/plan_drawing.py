"""A plan that waits for its user's word, as they are shown it: a tree instead of its text.

Above: the command line, the dashboard and the gateway. Below: `plan_tree`, `plan_text`,
`plan_policy`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tale.errors import PromptRejected
from tale.tasks.plan_tree import plan_lines

__all__ = ["plan_block"]


def plan_block(
    detail: str, seconds: Mapping[str, float] | None = None, *, columns: int = 80
) -> str:
    """Draw a plan that is written as text, with what each part takes; what can't be read stays.

    Args:
        detail: The plan as `tasks.plan_text` writes it.
        seconds: How long each part probably takes, by id, where that is known.
        columns: How wide a line may be.
    """
    # YAML takes a tenth of a second to load, which only a plan costs.
    from tale.tasks.plan_policy import usual_seconds  # noqa: PLC0415
    from tale.tasks.plan_text import read_plan_text  # noqa: PLC0415

    try:
        plan = read_plan_text(detail)
    except PromptRejected:
        return detail
    usual = {one.id: usual_seconds(one) for one in plan}
    return "\n".join(plan_lines(plan, {**usual, **(seconds or {})}, columns=columns))
