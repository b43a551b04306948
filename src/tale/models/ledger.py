"""The ledger: what every request to a model took, and how it ended.

Whoever answers a request notes it, which is an append to a list. One task of the ledger's own
counts the tokens of what was new in it, works out the naive counterpart, and writes batches to the
file, in a worker thread. No request ever waits for the ledger or fails because of it: while the
file can't be written, rows are held here and counted all the same. Above: `servers.model_app`.
Below: `ledger_file`, `naive`, `usage`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.to_thread import run_sync

from tale.errors import StorageError, StorageReadOnly
from tale.models.entry import Entry, Row, outcome_of, spent_of
from tale.models.estimates import Outcome
from tale.models.ledger_file import KEEP_SECONDS, LedgerFile, set_aside
from tale.models.naive import History, naive
from tale.models.trend import Trend
from tale.models.usage import Tally, UsageReport, report, tally_of
from tale.telemetry import get_logger

__all__ = ["Ledger", "Noting", "TokenCount"]

log = get_logger(__name__)

T = TypeVar("T")

TokenCount = Callable[[str, str], Awaitable[int | None]]
"""Counts the tokens of a text (model, text); None where that model can't."""


class Noting(Protocol):
    """What a request handler sees of the ledger."""

    def note(self, entry: Entry) -> None:
        """Keep a request that has ended. Takes microseconds and never raises."""
        ...


_DELAY_SECONDS: Final = 1.0
_LEARNED_ROWS: Final = 5000
_LEARNED_AT_ONCE: Final = 100
# While the file can't be written: a few days of one user's requests, some 10 MB.
_HELD_ROWS: Final = 20_000
# A longer text takes a model's process more than 50 ms, and is estimated well.
_COUNTED_LENGTH: Final = 64 << 10
_THIN_EVERY: Final = 1000
_CLOSE_SECONDS: Final = 5.0
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


