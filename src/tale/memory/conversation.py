"""A conversation: what is said is recorded, talk is answered by a model, work is handed over.

What the user says is recorded before anything is done about it, and what tale said is recorded also
where its reader went away in the middle. It knows no server: who answers is a `ModelCaller`, who
takes work a `TaskGateway`, and an `Outbox` while that is away. Above: `servers.ux`. Below: `turns`,
`outbox`, `context`, and the assessment; what passes between them is in `exchange`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from weakref import WeakValueDictionary

import anyio

from tale.errors import ServiceUnavailable, TaleError
from tale.memory.asked_again import LastAsked
from tale.memory.context import MESSAGE_TOKENS, first_needed, window
from tale.memory.exchange import (
    Answer,
    Event,
    HandedOver,
    Heard,
    HeldUp,
    Kept,
    Report,
    Said,
    TaskGateway,
    Work,
)
from tale.memory.outbox import Outbox, is_passing
from tale.memory.token_counts import TokenCounts
from tale.memory.turns import NewTurn, Turn, TurnStore
from tale.models.assess import assess
from tale.models.backend import ChatRequest, Message, Role, Usage
from tale.models.caller import ModelCaller, Purpose
from tale.models.runaway import before_rambling
from tale.prompts import CHAT_SYSTEM
from tale.telemetry import get_logger

__all__ = ["Conversations"]

log = get_logger(__name__)

_ANSWER_TOKENS: Final = 1024
_ANSWER_SECONDS: Final = 300.0
_WINDOW_TOKENS: Final = 3072
"""Most tokens of prompt: half a minute of prefill at 110 tokens a second, if the cache was lost."""
_TEMPERATURE: Final = 0.3
_ACK_TOKENS: Final = 40
_ACK_SECONDS: Final = 10.0
_ACK_EXCERPT: Final = 160
"""Characters of the request that the acknowledgement is made from; each token delays it."""
_ACK_PROMPT: Final = "Task started: {excerpt}"
_ACK_EXAMPLE: Final = (
    Message("user", _ACK_PROMPT.format(excerpt="Write a poem about the sea")),
    Message("assistant", "I've started on the poem about the sea."),
)
"""With it the 0.5B acknowledged 12 of 12 requests; told in words what to say, it said in 2 of 12
that it can't assist, and in others that it will do nothing."""
_ACK_STOP: Final = ("\n", "; ", ". ")
_CHECK_CHARACTERS: Final = 128
"""How much is said between two looks at whether it still says something."""
_ACK_WITHOUT_MODEL: Final = "I'm on it."
_KEPT: Final = (
    "The part of tale that runs tasks is not there just now. The work is kept, and starts by "
    "itself once it is back; `tale tasks` shows it then."
)


class _Spoken:
    """An answer as far as it has come, and what it is for."""

    def __init__(self, role: Role, purpose: Purpose) -> None:
        self.purpose = purpose
        self.text = ""
        self.model = ""
        self.request = ""
        self.role: Role = role
        self.usage = Usage()


class _HandOver:
    """A submission as far as it has come."""

    def __init__(self) -> None:
        self.task: str | None = None
        self.kept = False
        self.error: TaleError | None = None
        self.started = anyio.Event()


