"""The ux server's tools for what is remembered: search, show, add, forget, export.

And what may matter to work, which the gateway asks for before it plans. The wire on this side,
`memory` on the other. Above: `servers.ux`. Below: `memory.finding`, `notes`, `forgetting`,
`exporting`, `related`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from tale.clipped import clipped
from tale.errors import InvalidRequest
from tale.memory.exporting import page
from tale.memory.finding import Finder, Found
from tale.memory.forgetting import (
    ByNote,
    BySession,
    ByText,
    ByTurn,
    Doomed,
    Forgetting,
    What,
    without_typed,
)
from tale.memory.indexing import Indexing
from tale.memory.notes import Draft, Note, NoteStore
from tale.memory.plain_notes import plain_notes
from tale.memory.related import Related
from tale.memory.turns import Turn, TurnStore
from tale.servers.mcp_app import McpApp, Progress
from tale.storage.database import Database
from tale.tasks.task import check_prompt
from tale.telemetry import get_logger
from tale.wire.chat_contracts import TurnView
from tale.wire.memory_contracts import (
    ADD,
    EXPORT,
    FORGET,
    NOTE,
    NOTES,
    RELATED,
    SEARCH,
    AddRequest,
    ExportPage,
    ExportRequest,
    ForgetReply,
    ForgetRequest,
    FoundList,
    FoundView,
    NoteList,
    NoteRequest,
    NotesRequest,
    NoteTurns,
    NoteView,
    RelatedList,
    RelatedRequest,
    RelatedView,
    SearchRequest,
)

__all__ = ["MemoryTools", "turn_view"]

log = get_logger(__name__)

_EXAMPLES: Final = 5
_EXAMPLE_CHARACTERS: Final = 80


class MemoryTools:
    """What is remembered, as MCP tools."""

    def __init__(
        self,
        database: Database,
        finder: Finder,
        forgetting: Forgetting,
        *,
        typed: Path | None = None,
        on_forgotten: Callable[[], None] = lambda: None,
        indexing: Indexing | None = None,
        related: Related | None = None,
    ) -> None:
        """Make them.

        Args:
            database: Where turns and notes are.
            finder: Who searches.
            forgetting: Who forgets.
            typed: What was typed at a prompt; what is forgotten goes from there, too.
            on_forgotten: Told that something was forgotten.
            indexing: Who makes a damaged index anew.
            related: Who knows what may matter to work; without, nobody can ask that.
        """
        self._database = database
        self._finder = finder
        self._forgetting = forgetting
        self._notes = NoteStore(database)
        self._turns = TurnStore(database)
        self._typed = typed
        self._on_forgotten = on_forgotten
        self._indexing = indexing
        self._related = related

    def add_to(self, app: McpApp) -> None:
        """Serve them."""
        app.add(SEARCH, self.search)
        app.add(NOTES, self.notes)
        app.add(NOTE, self.note)
        app.add(ADD, self.add)
        app.add(FORGET, self.forget)
        app.add(EXPORT, self.export)
        if self._related is not None:
            app.add(RELATED, partial(self.related, self._related))

    async def search(self, request: SearchRequest, progress: Progress) -> FoundList:
        """Find turns and notes."""
        del progress
        now = datetime.now(UTC).astimezone()
        found = await self._finder.find(
            request.text, limit=request.limit, now=now, around=request.around
        )
        made = None
        if self._indexing is not None:
            self._indexing.stir()  # a search may be what finds the index damaged
            made = self._indexing.made
        return FoundList(found=tuple(map(_found_view, found)), made=made)

    async def related(
        self, related: Related, request: RelatedRequest, progress: Progress
    ) -> RelatedList:
        """Give what may matter to work."""
        del progress
        now = datetime.now(UTC).astimezone()
        found = await related.to(request.text, limit=request.limit, most=request.bytes, now=now)
        lines = (
            RelatedView(id=one.id, kind=one.kind, text=one.text, said=one.said) for one in found
        )
        return RelatedList(lines=tuple(lines))

    async def notes(self, request: NotesRequest, progress: Progress) -> NoteList:
        """List notes."""
        del progress
        found = await self._notes.listed(request.limit, outdated=request.outdated)
        return NoteList(notes=tuple(map(_note_view, found)))

    async def note(self, request: NoteRequest, progress: Progress) -> NoteTurns:
        """Show one note with its turns."""
        del progress
        note = await self._notes.get(request.id)
        turns: list[Turn] = []
        if note.session and note.turns:
            told = await self._turns.turns(note.session, after=min(note.turns) - 1)
            turns = [turn for turn in told if turn.seq in note.turns]
        return NoteTurns(note=_note_view(note), turns=tuple(map(turn_view, turns)))

    async def add(self, request: AddRequest, progress: Progress) -> NoteView:
        """Remember something."""
        del progress
        text = check_prompt(request.text)
        judged = plain_notes(text)
        kind = request.kind or (judged[0].kind if judged else "fact")
        draft = Draft(kind, text, importance=0.8, pinned=request.pinned)
        return _note_view(await self._notes.add(draft))

    async def forget(self, request: ForgetRequest, progress: Progress) -> ForgetReply:
        """Forget something, or say what would go."""
        del progress
        what = _what(request)
        if request.dry_run:
            return await self._reply(await self._forgetting.doomed(what))
        # Once it is out of the database the rest is done, too, whoever went away.
        with anyio.CancelScope(shield=True):
            gone = await self._forgetting.forget(what)
            self._on_forgotten()
            if self._indexing is not None:
                self._indexing.stir()  # a damaged index was thrown away
            left = [*gone.left, *await self._untype(gone.doomed)]
            return await self._reply(gone.doomed, left)
        raise AssertionError("unreachable")

    async def export(self, request: ExportRequest, progress: Progress) -> ExportPage:
        """Give a page of all that is remembered."""
        del progress
        found = await page(self._database, request.after)
        return ExportPage(records=tuple(map(dict, found.records)), after=found.after)

    async def _reply(self, doomed: Doomed, left: Iterable[str] = ()) -> ForgetReply:
        return ForgetReply(
            turns=doomed.count,
            sessions=len(doomed.sessions),
            notes=len(doomed.notes),
            examples=tuple(
                clipped(one, _EXAMPLE_CHARACTERS) for one in sorted(doomed.texts)[:_EXAMPLES]
            ),
            waiting=doomed.waiting,
            left=tuple(left),
        )

    async def _untype(self, doomed: Doomed) -> list[str]:
        typed = self._typed
        if typed is None or not doomed.texts:
            return []

        def rewrite() -> list[str]:
            try:
                before = typed.read_text(encoding="utf-8", errors="surrogateescape")
                after = without_typed(before, doomed.texts)
                if after != before:
                    half = typed.with_name(f"{typed.name}.half")
                    half.touch(mode=0o600)
                    half.write_text(after, encoding="utf-8", errors="surrogateescape")
                    half.replace(typed)
            except FileNotFoundError:
                pass
            except OSError as error:
                log.warning("memory.typed_kept", reason=str(error))
                return [f"{typed}: what was typed at the prompt can't be rewritten: {error}"]
            return []

        return await anyio.to_thread.run_sync(rewrite)


def turn_view(turn: Turn) -> TurnView:
    """Put a turn on the wire."""
    return TurnView(
        seq=turn.seq,
        speaker=turn.speaker,
        text=turn.text,
        at=turn.at,
        model=turn.model,
        task=turn.task,
        interrupted=turn.interrupted,
    )


def _what(request: ForgetRequest) -> What:
    given = [one for one in (request.id, request.session, request.matching) if one is not None]
    if len(given) != 1 or not given[0].strip():
        raise InvalidRequest(
            "What is to be forgotten is not clear.",
            hint="Name an id, a session, or a text that it holds.",
        )
    if request.matching is not None:
        return ByText(request.matching)
    if request.session is not None:
        return BySession(request.session)
    identity, _, seq = given[0].partition("/")
    if seq.isdecimal() and len(seq) < 10:
        return ByTurn(identity, int(seq))
    return ByNote(identity) if identity.startswith("n-") else BySession(given[0])


def _found_view(found: Found) -> FoundView:
    return FoundView(
        session=found.session,
        seq=found.seq,
        speaker=found.speaker,
        text=found.text,
        at=found.at,
        score=found.score,
        shares=dict(found.shares),
        note=found.note,
        task=found.task,
        around=tuple(map(turn_view, found.around)),
    )


def _note_view(note: Note) -> NoteView:
    return NoteView(
        id=note.id,
        kind=note.kind,
        text=note.text,
        importance=note.importance,
        pinned=note.pinned,
        said=note.said,
        recorded=note.recorded,
        source=note.source,
        session=note.session,
        turns=note.turns,
        task=note.task,
        superseded_by=note.superseded_by,
        superseded_at=note.superseded_at,
    )
