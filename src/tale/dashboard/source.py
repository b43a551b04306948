"""Where the facts come from: the gateway's live overview and, while it is away, the supervisor.

It never gives up: whatever is gone is looked for again, so that the screen comes back by itself.
Above: `app`, which has `updates` run in a thread of its own. Below: `cli.transport`,
`orchestration.control_client`, `wire.overview_change`.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from tale import __version__
from tale.cli.record import Record
from tale.cli.transport import Broken, exchange, sse_events
from tale.errors import DaemonUnreachable, TaleError
from tale.orchestration import control_client
from tale.orchestration.control_client import Runtime
from tale.paths import Paths

if TYPE_CHECKING:
    from tale.wire.overview_contracts import Overview, ServerView

__all__ = ["Away", "DaemonSource", "Live", "Source", "Stopped", "Update"]

_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the daemon, or the gateway, is there again."""
_CONTROL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Live:
    """The gateway tells how all is."""

    overview: Overview


@dataclass(frozen=True, slots=True)
class Away:
    """The daemon runs and its gateway can't be reached; the supervisor says how the servers are."""

    why: str = ""
    servers: tuple[ServerView, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """No daemon runs."""


Update = Live | Away | Stopped


class Source(Protocol):
    """Tells how all is, for as long as it is asked to."""

    def updates(self, stop: threading.Event) -> Iterator[Update]:
        """Give each change, beginning with how it is now; blocks in between, and never raises.

        Args:
            stop: Set where nobody listens any more.
        """
        ...


class DaemonSource:
    """The daemon of this installation."""

    def __init__(self, paths: Paths, look_seconds: float = _LOOK_SECONDS) -> None:
        """Keep the folders; nothing is looked up yet."""
        self._paths = paths
        self._look_seconds = look_seconds

    def updates(self, stop: threading.Event) -> Generator[Update]:
        """Give each change."""
        told: Update | None = None
        while not stop.is_set():
            runtime = control_client.read_runtime(self._paths)
            update: Update = Stopped()
            if runtime is not None:
                why = ""
                try:
                    for overview in _overviews(runtime, stop):
                        told = Live(overview)
                        yield told
                except TaleError as error:
                    why = "" if isinstance(error, _Gone | Broken) else error.message
                update = _away(runtime, why)
            if update != told and not stop.is_set():
                told = update
                yield told
            stop.wait(self._look_seconds)


class _Gone(TaleError):
    """The gateway isn't ready to be asked."""


def _overviews(runtime: Runtime, stop: threading.Event) -> Iterator[Overview]:
    """Give the overviews as they come, until the stream breaks off.

    Raises:
        TaleError: It did.
    """
    if runtime.version != __version__:
        raise TaleError(
            f"The running daemon is tale {runtime.version}, this is tale {__version__}: "
            "`tale restart` brings them together."
        )
    url = _gateway(runtime)
    # Here, not above: it takes a third of a second, in which the screen is there already.
    from tale.wire.overview_change import merged  # noqa: PLC0415
    from tale.wire.overview_contracts import Change, Overview  # noqa: PLC0415

    shown: Overview | None = None
    headers = {"Accept": "text/event-stream"}
    with exchange("GET", f"{url}/api/events", token=runtime.token, headers=headers) as response:
        for kind, data in sse_events(response):
            if stop.is_set():
                return
            try:
                if kind == "overview":
                    shown = Overview.model_validate_json(data)
                elif kind == "changed" and shown is not None:
                    shown = merged(shown, Change.model_validate_json(data))
                else:
                    continue
            except ValueError as error:
                raise TaleError(f"{url} sent an overview that can't be read.") from error
            yield shown
    raise _Gone("The stream ended.")


def _gateway(runtime: Runtime) -> str:
    """Give the gateway's address.

    Raises:
        TaleError: It isn't ready, or the daemon does not answer.
    """
    for server in _status(runtime).records("servers"):
        if server.text("service") == "gateway" and server.text("state") == "ready":
            return server.text("url")
    raise _Gone("The gateway is not ready.")


def _away(runtime: Runtime, why: str) -> Update:
    """Say how the servers are, as the supervisor sees them."""
    try:
        servers = _status(runtime).records("servers")
    except DaemonUnreachable:
        return Away(why or "The daemon doesn't answer either.")
    except TaleError as error:
        return Away(why or error.message)
    now = datetime.now(UTC)
    return Away(why, tuple(_server(server, now) for server in servers))


def _status(runtime: Runtime) -> Record:
    return Record(control_client.control(runtime, "status", timeout=_CONTROL_SECONDS))


def _server(record: Record, now: datetime) -> ServerView:
    """Give a server as the overview has it."""
    from tale.wire.overview_contracts import ServerView  # noqa: PLC0415 - see above

    alive = record.integer("pid") > 0
    # To the second, so that what hasn't changed isn't shown anew.
    up = timedelta(seconds=round(record.number("uptime") or 0.0))
    return ServerView(
        name=record.text("name"),
        service=record.text("service"),
        state=record.text("state"),
        pid=record.integer("pid") or None,
        url=record.text("url"),
        started=(now - up).replace(microsecond=0) if alive else None,
        restarts=record.integer("restarts"),
        starts=record.integer("starts"),
        cpu=record.number("cpu") if alive else None,
        rss=record.integer("rss") or None,
        last_exit=record.text("last_exit") or None,
        crash_looping=record.flag("crash_looping"),
        tail=record.texts("tail"),
    )
