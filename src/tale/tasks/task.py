"""What a task is: its states, its events, its steps, and which texts can become one.

Pure values and rules; nothing here reads a clock, a file or a database, and the command line uses
`check_prompt` too. Above: everything in `tasks`. What crosses processes is in `wire.contracts`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from tale.errors import PromptRejected, TaskError

__all__ = [
    "ENDED",
    "MAX_PROMPT_BYTES",
    "STEP_SECONDS",
    "TRANSITIONS",
    "Approve",
    "Began",
    "FileWritten",
    "Form",
    "Judge",
    "Judgement",
    "Kind",
    "Level",
    "Noted",
    "Origin",
    "Progress",
    "Report",
    "Role",
    "Size",
    "State",
    "Step",
    "StepResult",
    "Subtask",
    "Task",
    "TaskEvent",
    "TokenSaid",
    "TokensSpent",
    "ToolOffer",
    "WorkKind",
    "check_prompt",
    "check_transition",
]

State = Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"]
Role = Literal["ux", "task"]
Kind = Literal["talk", "work"]
Level = Literal["ask", "workspace", "full"]
"""What a task may do without a question; `tasks.permissions` says what each means."""
WorkKind = Literal["code", "write", "act", "summarise", "extract", "transform", "plan"]
"""What a part of a plan is, as `models.assess` names it: a program, prose, things done on the
machine, a shorter text, facts out of one, the same in another form, and the planning itself."""
Size = Literal["small", "medium", "large"]
Approve = Literal["auto", "always", "never"]
"""Whether a plan is put to the user: where there is a reason, in any case, or not at all."""
Form = Literal["fences", "json"]
"""How a model acts: whole files in fenced blocks, or one action a turn as a JSON object."""

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    # Unfinished tasks go back to the queue when the gateway starts.
    "queued": frozenset({"queued", "running", "paused", "cancelled"}),
    "running": frozenset({"queued", "waiting", "paused", "done", "failed", "cancelled"}),
    # For its user, whose answer it needs.
    "waiting": frozenset({"queued", "running", "paused", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""Which states may follow a state."""

ENDED: Final[frozenset[State]] = frozenset(
    state for state, following in TRANSITIONS.items() if not following
)
"""The states in which nothing more happens to a task."""

MAX_PROMPT_BYTES: Final = 200_000
"""UTF-8 bytes of one text: about 50,000 tokens, more than the embedded models' windows hold."""

