"""A conversation: what is said is recorded, talk is answered by a model, work is handed over.

How far work is that was handed over is answered from its facts (`standing`), without a model.

What the user says is recorded before anything is done about it, and what tale said is recorded also
where its reader went away in the middle. It knows no server: who answers is a `ModelCaller`, who
takes work a `TaskGateway`, and an `Outbox` while that is away. Above: `servers.ux`. Below: `turns`,
`outbox`, `windows`, `referring`, and the assessment; what passes between them is in `exchange`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import anyio

from tale.errors import SessionNotFound, StorageError, TaleError
from tale.memory.asked_again import LastAsked
from tale.memory.exchange import (
    Answer,
    HandedOver,
    Heard,
    HeldUp,
    Kept,
    Report,
    Said,
    TaskGateway,
    Work,
)
from tale.memory.outbox import Keeper, is_passing
from tale.memory.plain_notes import only_tells
from tale.memory.referring import (
    Exchange,
    exchanges,
    referred_to,
    refers_back,
    with_context,
)
from tale.memory.standing import TaskFacts
from tale.memory.talk import first_needed
from tale.memory.turns import NewTurn, Turn, Turns
from tale.memory.windows import Windows
from tale.models.assess import assess
from tale.models.backend import ChatRequest, Role, Usage
from tale.models.caller import ModelCaller, Purpose
from tale.models.runaway import before_rambling
from tale.telemetry import get_logger

__all__ = ["ANSWER_TOKENS", "BEGUN", "Conversations"]

log = get_logger(__name__)

ANSWER_TOKENS: Final = 1024
"""Most that one answer may have."""
_ANSWER_SECONDS: Final = 300.0
_TEMPERATURE: Final = 0.3
_CHECK_CHARACTERS: Final = 128
"""How much is said between two looks at whether it still says something."""
_LOOKED_BACK: Final = 24
"""Turns in which is looked for what a request refers to."""
_WORK_BYTES: Final = 200_000
"""As `tasks.task.MAX_PROMPT_BYTES`, which the gateway takes."""
BEGUN: Final = "I'm on it."
"""Fixed words: they cost no token, are there at once, and a small model's were no better."""
_FROM_FACTS: Final = "it asks how far tasks are, which is known without a model"
_KEPT: Final = (
    "The part of tale that runs tasks is not there just now. The work is kept, and starts by "
    "itself once it is back; `tale tasks` shows it then."
)


