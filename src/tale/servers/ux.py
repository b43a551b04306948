"""The ux server: holds conversations, answers small talk, hands work over as tasks.

MCP tools `chat`, `sessions`, `session`. What the user says is recorded before anything is done
about it, and what tale said is recorded also where its reader went away in the middle. Above: the
command line, any MCP client. Below: `memory` here, models by way of the models server, tasks by
way of the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

import anyio
from starlette.applications import Starlette

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError
from tale.memory.context import first_needed, window
from tale.memory.turns import NewTurn, Session, Turn, TurnStore
from tale.models.backend import ChatRequest, Message, Role, Usage
from tale.models.caller import ModelCaller
from tale.models.client import ModelClient, models_url
from tale.prompts import CHAT_SYSTEM
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.runner import ServerContext, run_server
from tale.servers.steps import judge
from tale.storage.database import Database
from tale.tasks.task import Judge, check_prompt
from tale.telemetry import get_logger
from tale.wire.contracts import (
    CHAT,
    SESSION,
    SESSIONS,
    SUBMIT,
    ChatReply,
    SessionList,
    SessionRequest,
    SessionsRequest,
    SessionTurns,
    SessionView,
    SubmitRequest,
    TaskView,
    TurnView,
    UsageView,
)
from tale.wire.contracts import (
    ChatRequest as ChatTurn,
)
from tale.wire.pool import Services

__all__ = ["Submit", "Ux", "compose", "main"]

log = get_logger(__name__)

Submit = Callable[[SubmitRequest], Awaitable[TaskView]]
"""Hands a task to the gateway, and gives it as recorded there."""

_ANSWER_TOKENS: Final = 1024
_ANSWER_SECONDS: Final = 300.0
_WINDOW_TOKENS: Final = 3072
"""Most tokens of prompt: half a minute of prefill at 110 tokens a second, if the cache was lost."""
_TEMPERATURE: Final = 0.3
_ACK_TOKENS: Final = 40
_ACK_SECONDS: Final = 10.0
_ACK_EXCERPT: Final = 300
"""Characters of the request that the acknowledgement is made from; each token delays it."""
_ACK_PROMPT: Final = (
    "I want this done: {excerpt}\n\n"
    "It was started in the background. Tell me so in one short sentence. Do not do it yourself."
)
_ACK_WITHOUT_MODEL: Final = "I'm on it."
_SUBMIT_SECONDS: Final = 15.0


class _Spoken:
    """An answer as far as it has come."""

    def __init__(self, role: Role) -> None:
        self.text = ""
        self.model = ""
        self.role: Role = role
        self.usage = Usage()


class _HandOver:
    """A submission as far as it has come."""

    def __init__(self) -> None:
        self.task: str | None = None
        self.error: TaleError | None = None


class Ux:
    """The ux server's tools."""

    def __init__(
        self,
        turns: TurnStore,
        models: ModelCaller,
        submit: Submit,
        judge: Judge,
        *,
        context: Mapping[Role, int],
    ) -> None:
        """Make one.

        Args:
            turns: Where conversations are recorded.
            models: Whom to ask.
            submit: Where work goes.
            judge: Tells talk from work.
            context: Tokens that each model's window has.
        """
        self._turns = turns
        self._models = models
        self._submit = submit
        self._judge = judge
        self._context = context
        self._talking: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def app(self) -> Starlette:
        """Build the application that serves them."""
        app = McpApp("ux", "Holds conversations; work is handed over and goes on by itself.")
        app.add(CHAT, self.chat)
        app.add(SESSIONS, self.sessions)
        app.add(SESSION, self.session)
        return app.build()

    async def chat(self, request: ChatTurn, progress: Progress) -> ChatReply:
        """Take a turn and answer it; turns of one session wait for each other."""
        new = NewTurn("user", check_prompt(request.text))
        if request.session is None:
            turn = await self._turns.add(None, new)
            async with self._alone(turn.session):
                return await self._answer(turn, request.workspace, progress)
        async with self._alone(request.session):
            turn = await self._turns.add(request.session, new)
            return await self._answer(turn, request.workspace, progress)

    async def sessions(self, request: SessionsRequest, progress: Progress) -> SessionList:
        """List conversations."""
        del progress
        found = await self._turns.latest(request.limit)
        return SessionList(sessions=tuple(map(_session_view, found)))

    async def session(self, request: SessionRequest, progress: Progress) -> SessionTurns:
        """Show the last turns of a conversation."""
        del progress
        session = await self._turns.get(request.id)
        turns = await self._turns.turns(request.id, limit=request.limit)
        return SessionTurns(session=_session_view(session), turns=tuple(map(_turn_view, turns)))

    def _alone(self, session: str) -> anyio.Lock:
        lock = self._talking.get(session)
        if lock is None:
            lock = self._talking[session] = anyio.Lock()
        return lock

    async def _answer(self, turn: Turn, workspace: str | None, progress: Progress) -> ChatReply:
        await progress({"session": turn.session})
        judgement = self._judge(turn.text)
        log.info("turn.judged", session=turn.session, kind=judgement.kind, reason=judgement.reason)
        if judgement.kind == "work":
            return await self._hand_over(turn, workspace, progress)
        return await self._talk(turn, judgement.role, progress)

    async def _talk(self, turn: Turn, role: Role, progress: Progress) -> ChatReply:
        """Answer with a model, from the conversation so far."""
        said = await self._turns.turns(turn.session, after=first_needed(turn.seq))
        budget = min(_WINDOW_TOKENS, self._context[role] - _ANSWER_TOKENS)
        request = ChatRequest(
            window(CHAT_SYSTEM, said, budget=budget),
            max_tokens=_ANSWER_TOKENS,
            temperature=_TEMPERATURE,
        )
        spoken = _Spoken(role)
        try:
            await self._speak(request, spoken, _ANSWER_SECONDS, progress)
        except BaseException:
            if spoken.text:
                await self._keep(turn, spoken, interrupted=True)
            raise
        await self._keep(turn, spoken)
        return _reply(turn, spoken)

    async def _hand_over(self, turn: Turn, workspace: str | None, progress: Progress) -> ChatReply:
        """Submit the work and acknowledge it, both at once; the submission always comes to an end.

        Raises:
            TaleError: The gateway refused it, or is not there.
        """
        request = SubmitRequest(
            text=turn.text,
            workspace=workspace,
            session=turn.session,
            key=f"{turn.session}/{turn.seq}",
        )
        handing, spoken = _HandOver(), _Spoken("ux")
        interrupted = True
        try:
            async with anyio.create_task_group() as tasks:

                async def submit() -> None:
                    with anyio.CancelScope(shield=True):
                        await self._submit_to(handing, request)
                    if handing.error:
                        tasks.cancel_scope.cancel()
                    else:
                        await progress({"task": handing.task})

                tasks.start_soon(submit)
                await self._acknowledge(turn, spoken, progress)
            interrupted = False
        finally:
            if handing.task:
                spoken.text = spoken.text or _ACK_WITHOUT_MODEL
                await self._keep(turn, spoken, task=handing.task, interrupted=interrupted)
        if handing.error:
            raise handing.error
        return _reply(turn, spoken, handing.task)

    async def _submit_to(self, handing: _HandOver, request: SubmitRequest) -> None:
        try:
            handing.task = (await self._submit(request)).id
        except (DeadlineExceeded, ServiceUnavailable) as error:
            log.warning("handover.failed", session=request.session, reason=error.message)
            handing.error = ServiceUnavailable(
                "The gateway is not there, so the work was not started. What you said is kept in "
                f"conversation {request.session}.",
                hint="`tale status` shows when it is back; then say it again.",
            )
        except TaleError as error:
            handing.error = error

    async def _acknowledge(self, turn: Turn, spoken: _Spoken, progress: Progress) -> None:
        """Say in a sentence that it was started; in fixed words where the model can't."""
        excerpt = turn.text[:_ACK_EXCERPT]
        messages = (
            Message("system", CHAT_SYSTEM),
            Message("user", _ACK_PROMPT.format(excerpt=excerpt)),
        )
        request = ChatRequest(
            messages, max_tokens=_ACK_TOKENS, temperature=_TEMPERATURE, stop=("\n",)
        )
        try:
            await self._speak(request, spoken, _ACK_SECONDS, progress)
        except TaleError as error:
            log.warning("acknowledgement.failed", session=turn.session, reason=error.message)
        if not spoken.text.strip():
            spoken.text = _ACK_WITHOUT_MODEL
            await progress({"token": spoken.text})

    async def _speak(
        self, request: ChatRequest, spoken: _Spoken, seconds: float, progress: Progress
    ) -> None:
        async with self._models.stream(request, spoken.role, seconds) as answer:
            spoken.model, spoken.role = answer.model, answer.role or spoken.role
            async for chunk in answer:
                spoken.usage = chunk.usage or spoken.usage
                if chunk.text:
                    spoken.text += chunk.text
                    await progress({"token": chunk.text})

    async def _keep(
        self, turn: Turn, spoken: _Spoken, *, task: str | None = None, interrupted: bool = False
    ) -> None:
        """Record what was said, also when nobody waits for it any more."""
        new = NewTurn("assistant", spoken.text, spoken.model or None, task, interrupted)
        with anyio.CancelScope(shield=True):
            await self._turns.add(turn.session, new)


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[Starlette]:
    """Build the ux server."""
    leash, models = context.leash, context.settings.models
    async with (
        Database.open(context.paths, context.settings) as database,
        Services(leash, services={SUBMIT.service}, token=leash.token).open() as services,
        ModelClient(models_url(leash), leash.token) as client,
    ):

        async def submit(request: SubmitRequest) -> TaskView:
            return await services.call(SUBMIT, request, deadline=_SUBMIT_SECONDS)

        windows: dict[Role, int] = {"ux": models.ux.context, "task": models.task.context}
        yield Ux(TurnStore(database), client, submit, judge, context=windows).app()


def main() -> None:
    """Run the ux server."""
    run_server(compose)


def _reply(turn: Turn, spoken: _Spoken, task: str | None = None) -> ChatReply:
    usage = spoken.usage
    return ChatReply(
        session=turn.session,
        answer=spoken.text,
        model=spoken.model,
        role=spoken.role,
        task=task,
        usage=UsageView(prompt=usage.prompt, completion=usage.completion, cached=usage.cached),
    )


def _session_view(session: Session) -> SessionView:
    return SessionView(
        id=session.id,
        title=session.title,
        turns=session.turns,
        created=session.created,
        updated=session.updated,
    )


def _turn_view(turn: Turn) -> TurnView:
    return TurnView(
        seq=turn.seq,
        speaker=turn.speaker,
        text=turn.text,
        at=turn.at,
        model=turn.model,
        task=turn.task,
        interrupted=turn.interrupted,
    )


if __name__ == "__main__":
    main()
