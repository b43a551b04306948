"""`python -m tale.orchestration.daemon`: the supervisor's process, from its start to its end.

Owns the order of things: become the one daemon (`instance`), open the control endpoint (`control`),
run the servers (`server_manager`), and on SIGTERM, SIGINT or a control request stop them, in
reverse. A second SIGTERM or SIGINT ends them without grace. SIGHUP has the settings read again. It
serves no request of any user's.

With `--notify-fd N` it reports on that descriptor, in one line, that it serves or why it can't.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import anyio
import anyio.abc
import orjson

from tale import __version__
from tale.config import Settings
from tale.config_layers import load_settings
from tale.errors import DaemonError, StorageError, TaleError
from tale.orchestration import orphans
from tale.orchestration.control import ControlServer
from tale.orchestration.control_client import Runtime
from tale.orchestration.fork_spawn import ForkSpawner, become_subreaper
from tale.orchestration.instance import Instance, check_ports, claim
from tale.orchestration.own_servers import default_specs
from tale.orchestration.rollout import Changes, apply
from tale.orchestration.server_manager import ServerManager
from tale.orchestration.spawn import OsSpawner, Spawner
from tale.orchestration.specs import ServerSpec
from tale.orchestration.systemd import Systemd
from tale.paths import Paths
from tale.telemetry import configure_logging, get_logger, name_process

__all__ = ["Announce", "Daemon", "main", "run_daemon"]

log = get_logger(__name__)

Announce = Callable[[Runtime], None]
# The last answers, to those who asked for the stop, leave within this.
_DRAIN_SECONDS = 1.0


class Daemon:
    """The supervisor of one installation.

    Attributes:
        specs: What runs from the next reload on; None takes tale's own servers.
    """

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        specs: Sequence[ServerSpec] | None = None,
        *,
        token: str = "",
        spawner: Spawner | None = None,
        jitter: Callable[[], float] = random.random,
        systemd: Systemd | None = None,
    ) -> None:
        """Start nothing yet; `run` does.

        Args:
            paths: Which installation.
            settings: Its settings.
            specs: What to run; tale's own servers by default.
            token: What every server asks for; a new one where it is empty.
            spawner: Makes the processes.
            jitter: Uniform between 0 and 1; spreads restarts.
            systemd: Who is told how this process fares.
        """
        self._paths = paths
        self._settings = settings
        self.specs = specs
        self._token = token or secrets.token_urlsafe(32)
        self._manager = ServerManager(
            default_specs(settings) if specs is None else specs,
            spawner or _spawner(paths),
            token=self._token,
            jitter=jitter,
        )
        self._systemd = systemd or Systemd("")
        self._applying: anyio.CancelScope | None = None
        self._stopping = anyio.Event()
        self._stopped = anyio.Event()

    async def run(self, instance: Instance, announce: Announce) -> None:
        """Run until told to stop.

        Args:
            instance: The right to.
            announce: Is called once the control endpoint serves.

        Raises:
            StorageError: The runtime file can't be written.
        """
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  no Django here
        runtime = self._describe(str(port))
        control = ControlServer(runtime, self._paths, self._manager, self.stop, self.reload)
        watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        instance.publish(runtime)
        with anyio.open_signal_receiver(*watched) as signals:
            async with anyio.create_task_group() as tasks:
                async with self._manager.running():
                    for one in listener.listeners:
                        if isinstance(one, anyio.abc.SocketListener):
                            tasks.start_soon(control.accept, one, tasks)
                    tasks.start_soon(self._obey, signals, tasks)
                    tasks.start_soon(self._follow, instance, runtime)
                    announce(runtime)
                    instance.started()
                    tasks.start_soon(self._tell_systemd)
                    log.info("daemon.serving", pid=runtime.pid, control=runtime.control)
                    await self._stopping.wait()
                    self._systemd.stopping()
                    instance.withdraw()
                self._stopped.set()
                with anyio.move_on_after(_DRAIN_SECONDS):
                    await control.drain()
                tasks.cancel_scope.cancel()
        await listener.aclose()
        log.info("daemon.stopped")

    async def stop(self) -> None:
        """Stop every server, then the daemon; returns once the servers are gone."""
        self._stopping.set()
        await self._stopped.wait()

    async def reload(self) -> Changes:
        """Read the settings again; only what they change is started, stopped or restarted.

        Raises:
            ConfigError: They can't be used; everything runs on as it was.
            PortInUse: Another program has a port that is new in them; likewise.
            DaemonError: They were read again before all was restarted.
        """
        self._systemd.reloading()
        try:
            settings = load_settings(self._paths)
            specs = default_specs(settings) if self.specs is None else self.specs
            check_ports(_only_new_ports(settings, self._settings), self._paths, patience=0)
        finally:
            self._systemd.ready()
        logging.getLogger().setLevel(settings.log_level)
        self._settings = settings
        # A server that never gets ready again must not keep its mended settings from being read.
        if self._applying:
            self._applying.cancel()
        with anyio.CancelScope() as self._applying:
            changes = await apply(self._manager, specs)
            log.info("daemon.reloaded", **asdict(changes))
            return changes
        raise DaemonError("The settings were read again meanwhile; the later ones are in force.")

    async def _tell_systemd(self) -> None:
        """Say that this process serves, what its servers do, and that it is alive."""
        self._systemd.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._systemd.keep_alive)
            told = ""
            while True:
                told = await self._manager.until(lambda: self._news(told))  # noqa: B023
                self._systemd.status(told)

    def _news(self, told: str) -> str | None:
        servers = [child.process.state for child in self._manager.children.values()]
        text = f"{servers.count('ready')} of {len(servers)} servers are ready"
        return text if text != told else None

    async def _reload_on_signal(self) -> None:
        try:
            await self.reload()
        except TaleError as error:
            log.error("daemon.not_reloaded", reason=str(error))
        except Exception:  # a signal must not end the supervisor
            log.exception("daemon.reload_crashed")

    def _describe(self, control_port: str) -> Runtime:
        def fixed(port: int) -> str:
            return f"http://127.0.0.1:{port}" if port else ""

        return Runtime(
            pid=os.getpid(),
            version=__version__,
            token=self._token,
            control=f"127.0.0.1:{control_port}",
            gateway=fixed(self._settings.gateway.port),
            models=fixed(self._settings.model_server.port),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    async def _obey(
        self, signals: AsyncIterator[signal.Signals], tasks: anyio.abc.TaskGroup
    ) -> None:
        async for number in signals:
            if number == signal.SIGCHLD:
                self._manager.bury()
                continue
            log.info("daemon.signal", signal=number.name, stopping=self._stopping.is_set())
            if number == signal.SIGHUP:
                tasks.start_soon(self._reload_on_signal)
                continue
            if self._stopping.is_set():
                self._manager.kill()
            self._stopping.set()

    async def _follow(self, instance: Instance, runtime: Runtime) -> None:
        """Keep the runtime file true where servers choose their ports themselves."""

        def moved() -> Runtime | None:
            urls = {
                service: peers[0].url
                for service in ("gateway", "models")
                if (peers := self._manager.peers.of(service))
            }
            latest = replace(runtime, **urls)
            return latest if latest != runtime and not self._stopping.is_set() else None

        while True:
            runtime = await self._manager.until(moved)
            try:
                instance.publish(runtime)
            except StorageError as error:
                log.error("daemon.runtime_file_stale", reason=str(error))


def _only_new_ports(settings: Settings, before: Settings) -> Settings:
    """Leave out the ports that tale's own servers have already."""
    parts: dict[str, object] = {}
    for section in ("gateway", "model_server"):
        new, old = getattr(settings, section), getattr(before, section)
        parts[section] = new.model_copy(update={"port": 0}) if new.port == old.port else new
    return settings.model_copy(update=parts)


