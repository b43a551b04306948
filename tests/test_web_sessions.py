"""Who may use the page in the browser: one-time keys, sessions, and the judge at the door."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tale.servers.web_door import COOKIE, SEAL_HEADER, WebDoor, session_cookie
from tale.servers.web_sessions import OneTimeKeys, Session, Sessions

TOKEN = "secret"
HOST = "127.0.0.1:7433"
ORIGIN = f"http://{HOST}"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_good_once() -> None:
    keys = OneTimeKeys(Clock())
    key = keys.make()
    assert not keys.take(key + "x")
    assert keys.take(key)
    assert not keys.take(key)


def test_a_key_is_good_for_a_short_time() -> None:
    clock = Clock()
    keys = OneTimeKeys(clock, seconds=120)
    early, late = keys.make(), keys.make()
    clock.now += 119
    assert keys.take(early)
    clock.now += 1
    assert not keys.take(late)


def test_nothing_is_no_key() -> None:
    keys = OneTimeKeys(Clock())
    keys.make()
    assert not keys.take("")


def test_of_many_keys_the_latest_are_kept() -> None:
    keys = OneTimeKeys(Clock())
    made = [keys.make() for _ in range(20)]
    assert not keys.take(made[0])
    assert keys.take(made[-1])


def test_a_session_holds_until_its_end_and_over_a_restart_of_the_gateway() -> None:
    clock = Clock()
    session = Sessions(TOKEN, clock, seconds=60).begin()
    again = Sessions(TOKEN, clock, seconds=60)
    assert again.is_sealed(session.cookie, session.seal)
    clock.now += 59
    assert again.holds(session.cookie)
    clock.now += 1
    assert not again.is_sealed(session.cookie, session.seal)
    assert not again.holds(session.cookie)


def test_a_session_of_another_token_or_with_another_seal_is_none() -> None:
    clock = Clock()
    ours, other = Sessions(TOKEN, clock), Sessions("replaced", clock)
    session = ours.begin()
    assert not other.is_sealed(session.cookie, session.seal)
    assert not ours.is_sealed(session.cookie, ours.begin().seal)


@given(st.text(), st.text())
def test_no_other_text_is_a_session(cookie: str, seal: str) -> None:
    sessions = Sessions(TOKEN, Clock())
    assert not sessions.holds(cookie)
    assert not sessions.is_sealed(cookie, seal)


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_cookie_that_was_changed_is_none(place: int, sign: str) -> None:
    sessions = Sessions(TOKEN, Clock())
    cookie = sessions.begin().cookie
    place %= len(cookie)
    changed = cookie[:place] + sign + cookie[place + 1 :]
    assert sessions.holds(changed) == (changed == cookie)


class Door:
    """The judge, and what a page with a session sends it."""

    def __init__(self) -> None:
        clock = Clock()
        self.judge = WebDoor(TOKEN, clock)
        self.session: Session = Sessions(TOKEN, clock).begin()

    def code(self, method: str, path: str, **changed: str | None) -> str:
        sent: dict[str, str | None] = {
            "host": HOST,
            "origin": ORIGIN,
            "cookie": f"other=1; {COOKIE}={self.session.cookie}",
            SEAL_HEADER: self.session.seal,
        }
        sent |= {name.replace("_", "-"): value for name, value in changed.items()}
        headers = Headers({name: value for name, value in sent.items() if value is not None})
        scope: dict[str, Any] = {"type": "http", "path": path, "method": method, "scheme": "http"}
        judged = self.judge(scope, headers)
        return judged[1] if judged else ""


STRANGER: dict[str, str | None] = {"cookie": None, "x_tale_seal": None}


@pytest.mark.parametrize("path", ["/", "/login", "/web/main.js", "/favicon.ico"])
def test_the_page_and_the_way_in_are_open(path: str) -> None:
    assert Door().code("GET", path, **STRANGER) == ""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/login"),
        ("GET", "/mcp"),
        ("POST", "/mcp"),
        ("GET", "/metrics"),
        ("GET", "/wire"),
        ("GET", "/webs"),
        ("POST", "/api/login-keys"),
    ],
)
def test_what_is_for_the_token_alone_is_shut_even_for_a_session(method: str, path: str) -> None:
    assert Door().code(method, path) == "unauthorized"


def test_a_session_opens_the_api() -> None:
    door = Door()
    assert door.code("GET", "/api/overview") == ""
    assert door.code("GET", "/api/overview", origin=None) == ""
    assert door.code("POST", "/api/tasks/t-1/cancel", sec_fetch_site="same-origin") == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_session_the_api_is_shut(method: str) -> None:
    door = Door()
    assert door.code(method, "/api/overview", **STRANGER) == "no_session"
    assert door.code(method, "/api/overview", cookie="broken;=;") == "no_session"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("seal", [None, "", "wrong"])
def test_a_cookie_without_its_seal_opens_nothing(method: str, seal: str | None) -> None:
    assert Door().code(method, "/api/overview", x_tale_seal=seal) == "no_seal"


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:3000", "http://localhost:7433", "https://127.0.0.1:7433", "null"]
)
def test_the_page_of_another_program_on_this_machine_may_not_ask(origin: str) -> None:
    door = Door()
    assert door.code("GET", "/api/overview", origin=origin) == "forbidden_origin"
    assert door.code("POST", "/api/tasks/t-1/cancel", origin=origin) == "forbidden_origin"


def test_an_action_needs_its_origin_said() -> None:
    assert Door().code("POST", "/api/tasks/t-1/cancel", origin=None) == "forbidden_origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_a_browser_calls_foreign_is_refused(site: str) -> None:
    assert Door().code("GET", "/api/overview", sec_fetch_site=site) == "forbidden_origin"


def test_a_header_that_holds_no_cookies_has_no_session() -> None:
    assert session_cookie(Headers({"cookie": f"{COOKIE}"})) == ""
    assert session_cookie(Headers({})) == ""