STEP_SECONDS: Final = 3600.0
"""Time for one step, waiting for the model included: 4,096 tokens take 9 minutes at the 8 tokens a
second that the embedded task model makes while somebody chats."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_CONTROL_SHARE: Final = 100
"""One control character in so many is binary data; terminal colours in pasted text are fewer."""


@dataclass(frozen=True, slots=True)
class TokensSpent:
    """Tokens of the prompt, of the answer, and of the prompt's part that was cached."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def __add__(self, other: TokensSpent) -> TokensSpent:
        """Add what two requests took."""
        return TokensSpent(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the database has it.

    Attributes:
        workspace: Folder for its files; need not exist before the first one.
        priority: Higher is sooner.
        session: Conversation that it comes from.
        permission: What it may do without a question; as the settings say where it is None.
        approve: Whether its plan is put to the user; likewise.
        private: Whether nothing of it is to be remembered, and nothing asked of the memory.
        reason: Why the router chose `role`.
        last_event: `seq` of its newest event.
    """

    id: str
    text: str
    state: State
    workspace: str
    created: datetime
    priority: int = 0
    session: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    role: Role | None = None
    reason: str | None = None
    model: str | None = None
    answer: str | None = None
    files: tuple[str, ...] = ()
    usage: TokensSpent = TokensSpent()
    error: str | None = None
    hint: str | None = None
    last_event: int = 0
    permission: Level | None = None
    approve: Approve | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task; kinds and data are those of `wire.contracts.Event`."""

    task: str
    seq: int
    at: datetime
    kind: str
    data: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which model a text is for, whether it is work, and why.

    Attributes:
        planned: Whether it is large, so that a plan is made of it first.
    """

    role: Role
    kind: Kind
    reason: str
    planned: bool = False


Judge = Callable[[str], Judgement]
"""Judges a text, at once and always the same."""


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool of an external MCP server that a step may use.

    Attributes:
        description: What it is for, in a few words: each is part of every prompt.
        schema: JSON schema of its arguments.
        read_only: Its server says that it changes nothing.
    """

    server: str
    tool: str
    description: str = ""
    schema: Mapping[str, object] = field(default_factory=dict[str, object])
    read_only: bool = False

    @property
    def name(self) -> str:
        """What the model calls it."""
        return f"{self.server}.{self.tool}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The checkpoint whose files a task's workspace began with: another task's, and its number."""

    task: str
    number: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in a task's workspace.

    Attributes:
        text: What is to be done: a part's own instructions.
        role: The model that does it.
        kind: `talk` is answered in words alone; `work` may write files.
        session: The conversation that its task comes from.
        subtask: The part of the task that it is; None where the task is one step.
        check: A shell line of the user's that exits with 0 where the work is done well.
        form: How the model that does it acts, as the catalogue has it.
        tools: What it may call beside its own. Talk has some only where it names their server.
        anywhere: What is done now may be outside of the workspace: the user agreed to it.
        round: How often its task's files were brought back; nothing of an earlier round counts.
        origin: Where its task's files came from, if it was forked.
        permission: What the user said of this task; None leaves it to the settings.
        wanted: What a part of a plan is, as its plan says; else the text tells.
        writes: The files that such a part is to write.
        context: What such a part belongs to, and the results that it builds on. Its model is told
            that too, but nothing in it is what the part is to make.
    """

    task: str
    text: str
    workspace: str
    role: Role
    kind: Kind
    session: str | None = None
    check: str | None = None
    form: Form = "fences"
    tools: tuple[ToolOffer, ...] = ()
    subtask: str | None = None
    anywhere: bool = False
    round: int = 0
    origin: Origin | None = None
    permission: Level | None = None
    wanted: WorkKind | None = None
    writes: tuple[str, ...] = ()
    context: str = ""

    @property
    def id(self) -> str:
        """Its name among all steps of all tasks, and of all their rounds."""
        task = f"{self.task}~{self.round}" if self.round else self.task
        return task if self.subtask is None else f"{task}.{self.subtask}"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave.

    Attributes:
        model: Who really answered.
        files: Relative to the workspace.
        reason: Why that model was chosen; empty where nobody said.
        turns: How often a model was asked.
        holds: Whether the checks hold; None where there was nothing to check, or no way to.
        check: What was checked and what came of it, or why not, for the user; empty where there
            was nothing to check.
        faults: What the failed checks said, for whoever is to mend it.
    """

    answer: str
    model: str
    role: Role
    files: tuple[str, ...] = ()
    usage: TokensSpent = TokensSpent()
    reason: str = ""
    turns: int = 1
    holds: bool | None = None
    check: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subtask:
    """One part of a task that has several.

    Attributes:
        depends_on: Ids of those that must be done before; their results are given to it.
        answer: Its result, once it is done.
        files: What it wrote, relative to the workspace.
        kind: What is asked for, as the router names it.
        reads: Files that it needs, relative to the workspace: they are there, or others write them.
        writes: Files that it will write; no two parts that may run together write the same.
        check: A shell line that exits with 0 where it is done well; empty where there is none.
        size: How much work it is expected to be.
        priority: Among the parts of its task: higher is sooner.
    """

    id: str
    title: str
    text: str
    depends_on: tuple[str, ...] = ()
    state: State = "queued"
    answer: str = ""
    files: tuple[str, ...] = ()
    kind: WorkKind = "code"
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    check: str = ""
    size: Size = "medium"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Began:
    """What was handed out begins; a second time where the first server died."""


@dataclass(frozen=True, slots=True)
class TokenSaid:
    """A piece of the answer, as it comes."""

    text: str


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file is in the workspace now; `path` is relative to it."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that the user should know."""

    text: str


Progress = Began | TokenSaid | FileWritten | Noted
Report = Callable[[Progress], Awaitable[None]]
"""How a step tells its progress; each call returns when what it told may be relied on."""


def check_transition(task: str, before: State, after: State) -> None:
    """Make sure that a task may go from one state to the other.

    Raises:
        TaskError: It may not.
    """
    if after not in TRANSITIONS[before]:
        raise TaskError(f"Task {task} is {before}, so it can't become {after}.")


def check_prompt(text: str) -> str:
    """Give the text without the white space around it, if it is text that can be worked on.

    Raises:
        PromptRejected: It is empty, too large, or not text.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PromptRejected(
            f"The text is not valid UTF-8: bytes that aren't text at character {error.start + 1}.",
            hint="Convert it to UTF-8, or put the file into the workspace and name it.",
        ) from error
    if size > MAX_PROMPT_BYTES:
        raise PromptRejected(
            f"The text has {size:,} bytes; at most {MAX_PROMPT_BYTES:,} are taken.",
            hint="Put it into a file in the workspace and name the file.",
        )
    controls = len(_CONTROLS.findall(text))
    if "\0" in text or controls * _CONTROL_SHARE > len(text):
        raise PromptRejected(
            "The text is binary data.", hint="Put the file into the workspace and name it."
        )
    if not (stripped := text.strip()):
        raise PromptRejected("The text is empty.", hint='Say what to do: tale submit "…"')
    return stripped
