"""Workflows recorded by DBOS: the `Journal` of the gateway. The one module that knows the library.

DBOS records steps and replays them; which workflow runs when is `tasks.engine`'s decision. So none
of DBOS's own recovery is used: each process has an executor id of its own, and a workflow that an
earlier one left is handed back by its queue when the engine asks for it. All runs on the gateway's
event loop. The library is half a second of imports, made in a thread while the gateway serves.

Its database is a file beside tale's, or a schema of tale's own PostgreSQL database. One process at
a time has the file, by its lock. Above: `tasks.engine`. Below: DBOS, `storage.faults`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import anyio
import orjson

# DBOS imports it, too, but in a thread: until all of it is there, queries of other threads fail
# that have an empty list in them, as SQLAlchemy asks the part that is there what such a value is.
import sqlalchemy.orm  # noqa: F401  # pyright: ignore[reportUnusedImport]
from anyio import to_thread
from sqlalchemy import Engine

from tale.errors import StorageError
from tale.storage.faults import faults_of
from tale.tasks.durable import Changed, Json, Recorded, Work
from tale.tasks.steps_database import locked, open_engine
from tale.telemetry import get_logger

if TYPE_CHECKING:
    import dbos

__all__ = ["DbosJournal"]

log = get_logger(__name__)

_VERSION: Final = "1"
"""Of the course that workflows take, as far as an old record would mislead a new one. DBOS's own
is a hash of the source: any edit would strand what is unfinished."""
_WORKFLOW: Final = "step"
_QUEUE: Final = "tale"
_SCHEMA: Final = "tale_steps"
_POLL_SECONDS: Final = (0.1, 1.0)
"""Between two looks for workflows that were asked for: while there is work, and at rest."""
_THREADS: Final = 16
_NO_WORK_WORDS: Final = ("Asyncio task cancelled", "is not the latest version")
"""Warnings of DBOS about what is done on purpose here."""


class DbosJournal:
    """A journal in SQLite or PostgreSQL. One at a time is open in a process."""

    def __init__(self, file: Path, url: str = "") -> None:
        """Make one; nothing is opened or imported yet.

        Args:
            file: The SQLite file; its lock stands beside it, whatever the database.
            url: A PostgreSQL database to use in the file's place.
        """
        self._file = file
        self._url = url
        self._where = "the task engine's database" if url else str(file)
        self._visits: dict[str, _Visit] = {}
        self._unrecorded: dict[tuple[str, int], Json] = {}
        """What steps gave while it could not be written: they must not be made twice."""
        self._hurried = True
        self._open = False
        self.lost = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Have DBOS running, as long as the context lasts.

        Raises:
            StorageError: Its database can't be used.
        """
        await to_thread.run_sync(importlib.import_module, "dbos")
        async with locked(self._file, self._where):
            with faults_of(self._where):
                engine, lost = await to_thread.run_sync(open_engine, self._file, self._url)
            self.lost = lost or self.lost
            try:
                with faults_of(self._where):
                    await self._launch(engine)
                log.info("journal.open", database=self._where)
                self._open = True
                yield
            finally:
                self._open = False
                with anyio.CancelScope(shield=True):
                    await self._close()
                engine.dispose()

    async def run(self, identity: str, work: Work) -> None:
        """Run a workflow to its end, from where its record stops."""
        visit = self._visits.setdefault(identity, _Visit())
        visit.work.set_result(work)
        try:
            if visit.task is None:
                with faults_of(self._where):
                    await self._call_up(identity)
            await visit.ended.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await visit.leave()
            del self._visits[identity]
        if not self._visits:
            with faults_of(self._where):
                await self._hurry(asked_for=False)
        if visit.failure:
            raise visit.failure

    async def forget(self, identities: Collection[str]) -> None:
        """Delete what was recorded for workflows."""
        for identity in identities:
            if visit := self._visits.pop(identity, None):
                await visit.leave()
        for key in [key for key in self._unrecorded if key[0] in identities]:
            del self._unrecorded[key]
        with faults_of(self._where):
            await _dbos().delete_workflows_async(list(identities))

    async def known(self) -> set[str]:
        """Give the ids of all workflows that have a record."""
        with faults_of(self._where):
            found = await _dbos().list_workflows_async(load_input=False, load_output=False)
        return {one.workflow_id for one in found}

    async def recorded(self, identity: str) -> list[Recorded]:
        """Give what a workflow recorded, in order.

        Raises:
            StorageError: Its database can't be read, or is not open yet.
        """
        if not self._open:
            raise StorageError(f"{self._where} is not open yet.", hint="Try again in a moment.")
        with faults_of(self._where):
            found = await _dbos().list_workflow_steps_async(identity)
        return [(one["function_name"], one["output"]) for one in found]

    async def _call_up(self, identity: str) -> None:
        """Have DBOS run a workflow: one that is new at once, another by way of its queue."""
        library = _library()
        status = await _dbos().get_workflow_status_async(identity)
        if status is not None and status.status in {"SUCCESS", "ERROR"}:
            log.warning("journal.ended_without_result", workflow=identity)
            await _dbos().delete_workflows_async([identity])
            status = None
        if status is None:
            with library.SetWorkflowID(identity):
                await _dbos().start_workflow_async(_workflow(), identity)
            return
        await self._hurry(asked_for=True)
        if status.status != "ENQUEUED":
            await _dbos().resume_workflows_async([identity], queue_name=_QUEUE)

    async def _hurry(self, *, asked_for: bool) -> None:
        """Look often while one is asked for or runs, and seldom at rest: looks cost some 2 ms."""
        if asked_for != self._hurried:
            self._hurried = asked_for
            await self._queue.set_polling_interval_sec_async(_POLL_SECONDS[not asked_for])

    async def _visited(self, identity: str) -> None:
        """Do a workflow's work; DBOS calls this, once for each run."""
        visit = self._visits.setdefault(identity, _Visit())
        visit.task = asyncio.current_task()
        try:
            work = await visit.work
            await work(_Recorder(identity, visit, self._unrecorded, self._where))
        except Exception as error:
            visit.failure = error
            # Anything else would be taken for the workflow's end, and be recorded as that.
            raise asyncio.CancelledError from error
        finally:
            visit.ended.set()

    async def _launch(self, engine: Engine) -> None:
        """Start DBOS; on the event loop, so that it runs workflows there."""
        global _journal  # noqa: PLW0603 - DBOS is one for each process, and so is this
        _journal = self
        library = _library()
        _workflow()
        url = engine.url.render_as_string(hide_password=False)
        library.DBOS(
            config={
                "name": "tale",
                "system_database_url": url,
                "system_database_engine": engine,
                "dbos_system_schema": _SCHEMA,
                "serializer": _json_serializer(library),
                "executor_id": f"gateway-{uuid.uuid4().hex}",
                "application_version": _VERSION,
                "log_level": "WARNING",
                "max_executor_threads": _THREADS,
                # Nothing is sent here; its thread looks that often whether it may end.
                "notification_listener_polling_interval_sec": _POLL_SECONDS[0],
            }
        )
        logger = logging.getLogger("dbos")
        logger.handlers.clear()
        logger.propagate = True
        logger.addFilter(_worth_a_line)
        library.DBOS.launch()
        first, _ = _POLL_SECONDS
        self._queue = await _dbos().register_queue_async(
            _QUEUE, polling_interval_sec=first, on_conflict="always_update"
        )
        self._hurried = True

    async def _close(self) -> None:
        for visit in self._visits.values():
            await visit.leave()
        self._visits.clear()
        await to_thread.run_sync(_dbos().destroy)


