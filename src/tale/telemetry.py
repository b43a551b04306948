"""How a process shows itself: structured log lines, and its name in `ps` and `htop`.

A log line is an event name with fields, and the trace of the request that it is part of. Modules
call `get_logger(__name__)`; only a process's entry point calls `configure_logging`. Standard error
is where lines go; the supervisor keeps it in a file per server.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson
import setproctitle

from tale import trace

__all__ = ["EventLogger", "configure_logging", "get_logger", "name_process"]

_FIELDS = "tale_fields"
_STANDARD = {"exc_info", "stack_info", "stacklevel"}


class EventLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose extra keyword arguments are the line's fields.

    `log.info("server.ready", name="ux", seconds=0.8)`: the event is dotted and in the past tense or
    a state. `exc_info` means what it means in the standard library.
    """

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Move the fields to where the formatter finds them."""
        standard = {key: kwargs.pop(key) for key in _STANDARD & kwargs.keys()}
        return msg, {**standard, "extra": {_FIELDS: dict(kwargs)}}


def get_logger(name: str) -> EventLogger:
    """Give the logger of a module."""
    return EventLogger(logging.getLogger(name), {})


class _Formatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO event key=value …`, values quoted as JSON where needed."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        fields: dict[str, Any] = getattr(record, _FIELDS, {})
        if "trace" not in fields and (here := trace.current()):
            fields = {**fields, "trace": here.id}
        pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items())
        line = f"{when}Z {record.levelname} {record.name} {record.getMessage()}{pairs}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if text and not set(text) & set(' "\n=') else orjson.dumps(text).decode()


def configure_logging(level: str = "INFO") -> None:
    """Send this process's log lines to standard error. Called once, at the entry of a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "httpx2", "httpcore2", "mcp", "alembic", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def name_process(name: str) -> None:
    """Have the system's tools list this process as `tale: NAME`."""
    # Else the title may run over the environment, which the same tools show.
    os.environ.setdefault("SPT_NOENV", "1")
    setproctitle.setproctitle(f"tale: {name}")
