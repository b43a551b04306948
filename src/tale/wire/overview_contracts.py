"""What the dashboards show: everything about the running tale that one screen answers, at a moment.

`GET /api/overview` gives an `Overview`. `GET /api/events` gives one as the event `overview`, and
then a `Change` as the event `changed` whenever something is different; `overview_change` puts the
two together. What is not known is None, never 0. Above: `servers.overview`, which gathers it, the
Textual dashboard, and the page in the browser. Below: `contracts`, which has a task's own shape.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from tale.wire.contracts import PartView, RoleName, TaskView
from tale.wire.tool import Shape

__all__ = [
    "BreakerView",
    "Change",
    "DaemonView",
    "HistoryView",
    "MachineView",
    "MemoryPoint",
    "ModelTokens",
    "ModelView",
    "Overview",
    "ProposedPlan",
    "RequestPoint",
    "ServerView",
    "SwitchingView",
    "TokensView",
    "TrendPoint",
]


class DaemonView(Shape):
    """The daemon as a whole."""

    version: str = ""
    pid: int | None = None
    started: datetime | None = None
    address: str = Field(default="", description="The gateway's URL.")
    well: bool = Field(default=False, description="Whether all is as it should be.")
    verdict: str = Field(default="", description="The same in a sentence, with what is not.")


class BreakerView(Shape):
    """What one server thinks of another one that it calls."""

    caller: str
    state: str = Field(description="closed, open, half-open or draining.")
    in_flight: int = 0


class ServerView(Shape):
    """One process, as `tale status` shows it."""

    name: str
    service: str = ""
    state: str = Field(description="ready, starting, backoff, draining, stopping, stopped, …")
    pid: int | None = None
    url: str = ""
    started: datetime | None = Field(default=None, description="Missing without a process.")
    restarts: int = 0
    starts: int = 0
    cpu: float | None = Field(default=None, description="Percent of one core.")
    rss: int | None = Field(default=None, description="Resident memory, in bytes.")
    fds: int | None = None
    threads: int | None = None
    growth: float = Field(default=0.0, description="Of its memory, in bytes an hour.")
    last_exit: str | None = None
    exits: tuple[str, ...] = Field(default=(), description="How its processes ended, oldest first.")
    foreign: bool = Field(default=False, description="A program of the user's.")
    crash_looping: bool = False
    tail: tuple[str, ...] = Field(default=(), description="Then, the end of its log.")
    breakers: tuple[BreakerView, ...] = Field(
        default=(), description="Those of the servers that call it."
    )
    cpu_trend: tuple[float, ...] = Field(
        default=(), description="The last minutes, a value each few seconds, oldest first."
    )
    rss_trend: tuple[int, ...] = ()


class SwitchingView(Shape):
    """What changing between the resident models costs one of them, in milliseconds."""

    same_ms: float | None = Field(
        default=None, description="To its first token after a request of its own."
    )
    switched_ms: float | None = Field(default=None, description="After one of the other model.")
    reload_ms: float | None = Field(
        default=None, description="What it would be if it had to be loaded for it."
    )


class ModelView(Shape):
    """One model. Times to first token and speeds are medians of its last requests."""

    name: str
    role: RoleName | None = Field(default=None, description="Missing for a further model.")
    backend: str = ""
    state: str
    detail: str = Field(default="", description="Why it isn't ready, or what it waits for.")
    resident: bool = False
    memory_bytes: int | None = Field(default=None, description="Real memory of its process.")
    pid: int | None = None
    starts: int = 0
    context: int = Field(default=0, description="Tokens that its window holds.")
    slots: int = Field(default=0, description="Requests that it answers at the same time.")
    in_flight: int = Field(default=0, description="Those that it answers now.")
    waiting: int = Field(default=0, description="Those that wait for a slot.")
    load_seconds: float | None = None
    ttft_cold_ms: float | None = None
    ttft_warm_ms: float | None = None
    tokens_per_second: float | None = None
    requests: int = 0
    fallbacks: int = Field(default=0, description="Meant for it, answered by another.")
    recoveries: int = Field(default=0, description="How often it was brought back.")
    last_error: str = ""
    switching: SwitchingView | None = None


class MachineView(Shape):
    """The machine that all of it runs on."""

    memory_total: int | None = None
    memory_available: int | None = Field(
        default=None, description="Bytes that programs could still get."
    )
    memory_reserve: int | None = Field(
        default=None, description="Of those, what models leave to everybody else."
    )
    cores: int | None = None
    load: float | None = Field(default=None, description="Programs that want to run: one minute.")


class ProposedPlan(Shape):
    """The plan that a task asks its user about, as parts; the text of it is the task's `plan`."""

    task: str
    digest: str = Field(description="Names the plan.")
    parts: tuple[PartView, ...]


