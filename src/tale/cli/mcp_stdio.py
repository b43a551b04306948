"""`tale mcp`: the gateway's tools for clients that start a program and speak MCP over its pipes.

Below: `mcp_bridge`, which the SDK comes with; `mcp_snippets`.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Annotated

import typer

from tale.cli.connection import Connection
from tale.cli.mcp_snippets import CLIENTS, snippet
from tale.cli.render import Screen
from tale.errors import ConfigError
from tale.orchestration import background, control_client
from tale.paths import Paths

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# What says which tale is meant; clients start programs with an environment of their own.
_KEPT = ("TALE_HOME", "TALE_CONFIG", "TALE_PROFILE")


@app.command()
def mcp(
    config: Annotated[
        str | None,
        typer.Option(metavar="CLIENT", help=f"Print a client's settings: {', '.join(CLIENTS)}."),
    ] = None,
) -> None:
    """Serve the tasks over MCP on standard input and output; assistants and editors start it.

    It starts the daemon where it isn't running. A client that speaks HTTP needs no `tale mcp`: the
    gateway's address is enough.
    """
    screen = Screen.detect()
    if config is not None:
        _print_settings(screen, config)
    elif sys.stdin.isatty():
        screen.note("An MCP client starts this command. `tale mcp --config CLIENT` prints how.")
        raise typer.Exit(2)
    else:
        _serve()


def _print_settings(screen: Screen, client: str) -> None:
    if client not in CLIENTS:
        raise ConfigError(
            f"Nothing is known of a client {client!r}.",
            hint=f"Known are {', '.join(CLIENTS)}; most others read the shape of claude-desktop.",
        )
    found = shutil.which(sys.argv[0]) or shutil.which("tale")
    command = [os.path.abspath(found)] if found else [sys.executable, "-m", "tale.cli"]  # noqa: PTH100 - a link in PATH stays one
    kept = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    screen.note(f"For {CLIENTS[client][0]}:")
    screen.print(snippet(client, [*command, "mcp"], kept))


def _serve() -> None:
    import anyio  # noqa: PLC0415 - the settings are printed without all this
    from anyio import to_thread  # noqa: PLC0415
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    from tale.cli.mcp_bridge import Address, bridge_server  # noqa: PLC0415
    from tale.telemetry import configure_logging  # noqa: PLC0415

    paths = Paths.from_environment()

    async def find() -> Address:
        return Address(*await to_thread.run_sync(_gateway, paths))

    async def serve() -> None:
        server = bridge_server(find)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    configure_logging("WARNING")
    anyio.run(serve)


def _gateway(paths: Paths) -> tuple[str, str]:
    """Give the gateway's address and token, starting the daemon where it isn't running."""
    if control_client.read_runtime(paths) is None:
        background.ensure_daemon(paths)
    connection = Connection(paths)
    return connection.url_of("gateway"), connection.runtime().token