class _Visit:
    """A workflow for which the engine waits, or which is there before the engine asked for it."""

    def __init__(self) -> None:
        self.work: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[Any] | None = None
        self.ended = anyio.Event()
        self.failure: Exception | None = None

    async def leave(self) -> None:
        """Cut it off if it runs; its record stays, and it goes on another time."""
        if self.task is not None and not self.ended.is_set():
            self.task.cancel()
            await self.ended.wait()

    async def stop(self, failure: Exception) -> NoReturn:
        """End the run from within, past whatever its work would do about an exception."""
        self.failure = failure
        assert self.task is not None  # noqa: S101 - whoever calls this is it
        self.task.cancel()
        await anyio.sleep_forever()
        raise AssertionError


class _Recorder:
    """Steps of one run, as DBOS records them: by their position."""

    def __init__(
        self, identity: str, visit: _Visit, unrecorded: dict[tuple[str, int], Json], where: str
    ) -> None:
        self._identity = identity
        self._visit = visit
        self._unrecorded = unrecorded
        self._where = where
        self._next = 0
        self._within = False

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        if self._within:
            raise RuntimeError(f"{self._identity}: step {name!r} begins inside another")
        key = (self._identity, self._next)
        self._next += 1
        self._within = True
        try:
            with faults_of(self._where):
                value = await _dbos().run_step_async({"name": name}, self._once, key, call)
        except StorageError as error:
            await self._visit.stop(error)
        except _library().error.DBOSUnexpectedStepError:
            await self._visit.stop(Changed(f"{self._identity} went another way before {name!r}."))
        finally:
            self._within = False
        self._unrecorded.pop(key, None)
        return value

    async def _once(self, key: tuple[str, int], call: Callable[[], Awaitable[Json]]) -> Json:
        if key not in self._unrecorded:
            self._unrecorded[key] = await call()
        return self._unrecorded[key]


_journal: DbosJournal | None = None
_registered: Any = None


def _library() -> Any:
    return importlib.import_module("dbos")


def _dbos() -> type[dbos.DBOS]:
    return _library().DBOS


def _workflow() -> Any:
    """Give the workflow as DBOS knows it; it can be told of it once in a process."""
    global _registered  # noqa: PLW0603
    if _registered is None:

        async def step(identity: str) -> str:
            assert _journal is not None  # noqa: S101 - narrows the type
            await _journal._visited(identity)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return "ended"

        # A task may be taken up as often as the machine is switched off.
        decorate = _dbos().workflow(name=_WORKFLOW, max_recovery_attempts=None)
        _registered = decorate(step)
    return _registered


def _json_serializer(library: Any) -> Any:
    """Make the form in which steps are stored: JSON, and nothing that runs when it is read.

    A failure is never a step's outcome here. DBOS would record that the disk was full as what the
    step gave, once there is room for so little again.
    """

    class TaleJson(library.Serializer):
        def name(self) -> str:
            return "tale_json"

        def serialize(self, data: object) -> str:
            if isinstance(data, BaseException):
                raise data
            return orjson.dumps(data).decode()

        def deserialize(self, serialized_data: str) -> object:
            return orjson.loads(serialized_data)

    return TaleJson()


def _worth_a_line(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in _NO_WORK_WORDS)
