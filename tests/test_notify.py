"""Who is told of a task's end, how it is signed, and that no crash keeps a notice back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.config import NotifySettings, Settings
from tale.paths import Paths
from tale.storage.database import Database
from tale.tasks.notifier import Desktop, Notifier, Webhook, http_post
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
from tale.tasks.store import NewTask, TaskStore
from tale.tasks.task import StepResult, TaskEvent
from tale.tasks.task_rows import Change

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOTICE = Notice("t-1-4", "done", "t-1", "Task done", "Write it", NOW)


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def notice(identity: str, second: float) -> Notice:
    return Notice(identity, "done", identity, "Task done", "Write it", at(second))


# -- what is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "title", "body"),
    [
        ("done", {"answer": "long"}, "Task done", "Write it"),
        ("failed", {"error": "No room."}, "Task failed", "Write it\nNo room."),
        ("approval", {"text": "Run it?"}, "Task needs you", "Write it\nRun it?"),
    ],
)
def test_a_notice_says_what_happened_to_which_task(
    kind: str, data: dict[str, object], title: str, body: str
) -> None:
    found = notice_of(TaskEvent("t-1", 4, NOW, kind, data), "Write\n it")
    assert found is not None
    assert (found.id, found.title, found.body) == ("t-1-4", title, body)


def test_only_what_is_wanted_is_told() -> None:
    done = TaskEvent("t-1", 4, NOW, "done", {})
    assert notice_of(done, "x", ["failed"]) is None
    assert notice_of(TaskEvent("t-1", 4, NOW, "cancelled", {}), "x") is None
    assert notice_of(TaskEvent("t-1", 4, NOW, "token", {}), "x", ["token"]) is None


def test_a_long_text_is_cut() -> None:
    found = notice_of(TaskEvent("t-1", 4, NOW, "done", {}), "word " * 100)
    assert found is not None
    assert len(found.body) == 120


def test_a_text_is_an_argument_of_the_desktops_program_and_never_a_script() -> None:
    nasty = Notice("i", "failed", "t", "Task failed", '-u low"; do shell script "rm', NOW)
    linux = desktop_command(nasty, "linux", lambda name: f"/usr/bin/{name}")
    assert linux is not None
    assert linux[0] == "/usr/bin/notify-send"
    assert linux[-3:] == ("--", nasty.title, nasty.body)
    mac = desktop_command(nasty, "darwin", lambda name: f"/usr/bin/{name}")
    assert mac is not None
    assert mac[0] == "/usr/bin/osascript"
    assert mac[-2:] == (nasty.title, nasty.body)
    assert all(nasty.body not in part for part in mac[:-1])
    assert desktop_command(nasty, "linux", lambda name: None) is None


# -- the signature ---------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_specifications_example() -> None:
    # From the reference libraries' tests (standard-webhooks/standard-webhooks).
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    example = Notice("msg_p5jXN8AQM9LWM0D4loKWxJek", "done", "t", "", "", NOW)
    headers = webhook_headers(example, b'{"test": 2432232314}', secret, 1614265330)
    assert headers["webhook-id"] == example.id
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_may_be_any_text_and_none_signs_nothing() -> None:
    headers = webhook_headers(NOTICE, b"x", "my secret", 5)
    digest = hmac.new(b"my secret", b"t-1-4.5.x", hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert "webhook-signature" not in webhook_headers(NOTICE, b"x", "", 5)


def test_only_a_2xx_is_taken_and_410_wants_no_more() -> None:
    assert [verdict(status) for status in (200, 204, 302, 404, 500, 0)] == [
        "delivered",
        "delivered",
        "again",
        "again",
        "again",
        "again",
    ]
    assert verdict(410) == "never"


# -- what was told ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 20), max_size=15), st.data())
def test_whatever_is_told_in_whatever_order_nothing_that_waits_is_taken_for_told(
    moments: list[int], data: st.DataObject
) -> None:
    notices = [notice(str(number), moment) for number, moment in enumerate(moments)]
    told, waiting = Told(NOW), {each.id: each for each in notices}
    for each in data.draw(st.permutations(notices)):
        del waiting[each.id]
        told = Told.load(told.add(each, waiting.values()).dump(), at(100))
        assert told.knows(each)
        assert not any(map(told.knows, waiting.values()))


def test_what_was_told_does_not_grow_for_ever() -> None:
    told = Told(NOW)
    for number in range(1000):
        told = told.add(notice(str(number), number))
    assert len(told.ids) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since": 5}', '{"since": "x", "ids": {}}'])
def test_a_file_that_cannot_be_read_begins_now(text: str) -> None:
    assert Told.load(text, NOW) == Told(NOW)


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    assert Told.load(Told(at(9000)).dump(), NOW).since == NOW


# -- a receiver ------------------------------------------------------------------------------------


class Receiver:
    """A real HTTP server that answers as it is told, and keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.enough = threading.Event()
        self.url = ""

    @contextmanager
    def running(self) -> Generator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((headers, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()
                if not receiver.statuses:
                    receiver.enough.set()

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Clock:
    """Time that passes only where something waits."""

    def __init__(self) -> None:
        self.now = 1_769_860_800.0
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
async def test_a_webhook_is_tried_again_with_the_same_id_and_a_signature_of_its_own() -> None:
    clock = Clock()
    with Receiver(500, 302, 200).running() as receiver:
        await Webhook(receiver.url, "secret", http_post, clock=clock, pause=clock.pause)(NOTICE)
    assert len(receiver.got) == 3
    assert clock.pauses == list(PAUSES[:2])
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {"t-1-4"}
    for headers, body in receiver.got:
        signed = f"t-1-4.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(b"secret", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert json.loads(body)["type"] == "task.done"
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 3


@pytest.mark.anyio
async def test_a_webhook_gives_up_in_the_end_and_at_once_where_it_is_not_wanted() -> None:
    clock = Clock()
    refuse = 0

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        nonlocal refuse
        refuse += 1
        return 410 if url.endswith("gone") else 0

    await Webhook("http://x/down", "", post, clock=clock, pause=clock.pause)(NOTICE)
    assert (refuse, clock.pauses) == (len(PAUSES) + 1, list(PAUSES))
    await Webhook("http://x/gone", "", post, clock=clock, pause=clock.pause)(NOTICE)
    assert refuse == len(PAUSES) + 2


@pytest.mark.anyio
async def test_nobody_at_the_other_end_is_no_answer() -> None:
    with Receiver().running() as receiver:
        pass
    assert await http_post(receiver.url, webhook_body(NOTICE), {}) == 0


@pytest.mark.anyio
async def test_a_machine_without_a_desktop_and_a_program_that_fails_do_no_harm() -> None:
    await Desktop(which=lambda name: None)(NOTICE)
    await Desktop(which=lambda name: "/bin/false")(NOTICE)


# -- through a crash -------------------------------------------------------------------------------


class Listening:
    """A channel that keeps what it was told, and may hold it up."""

    def __init__(self, *, held: Collection[str] = ()) -> None:
        self.held = held
        self.told: list[str] = []
        self.changed = anyio.Event()

    async def __call__(self, notice: Notice) -> None:
        self.told.append(notice.body)
        self.changed.set()
        self.changed = anyio.Event()
        if notice.body in self.held:
            await anyio.sleep_forever()


@pytest.mark.anyio
async def test_a_notice_that_a_crash_kept_back_is_told_at_the_next_start_and_others_are_not(
    tmp_path: Path,
) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    now = NOW

    async with Database.open(paths, Settings()) as database:
        store = TaskStore(database, paths.workspaces, now=lambda: now)

        async def end(text: str) -> TaskEvent:
            nonlocal now
            now += timedelta(seconds=1)
            added = await store.add(NewTask(text))
            assert isinstance(added, Change)
            await store.start(added.task.id, "task", "work")
            result = StepResult("Done.", "big", "task")
            return (await store.finish(added.task.id, result)).event

        async def run(channel: Listening, *texts: str, until: int) -> None:
            notifier = Notifier(
                store,
                [channel],
                told=tmp_path / "notified.json",
                wanted=["done"],
                now=lambda: now,
            )
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(notifier.run)
                    await anyio.wait_all_tasks_blocked()
                    for text in texts:
                        notifier.take(await end(text))
                    while len(channel.told) < until:
                        await channel.changed.wait()
                    await anyio.wait_all_tasks_blocked()
                    tasks.cancel_scope.cancel()

        await end("before it was wanted")
        now += timedelta(seconds=1)
        first = Listening(held=["second"])
        await run(first, "first", "second", "third", until=3)
        await end("while it was down")
        again = Listening()
        await run(again, "live", until=3)
    assert sorted(first.told) == ["first", "second", "third"]
    assert sorted(again.told) == ["live", "second", "while it was down"]


# -- settings --------------------------------------------------------------------------------------


def test_nothing_is_told_unless_it_is_asked_for() -> None:
    wanted = NotifySettings()
    assert (wanted.desktop, wanted.bell, wanted.webhook) == (False, False, "")


@pytest.mark.parametrize(
    "given",
    [
        {"webhook": "ftp://example.org"},
        {"webhook": "example.org/hook"},
        {"webhook_secret": "secret"},
        {"on": ["started"]},
    ],
)
def test_settings_that_would_tell_nobody_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        NotifySettings.model_validate(given)
