"""The ux server: conversations as MCP tools.

`chat`, `kept_task`, `sessions`, `session`, `context`: the wire on this side,
`memory.conversation` on the other; `memory_tools` has those for what is remembered. Beside them the
outbox is emptied, windows are made ready, the index is kept, notes are distilled, and what came of
tasks is noted. Above: the command line, any MCP client. Below: `memory` here, models by way of the
models server, tasks by way of the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from starlette.applications import Starlette

from tale.errors import SessionNotFound
from tale.memory.context import Part
from tale.memory.conversation import ANSWER_TOKENS, Conversations
from tale.memory.distilling import Distilling
from tale.memory.exchange import (
    Answer,
    Event,
    HandedOver,
    Heard,
    HeldUp,
    Kept,
    Said,
    TaskGateway,
)
from tale.memory.forgetting import Forgetting
from tale.memory.hearing import note_plainly
from tale.memory.indexing import Indexing
from tale.memory.note_search import NoteSearch
from tale.memory.notes import NoteStore
from tale.memory.outbox import Outbox, deliver
from tale.memory.private import PREFIX as PRIVATE
from tale.memory.private import PRIVATE_BEGUN, Discreet, NoOutbox, PrivateTurns
from tale.memory.recall import Recalled
from tale.memory.recalling import Recalling
from tale.memory.recollection import Recollection
from tale.memory.related import Related
from tale.memory.remembering import Remembering
from tale.memory.retrieval import Retrieval
from tale.memory.searching import MemoryFinder
from tale.memory.summaries import SummaryStore
from tale.memory.summarising import Summarising
from tale.memory.talk import first_needed
from tale.memory.turns import Session, TurnStore
from tale.memory.windows import Windows
from tale.models.backend import Role
from tale.models.caller import ModelCaller
from tale.models.client import ModelClient, models_url
from tale.prompts import CHAT_SYSTEM
from tale.servers.mcp_app import McpApp, Progress
from tale.servers.memory_tools import MemoryTools, turn_view
from tale.servers.remote_gateway import RemoteGateway
from tale.servers.runner import ServerContext, run_server
from tale.storage.database import Database
from tale.tasks.task import check_prompt
from tale.wire.chat_contracts import (
    CHAT,
    CONTEXT,
    KEPT_TASK,
    SESSION,
    SESSIONS,
    ChatReply,
    ChatRequest,
    ContextReply,
    ContextRequest,
    KeptReply,
    KeptRequest,
    LeftOutView,
    PartView,
    RecalledView,
    SessionList,
    SessionRequest,
    SessionsRequest,
    SessionTurns,
    SessionView,
)
from tale.wire.contracts import (
    SUBMIT,
    UsageView,
)
from tale.wire.pool import Services

__all__ = ["Ux", "compose", "main"]

_SUBMIT_SECONDS: Final = 2.0
"""A gateway that was killed is back within that time; one that isn't gets the work later, and a
person isn't left waiting."""
_DELIVERY_SECONDS: Final = 60.0
_WINDOW_TOKENS: Final = 6144
"""Most tokens of a chat's prompt: a minute of prefill at 110 tokens a second, if the cache was
lost. Forty turns with the texts that were pasted into them took some 3,500."""


