"""What systemd is told of the supervisor: that it serves, reloads, stops, and that it is alive.

The protocol of sd_notify(3): a datagram of `NAME=VALUE` lines to the socket that `NOTIFY_SOCKET`
names. Where there is none, as under Docker or in a terminal, nothing is told to anybody. Above:
`daemon`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import anyio

from tale.telemetry import get_logger

__all__ = ["Systemd"]

log = get_logger(__name__)

# systemd reads at once; a supervisor must not hang because that one does.
_SEND_SECONDS: Final = 1.0
# Fields of a status are cut by systemd anyway, and a datagram must fit into the socket's buffer.
_MAX_STATUS: Final = 1000


class Systemd:
    """The service manager that started this process, if one did."""

    def __init__(self, address: str, watchdog: float = 0.0) -> None:
        """Open the way to it.

        Args:
            address: Path of its socket, with a leading `@` an abstract one; empty if there is none.
            watchdog: Seconds of silence after which it ends this process; 0 if it never does.
        """
        self._watchdog = watchdog
        self._socket: socket.socket | None = None
        if address:
            self._connect("\0" + address[1:] if address.startswith("@") else address)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Systemd:
        """Find it, and take its variables away: children that inherit them would speak for us."""
        address = environ.pop("NOTIFY_SOCKET", "")
        pid = environ.pop("WATCHDOG_PID", "")
        interval = environ.pop("WATCHDOG_USEC", "")
        watched = interval.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address, int(interval) / 1e6 if watched else 0.0)

    def ready(self) -> None:
        """Say that the start, or the reload, is complete."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what goes on; `systemctl status` shows it."""
        self._send("STATUS=" + " ".join(text.split())[:_MAX_STATUS])

    def reloading(self) -> None:
        """Say that the configuration is being read anew; `ready` must follow."""
        # systemd compares the time with that of its own SIGHUP.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the stop has begun."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Say again and again, in time for its watchdog, that the event loop still turns.

        Returns at once where nobody waits for that.
        """
        while self._socket and self._watchdog:
            self._send("WATCHDOG=1")
            await anyio.sleep(self._watchdog / 2)  # as sd_watchdog_enabled(3) recommends

    def close(self) -> None:
        """Tell it nothing more."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _connect(self, address: str) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.settimeout(_SEND_SECONDS)
        try:
            sock.connect(address)
        except OSError as error:
            log.warning("systemd.unreachable", reason=str(error))
            sock.close()
        else:
            self._socket = sock

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(message.encode())
        except OSError as error:  # its watchdog, or its start limit, decides what that means
            log.warning("systemd.not_told", message=message, reason=str(error))
