"""Tells a user what happened: desktop and webhook, each notice at least once, through any crash.

What was told is kept in a small file; at a start whatever has happened since and is not in it is
told. A notice is taken note of once every channel had it or gave up, so a crash in between tells
it twice, with the same id, and never not at all. Above: `servers.gateway`. Below: `notify`, which
decides; the hub and the store, which know what happened.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.abc

from tale.errors import TaleError
from tale.tasks.notify import (
    PAUSES,
    Notice,
    Told,
    desktop_command,
    notice_of,
    verdict,
    webhook_body,
    webhook_headers,
)
from tale.tasks.task import Task, TaskEvent
from tale.telemetry import get_logger
from tale.whole_file import write_whole
from tale.wire.resilience import RetryBudget, RetryPolicy

__all__ = ["Channel", "Desktop", "NoticeSource", "Notifier", "Webhook", "http_post"]

log = get_logger(__name__)

_SECONDS_PER_TRY: Final = 15.0
"""The shortest that the Standard Webhooks specification recommends a receiver be given."""
_DESKTOP_SECONDS: Final = 5.0
_STORAGE_PAUSE: Final = 5.0
_POLICY: Final = RetryPolicy(ratio=0.5, per_second=0.05, reserve=20.0)
"""Retries of all notices together: a receiver that comes back is not met by a flood."""

Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]
"""Posts a body with headers to an address; gives the status, 0 where there was no answer."""


class NoticeSource(Protocol):
    """Where it is looked up what happened; `tasks.store.TaskStore` is one."""

    async def get(self, identity: str) -> Task:
        """Look up a task."""
        ...

    async def notable(self, since: datetime, kinds: Collection[str]) -> list[tuple[TaskEvent, str]]:
        """Read the events of some kinds from a moment on, each with its task's text."""
        ...


class Channel(Protocol):
    """One way to tell a user; gives up by itself, and never raises for what the world does."""

    async def __call__(self, notice: Notice) -> None:
        """Tell it, with as many tries as are sensible."""
        ...


class Notifier:
    """Follows all tasks, and tells what the user wants to hear of."""

    def __init__(
        self,
        source: NoticeSource,
        channels: Sequence[Channel],
        *,
        told: Path,
        wanted: Collection[str],
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make one; nothing is told before `run`.

        Args:
            source: Where it is looked up what happened.
            channels: How to tell.
            told: The file that says what was told.
            wanted: Kinds of events to tell of.
            now: Gives the present time, in UTC.
            pause: Waits until the database is tried again.
        """
        self._pause = pause
        self._source = source
        self._channels = channels
        self._file = told
        self._wanted = wanted
        self._now = now
        self._heard: deque[TaskEvent] = deque()
        self._woken = anyio.Event()
        self._waiting: dict[str, Notice] = {}
        self._told = Told(now())

    def take(self, event: TaskEvent) -> None:
        """Hear of an event, as a listener of the hub."""
        if self._channels and event.kind in self._wanted:
            self._heard.append(event)
            self._woken.set()

    async def run(self) -> None:
        """Tell what was not told before, then what happens, until cancelled."""
        if not self._channels:
            return
        self._told = await anyio.to_thread.run_sync(self._load)
        missed = await self._missed()
        async with anyio.create_task_group() as tasks:
            for event, text in missed:
                notice = notice_of(event, text, self._wanted)
                if notice is not None and not self._told.knows(notice):
                    self._begin(tasks, notice)
            while True:
                while self._heard:
                    await self._hear(tasks, self._heard.popleft())
                self._woken = anyio.Event()
                await self._woken.wait()

    async def _missed(self) -> list[tuple[TaskEvent, str]]:
        """Read what has happened since; a database that can't be read now is waited for."""
        while True:
            try:
                return await self._source.notable(self._told.since, self._wanted)
            except TaleError as error:
                log.warning("notice.waiting_for_storage", reason=error.message)
            await self._pause(_STORAGE_PAUSE)

    async def _hear(self, tasks: anyio.abc.TaskGroup, event: TaskEvent) -> None:
        try:
            text = (await self._source.get(event.task)).text
        except TaleError as error:
            log.warning("notice.without_text", task=event.task, reason=error.message)
            text = event.task
        notice = notice_of(event, text, self._wanted)
        # It may have been read from the store already, at a start.
        if notice is not None and notice.id not in self._told.ids:
            self._begin(tasks, notice)

    def _begin(self, tasks: anyio.abc.TaskGroup, notice: Notice) -> None:
        if notice.id not in self._waiting:
            self._waiting[notice.id] = notice
            tasks.start_soon(self._tell, notice)

    async def _tell(self, notice: Notice) -> None:
        async with anyio.create_task_group() as tasks:
            for channel in self._channels:
                tasks.start_soon(channel, notice)
        del self._waiting[notice.id]
        self._told = self._told.add(notice, self._waiting.values())
        # Not in a thread: it is a moment's work, and two of them must not overtake each other.
        self._keep(self._told)

    def _load(self) -> Told:
        try:
            text = self._file.read_text(encoding="utf-8")
        except OSError:
            text = ""
        told = Told.load(text, self._now())
        if not text:  # so that a crash before the first notice loses none
            self._keep(told)
        return told

    def _keep(self, told: Told) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, told.dump())
        except OSError as error:
            log.warning("notice.not_noted", file=str(self._file), reason=str(error))