class _Spoken:
    """An answer as far as it has come."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.model = ""
        self.request = ""
        self.role: Role = "ux"
        self.usage = Usage()
        self.reason = ""


class Conversations:
    """Takes turns and answers them."""

    def __init__(
        self,
        turns: Turns,
        models: ModelCaller,
        gateway: TaskGateway,
        outbox: Keeper,
        windows: Windows,
        *,
        on_turn: Callable[[], None] = lambda: None,
        begun: str = BEGUN,
    ) -> None:
        """Make one.

        Args:
            turns: Where conversations are recorded.
            models: Whom to ask.
            gateway: Where work goes.
            outbox: Where it is kept while the gateway is away.
            windows: What a model is sent of a conversation.
            on_turn: Told when the user has said something, and when it was answered.
            begun: What is said where work was handed over.
        """
        self._turns = turns
        self._models = models
        self._gateway = gateway
        self._outbox = outbox
        self._windows = windows
        self._on_turn = on_turn
        self._begun = begun
        self._facts = TaskFacts(turns, gateway)
        self._asked = LastAsked()
        self._talking: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def say(
        self, text: str, session: str | None, workspace: str | None, report: Report
    ) -> Answer:
        """Take a turn and answer it; turns of one session wait for each other.

        Args:
            text: What the user says.
            session: The conversation; None begins one.
            workspace: Where work that comes of it is done.
            report: Told what happens meanwhile.

        Raises:
            SessionNotFound: There is no such session.
            TaleError: No model answers, or work is refused.
        """
        new = NewTurn("user", text)
        self._on_turn()
        try:
            if session is None:
                turn = await self._turns.add(None, new)
                async with self._alone(turn.session):
                    return await self._answer(turn, workspace, report)
            async with self._alone(session):
                turn = await self._turns.add(session, new)
                return await self._answer(turn, workspace, report)
        finally:
            self._on_turn()

    def _alone(self, session: str) -> anyio.Lock:
        lock = self._talking.get(session)
        if lock is None:
            lock = self._talking[session] = anyio.Lock()
        return lock

    async def _answer(self, turn: Turn, workspace: str | None, report: Report) -> Answer:
        await report(Heard(turn.session))
        if facts := await self._facts.answer(turn.session, turn.text):
            log.info("turn.asks_how_far", session=turn.session)
            return await self._tell(turn, facts, report)
        found = assess(turn.text)
        log.info("turn.judged", session=turn.session, kind=found.kind, reason=found.reason)
        # "Remember that the password is …" reads like work to who only knows requests.
        if found.work and not only_tells(turn.text):
            return await self._hand_over(turn, workspace, found.reason, report)
        return await self._talk(turn, report)

    async def _tell(self, turn: Turn, text: str, report: Report) -> Answer:
        """Answer with what is known; the turn is one like any other for those that follow."""
        said = await self._turns.turns(turn.session, after=first_needed(turn.seq))
        answer = await self._keep(turn, _Spoken(text))
        self._windows.grown(turn.session, [*said, answer])
        await report(Said(text))
        return Answer(turn.session, text, "", "ux", None, Usage(), reason=_FROM_FACTS)

    async def _talk(self, turn: Turn, report: Report) -> Answer:
        """Answer with a model, from the conversation so far."""
        said = await self._turns.turns(turn.session, after=first_needed(turn.seq))
        request = ChatRequest(
            await self._windows.of(turn.session, said),
            max_tokens=ANSWER_TOKENS,
            temperature=_TEMPERATURE,
        )
        spoken = _Spoken()
        try:
            await self._speak(request, spoken, Purpose(session=turn.session), report)
        except BaseException:
            if spoken.text:
                await self._keep(turn, spoken, interrupted=True)
            raise
        answer = await self._keep(turn, spoken)
        self._windows.grown(turn.session, [*said, answer])
        if failed := self._asked.note(turn.session, turn.text, spoken.request):
            log.info("answer.asked_again", session=turn.session, request=failed)
            await self._models.outcome(failed, ok=False)
        return Answer(
            turn.session,
            spoken.text,
            spoken.model,
            spoken.role,
            None,
            spoken.usage,
            reason=spoken.reason,
            recalled=self._windows.recalled(turn.session, turn.seq),
        )

    async def _hand_over(
        self, turn: Turn, workspace: str | None, reason: str, report: Report
    ) -> Answer:
        """Submit the work, or keep it where the gateway may take it later; it comes to an end.

        Raises:
            TaleError: The gateway refused it, or it can't even be kept.
        """
        work = Work(turn.text, workspace, turn.session, key=f"{turn.session}/{turn.seq}")
        task: str | None = None
        with anyio.CancelScope(shield=True):
            work = replace(work, text=await self._with_what_it_means(turn))
            task = await self._submit(work)
        said, kept = (_KEPT, work.key) if task is None else (self._begun, None)
        await report(Kept(work.key) if task is None else HandedOver(task))
        await report(Said(said))
        return Answer(turn.session, said, "", "ux", task, Usage(), kept, reason)

    async def _with_what_it_means(self, turn: Turn) -> str:
        """Give a request with what it refers to, where it doesn't say all by itself."""
        if not refers_back(turn.text):
            return turn.text
        said = await self._turns.turns(turn.session, after=max(0, turn.seq - 1 - _LOOKED_BACK))
        means = referred_to(turn.text, exchanges([one for one in said if one.seq < turn.seq]))
        means = [await self._with_result(one) for one in means]
        taken = with_context(turn.text, means)
        log.info("handover.refers_back", session=turn.session, turns=[one.seq for one in means])
        # What it means must not make a request too long that was not.
        return taken if len(taken.encode(errors="replace")) <= _WORK_BYTES else turn.text

    async def _with_result(self, exchange: Exchange) -> Exchange:
        """Add what a task came to; what can't be learned now is left out."""
        if exchange.task is None:
            return exchange
        try:
            stands = await self._gateway.stands(exchange.task)
        except TaleError as error:
            log.info("handover.result_missing", task=exchange.task, reason=error.message)
            return exchange
        return replace(exchange, answer=stands.answer, files=stands.files)

    async def _submit(self, work: Work) -> str | None:
        """Give the task that was begun, None where it begins later; either is recorded as said.

        What was begun is given also where it can't be recorded: who was told that it failed would
        ask for it again, and have it done twice.
        """
        try:
            task = await self._gateway.submit(work)
        except TaleError as error:
            if not is_passing(error):
                raise
            log.warning("handover.kept", session=work.session, reason=error.message)
            await self._outbox.keep(work, NewTurn("assistant", _KEPT))
            return None
        try:
            await self._turns.add(work.session, NewTurn("assistant", self._begun, task=task))
        except (StorageError, SessionNotFound) as error:
            log.warning("handover.not_recorded", task=task, reason=error.message)
        return task

    async def _speak(
        self, request: ChatRequest, spoken: _Spoken, purpose: Purpose, report: Report
    ) -> None:
        async def held_up(why: str) -> None:
            await report(HeldUp(why))

        async with self._models.stream(
            request, spoken.role, _ANSWER_SECONDS, purpose=purpose, held_up=held_up
        ) as answer:
            spoken.model, spoken.role = answer.model, answer.role or spoken.role
            spoken.request, spoken.reason = answer.request, answer.reason
            checked = 0
            async for chunk in answer:
                spoken.usage = chunk.usage or spoken.usage
                if chunk.text:
                    spoken.text += chunk.text
                    await report(Said(chunk.text))
                if len(spoken.text) - checked >= _CHECK_CHARACTERS:
                    checked = len(spoken.text)
                    if (sense := before_rambling(spoken.text)) is not None:
                        log.info("answer.rambled", model=spoken.model, characters=checked)
                        # What is kept is what the next window begins with: not the ramblings.
                        spoken.text = sense
                        return

    async def _keep(self, turn: Turn, spoken: _Spoken, *, interrupted: bool = False) -> Turn:
        """Record what was said, also when nobody waits for it any more."""
        new = NewTurn("assistant", spoken.text, spoken.model or None, interrupted=interrupted)
        kept = turn
        with anyio.CancelScope(shield=True):
            kept = await self._turns.add(turn.session, new)
        return kept  # noqa: RET504 - to the type checker the scope above may end early
