"""The command tree: every command's name, its place in the help, and the module that has it.

A command's module is imported when the command runs, or when its own help is asked for; `tale
--help` is answered from this table alone. Above: `main`. Below: one module per group of commands,
each with a Typer application called `app`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from tale import __version__

__all__ = ["COMMANDS", "CommandSpec", "app"]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Where a command is found, and what the overview says of it."""

    name: str
    module: str
    panel: str
    summary: str


def _panel(panel: str, *rows: tuple[str, str, str]) -> tuple[CommandSpec, ...]:
    return tuple(CommandSpec(name, module, panel, summary) for name, module, summary in rows)


COMMANDS: tuple[CommandSpec, ...] = (
    *_panel(
        "Work",
        ("submit", "submit", "Hand over a piece of work and print its result."),
        ("chat", "chat", "Talk; work is done in the background meanwhile."),
        ("tasks", "tasks", "List tasks, newest first."),
        ("show", "tasks", "Show one task: state, answer, files."),
        ("watch", "tasks", "Follow a task until it ends."),
        ("pause", "tasks", "Let a task rest until it is resumed."),
        ("resume", "tasks", "Let a paused task go on."),
        ("approve", "answering", "Let a task do what it asks for, or answer its question."),
        ("edit", "editing", "Change the plan that a task asks about, and let it go on."),
        ("reject", "answering", "Don't let a task do what it asks for."),
        ("cancel", "tasks", "Cancel a task that has not ended."),
        ("checkpoints", "checkpoints", "List the saved states of a task's files, or pin one."),
        ("restore", "checkpoints", "Bring a task's files back to a checkpoint."),
        ("fork", "checkpoints", "Begin a new task with the files of a checkpoint."),
        ("export", "portable", "Write a task to a file, to go on elsewhere."),
        ("import", "portable", "Take over a task from a file."),
        ("sessions", "sessions", "List conversations, or show one."),
        ("context", "context", "Show what a model is sent of a conversation."),
    ),
    *_panel(
        "Memory",
        ("memory", "memory", "Search what was said; show, add or forget what is remembered."),
    ),
    *_panel(
        "Models",
        ("models", "models", "Show the models; pull, load or unload one."),
        ("usage", "usage", "Show the tokens spent, and what was saved."),
        ("route", "route", "Show which model would answer a text, and why."),
        ("bench", "bench", "Measure first tokens, speed, and what switching models costs."),
    ),
    *_panel(
        "Daemon",
        ("serve", "serve", "Run the daemon."),
        ("stop", "serve", "Stop the daemon and everything it runs."),
        ("restart", "serve", "Restart one server, a service one by one, or all."),
        ("scale", "scale", "Run more or fewer of a service."),
        ("reload", "scale", "Read the settings again; restart only what they change."),
        ("status", "status", "Show the servers and the models."),
        ("dashboard", "dashboard", "Show all on one screen, live; --web in the browser."),
        ("inspect", "server_view", "Show one server in full."),
        ("logs", "logs", "Show what the servers logged."),
    ),
    *_panel(
        "Set-up",
        ("doctor", "doctor", "Check everything tale needs, and say how to mend it."),
        ("config", "settings", "Show the settings, or where they are."),
        ("mcp", "mcp_stdio", "Serve the tasks to an assistant or editor that speaks MCP."),
        ("version", "about", "Show the version."),
    ),
)
_BY_NAME = {spec.name: spec for spec in COMMANDS}


class _LazyCommands(MutableMapping[str, Any]):
    """The commands by name, each imported when it is taken out."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(_BY_NAME[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_BY_NAME)

    def __len__(self) -> int:
        return len(_BY_NAME)


def _load(spec: CommandSpec) -> Any:
    module = import_module(f"tale.cli.{spec.module}")
    command = cast("Any", typer.main.get_command(module.app))
    found = command if command.name == spec.name else command.commands[spec.name]
    found.short_help = spec.summary
    return found


class _Overview(TyperGroup):
    """The top level: commands loaded lazily, listed under the headings of their panels."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _LazyCommands()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; where a command comes first there are no options of this level to look at."""
        if not args or args[0].startswith("-"):
            return super().parse_args(ctx, args)
        _spare_pydantic(self, ctx)
        options, self.params = self.params, []
        try:
            return super().parse_args(ctx, args)
        finally:
            self.params = options

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a command, loading it."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _spare_pydantic(command, ctx)
        return command

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands without loading them."""
        del ctx
        return list(_BY_NAME)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the overview's list of commands."""
        del ctx
        widest = max(map(len, _BY_NAME))
        for panel in dict.fromkeys(spec.panel for spec in COMMANDS):
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (spec.name.ljust(widest), spec.summary)
                        for spec in COMMANDS
                        if spec.panel == panel
                    ]
                )


def _spare_pydantic(command: Any, ctx: Any) -> None:
    """Let the help option be False where it isn't given: Typer asks pydantic about None, 0.15 s."""
    command.get_help_option(ctx).default = False


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tale {__version__}")
        raise typer.Exit


# Typer's rich help imports Markdown, Pygments and more: 0.3 s for frames around the same words.
app = typer.Typer(
    name="tale",
    cls=_Overview,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`tale COMMAND --help` explains a command.",
)


@app.callback()
def overview(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Use this profile of tale.toml where tale is started."),
    ] = None,
) -> None:
    """A local agent: one model answers at once, another works in the background."""
    del version
    if profile is not None:
        # For this command, and for the daemon that it may start.
        os.environ["TALE_PROFILE"] = profile