def _spawner(paths: Paths) -> Spawner:
    """Fork where orphans can be made to fall to this process, else spawn."""
    subreaper = become_subreaper()
    # Whoever started this process may have had children before it became tale.
    spawner = OsSpawner(paths, subreaper=subreaper, inherited=orphans.children())
    return ForkSpawner(spawner) if subreaper else spawner


def run_daemon(
    announce: Announce,
    paths: Paths,
    settings: Settings,
    specs: Sequence[ServerSpec] | None = None,
) -> None:
    """Be the daemon of an installation until told to stop.

    Raises:
        DaemonError: There is one already.
        PortInUse: Another program has a port that is needed.
        StorageError: The folders can't be used.
    """
    with claim(paths) as instance:
        check_ports(settings, paths)
        systemd = Systemd.from_environment()
        daemon = Daemon(paths, settings, specs, token=instance.token(), systemd=systemd)
        anyio.run(daemon.run, instance, announce)


def main(arguments: Sequence[str] | None = None, specs: Sequence[ServerSpec] | None = None) -> int:
    """Run the daemon as a process; give its exit code."""
    parser = argparse.ArgumentParser(prog="tale.orchestration.daemon", description=__doc__)
    parser.add_argument("--notify-fd", type=int, default=-1)
    report = _Report(parser.parse_args(arguments).notify_fd)
    configure_logging()
    name_process("supervisor")
    try:
        paths = Paths.from_environment()
        settings = load_settings(paths)
        logging.getLogger().setLevel(settings.log_level)
        run_daemon(lambda runtime: report.send({"ok": asdict(runtime)}), paths, settings, specs)
    except TaleError as error:
        log.error("daemon.failed", code=error.code, reason=str(error))
        report.failed(error)
        return error.exit_code
    except Exception as error:
        log.exception("daemon.crashed")
        report.failed(DaemonError(f"The daemon failed: {error!r}."))
        return 1
    return 0


class _Report:
    """The one line for whoever started this process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        if fd >= 0:
            os.set_inheritable(fd, False)

    def send(self, message: dict[str, object]) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, orjson.dumps(message) + b"\n")
            os.close(self._fd)
        except OSError:
            log.warning("daemon.starter_gone")
        self._fd = -1

    def failed(self, error: TaleError) -> None:
        self.send({"error": {"code": error.code, "message": error.message, "hint": error.hint}})


if __name__ == "__main__":
    sys.exit(main())
