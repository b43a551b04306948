"""What an agent may do: ask a model, and act in its task's workspace. Values and a seam; pure.

The agent decides, its `Hands` do. Each call of theirs is recorded before its result is given back,
so that after a crash the agent, which only depends on these results, comes to the same point again
without anything being done twice. Above: `tasks.agent` (decides), `tasks.engine` (records),
`servers.execution` (does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tale.models.backend import FinishReason, Message
from tale.tasks.plan_facts import PlanFacts
from tale.tasks.task import Role, TokensSpent

__all__ = [
    "Action",
    "ApprovePlan",
    "AskUser",
    "CallTool",
    "EditFile",
    "FileChange",
    "Hands",
    "ListFiles",
    "Outcome",
    "Question",
    "ReadFile",
    "Reply",
    "RunCommand",
    "RunPython",
    "WriteFile",
]


@dataclass(frozen=True, slots=True)
class Question:
    """One model call.

    Attributes:
        role: Who is asked; `auto` leaves it to the router.
        schema: JSON schema that the answer must satisfy; None for free text.
        session: Groups calls that share a beginning, for the prefix cache.
        shown: Whether tokens are shown to the user as they come.
        stop: Strings before which the answer ends, for one that goes on when all is said: at most
            four, which every server takes. A block that is open there is closed.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    role: Role | Literal["auto"] = "auto"
    schema: Mapping[str, object] | None = None
    session: str | None = None
    shown: bool = True
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered; `ran_away` where it was stopped because it repeated itself."""

    text: str
    model: str
    role: Role
    reason: str = ""
    finish: FinishReason = "stop"
    usage: TokensSpent = field(default_factory=TokensSpent)
    ran_away: bool = False


@dataclass(frozen=True, slots=True)
class ListFiles:
    """Name what is in a folder of the workspace."""

    path: str = "."


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Read a text file of the workspace."""

    path: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a whole file."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class EditFile:
    """Replace the one place where a file says `old`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a shell line in the workspace, in the sandbox.

    Attributes:
        seconds: Wall-clock limit.
        repeatable: Doing it twice does no harm: it may be done again after a crash.
        about: What it is for, in words for the user: "runs the tests".
    """

    line: str
    seconds: float = 120.0
    repeatable: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class RunPython:
    """Run a Python program in the workspace, in the sandbox; fields as those of `RunCommand`."""

    code: str
    seconds: float = 120.0
    repeatable: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool of an external MCP server."""

    server: str
    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class AskUser:
    """Ask the user something; the answer is the outcome's text, not ok where it is no."""

    question: str


@dataclass(frozen=True, slots=True)
class ApprovePlan:
    """Ask the user whether a plan may be worked on.

    The outcome is ok where they agree, and its text is the plan as they edited it, or empty; where
    they don't, it is their reason, or empty.

    Attributes:
        question: Why they are asked.
        plan: The plan as `tasks.plan_text` writes it.
        digest: Names this very plan, so that nobody agrees to another one.
        facts: What is known of it beside its parts.
    """

    question: str
    plan: str
    digest: str
    facts: PlanFacts = field(default_factory=PlanFacts)


Action = (
    ListFiles
    | ReadFile
    | WriteFile
    | EditFile
    | RunCommand
    | RunPython
    | CallTool
    | AskUser
    | ApprovePlan
)


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that an action wrote; `path` is relative to the workspace."""

    path: str
    bytes: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action.

    Attributes:
        ok: It was done; for a command, it also exited with 0.
        text: What the model is told: content, output, or the exact error.
        exit: A command's exit status; None where nothing ran to its end.
        note: What the user is told beside it, such as where the rest of a flood of output is.
        forbidden: It was not done because the user said no.
        said: What the user said as they allowed it.
    """

    ok: bool
    text: str
    exit: int | None = None
    files: tuple[FileChange, ...] = ()
    note: str = ""
    forbidden: bool = False
    said: str = ""

    @property
    def told(self) -> str:
        """The text, and what the user said."""
        return f"{self.text}\nThe user says: {self.said}" if self.said else self.text


class Hands(Protocol):
    """Asks and acts for one step; what was done before a crash is only told again."""

    async def ask(self, question: Question) -> Reply:
        """Ask a model; raises `TaleError`s."""
        ...

    async def act(self, action: Action) -> Outcome:
        """Do something; a refusal or an error is an `Outcome` that is not ok."""
        ...

    async def note(self, text: str) -> None:
        """Tell the user something."""
        ...
