"""How every server process lives: leash, address, guard, readiness, drain.

A server module's `main` is one call of `run_server` with its `compose`, an asynchronous context
manager that builds the ASGI application and owns whatever runs behind it. Above: the supervisor,
which starts the process. Below: uvicorn.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass

import anyio
import uvicorn
from anyio import to_thread
from starlette.types import ASGIApp

from tale import spans
from tale.config import Settings
from tale.config_layers import load_settings
from tale.errors import PortInUse, TaleError
from tale.paths import Paths
from tale.servers.guard import Guard, Judge
from tale.servers.observed import Observed
from tale.servers.standing import Standing
from tale.telemetry import configure_logging, get_logger, name_process
from tale.wire.child import Leash, die_with_parent
from tale.wire.metrics import WireMetrics

__all__ = ["Compose", "ServerContext", "bind", "run_server"]

log = get_logger(__name__)

# What is left of the supervisor's grace for the server to go once its requests have ended.
_LEAVING_SECONDS = 3
# Longer than callers keep an unused connection (`wire.post`): else one could be closed here at the
# moment in which a call is sent over it.
_KEEP_ALIVE_SECONDS = 75
_EX_CONFIG = 78  # sysexits.h


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What a server is given to build itself from.

    Attributes:
        settings: The user's.
        paths: Where files are.
        leash: The line to the supervisor.
        stopping: Is set when the server is told to leave; streams without end should end then.
        metrics: Where the calls that it makes are counted.
    """

    settings: Settings
    paths: Paths
    leash: Leash
    stopping: anyio.Event
    metrics: WireMetrics


Compose = Callable[[ServerContext], AbstractAsyncContextManager[ASGIApp]]


def run_server(
    compose: Compose,
    *,
    port: Callable[[Settings], int] = lambda _: 0,
    door: Callable[[str], Judge] | None = None,
) -> None:
    """Run a server process to its end.

    Args:
        compose: Builds the application.
        port: Picks the loopback port from the settings; 0 takes any free one.
        door: Makes, from the bearer token, what judges requests that don't carry it.
    """
    die_with_parent()
    configure_logging()
    try:
        paths = Paths.from_environment()
        settings = load_settings(paths)
        logging.getLogger().setLevel(settings.log_level)
        runner = _event_loop_runner()
        runner(_serve, compose, port(settings), settings, paths, door)
    except* TaleError as faults:  # from within task groups they come in groups
        for error in _leaves(faults):
            log.error("server.failed", reason=str(error))
        sys.exit(_EX_CONFIG)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def bind(port: int) -> socket.socket:
    """Bind and listen on loopback.

    Raises:
        PortInUse: Another program has the port.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise PortInUse(
            f"127.0.0.1:{port} can't be used: {error.strerror}.",
            hint="Stop the program that holds it, or set another port in tale.toml "
            "([gateway] port, [model_server] port).",
        ) from error
    return sock


def _event_loop_runner() -> Callable[..., None]:
    options = {"use_uvloop": sys.platform != "win32"}
    return lambda *arguments: anyio.run(*arguments, backend="asyncio", backend_options=options)


async def _serve(
    compose: Compose,
    port: int,
    settings: Settings,
    paths: Paths,
    door: Callable[[str], Judge] | None,
) -> None:
    leash = await Leash.connect()
    name_process(leash.name)
    if trouble := spans.configure(leash.name):
        log.warning("server.without_spans", reason=trouble)
    sock = bind(port)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with anyio.create_task_group() as tasks:
        stopping = anyio.Event()
        tasks.start_soon(leash.run, stopping.set)
        tasks.start_soon(_stop_on_signal, stopping)
        metrics = WireMetrics()
        async with compose(ServerContext(settings, paths, leash, stopping, metrics)) as app:
            draining = max(1, int(leash.grace) - _LEAVING_SECONDS)
            further = door(leash.token) if door else None
            guarded = Guard(Observed(Standing(app, stopping), metrics), leash.token, further)
            server = _Server(guarded, lambda: leash.ready(url), draining)
            tasks.start_soon(_relay, stopping, server)
            await server.serve(sockets=[sock])
        log.info("server.stopped", name=leash.name)
        await to_thread.run_sync(spans.stop)
        tasks.cancel_scope.cancel()


async def _stop_on_signal(stopping: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stopping.set()


async def _relay(stopping: anyio.Event, server: uvicorn.Server) -> None:
    await stopping.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn, with our signals, and a word to the supervisor once requests are taken."""

    def __init__(
        self, app: ASGIApp, on_started: Callable[[], Awaitable[None]], draining: int
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=draining,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                ws="none",
            )
        )
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to `run_server`: uvicorn would raise them again and end the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, then announce it."""
        await super().startup(sockets)
        if self.started:
            await self._on_started()
