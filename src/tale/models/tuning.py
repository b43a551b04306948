"""How many threads a model's process gets, and how politely it runs: one pure function.

The figures behind it, from two cores without a GPU (ux 0.5B, task 1.5B; first token and decode of
the ux model while the task model decodes):

    2 + 2 threads, same priority          0.52 s      16 tokens/s
    2 + 2 threads, task at nice 19        0.18-0.44 s 22 tokens/s (task 1.3)
    2 + 2 threads, task at nice 10        0.25-0.54 s 18 tokens/s (task 3.5, alone 12)
    1 + 1 threads, pinned to a core each  0.37-0.46 s 19 tokens/s

So both take every core and the scheduler favours the ux model: it is idle most of the time, and the
task model then has the whole machine. Decoding is bound by memory bandwidth, which a few cores
exhaust; prefill is bound by arithmetic and takes all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # every model's process reads the constant below: no psutil for that
    from tale.models.backend import Role
    from tale.models.machine import Cores

__all__ = ["SPIN_COUNT", "Tuning", "tune"]

# GOMP_SPINCOUNT of every model's process. libgomp's default spins away the other model's cores
# (about 1 token/s for both); a passive wait costs a third of decode speed; 1,000 costs nothing.
SPIN_COUNT: Final = 1000

# No desktop memory bus feeds more cores than this at decode; not measured beyond two.
_MOST_DECODE_THREADS: Final = 8
_BACKGROUND_NICE: Final = 10
"""At 19 the task model gets so little beside a ux model that computes long prompts that it stands
still for minutes; at 10 it keeps a quarter of its speed, for 0.1 s more to the first token."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model's process runs.

    Attributes:
        threads: Threads that decode.
        batch_threads: Threads that compute prompts.
        nice: Its scheduling niceness, 0 to 19.
    """

    threads: int
    batch_threads: int
    nice: int


def tune(role: Role | None, cores: Cores) -> Tuning:
    """Decide for one process.

    Args:
        role: The core role of its model; None for an optional model, which never gets in the way.
        cores: What the machine has. Hardware threads of one core share its arithmetic units, so
            physical cores count, as far as this process may use them.
    """
    usable = max(1, min(cores.physical, cores.available))
    return Tuning(
        threads=min(usable, _MOST_DECODE_THREADS),
        batch_threads=usable,
        nice=0 if role == "ux" else _BACKGROUND_NICE,
    )