class Conversations:
    """Takes turns and answers them."""

    def __init__(
        self,
        turns: TurnStore,
        models: ModelCaller,
        gateway: TaskGateway,
        outbox: Outbox,
        *,
        context: Mapping[Role, int],
    ) -> None:
        """Make one.

        Args:
            turns: Where conversations are recorded.
            models: Whom to ask.
            gateway: Where work goes.
            outbox: Where it is kept while the gateway is away.
            context: Tokens that each model's window has.
        """
        self._turns = turns
        self._models = models
        self._gateway = gateway
        self._outbox = outbox
        self._context = context
        self._counts = TokenCounts(models)
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
        if session is None:
            turn = await self._turns.add(None, new)
            async with self._alone(turn.session):
                return await self._answer(turn, workspace, report)
        async with self._alone(session):
            turn = await self._turns.add(session, new)
            return await self._answer(turn, workspace, report)

    def _alone(self, session: str) -> anyio.Lock:
        lock = self._talking.get(session)
        if lock is None:
            lock = self._talking[session] = anyio.Lock()
        return lock

    async def _answer(self, turn: Turn, workspace: str | None, report: Report) -> Answer:
        await report(Heard(turn.session))
        found = assess(turn.text)
        log.info("turn.judged", session=turn.session, kind=found.kind, reason=found.reason)
        if found.work:
            return await self._hand_over(turn, workspace, report)
        return await self._talk(turn, report)

    async def _talk(self, turn: Turn, report: Report) -> Answer:
        """Answer with a model, from the conversation so far."""
        role: Role = "ux"
        said = await self._turns.turns(turn.session, after=first_needed(turn.seq))
        budget = min(_WINDOW_TOKENS, self._context[role] - _ANSWER_TOKENS)
        texts = (CHAT_SYSTEM, *(one.text for one in said))
        count = await self._counts.of(role, texts, room=budget - MESSAGE_TOKENS * len(texts))
        request = ChatRequest(
            window(CHAT_SYSTEM, said, budget=budget, count_tokens=count),
            max_tokens=_ANSWER_TOKENS,
            temperature=_TEMPERATURE,
        )
        spoken = _Spoken(role, Purpose(session=turn.session))

        async def held_up(why: str) -> None:
            await report(HeldUp(why))

        try:
            await self._speak(request, spoken, _ANSWER_SECONDS, report, held_up)
        except BaseException:
            if spoken.text:
                await self._keep(turn, spoken, interrupted=True)
            raise
        await self._keep(turn, spoken)
        if failed := self._asked.note(turn.session, turn.text, spoken.request):
            log.info("answer.asked_again", session=turn.session, request=failed)
            await self._models.outcome(failed, ok=False)
        return _answer(turn, spoken)

    async def _hand_over(self, turn: Turn, workspace: str | None, report: Report) -> Answer:
        """Submit the work and acknowledge it, both at once; the submission always comes to an end.

        Raises:
            TaleError: The gateway refused it, or it can't even be kept.
        """
        work = Work(turn.text, workspace, turn.session, key=f"{turn.session}/{turn.seq}")
        handing = _HandOver()
        spoken = _Spoken("ux", Purpose("talk", turn.session, own=True))
        interrupted = True

        async def once_started(event: Event) -> None:
            # The model may be first, and says that the work was started.
            await handing.started.wait()
            await report(event)

        try:
            async with anyio.create_task_group() as tasks:

                async def submit() -> None:
                    with anyio.CancelScope(shield=True):
                        await self._submit_to(handing, work)
                    if handing.task is None:
                        tasks.cancel_scope.cancel()
                    else:
                        await report(HandedOver(handing.task))
                        handing.started.set()

                tasks.start_soon(submit)
                await self._acknowledge(turn, spoken, once_started)
            interrupted = False
        finally:
            if handing.task:
                spoken.text = spoken.text or _ACK_WITHOUT_MODEL
                await self._keep(turn, spoken, task=handing.task, interrupted=interrupted)
        if handing.error:
            raise handing.error
        if handing.kept:
            await report(Kept(work.key))
            await report(Said(_KEPT))
            return Answer(turn.session, _KEPT, "", "ux", None, Usage(), work.key)
        return _answer(turn, spoken, handing.task)

    async def _submit_to(self, handing: _HandOver, work: Work) -> None:
        """Hand work over, or keep it where the gateway may take it later."""
        try:
            handing.task = await self._gateway.submit(work)
        except TaleError as error:
            if is_passing(error):
                log.warning("handover.kept", session=work.session, reason=error.message)
                await self._keep_for_later(handing, work)
            else:
                handing.error = error

    async def _keep_for_later(self, handing: _HandOver, work: Work) -> None:
        try:
            await self._outbox.keep(work, NewTurn("assistant", _KEPT))
            handing.kept = True
        except TaleError as error:
            handing.error = error

    async def _acknowledge(self, turn: Turn, spoken: _Spoken, report: Report) -> None:
        """Say in a sentence that it was started; in fixed words where the model can't."""
        excerpt = turn.text[:_ACK_EXCERPT]
        messages = (
            Message("system", CHAT_SYSTEM),
            *_ACK_EXAMPLE,
            Message("user", _ACK_PROMPT.format(excerpt=excerpt)),
        )
        request = ChatRequest(
            messages, max_tokens=_ACK_TOKENS, temperature=_TEMPERATURE, stop=_ACK_STOP
        )

        async def held_up(why: str) -> None:
            raise ServiceUnavailable(why)  # fixed words now are better than a model's later

        try:
            await self._speak(request, spoken, _ACK_SECONDS, report, held_up)
        except TaleError as error:
            log.warning("acknowledgement.failed", session=turn.session, reason=error.message)
        if not spoken.text.strip():
            spoken.text = _ACK_WITHOUT_MODEL
            await report(Said(spoken.text))

    async def _speak(
        self,
        request: ChatRequest,
        spoken: _Spoken,
        seconds: float,
        report: Report,
        held_up: Callable[[str], Awaitable[None]],
    ) -> None:
        role = spoken.role
        async with self._models.stream(
            request, role, seconds, purpose=spoken.purpose, held_up=held_up
        ) as answer:
            spoken.model, spoken.role = answer.model, answer.role or spoken.role
            spoken.request = answer.request
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

    async def _keep(
        self, turn: Turn, spoken: _Spoken, *, task: str | None = None, interrupted: bool = False
    ) -> None:
        """Record what was said, also when nobody waits for it any more."""
        new = NewTurn("assistant", spoken.text, spoken.model or None, task, interrupted)
        with anyio.CancelScope(shield=True):
            await self._turns.add(turn.session, new)


def _answer(turn: Turn, spoken: _Spoken, task: str | None = None) -> Answer:
    return Answer(turn.session, spoken.text, spoken.model, spoken.role, task, spoken.usage)
