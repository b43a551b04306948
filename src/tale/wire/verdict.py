"""Whether all is well, in a sentence: the same words in `tale status` and on the dashboards. Pure.

Above: `servers.overview_facts`, `cli.status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["verdict"]

_TOLD: Final = 3
"""What is wrong beyond that is only counted: the sentence is to fit a line."""


def verdict(wrong: Iterable[str], servers: int, restarts: int) -> tuple[bool, str]:
    """Say whether all is well.

    Args:
        wrong: What isn't, each as a clause without a full stop, the gravest first.
        servers: How many there are.
        restarts: How often they were restarted.

    Returns:
        Whether it is, and the sentence.
    """
    if not servers:
        return False, "Nothing is known yet."
    found = list(dict.fromkeys(wrong))
    if found:
        more = f", and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return False, f"Not all is ready: {'; '.join(found[:_TOLD])}{more}."
    again = f"; {restarts} restart{'s' if restarts > 1 else ''} so far" if restarts else ""
    ready = f"All {servers} servers are" if servers > 1 else "The server is"
    return True, f"{ready} ready and both models are resident{again}."
