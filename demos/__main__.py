"""`python -m demos dual|tasks`: run a demonstration, and write its page."""

from __future__ import annotations

import sys

from demos import dual, tasks

_ALL = {"dual": dual.run, "tasks": tasks.run}


def main(arguments: list[str]) -> int:
    """Run the named ones, or both."""
    if unknown := set(arguments) - set(_ALL):
        print(
            f"no demonstration {', '.join(unknown)}; there are {', '.join(_ALL)}", file=sys.stderr
        )
        return 2
    return max(_ALL[name]() for name in arguments or _ALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
