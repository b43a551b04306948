"""The hands of one step: each ask and act is done by a worker, and recorded before it is told.

An act whose effect was under way at a crash is known by the event that was recorded before it. It
is done again where that does no harm: files by their content, commands only if they are declared
repeatable. Otherwise the agent is told that it was cut off, and the user too. Above: `engine`.
Below: `durable` (records), and the execution servers behind the `Workers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, Final, Protocol, TypeVar, cast

import anyio

from tale.errors import (
    BackendBroke,
    BackendStalled,
    BackendUnavailable,
    Busy,
    ServiceUnavailable,
    TaleError,
    TaskError,
    WorkspaceFull,
    error_from_code,
)
from tale.storage.database import storable
from tale.tasks.durable import Json, Recorder
from tale.tasks.hands import (
    Action,
    ApprovePlan,
    AskUser,
    CallTool,
    EditFile,
    ListFiles,
    Outcome,
    Question,
    ReadFile,
    Reply,
    RunCommand,
    RunPython,
    WriteFile,
)
from tale.tasks.hands_json import (
    as_json,
    read_outcome,
    read_reply,
    write_action,
    write_outcome,
    write_reply,
)
from tale.tasks.leave import Asker, Granted, Trust, described, leave_for
from tale.tasks.task import Began, FileWritten, Noted, Progress, Report, Step, TokenSaid
from tale.telemetry import get_logger

__all__ = ["Overtaken", "RecordedHands", "Teller", "Workers", "is_repeatable", "pauses"]

log = get_logger(__name__)

ResultT = TypeVar("ResultT")

_ATTEMPTS: Final = 5
"""Starts of one call, after which it fails: something about it brings its server down."""
_RESTARTED: Final = "Its server was started again."
_PAUSE_SECONDS: Final = (1.0, 30.0)
"""First and longest pause before a failed attempt is made again; in between it doubles."""
_FULL: Final = "Free some space: the task waits, and goes on by itself once there is room."
_ROOM: Final = "There is room on the disk again; it goes on."
_PASSING: Final = (ServiceUnavailable, Busy, BackendUnavailable, BackendStalled, BackendBroke)
"""Failures of whoever did it, not of what was to be done: it can be done again."""
_CUT_OFF: Final = (
    "This was cut off by a crash and not run again, as running it twice might do harm. "
    "What it did until then may be there."
)


class Overtaken(Exception):
    """The task was paused or cancelled meanwhile.

    No `TaleError`, as it ends the step's run whatever its agent makes of errors.
    """


class Workers(Protocol):
    """Asks and acts somewhere, telling the progress in order, `Began` first.

    `servers.steps.RemoteWorkers` is one. A second `Began` tells that it was begun anew.
    """

    async def ask(self, step: Step, question: Question, report: Report) -> Reply:
        """Ask a model; cancelling this call stops it."""
        ...

    async def act(self, step: Step, action: Action, report: Report, *, repeatable: bool) -> Outcome:
        """Do something in the step's workspace; what is `repeatable` may be begun again.

        Raises:
            ServiceUnavailable: Its server died, and it may or may not be done.
        """
        ...


class Teller(Protocol):
    """Tells what happens in a step."""

    async def tell(self, kind: str, data: Mapping[str, object], key: str | None = None) -> bool:
        """Record an event and show it; False where one of that key is there already.

        Raises:
            Overtaken: The task was paused or has ended.
        """
        ...

    def token(self, text: str) -> None:
        """Show a piece of an answer."""
        ...


def is_repeatable(action: Action) -> bool:
    """Say whether doing an action a second time does no more than doing it once."""
    match action:
        case ListFiles() | ReadFile() | WriteFile() | EditFile():
            return True
        case RunCommand(repeatable=repeatable) | RunPython(repeatable=repeatable):
            return repeatable
        case CallTool() | AskUser() | ApprovePlan():
            return False


def pauses() -> Iterator[float]:
    """Give the seconds to wait before each further attempt."""
    first, longest = _PAUSE_SECONDS
    return (min(first * 2**number, longest) for number in count())


class RecordedHands:
    """The `Hands` of a step."""

    def __init__(
        self,
        step: Step,
        recorder: Recorder,
        workers: Workers,
        teller: Teller,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
        *,
        trust: Trust,
        ask_user: Asker,
    ) -> None:
        """Make them.

        Args:
            step: Whose they are.
            recorder: Records what they do.
            workers: Do it.
            teller: Is told of it.
            pause: Waits between attempts.
            trust: What they may do without a question.
            ask_user: Asks the user about the rest.
        """
        self._step = step
        self._recorder = recorder
        self._workers = workers
        self._teller = teller
        self._pause = pause
        self._trust = trust
        self._ask_user = ask_user
        self._calls = 0
        self._noted: set[str] = set()
        """What outcomes had to tell the user; the same is not told twice."""

    async def ask(self, question: Question) -> Reply:
        """Ask a model."""
        self._calls += 1

        async def call() -> Json:
            report = _Reporter(self._teller, shown=question.shown)
            try:
                reply = await self._attempts(
                    report, lambda: self._workers.ask(self._step, question, report)
                )
            except TaleError as error:
                return _failed(error)
            return cast("Json", {"reply": write_reply(reply)})

        return read_reply(_given(await self._recorder.step("ask", call), "reply"))

    async def act(self, action: Action) -> Outcome:
        """Do something in the workspace."""
        key = self._key(write_action(action))

        async def call() -> Json:
            try:
                leave = await leave_for(action, self._step, self._trust, key, self._ask_user)
                if isinstance(leave, Granted):
                    outcome = await self._act(action, key, leave)
                else:
                    outcome = leave
            except TaleError as error:
                return _failed(error)
            return cast("Json", {"outcome": write_outcome(outcome)})

        name = f"act {type(action).__name__}"
        outcome = read_outcome(_given(await self._recorder.step(name, call), "outcome"))
        for number, file in enumerate(outcome.files):
            data = {"path": file.path, "bytes": file.bytes}
            await self._teller.tell("file", data, f"{key}:file{number}")
        if outcome.note and outcome.note not in self._noted:
            self._noted.add(outcome.note)
            await self._teller.tell("note", {"text": outcome.note}, f"{key}:note")
        return outcome

    async def note(self, text: str) -> None:
        """Tell the user something."""
        text = storable(text)
        await self._teller.tell("note", {"text": text}, self._key(text))

    def _key(self, what: object) -> str:
        """Name a call by its position and by what it does, which a changed course changes."""
        self._calls += 1
        digest = hashlib.blake2s(as_json(what), digest_size=8).hexdigest()
        return f"{self._step.id}:{self._calls}:{digest}"

    async def _act(self, action: Action, key: str, leave: Granted) -> Outcome:
        step = replace(self._step, anywhere=leave.anywhere)
        repeatable = is_repeatable(action)
        first = isinstance(action, (ListFiles, ReadFile)) or await self._teller.tell(
            "acting", described(action), f"{key}:acting"
        )
        if not first and not repeatable:
            return _cut_off(action)
        report = _Reporter(self._teller)

        async def attempt() -> Outcome:
            return await self._workers.act(step, action, report, repeatable=repeatable)

        try:
            outcome = await self._attempts(report, attempt, again=lambda: repeatable)
        except ServiceUnavailable:
            if repeatable or not report.begins:
                raise
            return _cut_off(action)
        if isinstance(action, EditFile) and not outcome.ok and (not first or report.begins > 1):
            outcome = await self._edited(step, action, report) or outcome
        if leave.said:
            outcome = replace(outcome, said=leave.said)
        return outcome

    async def _edited(self, step: Step, action: EditFile, report: Report) -> Outcome | None:
        """Recognise an edit that was made before the crash: its old text is gone already."""
        reading = ReadFile(action.path)
        read = await self._workers.act(step, reading, report, repeatable=True)
        if read.ok and action.new and action.new in read.text:
            return Outcome(ok=True, text=f"{action.path} was edited.")
        return None

    async def _attempts(
        self,
        report: _Reporter,
        call: Callable[[], Awaitable[ResultT]],
        again: Callable[[], bool] = lambda: True,
    ) -> ResultT:
        """Have it done, again where whoever did it went away."""
        waits = pauses()
        failures = 0
        full = False
        while True:
            with anyio.CancelScope() as scope:
                report.scope = scope
                try:
                    result = await call()
                    if full:
                        await self._teller.tell("note", {"text": _ROOM})
                    return result
                except WorkspaceFull as error:
                    # Nothing was written, so that it can be done again, whatever it is.
                    report.forget()
                    if not full:
                        full = True
                        text = f"{error.message} {_FULL}"
                        await self._teller.tell("note", {"text": text})
                        log.warning("step.disk_full", step=self._step.id, reason=error.message)
                    await self._pause(next(waits))
                except _PASSING as error:
                    failures += 1
                    if failures >= _ATTEMPTS or (report.begins and not again()):
                        raise
                    report.why = error.message
                    log.warning("step.retried", step=self._step.id, reason=error.message)
                    await self._pause(next(waits))
            if scope.cancelled_caught:
                raise TaskError(
                    f"The step was begun {_ATTEMPTS} times, and each time its server died.",
                    hint="`tale logs execution-1` may say why.",
                )


class _Reporter:
    """Hears one call's progress: it is shown, and starts beyond the first are counted."""

    def __init__(self, teller: Teller, *, shown: bool = True) -> None:
        self._teller = teller
        self._shown = shown
        self.begins = 0
        self.why = _RESTARTED
        self.scope = anyio.CancelScope()

    def forget(self) -> None:
        """Not count what was begun, as nothing came of it."""
        self.begins = 0

    async def __call__(self, progress: Progress) -> None:
        match progress:
            case TokenSaid(text):
                if self._shown:
                    self._teller.token(text)
            case Noted(text):
                await self._teller.tell("note", {"text": text})
            case Began():
                self.begins += 1
                if self.begins > _ATTEMPTS:
                    self.scope.cancel()
                elif self.begins > 1:
                    why, self.why = self.why, _RESTARTED
                    await self._teller.tell("resumed", {"why": why})
            case FileWritten():
                pass  # told once its outcome is recorded


def _cut_off(action: Action) -> Outcome:
    what = str(described(action)["what"])
    return Outcome(ok=False, text=_CUT_OFF, note=f"{what}: {_CUT_OFF}")


def _failed(error: TaleError) -> Json:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def _given(value: Json, kind: str) -> Mapping[str, Any]:
    """Take what a step gave out of its record, or raise the failure that it was."""
    record = cast("Mapping[str, Any]", value)
    if failure := record.get("error"):
        raise error_from_code(failure["code"], failure["message"], failure["hint"])
    return record[kind]