class Desktop:
    """Shows a notice on the desktop of whoever runs the daemon."""

    def __init__(
        self,
        *,
        platform: str = sys.platform,
        which: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._platform = platform
        self._which = which

    async def __call__(self, notice: Notice) -> None:
        """Show it; a machine without a desktop says so in the log."""
        command = desktop_command(notice, self._platform, self._which)
        if command is None:
            log.warning("notice.no_desktop", hint="Install libnotify-bin, or notify.desktop=false.")
            return
        try:
            with anyio.fail_after(_DESKTOP_SECONDS):
                await anyio.run_process(command, stdin=subprocess.DEVNULL)
        except (OSError, TimeoutError, subprocess.CalledProcessError) as error:
            log.warning("notice.desktop_failed", notice=notice.id, reason=repr(error))


class Webhook:
    """Posts a notice to an address, again where it is not taken."""

    def __init__(
        self,
        url: str,
        secret: str,
        post: Post,
        *,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Make one.

        Args:
            url: Where to post.
            secret: Signs what is posted; empty leaves it unsigned.
            post: Posts it.
            clock: Gives Unix time.
            pause: Waits between tries.
        """
        self._url = url
        self._secret = secret
        self._post = post
        self._clock = clock
        self._pause = pause
        self._budget = RetryBudget.full(clock(), _POLICY)

    async def __call__(self, notice: Notice) -> None:
        """Post it until it is taken, refused for good, or the tries are used up."""
        body = webhook_body(notice)
        self._budget = self._budget.called(self._clock(), _POLICY)
        for pause in (*PAUSES, None):
            headers = webhook_headers(notice, body, self._secret, int(self._clock()))
            status = await self._post(self._url, body, dict(headers))
            found = verdict(status)
            if found == "delivered":
                return
            log.warning("notice.webhook_failed", notice=notice.id, status=status)
            if found == "never" or pause is None:
                break
            await self._pause(pause)
            while (left := self._budget.retried(self._clock(), _POLICY)) is None:
                await self._pause(pause)
            self._budget = left
        log.error("notice.webhook_given_up", notice=notice.id)


async def http_post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post over HTTP; redirects are not followed, so a signed notice goes where it was meant to."""
    import aiohttp  # noqa: PLC0415 - only who wants webhooks pays for it

    timeout = aiohttp.ClientTimeout(total=_SECONDS_PER_TRY)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        log.warning("notice.webhook_unreachable", reason=repr(error))
        return 0
