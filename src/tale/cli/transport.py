"""One HTTP exchange with one of our servers, over the standard library.

`http.client` takes 0.04 s to import; every other client on this machine takes ten times as much or
more. A failure before the request was sent is `NotSent` (always safe to repeat), one after it is
`Broken` (safe only where repeating does no harm). Above: `client` and `events`.
"""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tale import trace
from tale.cli.record import Record
from tale.errors import (
    ServiceUnavailable,
    TaleError,
    Unauthorized,
    WireError,
    error_from_code,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "SILENCE_SECONDS",
    "Broken",
    "NotSent",
    "exchange",
    "request_json",
    "sse_data",
    "sse_events",
]

# Servers send a comment every 15 s while they work (the MCP SDK's interval, ours too), so a stream
# that is silent three times as long has nobody at the other end.
SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 0.5


class NotSent(ServiceUnavailable):
    """Nobody listens there: nothing was sent."""


class Broken(WireError):
    """The connection ended before the answer was complete."""


class _Heedful(socket.socket):
    """A socket that is read without being deaf to Ctrl-C.

    Python notices a signal between two of its own steps, or when the signal breaks off a call. One
    that comes just before a blocking read, or to another thread, would wait for the next byte.
    """

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read what there is; waits as long as the time-out says."""
        patience = self.gettimeout()
        deadline = time.monotonic() + patience if patience is not None else None
        while not select.select([self], [], [], _LOOK_SECONDS)[0]:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError("timed out")
        return super().recv_into(buffer, nbytes, flags)


@contextmanager
def exchange(
    method: str,
    url: str,
    *,
    token: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    silence: float = SILENCE_SECONDS,
) -> Generator[http.client.HTTPResponse]:
    """Send a request and give the response to read; leaving the block closes the connection.

    Args:
        method: HTTP method.
        url: Whole address.
        token: The daemon's bearer token.
        body: JSON to send.
        headers: Further headers.
        silence: Longest wait for the next byte, in seconds.

    Raises:
        NotSent: Nobody listens there.
        Broken: The connection ended or fell silent, also while the block reads.
        TaleError: The server refused.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port or 80, timeout=silence
    )
    try:
        try:
            connection.connect()
            connection.sock = _Heedful(fileno=connection.sock.detach())
            connection.sock.settimeout(silence)
        except OSError as error:
            raise NotSent(f"{url} does not answer: {error}.") from error
        sent = {
            "Authorization": f"Bearer {token}",
            trace.TRACEPARENT: trace.outgoing(),
            **(headers or {}),
        }
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(
                method, parts.path + (f"?{parts.query}" if parts.query else ""), body, sent
            )
            response = connection.getresponse()
            if response.status >= http.client.BAD_REQUEST:
                raise _refused(response.status, response.read(), url)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"The connection to {url} broke: {error or type(error).__name__}.") from (
                error
            )
    finally:
        connection.close()


def request_json(
    method: str, url: str, *, token: str, body: bytes | None = None, silence: float = 5.0
) -> Record:
    """Exchange one JSON object for another."""
    with exchange(method, url, token=token, body=body, silence=silence) as response:
        answer = response.read()
    try:
        return Record.parse(answer)
    except ValueError as error:
        raise WireError(f"{url} answered with something that is not JSON.") from error


def sse_events(response: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """Read server-sent events until the stream ends: the kind and the data of each."""
    kind, lines = "", list[str]()
    while raw := response.readline():
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif line.startswith("event:"):
            kind = line[6:].removeprefix(" ")
        elif not line:
            if lines:
                yield kind, "\n".join(lines)
            kind, lines = "", []


def sse_data(response: http.client.HTTPResponse) -> Iterator[str]:
    """Read the data of server-sent events until the stream ends; comments are skipped."""
    return (data for _, data in sse_events(response))


def _refused(status: int, body: bytes, url: str) -> TaleError:
    """Make the error that an HTTP refusal stands for."""
    try:
        error = Record.parse(body).record("error")
    except ValueError:
        error = Record()
    message = error.text("message") or f"{url} answered with HTTP status {status}."
    if status == http.client.UNAUTHORIZED:
        return Unauthorized(
            "The daemon did not accept this installation's token.",
            hint="Another daemon may hold the port: `tale stop`, then `tale serve --detach`.",
        )
    if status >= http.client.INTERNAL_SERVER_ERROR and not error.text("code"):
        return Broken(message)  # so uvicorn ends what is not done when a server has to leave
    return error_from_code(error.text("code", "wire_error"), message, error.text("hint"))
