"""What happens at a key: the question beforehand, the call in a thread, and a word on what came.

Above: `app`. Below: `actions` (calls), `dialogs` (questions).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from tale.cli.editing import keep_plan
from tale.dashboard.actions import Actions
from tale.dashboard.dialogs import Answer, ApprovalDialog, ConfirmDialog, Dialog, HelpDialog
from tale.dashboard.shown import plain
from tale.errors import TaleError

if TYPE_CHECKING:
    from tale.cli.views import Task
    from tale.dashboard.app import Dashboard
    from tale.wire.contracts import TaskView

__all__ = ["Doing"]

_T = TypeVar("_T")

_READ_SECONDS: Final = 12.0
"""How long an error stands: it has a hint that one wants to read to its end."""
_SHOWN_CHARACTERS: Final = 200


class Doing:
    """Does what keys ask for; each thing once at a time."""

    def __init__(self, app: Dashboard, actions: Actions) -> None:
        """Make it; nothing is asked yet."""
        self._app = app
        self._actions = actions
        self._busy: set[str] = set()

    # -- without a question ------------------------------------------------------------------------

    def pause(self, task: str) -> None:
        """Let a task rest."""
        self._begin(f"pause {task}", partial(self._simply, lambda: self._actions.pause(task)))

    def resume(self, task: str) -> None:
        """Let it go on."""
        self._begin(f"resume {task}", partial(self._simply, lambda: self._actions.resume(task)))

    def look_for_checkpoints(self, task: str) -> None:
        """Ask for a task's checkpoints, and show them if it is still the chosen one."""
        self._begin(f"checkpoints {task}", partial(self._look_for_checkpoints, task))

    def start(self) -> None:
        """Start the daemon."""
        self._begin("start", self._start)

    def help(self) -> None:
        """Show the keys."""
        self._app.push_screen(HelpDialog())

    async def _simply(self, work: Callable[[], str]) -> None:
        self._tell(await self._call(work))

    async def _look_for_checkpoints(self, task: str) -> None:
        found = await self._call(lambda: self._actions.checkpoints(task), told=False)
        shown = self._app.state.task
        if shown is not None and shown.id == task:
            self._app.update(checkpoints=found or ())

    async def _start(self) -> None:
        self._app.update(link="starting")
        self._app.action_panel("servers")
        if (said := await self._call(self._actions.start)) is None:
            self._app.update(link="stopped")
        self._tell(said)

    # -- after a question --------------------------------------------------------------------------

    def answer(self, task: str) -> None:
        """Show what a task asks, and tell it the answer."""
        self._begin(f"answer {task}", partial(self._answer, task))

    def cancel(self, task: TaskView) -> None:
        """End a task, if that is really meant."""
        self._begin(f"cancel {task.id}", partial(self._cancel, task))

    def restore(self, task: TaskView, number: int) -> None:
        """Bring a task's files back to a checkpoint, if that is really meant."""
        self._begin(f"restore {task.id}", partial(self._restore, task, number))

    def restart(self, server: str) -> None:
        """Restart a server, if that is really meant."""
        self._begin(f"restart {server}", partial(self._restart, server))

    async def _answer(self, identity: str) -> None:
        task = await self._call(lambda: self._actions.show(identity))
        if task is None:
            return
        if task.state != "waiting":
            self._tell(f"It asks nothing any more: {task.state}.")
            return
        said = cast("Answer | None", await self._ask(ApprovalDialog(task, self._app.size.width)))
        if said is None:
            return
        verdict, words = said
        if verdict == "edit":
            await self._edit(task)
        elif verdict == "approve":
            self._tell(await self._call(lambda: self._actions.approve(task, words)))
        else:
            self._tell(await self._call(lambda: self._actions.reject(task, words)))

    async def _edit(self, task: Task) -> None:
        try:
            with self._app.suspend():
                changed = self._actions.edit(task.plan)
        except TaleError as error:
            self._tell_error(error)
            return
        if changed is None:
            self._tell("Nothing was changed; it waits on.")
            return
        try:
            self._tell(await _in_thread(lambda: self._actions.approve(task, changed)))
        except TaleError as error:
            self._tell_error(error)
            self._app.notify(
                f"What you wrote is in {keep_plan(changed)}.", timeout=_READ_SECONDS, markup=False
            )

    async def _cancel(self, task: TaskView) -> None:
        lines = (_named(task), "It can't be resumed after that. Files that it has written stay.")
        if await self._ask(ConfirmDialog(f"Cancel {task.id}?", lines, "cancel it for good")):
            self._tell(await self._call(lambda: self._actions.cancel(task.id)))

    async def _restore(self, task: TaskView, number: int) -> None:
        known = self._app.state.checkpoints or ()
        why = next((plain(one.why) for one in known if one.number == number), "")
        runs = task.state in {"queued", "running"}
        lines = [
            _named(task),
            f"Its files in {task.workspace} become those of checkpoint {number}"
            + (f" ({why})." if why else "."),
            "What they are now is saved as a checkpoint first, so you can come back.",
        ]
        if runs:
            lines.append("It is paused first; resumed, it begins anew with these files.")
        if await self._ask(
            ConfirmDialog(f"Restore checkpoint {number}?", lines, "save and restore")
        ):
            self._tell(await self._call(lambda: self._actions.restore(task.id, number, pause=runs)))

    async def _restart(self, server: str) -> None:
        lines = ("What it is doing is taken up again once it is back; no task is lost.",)
        if await self._ask(ConfirmDialog(f"Restart {server}?", lines, "restart it")):
            self._tell(f"{server} is being restarted …")
            self._tell(await self._call(lambda: self._actions.restart(server)))

    # -- how ---------------------------------------------------------------------------------------

    def _begin(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        if what in self._busy:
            return
        self._busy.add(what)

        async def run() -> None:
            try:
                await work()
            finally:
                self._busy.discard(what)

        # No coroutine: of a worker that is cancelled before it begins it would never be awaited.
        self._app.run_worker(run, name=what)

    async def _ask(self, dialog: Dialog) -> object:
        return await self._app.push_screen_wait(dialog)

    async def _call(self, work: Callable[[], _T], *, told: bool = True) -> _T | None:
        """Make a call; where it fails, say so (unless `told` is False) and give None."""
        try:
            return await _in_thread(work)
        except TaleError as error:
            if told:
                self._tell_error(error)
            return None

    def _tell(self, said: str | None) -> None:
        if said:
            self._app.notify(plain(said), markup=False)

    def _tell_error(self, error: TaleError) -> None:
        lines = filter(None, (plain(error.message), plain(error.hint)))
        said = "\n".join(lines)
        self._app.notify(said, severity="error", timeout=_READ_SECONDS, markup=False)


def _named(task: TaskView) -> str:
    words = plain(task.text)
    return words if len(words) <= _SHOWN_CHARACTERS else f"{words[:_SHOWN_CHARACTERS]}…"


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run it in a thread that doesn't keep the process alive: a call may wait for minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(settled: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the application has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if future.done() else settled())

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=run, name="action", daemon=True).start()
    return await future
