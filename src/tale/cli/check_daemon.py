"""Check of the daemon: it runs, is of this version, and all of it is ready. See `checks`."""

from __future__ import annotations

from tale import __version__
from tale.cli.check import Check
from tale.cli.connection import Connection
from tale.cli.pool_view import PoolView
from tale.cli.status import summary
from tale.cli.transport import request_json
from tale.errors import DaemonUnreachable, TaleError
from tale.paths import Paths

__all__ = ["check_daemon"]

_POOL_SECONDS = 3.0


def check_daemon(paths: Paths) -> tuple[Check, PoolView | None]:
    """Look at the daemon without starting it.

    Returns:
        What was found (`warn` only where none runs), and the pool where it answers.
    """
    connection = Connection(paths)
    try:
        report = connection.control("status")
    except DaemonUnreachable:
        return (
            Check(
                "daemon",
                "warn",
                "not running",
                "Nothing to mend: commands start it, or `tale serve --detach`.",
            ),
            None,
        )
    except TaleError as error:
        return Check("daemon", "fail", error.message, error.hint), None
    if report.text("version") != __version__:
        return (
            Check(
                "daemon",
                "fail",
                f"version {report.text('version')} runs, this is {__version__}.",
                "`tale stop`, then any command starts the new one.",
            ),
            None,
        )
    servers = report.records("servers")
    url = next((s.text("url") for s in servers if s.text("service") == "models"), "")
    pool, trouble = None, "the models server does not serve"
    if url:
        try:
            pool = PoolView.read(
                request_json(
                    "GET", f"{url}/pool", token=connection.runtime().token, silence=_POOL_SECONDS
                )
            )
        except TaleError as error:
            trouble = error.message
    well, text = summary(servers, pool, trouble)
    mend = "`tale logs` says why; `tale restart` starts everything anew."
    return Check("daemon", "ok" if well else "fail", text, "" if well else mend), pool
