"""The way from a command to the daemon: find it, start it, ask it, call its servers.

A server's address is asked of the supervisor each time (0.5 ms), and the answer waits until the
server is ready; so a server that is being restarted, or a daemon that came back on other ports, is
found again without anybody polling. Above: the commands. Below: `orchestration.control_client`
(runtime file, control endpoint, start), `client` (tools), `transport`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from tale.cli.client import McpClient, OnProgress
from tale.cli.pool_view import PoolView
from tale.cli.record import JsonValue, Record
from tale.cli.render import Screen
from tale.cli.spinner import Spinner, Waiting
from tale.cli.transport import Broken, NotSent, request_json
from tale.errors import DaemonUnreachable, DeadlineExceeded, TaleError
from tale.orchestration import background, control_client
from tale.paths import Paths

__all__ = ["Connection", "NotReady", "OnLate"]

OnLate = Callable[[str], None]
"""Told what a server is about that is not ready, while it is still waited for."""

_READY_SECONDS = 120.0  # a first start reads 1.6 GB of model files from a slow disk
_LATE_SECONDS = 2.0  # a server that was killed is back by then
_ATTEMPTS = 3
_LOOK_SECONDS = 1.0


class NotReady(DeadlineExceeded):
    """A server did not get ready in time; the message says in which state it is."""


class Connection:
    """The daemon of this installation, looked up again for each call."""

    def __init__(self, paths: Paths) -> None:
        """Keep the folders; nothing is looked up yet."""
        self.paths = paths
        self._on_late: OnLate | None = None

    @classmethod
    def open(cls, screen: Screen, *, service: str = "gateway") -> Connection:
        """Connect to the daemon, starting it where it isn't running, and wait for a service.

        Raises:
            DaemonError: It can't be started, or is of another version.
        """
        connection = cls(Paths.from_environment())
        connection._on_late = lambda why: screen.note(f"{why} It is waited for.")
        if control_client.read_runtime(connection.paths) is not None:
            background.ensure_daemon(connection.paths)
            return connection
        with Spinner(screen, "starting the daemon", connection.waiting_for):
            background.ensure_daemon(connection.paths)
            connection.url_of(service)
        return connection

    @classmethod
    def running(cls) -> Connection:
        """Connect to the daemon that runs.

        Raises:
            DaemonUnreachable: None does.
        """
        connection = cls(Paths.from_environment())
        connection.runtime()
        return connection

    def runtime(self) -> control_client.Runtime:
        """Read how the daemon is reached now."""
        runtime = control_client.read_runtime(self.paths)
        if runtime is None:
            raise DaemonUnreachable(
                "The daemon is not running.", hint="`tale serve --detach` starts it."
            )
        return runtime

    def control(self, operation: str, *, deadline: float = 10.0, **fields: JsonValue) -> Record:
        """Ask the supervisor.

        Args:
            operation: `status`, `wait`, `restart` or `stop`.
            deadline: Seconds to wait for its answer.
            fields: What the operation needs.
        """
        runtime = self.runtime()
        return Record(control_client.control(runtime, operation, timeout=deadline, **fields))

    def url_of(self, service: str, *, on_late: OnLate | None = None) -> str:
        """Give a server's address; waits until it is ready.

        Raises:
            NotReady: It was not, for too long.
        """
        if on_late is not None:
            try:
                return self._url_of(service, _LATE_SECONDS)
            except NotReady as error:
                on_late(error.message)
        return self._url_of(service, _READY_SECONDS)

    def _url_of(self, service: str, seconds: float) -> str:
        try:
            return self.control("wait", deadline=seconds, service=service).text("url")
        except DeadlineExceeded as error:
            raise NotReady(error.message, hint=error.hint) from error

    def call(
        self,
        service: str,
        tool: str,
        arguments: Mapping[str, JsonValue],
        *,
        on_progress: OnProgress | None = None,
        on_late: OnLate | None = None,
        idempotent: bool = False,
    ) -> Record:
        """Call a tool of a service.

        A call that was not sent is repeated, an idempotent one also where its answer was lost.

        Args:
            service: Whom to call.
            tool: What to call there.
            arguments: Its arguments.
            on_progress: Gets what it reports meanwhile.
            on_late: Told if the service is not there for longer than a restart takes; if
                missing, a connection that was opened tells its screen.
            idempotent: Whether calling twice does no more than calling once.

        Raises:
            TaleError: What the tool reported, or why it can't be reached.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            url = self.url_of(service, on_late=on_late or self._on_late)
            client = McpClient(url, self.runtime().token)
            try:
                return client.call(tool, arguments, on_progress)
            except NotSent:
                if attempt == _ATTEMPTS:
                    raise
            except Broken:
                if attempt == _ATTEMPTS or not idempotent:
                    raise
        raise AssertionError("unreachable")

    def models(
        self, method: str, path: str, body: JsonValue = None, *, silence: float = 5.0
    ) -> Record:
        """Ask the models server over HTTP; `path` begins with a slash."""
        return request_json(
            method,
            f"{self.url_of('models')}{path}",
            token=self.runtime().token,
            body=None if body is None else json.dumps(body).encode(),
            silence=silence,
        )

    def waiting_for(self) -> Waiting | None:
        """Say what keeps the daemon from answering; None where nothing is known. Never raises."""
        try:
            runtime = control_client.read_runtime(self.paths)
            if runtime is None:
                return None
            return self._waiting_for(runtime)
        except TaleError:
            return None

    def _waiting_for(self, runtime: control_client.Runtime) -> Waiting | None:
        status = Record(control_client.control(runtime, "status", timeout=_LOOK_SECONDS))
        servers = {server.text("name"): server for server in status.records("servers")}
        late = [name for name, server in servers.items() if server.text("state") != "ready"]
        models = servers.get("models", Record())
        if models.text("state") != "ready":
            return Waiting(f"starting {', '.join(late)}") if late else None
        pool = request_json(
            "GET", f"{models.text('url')}/pool", token=runtime.token, silence=_LOOK_SECONDS
        )
        for model in PoolView.read(pool).core:
            if model.state != "ready":
                return model.waiting
        own = [name for name in late if not name.startswith("model-")]
        return Waiting(f"starting {', '.join(own)}") if own else None
