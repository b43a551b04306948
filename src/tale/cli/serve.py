"""`tale serve`, `stop` and `restart`: the daemon's life.

Below: `orchestration.background`; in the foreground this process is the supervisor.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tale.cli.completing import server_names
from tale.cli.connection import Connection
from tale.cli.render import Screen
from tale.cli.spinner import Spinner
from tale.errors import DaemonUnreachable, DaemonVersionMismatch
from tale.orchestration import background, control_client
from tale.paths import Paths

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# Each server gets its time to end; then it is killed.
_STOP_SECONDS = 90.0
_RESTART_SECONDS = 300.0


@app.command()
def serve(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run in the background; return once it serves.")
    ] = False,
) -> None:
    """Run the daemon: models, servers, tasks. Other commands start it themselves when needed."""
    screen = Screen.detect()
    if not detach:
        _serve_here(screen)
        return
    before = control_client.read_runtime(Paths.from_environment())
    connection = Connection.open(screen)
    address = connection.url_of("gateway")
    what = "serves" if before is None else "runs already and serves"
    screen.print(f"tale {what} at {address} (process {connection.runtime().pid}).")
    if screen.err_is_terminal:
        screen.note("`tale status` shows it, `tale stop` stops it.")


def _serve_here(screen: Screen) -> None:
    """Be the daemon until somebody stops it."""
    from tale.config_layers import load_settings  # noqa: PLC0415 - the rest here is quick
    from tale.orchestration.daemon import run_daemon  # noqa: PLC0415
    from tale.telemetry import configure_logging  # noqa: PLC0415

    paths = Paths.from_environment()
    settings = load_settings(paths)
    configure_logging(settings.log_level)
    run_daemon(
        lambda runtime: screen.note(f"tale runs (process {runtime.pid}); Ctrl-C stops it.", "bold"),
        paths,
        settings,
    )


@app.command()
def stop(as_json: _Json = False) -> None:
    """Stop the daemon and everything it runs. Tasks go on when it is started again."""
    screen = Screen.detect()
    paths = Paths.from_environment()
    pid = control_client.daemon_pid(paths)
    with Spinner(screen, "stopping"):
        stopped = background.stop_daemon(paths, _STOP_SECONDS)
    if as_json:
        screen.json({"stopped": stopped, "pid": pid})
    elif stopped:
        screen.print(f"Stopped tale (process {pid}) and all its servers; nothing is left.")
    else:
        screen.print("tale is not running.")


@app.command()
def restart(
    server: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVER]", help="Which; all if missing.", autocompletion=server_names
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Restart one server, or all, and wait until it serves again. Tasks in flight are resumed."""
    screen = Screen.detect()
    if server is None:
        connection = Connection(Paths.from_environment())
        with Spinner(screen, "restarting", connection.waiting_for):
            _restart_all(connection)
    else:
        connection = Connection.running()
        with Spinner(screen, f"restarting {server}", connection.waiting_for):
            connection.control("restart", deadline=_RESTART_SECONDS, server=server)
    if as_json:
        screen.json({"restarted": server or "all"})
    else:
        screen.print(f"{server} serves again." if server else "tale serves again.")


def _restart_all(connection: Connection) -> None:
    """Restart the servers; a daemon of another version, or one that is mute, is replaced."""
    try:
        control_client.check_version(connection.runtime())
        connection.control("restart", deadline=_RESTART_SECONDS)
    except (DaemonUnreachable, DaemonVersionMismatch):
        background.stop_daemon(connection.paths, _STOP_SECONDS)
        background.ensure_daemon(connection.paths)
    connection.url_of("gateway")
