"""`tale dashboard --web`: a link that logs a browser in, once; opened where there is a desktop.

Above: `dashboard`. Below: `connection`, `transport`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from tale.cli.connection import Connection
from tale.cli.render import Screen
from tale.cli.transport import request_json

__all__ = ["has_desktop", "open_in_browser"]

_SECONDS = 10.0


def open_in_browser(connection: Connection, screen: Screen, *, as_json: bool = False) -> None:
    """Print the link and open it, if this machine shows anybody a browser.

    Args:
        connection: The running daemon.
        screen: Where to print.
        as_json: Print JSON, and open nothing.

    Raises:
        TaleError: The gateway does not answer.
    """
    gateway = connection.url_of("gateway")
    token = connection.runtime().token
    url = f"{gateway}/api/login-keys"
    reply = request_json("POST", url, token=token, body=b"{}", silence=_SECONDS)
    link, seconds = gateway + reply.text("path"), reply.number("seconds") or 0.0
    if as_json:
        screen.json({"url": link, "seconds": seconds})
        return
    screen.print(link)
    screen.note(f"It logs one browser in, once, within {seconds / 60:.0f} minutes.")
    if os.environ.get("SSH_CONNECTION"):
        port = gateway.rpartition(":")[2]
        screen.note(f"From another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE")
    elif screen.err_is_terminal and has_desktop(sys.platform, os.environ):
        import webbrowser  # noqa: PLC0415 - only where one is opened

        if not webbrowser.open(link):
            screen.note("No browser could be opened; open the link yourself.")


def has_desktop(platform: str, environment: Mapping[str, str]) -> bool:
    """Say whether a browser would appear before somebody.

    Args:
        platform: As `sys.platform`.
        environment: The process's environment variables.
    """
    if "SSH_CONNECTION" in environment:
        return False
    if platform.startswith(("win", "darwin")):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
