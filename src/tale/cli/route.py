"""`tale route`: which model would answer a text, and whether it would be planned; asks no model.

The models server of a running daemon decides, by how its models stand and by what it has learned;
where none runs the same router decides here, as if the core models were up and idle. Whether a
plan is made of it is told by the rule that the gateway has. Below: `connection`, `tasks.judging`,
and `models.router` where no daemon runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Final

import typer

from tale.cli.connection import Connection
from tale.cli.prompt_text import from_arguments
from tale.cli.record import Record
from tale.cli.render import Screen, human_seconds
from tale.errors import DaemonUnreachable

__all__ = ["app", "explain"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_WIDTH: Final = len("Likely right")


@app.command()
def route(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What would be asked; - reads standard input."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which model would answer a text, and why, and whether it would be planned first.

    No model is asked.

    tale route "Write a complex Python web scraper"
    """
    screen = Screen.detect()
    asked = from_arguments(text or [])
    try:
        decision = Connection.running().models("POST", "/pool/route", {"text": asked})
    except DaemonUnreachable:
        decision = _decide_here(asked)
        screen.note("No daemon runs: decided as if both core models were up and idle.")
    decision = _as_task(decision, asked)
    if as_json:
        screen.json(decision.raw)
        return
    for line in explain(decision, screen):
        screen.print(line)


def explain(decision: Record, screen: Screen) -> Iterator[str]:
    """Put a decision into words, a line for each question that one has about it."""
    assessment = decision.record("assessment")
    role, target = decision.text("role"), decision.text("target")
    name = f"{role} ({target})" if role and role != target else target
    yield from _lines(
        {
            "Answered by": screen.style(name, "bold"),
            "because": decision.text("reason"),
            "In chat": "becomes a task" if assessment.flag("work") else "is answered at once",
            "As a task": _planned(decision.record("task")),
            "Likely right": _likely(decision),
            "Tokens": _tokens(decision),
            "Time": _time(decision),
            "Told": decision.text("words") if assessment.flag("work") else "",
            "If it fails": ", then ".join(decision.texts("chain")) or "nobody else is asked",
        }
    )
    for name, why in _rejected(decision):
        yield from _lines({"Not": f"{name}: {why}"})


def _lines(facts: dict[str, str]) -> list[str]:
    return [f"{what:<{_WIDTH}}  {said}" for what, said in facts.items() if said]


def _rejected(decision: Record) -> Iterator[tuple[str, str]]:
    found = decision.raw.get("rejected")
    for pair in found if isinstance(found, list) else ():
        match pair:
            case [str(name), str(why)]:
                yield name, why
            case _:
                pass


def _planned(task: Record) -> str:
    return task.text("reason") if task.flag("planned") else "it is done in one go"


def _likely(decision: Record) -> str:
    success = decision.number("success") or 0.0
    then = "; its answer is checked, and the next takes over if it is bad"
    return f"{success:.0%}{then if decision.flag('cascade') else ''}"


def _tokens(decision: Record) -> str:
    prompt, answer = decision.integer("prompt_tokens"), decision.integer("completion_tokens")
    budget = decision.record("budget")
    limit, raised = budget.integer("limit"), budget.integer("raised")
    more = f", {raised:,} if it is cut off there" if raised > limit else ""
    return f"about {prompt:,} in and {answer:,} out, at most {limit:,}{more}"


def _time(decision: Record) -> str:
    seconds, limit = decision.number("seconds") or 0.0, decision.number("time_limit") or 0.0
    return f"about {human_seconds(seconds)}, at most {human_seconds(limit)}"


def _as_task(decision: Record, text: str) -> Record:
    """Add what would become of the text as a task."""
    from tale.tasks.judging import judge  # noqa: PLC0415 - no other command needs the classifier

    found = judge(text)
    return Record({**decision.raw, "task": {"planned": found.planned, "reason": found.reason}})


def _decide_here(text: str) -> Record:
    from tale.models import router  # noqa: PLC0415 - a daemon that runs makes it needless

    decision = router.route(router.RouteRequest(text))
    if isinstance(decision, router.Refusal):
        raise decision.error
    return Record.parse(json.dumps(asdict(decision)))
