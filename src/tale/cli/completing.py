"""What a shell may complete beside commands and options: ids of tasks, names of servers and models.

Asked of the daemon that runs, for a second at most. Where none runs, or anything goes wrong, there
is nothing to complete: a shell that waits, or shows an error while somebody types, is worse. Above:
the commands' arguments. Below: `connection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tale.cli.client import McpClient
from tale.cli.connection import Connection
from tale.cli.record import Record
from tale.cli.render import one_line
from tale.cli.transport import request_json
from tale.errors import TaleError

__all__ = ["model_names", "profile_names", "server_names", "service_names", "task_ids"]

_SECONDS = 1.0
_MOST_TASKS = 50
_WIDEST = 60

_Found = Iterator[tuple[str, str]]


def _quietly(find: Callable[[], _Found], begun: str) -> list[tuple[str, str]]:
    try:
        return [(name, told) for name, told in find() if name.startswith(begun)]
    except (TaleError, OSError, ValueError):
        return []


def task_ids(incomplete: str) -> list[tuple[str, str]]:
    """Give the newest tasks, each with its state and text."""

    def find() -> _Found:
        connection = Connection.running()
        url = connection.control("wait", deadline=_SECONDS, service="gateway").text("url")
        client = McpClient(url, connection.runtime().token)
        for task in client.call("list", {"limit": _MOST_TASKS}, None).records("tasks"):
            told = f"{task.text('state')}: {one_line(task.text('text'))[:_WIDEST]}"
            yield task.text("id"), told

    return _quietly(find, incomplete)


def server_names(incomplete: str) -> list[tuple[str, str]]:
    """Give the servers, each with its state."""
    return _quietly(
        lambda: ((one.text("name"), one.text("state")) for one in _servers()), incomplete
    )


def service_names(incomplete: str) -> list[tuple[str, str]]:
    """Give what servers do, each once."""
    return _quietly(
        lambda: iter(dict.fromkeys((one.text("service"), "") for one in _servers())), incomplete
    )


def _servers() -> tuple[Record, ...]:
    return Connection.running().control("status", deadline=_SECONDS).records("servers")


def model_names(incomplete: str) -> list[tuple[str, str]]:
    """Give the models that the daemon knows, and those that can be fetched."""

    def find() -> _Found:
        from tale.models.catalog import CATALOG  # noqa: PLC0415 - not every command wants it

        told = dict.fromkeys(CATALOG, "")
        try:
            connection = Connection.running()
            runtime = connection.runtime()
            url = connection.control("wait", deadline=_SECONDS, service="models").text("url")
            pool = request_json("GET", f"{url}/pool", token=runtime.token, silence=_SECONDS)
            told |= {one.text("name"): one.text("state") for one in pool.records("models")}
        except TaleError:
            pass
        yield from told.items()

    return _quietly(find, incomplete)


def profile_names(incomplete: str) -> list[str]:
    """Give the profiles of the settings."""
    import tomllib  # noqa: PLC0415 - as above

    from tale.paths import Paths  # noqa: PLC0415

    try:
        text = Paths.from_environment().config_file.read_text(encoding="utf-8")
        profiles: dict[str, object] = tomllib.loads(text).get("profiles", {})
    except (OSError, ValueError):
        return []
    return [name for name in profiles if name.startswith(incomplete)]
