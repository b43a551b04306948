"""The gateway's web side over HTTP: who may come in, what may be done, and the streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from aiohttp import ClientResponse, ClientSession

from tale.servers.log_end import log_end
from tale.tasks.leave import Asked
from web_world import PLAN, TOKEN, World, served

pytestmark = pytest.mark.anyio

BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}


class Browser:
    """Asks, and reads JSON."""

    def __init__(self, world: World, session: ClientSession) -> None:
        self.world = world
        self.session = session

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> tuple[int, Any]:
        async with self.session.request(
            method, self.world.url + path, headers=headers, json=body, allow_redirects=False
        ) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> ClientResponse:
        reply = await self.session.get(
            self.world.url + path, headers=headers, allow_redirects=False
        )
        await reply.read()
        return reply


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncGenerator[Browser]:
    with anyio.fail_after(60):
        async with served(tmp_path) as (world, _), ClientSession() as session:
            yield Browser(world, session)


async def test_the_page_is_given_to_anybody_with_headers_that_bind_it(browser: Browser) -> None:
    page = await browser.get("/")
    assert (page.status, page.content_type) == (200, "text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    text = await page.text()
    assert "<script>" not in text
    assert "style=" not in text


async def test_files_of_the_page_are_sent_again_only_where_they_changed(browser: Browser) -> None:
    first = await browser.get("/web/main.js")
    assert first.content_type == "text/javascript"
    again = await browser.get("/web/main.js", {"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    for name in ("..%2fgateway.py", "nothing.js", "__init__.py"):
        assert (await browser.get(f"/web/{name}")).status == 404
    assert (await browser.get("/favicon.ico")).content_type == "image/svg+xml"


async def test_a_link_logs_a_browser_in_once(browser: Browser) -> None:
    status, made = await browser.ask("POST", "/api/login-keys", BEARER)
    assert status == 201
    for ahead in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}):
        assert (await browser.get(made["path"], ahead)).status == 425
    async with browser.session.head(browser.world.url + made["path"]) as only_head:
        assert only_head.status == 425
    first = await browser.get(made["path"])
    assert first.status == 303
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert first.headers["Cache-Control"] == "no-store"
    location = first.headers["Location"]
    assert location.startswith("/#seal=")
    headers = {"Cookie": cookie.partition(";")[0], "X-Tale-Seal": location.partition("=")[2]}
    assert (await browser.ask("GET", "/api/overview", headers))[0] == 200
    assert (await browser.get(made["path"])).status == 403


async def test_a_session_makes_no_further_links(browser: Browser) -> None:
    status, _ = await browser.ask("POST", "/api/login-keys", browser.world.session())
    assert status == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Cookie": ""}, 401),
        ({"X-Tale-Seal": "wrong"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://example.org"}, 403),
        ({"Host": "example.org"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_nothing_is_done_for_another_page_or_without_a_session(
    browser: Browser, change: dict[str, str], status: int
) -> None:
    world = browser.world
    identity = await world.task("Write a program")
    headers = world.session() | change
    assert (await browser.ask("POST", f"/api/tasks/{identity}/cancel", headers))[0] == status
    assert (await browser.ask("GET", "/api/overview", headers))[0] == status
    assert (await world.store.get(identity)).state == "running"


async def test_tasks_are_paused_resumed_and_cancelled(browser: Browser) -> None:
    identity = await browser.world.task("Write a program")
    states: list[str] = []
    for action in ("pause", "resume", "cancel"):
        path = f"/api/tasks/{identity}/{action}"
        _, view = await browser.ask("POST", path, browser.world.session(), {})
        states.append(view["state"])
    assert states == ["paused", "queued", "cancelled"]


async def test_a_plan_is_approved_only_as_it_was_seen(browser: Browser) -> None:
    world = browser.world
    identity = await world.task("Build an application")
    await world.ask(identity, Asked("q1", "May it follow this plan?", "plan", PLAN, "d1"))
    path = f"/api/tasks/{identity}/approve"
    changed = {"digest": "d0", "asked": "q1", "text": ""}
    status, refused = await browser.ask("POST", path, world.session(), changed)
    assert status == 400
    assert refused["error"]["message"]
    seen = {"digest": "d1", "asked": "q1", "text": "Mind the tests."}
    assert (await browser.ask("POST", path, world.session(), seen))[0] == 200
    _, told = await browser.ask("GET", f"/api/tasks/{identity}/events?after=2", world.session())
    assert [event["kind"] for event in told["events"]] == ["approval", "approved"]
    assert told["events"][-1]["data"]["text"] == "Mind the tests."


async def test_a_checkpoint_is_listed_and_restored(browser: Browser) -> None:
    identity = await browser.world.task("Write a program")
    path = f"/api/tasks/{identity}"
    _, kept = await browser.ask("GET", f"{path}/checkpoints", browser.world.session())
    assert [one["number"] for one in kept["checkpoints"]] == [1, 2]
    body = {"number": 2}
    status, done = await browser.ask("POST", f"{path}/restore", browser.world.session(), body)
    assert (status, done["saved"], browser.world.restored) == (200, 3, [2])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/api/tasks/T/explode", {}, 404, "explode"),
        ("POST", "/api/tasks/T/show", {}, 404, "show"),
        ("POST", "/api/tasks/T/restore", {"number": "x"}, 400, "number"),
        ("POST", "/api/tasks/T/approve", {"verdict": 1}, 400, "verdict"),
        ("POST", "/api/tasks/T/pause", [1], 400, "object"),
        ("GET", "/api/tasks/t-none", None, 404, "t-none"),
        ("GET", "/api/tasks/t-none/events", None, 404, "t-none"),
        ("GET", "/api/tasks/T/events?after=-1", None, 400, "after"),
        ("POST", "/api/servers/nobody/restart", {}, 404, "nobody"),
        ("GET", "/api/logs/..%2f..%2ftoken", None, 404, ""),
        ("GET", "/api/logs/token", None, 404, "no log"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_words(
    browser: Browser, *, method: str, path: str, body: object, status: int, words: str
) -> None:
    identity = await browser.world.task("Write a program")
    path = path.replace("/T", f"/{identity}")
    found, answer = await browser.ask(method, path, browser.world.session(), body)
    assert found == status
    assert words in str(answer)


async def test_a_body_of_another_kind_is_refused(browser: Browser) -> None:
    """A form of another page may be sent by a browser without leave; JSON may not."""
    identity = await browser.world.task("Write a program")
    headers = browser.world.session() | {"Content-Type": "text/plain"}
    async with browser.session.post(
        f"{browser.world.url}/api/tasks/{identity}/cancel", data=b"{}", headers=headers
    ) as reply:
        assert reply.status == 400


async def test_a_body_that_grows_too_large_unannounced_is_refused(browser: Browser) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield b" " * 65_536

    headers = browser.world.session() | {"Content-Type": "application/json"}
    url = f"{browser.world.url}/api/tasks/t-1/cancel"
    async with browser.session.post(url, data=pieces(), headers=headers) as reply:
        assert reply.status == 413
        assert "larger than 1 MiB" in await reply.text()


async def test_a_server_is_restarted(browser: Browser) -> None:
    status, done = await browser.ask("POST", "/api/servers/ux/restart", browser.world.session())
    assert (status, done) == (202, {"server": "ux"})
    await anyio.wait_all_tasks_blocked()
    assert browser.world.sources.restarted == ["ux"]


async def test_one_tasks_events_are_streamed_as_before(browser: Browser) -> None:
    assert await browser.ask("GET", "/api/events?task=t-1", BEARER) == (200, "the events of t-1")


async def read_event(reply: ClientResponse) -> dict[str, str]:
    fields: dict[str, str] = {}
    while True:
        line = (await reply.content.readline()).decode().rstrip("\n")
        if not line and fields:
            return fields
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value


async def test_a_stream_goes_on_after_the_last_event_that_was_had(browser: Browser) -> None:
    world = browser.world
    identity = await world.task("Write a program")
    url = f"{world.url}/api/events"
    async with browser.session.get(url, headers=world.session()) as reply:
        assert reply.content_type == "text/event-stream"
        first = await read_event(reply)
    assert first["event"] == "overview"
    await world.note(identity, "note", text="while nobody was there")
    headers = world.session() | {"Last-Event-ID": first["id"]}
    async with browser.session.get(url, headers=headers) as reply:
        while (event := await read_event(reply))["event"] == "changed":
            continue
    assert event["event"] == "task"
    assert json.loads(event["data"])["data"]["text"] == "while nobody was there"


async def test_a_log_is_read_from_its_end_and_then_what_is_added(browser: Browser) -> None:
    file = browser.world.home / "logs" / "ux.log"
    file.write_text("one\ntwo\nthr")
    _, first = await browser.ask("GET", "/api/logs/ux", browser.world.session())
    assert first["lines"] == ["one", "two"]
    with file.open("a") as stream:
        stream.write("ee\n")
    path = f"/api/logs/ux?after={first['next']}"
    _, then = await browser.ask("GET", path, browser.world.session())
    assert (then["lines"], then["cut"]) == (["three"], False)


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("".join(f"line {n}\n" for n in range(20_000)))
    found = log_end(file)
    assert found.cut
    assert len(found.lines) <= 300
    assert found.lines[-1] == "line 19999"
    file.write_text("anew\n")
    assert log_end(file, found.place).lines == ("anew",)
    assert log_end(tmp_path / "none.log").lines == ()