class Ux:
    """The ux server's tools."""

    def __init__(
        self,
        turns: TurnStore,
        models: ModelCaller,
        gateway: TaskGateway,
        outbox: Outbox,
        windows: Windows,
        *,
        private: Windows,
        memory: MemoryTools | None = None,
        budgets: Mapping[Role, int] | None = None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Make one.

        Args:
            turns: Where conversations are recorded.
            models: Whom to ask.
            gateway: Where work goes.
            outbox: Where it is kept while the gateway is away.
            windows: What a model is sent of a conversation.
            private: The same of conversations that are not kept.
            memory: The tools for what is remembered.
            budgets: Tokens that a prompt may have for a role's model, to show its window; as the
                windows are where missing.
            on_turn: Told when the user has said something, and when it was answered.
        """
        self._turns = turns
        self._windows = windows
        self._budgets = budgets or {}
        self._conversations = Conversations(
            turns, models, gateway, outbox, windows, on_turn=on_turn
        )
        self._private = Conversations(
            PrivateTurns(), models, Discreet(gateway), NoOutbox(), private, begun=PRIVATE_BEGUN
        )
        self._outbox = outbox
        self._memory = memory

    def app(self) -> Starlette:
        """Build the application that serves them."""
        app = McpApp("ux", "Holds conversations; work is handed over and goes on by itself.")
        app.add(CHAT, self.chat)
        app.add(KEPT_TASK, self.kept_task)
        app.add(SESSIONS, self.sessions)
        app.add(SESSION, self.session)
        if self._memory is not None:
            self._memory.add_to(app)
        app.add(CONTEXT, self.context)
        return app.build()

    async def chat(self, request: ChatRequest, progress: Progress) -> ChatReply:
        """Take a turn and answer it; turns of one session wait for each other."""

        async def report(event: Event) -> None:
            await progress(_write(event))

        text = check_prompt(request.text)
        private = request.private or (request.session or "").startswith(PRIVATE)
        conversations = self._private if private else self._conversations
        answer = await conversations.say(text, request.session, request.workspace, report)
        return _reply(answer)

    async def kept_task(self, request: KeptRequest, progress: Progress) -> KeptReply:
        """Wait until kept work has become a task."""
        del progress
        return KeptReply(task=await self._outbox.task_of(request.key))

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
        return SessionTurns(session=_session_view(session), turns=tuple(map(turn_view, turns)))

    async def context(self, request: ContextRequest, progress: Progress) -> ContextReply:
        """Show what a model would be sent of a conversation now."""
        del progress
        session = await self._session_or_last(request.session)
        turns = await self._turns.turns(session.id, after=first_needed(session.turns))
        budget = self._budgets.get(request.model)
        shown = await self._windows.shown(session.id, turns, role=request.model, budget=budget)
        return ContextReply(
            session=session.id,
            model=request.model,
            tokens=shown.window.tokens,
            budget=shown.budget,
            begins=shown.window.begins,
            parts=tuple(map(_part_view, shown.window.parts)),
            left_out=LeftOutView(
                turns=shown.window.left_out + first_needed(session.turns),
                summed_up=shown.summed_up,
                shortened=shown.window.shortened,
            ),
        )

    async def _session_or_last(self, identity: str | None) -> Session:
        if identity is not None:
            return await self._turns.get(identity)
        if last := await self._turns.latest(1):
            return last[0]
        raise SessionNotFound("No conversations yet.", hint="`tale chat` begins one.")


@asynccontextmanager
async def compose(context: ServerContext) -> AsyncGenerator[Starlette]:
    """Build the ux server."""
    leash = context.leash
    async with (
        Database.open(context.paths, context.settings) as database,
        Services(
            leash, services={SUBMIT.service}, token=leash.token, metrics=context.metrics
        ).open() as services,
        ModelClient(models_url(leash), leash.token) as client,
        anyio.create_task_group() as tasks,
    ):
        outbox = Outbox(database)
        patient = RemoteGateway(services, deadline=_DELIVERY_SECONDS)
        tasks.start_soon(deliver, outbox, patient)
        models = context.settings.models
        turns = TurnStore(database, also=note_plainly)
        retrieval, notes = Retrieval(database), NoteSearch(database)
        tasks.start_soon(notes.get_ready)
        indexing = Indexing(retrieval)
        distilling = Distilling(database, client)
        budget = min(_WINDOW_TOKENS, models.ux.context - ANSWER_TOKENS)
        windows = Windows(
            client,
            CHAT_SYSTEM,
            budget=budget,
            summarising=Summarising(client, turns, SummaryStore(database)),
            recalling=Recalling(database, Recollection(retrieval, notes)),
            notes=NoteStore(database),
        )
        private = Windows(client, CHAT_SYSTEM, budget=budget)
        remembering = Remembering(database, patient)
        for background in (windows, private, indexing, distilling, remembering):
            tasks.start_soon(background.run)
        memory = MemoryTools(
            database,
            MemoryFinder(retrieval, notes),
            Forgetting(database),
            typed=context.paths.chat_history,
            on_forgotten=windows.forget,
            indexing=indexing,
            related=Related(database, notes, retrieval),
        )
        gateway = RemoteGateway(services, deadline=_SUBMIT_SECONDS)

        def on_turn() -> None:
            distilling.said()
            indexing.stir()

        budgets: dict[Role, int] = {"task": models.task.context - ANSWER_TOKENS}
        ux = Ux(
            turns,
            client,
            gateway,
            outbox,
            windows,
            private=private,
            memory=memory,
            budgets=budgets,
            on_turn=on_turn,
        )
        yield ux.app()
        tasks.cancel_scope.cancel()


def main() -> None:
    """Run the ux server."""
    run_server(compose)


def _write(event: Event) -> Mapping[str, object]:
    """Put on the wire what happens while a turn is answered."""
    match event:
        case Heard(session):
            return {"session": session}
        case Said(text):
            return {"token": text}
        case HandedOver(task):
            return {"task": task}
        case Kept(key):
            return {"kept": key}
        case HeldUp(why):
            return {"note": why}


def _reply(answer: Answer) -> ChatReply:
    usage = answer.usage
    return ChatReply(
        session=answer.session,
        answer=answer.text,
        model=answer.model,
        role=answer.role,
        task=answer.task,
        kept=answer.kept,
        usage=UsageView(prompt=usage.prompt, completion=usage.completion, cached=usage.cached),
        reason=answer.reason,
        recalled=tuple(map(_recalled_view, answer.recalled)),
    )


def _recalled_view(one: Recalled) -> RecalledView:
    return RecalledView(session=one.source, seq=one.source_seq, text=one.text, score=one.score)


def _session_view(session: Session) -> SessionView:
    return SessionView(
        id=session.id,
        title=session.title,
        turns=session.turns,
        created=session.created,
        updated=session.updated,
    )


def _part_view(part: Part) -> PartView:
    return PartView(
        name=part.name,
        tokens=part.tokens,
        cached=part.stable,
        count=part.count,
        text=part.text,
    )


if __name__ == "__main__":
    main()