class ModelTokens(Shape):
    """What one model took, as `tale usage` counts it."""

    model: str
    role: RoleName | None = None
    requests: int = 0
    failed: int = 0
    prompt: int = Field(default=0, description="Tokens sent.")
    cached: int = Field(default=0, description="Of those, not computed.")
    computed: int = Field(default=0, description="Of those, computed.")
    completion: int = Field(default=0, description="Tokens generated.")


class TrendPoint(Shape):
    """One hour of the last day."""

    at: float = Field(description="Its beginning, Unix time.")
    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    naive: int = Field(default=0, description="Tokens in and out of one loop on the large model.")


class TokensView(Shape):
    """What the models took since the ledger began, and what one naive loop would have taken."""

    requests: int = 0
    failed: int = 0
    prompt: int = 0
    cached: int = 0
    computed: int = 0
    completion: int = 0
    large_computed: int = Field(default=0, description="Computed and generated by the large model.")
    naive_prompt: int = 0
    naive_completion: int = 0
    naive_computed: int = Field(
        default=0, description="What the loop would have computed, in and out."
    )
    sent_saved: float | None = Field(
        default=None, description="Share of the loop's tokens, in and out, that weren't spent."
    )
    computed_saved: float | None = Field(
        default=None, description="The same of what the large model computes."
    )
    models: tuple[ModelTokens, ...] = ()
    trend: tuple[TrendPoint, ...] = Field(
        default=(), description="The last day by the hour, oldest first; empty hours are left out."
    )


class RequestPoint(Shape):
    """One request that ended."""

    number: int = Field(description="Grows with each.")
    at: float = Field(description="When it ended, Unix time.")
    model: str
    ttft_ms: float | None = Field(default=None, description="To its first token, if one came.")
    speed: float | None = Field(
        default=None, description="Tokens a second after it, if the answer was long enough to tell."
    )


class MemoryPoint(Shape):
    """Memory at one moment, in bytes."""

    at: float = Field(description="Unix time.")
    models: dict[str, int] = Field(description="Of each model's process.")
    servers: int = Field(description="Of all other processes together.")
    available: int | None = Field(default=None, description="What the machine still had.")


class HistoryView(Shape):
    """The last hour, oldest first; in a `Change`, what is new in it.

    Memory is looked at only while somebody watches, so there may be gaps.
    """

    requests: tuple[RequestPoint, ...] = ()
    memory: tuple[MemoryPoint, ...] = ()


class Overview(Shape):
    """All of it at a moment."""

    at: datetime
    daemon: DaemonView = DaemonView()
    machine: MachineView = MachineView()
    servers: tuple[ServerView, ...] = Field(
        default=(), description="In the order in which they are started."
    )
    models: tuple[ModelView, ...] = ()
    tasks: tuple[TaskView, ...] = Field(
        default=(),
        description="Newest first, as `show` gives them, with long texts cut: all that have not "
        "ended, and the last that have.",
    )
    plans: tuple[ProposedPlan, ...] = Field(
        default=(), description="Those that wait for their user's word."
    )
    tokens: TokensView | None = Field(default=None, description="Missing until known.")
    history: HistoryView = HistoryView()
    troubles: tuple[str, ...] = Field(
        default=(), description="What of this could not be found out just now, in words."
    )


class Change(Shape):
    """What is different since the overview or change before; the rest is as it was.

    What is missing is unchanged. Servers, models, tasks and points are only those that are new or
    different: `overview_change.merged` puts them where they belong.
    """

    at: datetime
    daemon: DaemonView | None = None
    machine: MachineView | None = None
    servers: tuple[ServerView, ...] = ()
    server_order: tuple[str, ...] | None = Field(
        default=None, description="Names of all servers, where that changed."
    )
    models: tuple[ModelView, ...] | None = None
    tasks: tuple[TaskView, ...] = ()
    task_order: tuple[str, ...] | None = Field(
        default=None, description="Ids of all tasks that are shown, where that changed."
    )
    plans: tuple[ProposedPlan, ...] | None = None
    tokens: TokensView | None = None
    history: HistoryView | None = None
    troubles: tuple[str, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is different."""
        return not self.model_dump(exclude={"at"}, exclude_defaults=True)
