"""A real daemon whose servers are the ones a test names, in JSON, in the variable MISFITS.

Each is `{"name", "options": […]}`, and may have `policy`, `depends_on` and the like, as in
`ServerSpec`; its program is `misbehaving_server.py`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tale.orchestration.daemon import main
from tale.orchestration.policy import Policy
from tale.orchestration.probe import Probe
from tale.orchestration.specs import Dependency, ServerSpec

SERVER = Path(__file__).with_name("misbehaving_server.py")


def misfit(table: dict[str, Any]) -> ServerSpec:
    return ServerSpec(
        name=table["name"],
        service=table.get("service", table["name"]),
        command=tuple(
            table.get("command") or [sys.executable, "-S", "-E", str(SERVER), *table["options"]]
        ),
        depends_on=tuple(Dependency(name) for name in table.get("depends_on", [])),
        policy=Policy(**table.get("policy", {})),
        probe=Probe(**table["probe"]) if "probe" in table else None,
        max_rss=table.get("max_rss", 0),
        leash=table.get("leash", True),
        scalable=table.get("scalable", False),
        nice=table.get("nice", 0),
        oom_score=table.get("oom_score", 0),
        may_manage=table.get("may_manage", False),
    )


if __name__ == "__main__":
    sys.exit(main(specs=[misfit(table) for table in json.loads(os.environ["MISFITS"])]))
