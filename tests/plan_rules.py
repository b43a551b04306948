"""The rules of plans, as the gateway puts them together."""

from __future__ import annotations

from functools import partial
from typing import Final

from tale.tasks.dependencies import settle
from tale.tasks.plan import faults
from tale.tasks.planner import Rules

__all__ = ["RULES"]

RULES: Final = Rules(partial(faults, own=True), settle)
