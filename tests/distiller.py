"""Distils notes as the ux server does, with a model that waits: `python distiller.py HOME`.

Says `asked` for each request, and answers it once it is given a line. It notes each sentence that
it is shown of the user's.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread

from tale.config import Settings
from tale.memory.distilling import Distilling
from tale.models.backend import ChatRequest
from tale.models.caller import ScriptedModels
from tale.paths import Paths
from tale.storage.database import Database

_TOLD = re.compile(r'^(\d+) user: "(.*)"$', re.MULTILINE)


class Model(ScriptedModels):
    """Answers when it is told to."""

    async def in_spare_time(
        self, request: ChatRequest, target: str, deadline_s: float
    ) -> str | None:
        del target, deadline_s
        sys.stdout.write("asked\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        found: Sequence[tuple[str, str]] = _TOLD.findall(request.messages[-1].content)
        notes = [{"turn": int(n), "kind": "fact", "text": text, "about": ""} for n, text in found]
        return json.dumps({"notes": notes})


async def at_once(seconds: float) -> None:
    del seconds
    await anyio.lowlevel.checkpoint()


async def main(home: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    async with Database.open(paths, Settings()) as database:
        await Distilling(database, Model(), pause=at_once).run()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