class Ledger:
    """Keeps requests. An asynchronous context manager; leaving it writes what is left."""

    def __init__(
        self,
        path: Path,
        *,
        count: TokenCount | None = None,
        learn: Callable[[Outcome], None] = lambda _: None,
        judged: Callable[[Outcome], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Describe it; the file is opened in the background once it is entered.

        Args:
            path: The file.
            count: Counts tokens exactly; without it, they are estimated (`Entry.estimated_said`).
            learn: Gets the newest rows of earlier runs, the oldest first, and then each new one.
            judged: Gets a row again once somebody said whether its answer was good; its tokens
                were learned before.
            clock: Unix time in seconds.
        """
        self._path = path
        self._count = count
        self._learn = learn
        self._judged = judged
        self._clock = clock
        self._file: LedgerFile | None = None
        self._fresh: deque[Entry] = deque()
        self._words: dict[str, bool] = {}
        self._held: list[Row] = []
        self._histories: dict[str, History] = {}
        self._since_thinned = _THIN_EVERY
        self._replayed = False
        self._ailing = ""
        self._stirred = anyio.Event()
        self._settling = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._write)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._tasks is not None  # noqa: S101 - narrows the type
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, traceback)
        finally:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self.flush()
            if self._file is not None:
                self._file.close()

    def note(self, entry: Entry) -> None:
        """Keep a request that has ended. Takes microseconds and never raises."""
        self._fresh.append(entry)
        self._stirred.set()

    def outcome(self, request_id: str, ok: bool) -> None:
        """Say later whether an answer was good. An unknown id, or a word said twice, is ignored."""
        self._words[request_id] = ok
        self._stirred.set()

    async def usage(self, since: float | None = None) -> UsageReport:
        """Sum up, what was noted a moment ago included.

        Args:
            since: Unix time; None for all.
        """
        async with self._settling:
            await self._settle()
            kept: tuple[Tally, ...] = ()
            if self._file is not None:
                try:
                    kept = await run_sync(self._file.sums, since)
                except StorageError as error:
                    await self._meet(error)
            held = [tally_of(row) for row in self._held if since is None or row.at >= since]
        return report([*kept, *held], since)

    async def trend(self, after: int = 0) -> Trend:
        """Give what a chart shows of the last hour and day; without a file, nothing.

        Args:
            after: Number of the last request that is known.
        """
        now = self._clock()
        async with self._settling:
            await self._settle()
            work = partial(LedgerFile.trend, after=after, since=now - _HOUR, hours_since=now - _DAY)
            return await self._try(work) or Trend()

    async def flush(self) -> None:
        """Write what was noted so far."""
        async with self._settling:
            await self._settle()

    async def _write(self) -> None:
        await self.flush()  # opens the file, and gives what was learned before
        while True:
            await self._stirred.wait()
            self._stirred = anyio.Event()
            await anyio.sleep(_DELAY_SECONDS)
            await self.flush()

    async def _settle(self) -> None:
        """Bring everything noted to the file, or hold it here. Under the lock."""
        try:
            await self._settle_all()
        except Exception:
            # A row that nobody foresaw must neither end the models server nor come again.
            log.exception("ledger.rows_lost", rows=len(self._fresh) + len(self._held))
            self._fresh.clear()
            self._held.clear()

    async def _settle_all(self) -> None:
        await self._replay()
        countless: set[str] = set()
        while self._fresh:
            entry = self._fresh[0]
            row = await self._row(entry, await self._said(entry, countless))
            self._fresh.popleft()  # not before: whoever is cancelled above leaves it to the next
            self._held.append(row)
            self._tell(self._learn, row)
        if self._held:
            await self._append()
        while self._words:
            request_id, ok = next(iter(self._words.items()))
            await self._judge(request_id, ok)
            if self._words.get(request_id) == ok:
                del self._words[request_id]
        if self._file is not None and self._since_thinned >= _THIN_EVERY:
            before = self._clock() - KEEP_SECONDS
            if (thinned := await self._try(lambda file: file.thin(before))) is not None:
                self._since_thinned = 0
                log.debug("ledger.thinned", rows=thinned)

    async def _replay(self) -> None:
        """Give what earlier runs learned, once."""
        if self._replayed:
            return
        newest = await self._try(lambda file: file.newest(_LEARNED_ROWS))
        if newest is not None:
            self._replayed = True
            for number, row in enumerate(newest):
                self._tell(self._learn, row)
                if number % _LEARNED_AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()  # requests go first

    async def _said(self, entry: Entry, countless: set[str]) -> int:
        """Count the tokens of what was new; `countless` are models that didn't count just now."""
        if self._count and entry.model not in countless and 0 < len(entry.said) <= _COUNTED_LENGTH:
            if (said := await self._count(entry.model, entry.said)) is not None:
                return said
            countless.add(entry.model)
        return entry.estimated_said

    async def _row(self, entry: Entry, said: int) -> Row:
        history = None
        session = entry.session
        if session is not None and not entry.own:
            history = self._histories.get(session)
            if history is None:
                history = await self._try(lambda file: file.history(session))
        share, after = naive(spent_of(entry, said), history)
        if session is not None and after is not None:
            self._histories[session] = after
        return Row.of(entry, said, share)

    async def _append(self) -> None:
        rows, histories = tuple(self._held), dict(self._histories)

        def append(file: LedgerFile) -> bool:
            file.append(rows, histories)
            return True

        if await self._try(append):
            self._since_thinned += len(rows)
            del self._held[: len(rows)]
            self._histories.clear()  # the file has them
        elif (surplus := len(self._held) - _HELD_ROWS) > 0:
            del self._held[:surplus]
            log.warning("ledger.rows_lost", rows=surplus, file=str(self._path))

    async def _judge(self, request_id: str, ok: bool) -> None:
        for at, row in enumerate(self._held):
            if row.id == request_id:
                self._held[at] = replace(row, ok=ok)
                if row.ok != ok:
                    self._tell(self._judged, self._held[at])
                return
        row = await self._try(lambda file: file.judge(request_id, ok))
        if row is None:
            log.debug("ledger.word_ignored", request=request_id, ok=ok)
        else:
            self._tell(self._judged, row)

    def _tell(self, learner: Callable[[Outcome], None], row: Row) -> None:
        try:
            learner(outcome_of(row))
        except Exception:
            # Whatever learns from it must not keep the ledger from being written.
            log.exception("ledger.not_learned", request=row.id)

    async def _try(self, work: Callable[[LedgerFile], T]) -> T | None:
        """Run `work` on the file in a thread, opening the file if need be; None if it can't be.

        A file that turns out to be damaged is set aside, and the work done on a new one.
        """
        for _ in range(2):
            try:
                if self._file is None:
                    self._file = await run_sync(LedgerFile.open, self._path)
                result = await run_sync(partial(work, self._file))
            except StorageError as error:
                if not await self._meet(error):
                    return None
            else:
                if self._ailing:
                    log.info("ledger.writable", file=str(self._path))
                self._ailing = ""
                return result
        return None

    async def _meet(self, error: StorageError) -> bool:
        """Do what a failure of the file asks for; says whether to try again at once."""
        if isinstance(error, StorageReadOnly):
            if self._ailing != error.message:
                self._ailing = error.message
                log.warning("ledger.not_writable", reason=error.message, held=len(self._held))
            return False
        if self._file is not None:
            self._file.close()
            self._file = None
        try:
            await run_sync(set_aside, self._path, error.message)
        except StorageReadOnly as stuck:
            return await self._meet(stuck)
        return True
