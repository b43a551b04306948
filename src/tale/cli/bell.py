"""The terminal's bell at the end of a task that is followed, where `[notify] bell` asks for it.

The settings are looked at without `config`, whose import takes longer than the bell is worth; what
is wrong with them is said by everything else. Above: `follow`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tale.cli.record import Record
from tale.cli.render import Screen

__all__ = ["ring"]

_YES = {"1", "true", "yes", "on"}


def ring(
    screen: Screen, config_file: Path, ended: str, environ: Mapping[str, str] = os.environ
) -> None:
    """Ring, if a person is there and wants it.

    Args:
        screen: Where they are.
        config_file: The settings; need not exist.
        ended: The state in which the task ended.
        environ: Overrides the settings, as everywhere.
    """
    if not screen.err_is_terminal:
        return
    try:
        table = tomllib.loads(config_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = {}
    wanted = Record(table).record("notify")
    bell = environ.get("TALE_NOTIFY__BELL", str(wanted.flag("bell")))
    kinds = wanted.texts("on") if "on" in wanted else (ended,)
    if bell.lower() in _YES and ended in kinds:
        screen.err.write("\a")
        screen.err.flush()
