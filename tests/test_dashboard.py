"""The dashboard as it is used: keys, what they do, and what is seen while things go wrong."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import anyio
import pytest
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.widgets import Input

from dashboard_world import (
    NOW,
    Recorded,
    Script,
    Written,
    busy,
    failing,
    overview,
    running,
    server,
    servers,
    task,
    waiting,
)
from tale.cli.log_files import Entry
from tale.dashboard.app import Dashboard
from tale.dashboard.dialogs import ApprovalDialog, Dialog
from tale.dashboard.lines import OneLine, TableLines
from tale.dashboard.source import Away, Live, Stopped, Update
from tale.errors import TaskError
from tale.wire.part_contracts import ProgressView

pytestmark = pytest.mark.anyio


class Desk:
    """A dashboard on a screen, and what stands behind it."""

    def __init__(self, *updates: Update) -> None:
        self.source = Script(*updates)
        self.actions = Recorded()
        self.log = Written()
        self.app = Dashboard(self.source, self.actions, self.log, now=lambda: NOW)
        self.pilot: Pilot[None]

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(30):
            while not holds():
                await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def panel(self, name: str) -> str:
        return self.app.screen_stack[0].query_one(f"#{name}-lines", TableLines).text

    @property
    def header(self) -> str:
        return self.app.screen_stack[0].query_one("#header", OneLine).text

    @property
    def dialog(self) -> str:
        if not isinstance(self.app.screen, Dialog):
            return ""
        title = self.app.screen.query_one("#box").border_title
        return f"{title}\n{self.app.screen.said.text}"

    @property
    def said(self) -> list[str]:
        return [toast.message for toast in self.toasts]

    @property
    def toasts(self) -> list[Notification]:
        return list(self.app._notifications)  # pyright: ignore[reportPrivateUsage]

    @property
    def offered(self) -> set[str]:
        return {
            one.binding.description
            for one in self.app.screen.active_bindings.values()
            if one.binding.show
        }

    async def opened(self, title: str) -> None:
        await self.until(lambda: title in self.dialog)


@asynccontextmanager
async def desk(*updates: Update, size: tuple[int, int] = (80, 24)) -> AsyncGenerator[Desk]:
    made = Desk(*updates)
    async with made.app.run_test(size=size) as pilot:
        made.pilot = pilot
        await made.until(lambda: not made.source.left())
        await pilot.pause()
        yield made


def _read(path: str) -> str:
    return Path(path).read_text()


async def _run_to_its_end(app: Dashboard) -> None:
    async with app.run_test() as pilot:
        while app.is_running:
            await pilot.pause(0.01)


class TestKeys:
    async def test_the_first_task_is_chosen_and_the_arrows_choose_another(self) -> None:
        async with desk(Live(busy())) as one:
            assert "Rename cart to basket" in one.panel("task")
            await one.press("down")
            await one.until(lambda: "REST API" in one.panel("task"))

    async def test_a_task_stays_chosen_while_others_come_and_go(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("down")
            new = task("t-new", "Something new", "waiting", progress=ProgressView(state="approval"))
            one.source.tell(Live(busy(tasks=(new, *busy().tasks))))
            await one.until(lambda: "Something new" in one.panel("tasks"))
            assert one.app.state.task == running()
            one.source.tell(Live(busy(tasks=(new, waiting()))))
            await one.until(lambda: "REST API" not in one.panel("task"))
            assert one.app.state.task is not None

    async def test_what_is_chosen_stays_in_sight_while_the_list_grows_above_it(self) -> None:
        async with desk(Live(busy())) as one:
            lines = one.app.screen.query_one("#tasks-lines", TableLines)
            await one.press("down")
            new = tuple(task(f"t-{n}", f"New {n}", "waiting") for n in range(20))
            one.source.tell(Live(busy(tasks=(*new, *busy().tasks))))
            await one.until(lambda: "New 19" in lines.text)
            await one.pilot.pause()
            assert lines.key == "t-7f3a"
            assert lines.scroll_offset.y > 10

    async def test_a_click_chooses_a_row(self) -> None:
        async with desk(Live(busy())) as one:
            await one.pilot.click("#tasks-lines", offset=(10, 2))
            await one.until(lambda: "Port the scraper" in one.panel("task"))

    async def test_numbers_go_to_panels_and_arrows_to_the_one_beside(self) -> None:
        async with desk(Live(busy())) as one:
            for key, panel in (("4", "models"), ("right", "servers"), ("left", "models")):
                await one.press(key)
                lines = one.app.screen.query_one(f"#{panel}-lines", TableLines)
                await one.until(lambda lines=lines: lines.has_focus)
                assert lines.region.height > 3

    async def test_a_narrow_window_shows_one_panel_below_the_tasks_and_a_wide_one_all(self) -> None:
        for size, many in (((80, 24), 2), ((200, 50), 7), ((200, 24), 2), ((100, 50), 2)):
            async with desk(Live(busy()), size=size) as one:
                seen = [box for box in one.app.query("PanelBox") if box.region.height]
                assert len(seen) == many, size

    async def test_what_can_be_done_is_offered_and_nothing_else(self) -> None:
        async with desk(Live(busy())) as one:
            assert one.offered >= {"Answer", "Pause", "Cancel", "Open", "Help", "Quit"}
            assert not one.offered & {"Resume", "Restore", "Start tale"}
            await one.press("down", "down")
            await one.until(lambda: "Resume" in one.offered)
            assert "Pause" not in one.offered
            await one.press("5")
            await one.until(lambda: "Restart" in one.offered)
            assert "Open" not in one.offered

    async def test_help_lists_the_keys_and_goes_away_again(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("question_mark")
            await one.opened("Help")
            assert "cancel it for good" in one.dialog
            await one.press("escape")
            await one.until(lambda: not one.dialog)

    async def test_the_palette_has_what_can_be_done_now(self) -> None:
        async with desk(Live(busy())) as one:
            titles = {command.title for command in one.app.get_system_commands(one.app.screen)}
            assert titles >= {"Answer", "Go to Servers", "Help", "Theme", "Quit"}
            assert "Resume" not in titles

    async def test_another_theme_paints_the_same_facts(self) -> None:
        async with desk(Live(busy())) as one:
            before = one.panel("tasks")
            await one.press("t")
            assert one.app.current_theme.dark is False
            assert one.panel("tasks") == before


class TestActions:
    @pytest.mark.parametrize(
        ("state", "key", "call"),
        [("running", "p", "pause"), ("paused", "r", "resume"), ("queued", "p", "pause")],
    )
    async def test_a_key_is_done_to_the_chosen_task(self, state: str, key: str, call: str) -> None:
        async with desk(Live(overview(tasks=(task("t-1", "Do it", state),)))) as one:
            await one.press(key)
            await one.until(lambda: one.said == ["It is done."])
            assert one.actions.calls == [(call, "t-1")]

    async def test_what_can_not_be_done_is_not_done(self) -> None:
        async with desk(Live(overview(tasks=(task("t-1", "Do it", "done"),)))) as one:
            await one.press("p", "r", "c", "a", "s")
            assert (one.actions.calls, one.dialog) == ([], "")

    async def test_a_plan_is_shown_before_a_yes(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("a")
            await one.opened("t-91c0 asks")
            assert "Is that how it should go?" in one.dialog
            assert "imports  Mend the imports (after rename)" in one.dialog
            await one.press("y")
            await one.until(lambda: "It is done." in one.said)
            assert one.actions.calls[-1] == ("approve", "t-91c0", "q1", "d1", "")

    async def test_pressing_the_same_key_again_agrees_to_nothing(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("a", "a", "a", "enter", "space")
            await one.opened("t-91c0 asks")
            await one.press("a", "a", "enter", "escape")
            await one.until(lambda: not one.dialog)
            assert all(call[0] == "show" for call in one.actions.calls)

    async def test_a_plan_is_rejected_with_a_reason_only(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("a")
            await one.opened("asks")
            await one.press("n", "enter")
            assert one.dialog
            await one.press(*"only stdlib", "enter")
            await one.until(lambda: "It is done." in one.said)
            assert one.actions.calls[-1] == ("reject", "t-91c0", "q1", "d1", "only stdlib")

    async def test_a_question_is_answered_in_words(self) -> None:
        async with desk(Live(busy())) as one:
            progress = ProgressView(state="approval", question="Which port?")
            one.actions.shown = waiting(plan="", digest="", action="AskUser").model_copy(
                update={"progress": progress}
            )
            await one.press("a")
            await one.opened("Which port?")
            await one.press("enter", *"8080y", "enter")
            await one.until(lambda: "It is done." in one.said)
            assert one.actions.calls[-1] == ("approve", "t-91c0", "q1", "", "8080y")

    async def test_a_permission_is_a_yes_or_a_no_with_what_would_be_done(self) -> None:
        async with desk(Live(busy())) as one:
            progress = ProgressView(state="approval", question="May it write /etc/hosts?")
            shown = waiting(
                plan="", digest="", detail="127.0.0.1  [bold]x[/]\n", action="WriteFile"
            )
            one.actions.shown = shown.model_copy(update={"progress": progress})
            await one.press("a")
            await one.opened("May it write")
            assert "127.0.0.1  [bold]x[/]" in one.dialog
            assert isinstance(one.app.screen, ApprovalDialog)
            assert one.app.screen.query_one(Input).display is False
            await one.press("n", "enter")
            await one.until(lambda: "It is done." in one.said)
            assert one.actions.calls[-1] == ("reject", "t-91c0", "q1", "", "")

    async def test_a_question_that_was_answered_elsewhere_is_not_put(self) -> None:
        async with desk(Live(busy())) as one:
            one.actions.shown = running()
            await one.press("a")
            await one.until(lambda: one.said == ["It asks nothing any more: running."])
            assert one.dialog == ""

    async def test_cancelling_is_asked_about_first(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("c")
            await one.opened("Cancel t-91c0?")
            await one.press("escape")
            await one.until(lambda: not one.dialog)
            assert one.actions.calls == []
            await one.press("c")
            await one.opened("Cancel t-91c0?")
            await one.press("y")
            await one.until(lambda: one.actions.calls == [("cancel", "t-91c0")])

    async def test_restoring_says_what_is_saved_first_and_pauses_what_runs(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("down", "3")
            await one.until(lambda: "while api is worked on" in one.panel("checkpoints"))
            await one.press("down", "enter")
            await one.opened("Restore checkpoint 3?")
            words = " ".join(one.dialog.split())
            assert "those of checkpoint 3 (after part auth)." in words
            assert "What they are now is saved as a checkpoint first" in words
            assert "It is paused first" in words
            await one.press("y")
            await one.until(lambda: ("restore", "t-7f3a", 3, True) in one.actions.calls)

    async def test_checkpoints_of_another_task_are_not_offered(self) -> None:
        async with desk(Live(overview(tasks=(running(),))), size=(200, 50)) as one:
            await one.until(lambda: "while api is worked on" in one.panel("checkpoints"))
            slow = threading.Event()
            one.actions.hold = slow
            new = task("t-new", "Something new", "running", progress=ProgressView(state="running"))
            one.source.tell(Live(overview(tasks=(new, running()))))
            await one.until(lambda: one.app.state.task == new)
            assert "while api" not in one.panel("checkpoints")
            slow.set()
            await one.until(lambda: "while api is worked on" in one.panel("checkpoints"))

    async def test_a_plan_that_was_changed_is_kept_where_it_is_not_taken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with desk(Live(overview(tasks=(waiting(),)))) as one:
            monkeypatch.setattr(one.app, "suspend", nullcontext)
            one.actions.edited = "subtasks: mine"
            await one.press("a")
            await one.opened("asks")
            one.actions.refuses = TaskError("It asks something else by now.")
            await one.press("e")
            await one.until(lambda: len(one.said) > 1)
        kept = next(said for said in one.said if said.startswith("What you wrote is in "))
        assert _read(kept.split()[-1].rstrip(".")) == "subtasks: mine"

    async def test_a_server_is_restarted_from_its_row(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("5", "down", "enter")
            await one.opened("Restart model-ux?")
            await one.press("y")
            await one.until(lambda: ("restart", "model-ux") in one.actions.calls)
            await one.until(lambda: "It is done." in one.said)

    async def test_an_error_is_shown_with_what_to_do(self) -> None:
        async with desk(Live(busy())) as one:
            one.actions.fails = TaskError("It is [red]locked.", hint="Wait a moment.")
            await one.press("p")
            await one.until(lambda: one.said == ["It is [red]locked.\nWait a moment."])
            assert one.toasts[0].severity == "error"


class TestTroubles:
    async def test_where_no_daemon_runs_it_can_be_started(self) -> None:
        async with desk(Stopped()) as one:
            assert "tale is not running. Press s to start it." in one.header
            assert "Start tale" in one.offered
            await one.press("s")
            await one.until(lambda: ("start",) in one.actions.calls)
            await one.until(lambda: "starting" in one.header)
            one.source.tell(Live(overview()))
            await one.until(lambda: "All 7 servers" in one.header)

    async def test_a_start_that_fails_says_why_and_can_be_tried_again(self) -> None:
        async with desk(Stopped()) as one:
            one.actions.fails = TaskError("The port is taken.")
            await one.press("s")
            await one.until(lambda: one.said == ["The port is taken."])
            assert "Press s to start it" in one.header

    async def test_while_the_gateway_is_away_the_rest_stays_and_it_comes_back(self) -> None:
        async with desk(Live(busy()), size=(160, 50)) as one:
            away = tuple(server(s.name, state="backoff", restarts=2) for s in servers())
            one.source.tell(Away("", away))
            await one.until(lambda: "The gateway doesn't answer" in one.header)
            assert "Rename cart" in one.panel("tasks")
            assert "backoff" in one.panel("servers")
            assert not one.offered & {"Answer", "Pause"}
            one.source.tell(Live(failing()))
            await one.until(lambda: "crash-looping" in one.header)
            assert "Answer" in one.offered

    async def test_what_was_shown_of_a_daemon_that_is_gone_is_gone(self) -> None:
        async with desk(Live(busy()), Stopped(), size=(160, 50)) as one:
            assert "Rename cart" not in one.panel("tasks")
            assert one.panel("servers").startswith("tale is not running")

    async def test_markup_and_escapes_are_shown_as_they_are(self) -> None:
        name = "[bold red]x[/] [@click=app.quit]y[/] \x1b]0;title\x07"
        async with desk(Live(overview(tasks=(task("t-1", name, "running"),)))) as one:
            assert "[bold red]x[/] [@click=app.quit]y[/] ]0;title" in one.panel("tasks")
            await one.press("c")
            await one.opened("Cancel t-1?")
            assert "[bold red]x[/]" in one.dialog

    async def test_the_log_goes_on_and_stays_where_it_was_scrolled_to(self) -> None:
        async with desk(Live(busy())) as one:
            await one.press("7")
            lines = one.app.screen.query_one("#log-lines", TableLines)
            one.log.entries += tuple(Entry("gateway", f"later {n}") for n in range(50))
            await one.until(lambda: "later 49" in one.panel("log"))
            await one.until(lambda: lines.is_vertical_scroll_end)
            await one.press("home")
            one.log.entries += (Entry("gateway", "the last"),)
            await one.until(lambda: "the last" in one.panel("log"))
            assert lines.scroll_offset.y == 0

    async def test_a_source_that_breaks_is_no_screen_that_stands_still(self) -> None:
        class Broken(Script):
            def updates(self, stop: threading.Event) -> Iterator[Update]:
                yield Stopped()
                raise RuntimeError("a defect")

        app = Dashboard(Broken(), Recorded(), Written(), now=lambda: NOW)
        with pytest.raises(RuntimeError, match="a defect"):
            await _run_to_its_end(app)

    async def test_it_ends_while_a_call_is_under_way(self) -> None:
        begun, never = threading.Event(), threading.Event()

        class Slow(Recorded):
            def pause(self, task: str) -> str:
                begun.set()
                never.wait(60)
                return super().pause(task)

        app = Dashboard(Script(Live(busy())), Slow(), Written(), now=lambda: NOW)
        with anyio.fail_after(20):
            async with app.run_test() as pilot:
                while app.state.task is None:
                    await pilot.pause(0.01)
                await pilot.press("p")
                while not begun.is_set():
                    await pilot.pause(0.01)
        assert not never.is_set()
        never.set()
