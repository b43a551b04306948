"""What the model of a part is told: what the part belongs to, and what is to be done. Pure.

The two are kept apart, for only the part's own words say what it is to make: the examples and file
names of the whole task are others' too. Above: `tasks.step_work`. Below:
`tasks.splitting`; `tasks.workbench` puts both into one prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tale.clipped import beginning
from tale.tasks.splitting import split_from
from tale.tasks.task import Subtask

__all__ = ["Briefing", "briefing"]

_BLOCK: Final = re.compile(r"^(```+|~~~+).*?^\1`*$", re.MULTILINE | re.DOTALL)
_SHORT: Final = 1500
"""Characters of a part's result that those which depend on it are given: several of them fit in
the smallest window beside the work."""


@dataclass(frozen=True, slots=True)
class Briefing:
    """What the model of a part is told.

    Attributes:
        context: The task that it belongs to, and the results that it needs.
        text: What it is to do.
    """

    context: str
    text: str


def briefing(task: str, part: Subtask, plan: Mapping[str, Subtask]) -> Briefing:
    """Say what a part's model is told; what all parts share comes first, for the prefix cache.

    Args:
        task: What the whole task is about.
        part: What is to be done.
        plan: All parts of the task, by id.
    """
    context = [f"Others do the rest of a larger task, of which you do one part:\n{_short(task)}"]
    context += [
        f"Your part is a piece of this one, of which others do the rest:\n{_short(whole.text)}"
        for whole in split_from(part.id, plan)[:1]
    ]
    for needed in map(plan.__getitem__, part.depends_on):
        files = f"\nFiles: {', '.join(needed.files)}" if needed.files else ""
        # What it wrote is in its files, which are shown where they are needed.
        answer = _BLOCK.sub("[…]", needed.answer) if needed.files else needed.answer
        context.append(f"Result of {needed.title!r}:\n{_short(answer)}{files}")
    told = [part.text]
    if part.writes:
        told.append(f"Write {_listed(part.writes)}, and no other file.")
    if part.reads:
        told.append(f"It builds on {_listed(part.reads)}.")
    if part.check:
        told.append(f"It is done when this succeeds: {part.check}")
    return Briefing("\n\n".join(context), "\n\n".join(told))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _short(text: str) -> str:
    return beginning(text, _SHORT)
