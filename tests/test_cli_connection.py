"""Finding the daemon and its servers, again and again if need be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, Gone, model, server
from tale.cli.connection import Connection
from tale.cli.spinner import Waiting
from tale.cli.transport import Broken
from tale.errors import DaemonUnreachable


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path).running() as fake:
        yield fake


def _breaking(times: int) -> Any:
    left = [times]

    def tool(arguments: dict[str, Any], say: Any) -> dict[str, Any]:
        if left[0]:
            left[0] -= 1
            raise Gone
        return {"ok": True}

    return tool


def test_an_idempotent_call_is_repeated_where_its_answer_was_lost(daemon: FakeDaemon) -> None:
    daemon.tools["show"] = _breaking(2)
    reply = Connection(daemon.paths).call("gateway", "show", {}, idempotent=True)
    assert reply.flag("ok")
    assert len(daemon.calls) == 3


def test_one_that_is_not_is_sent_once(daemon: FakeDaemon) -> None:
    daemon.tools["chat"] = _breaking(1)
    with pytest.raises(Broken):
        Connection(daemon.paths).call("ux", "chat", {})
    assert len(daemon.calls) == 1


def test_it_ends_after_a_few_attempts(daemon: FakeDaemon) -> None:
    daemon.tools["show"] = _breaking(100)
    with pytest.raises(Broken):
        Connection(daemon.paths).call("gateway", "show", {}, idempotent=True)
    assert len(daemon.calls) == 3


def test_a_server_that_is_not_there_yet_is_looked_up_again(daemon: FakeDaemon) -> None:
    real = daemon.url
    daemon.url = "http://127.0.0.1:9"
    answer = daemon.control

    def control(request: dict[str, Any]) -> dict[str, Any]:
        reply = answer(request)
        daemon.url = real
        return reply

    daemon.control = control  # type: ignore[method-assign]
    assert Connection(daemon.paths).call("gateway", "cancel", {"id": "t1"}).text("id") == "t1"
    assert [c["service"] for c in daemon.controls] == ["gateway", "gateway"]


def test_no_daemon_is_unreachable_with_the_way_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as caught:
        Connection(FakeDaemon(tmp_path).paths).runtime()
    assert "tale serve --detach" in caught.value.hint


class TestWaitingFor:
    def look(self, daemon: FakeDaemon) -> Waiting | None:
        return Connection(daemon.paths).waiting_for()

    def test_nothing_where_all_is_ready(self, daemon: FakeDaemon) -> None:
        assert self.look(daemon) is None

    def test_servers_that_start(self, daemon: FakeDaemon) -> None:
        daemon.servers = [server("models", state="starting"), server("gateway", state="waiting")]
        assert self.look(daemon) == Waiting("starting models, gateway")

    def test_a_model_that_loads(self, daemon: FakeDaemon) -> None:
        daemon.pool["models"][1] = model("task", state="loading", detail="downloading 40%")
        daemon.servers.append(server("model-task", state="starting"))
        assert self.look(daemon) == Waiting("downloading tiny-task", 0.4)

    def test_servers_of_its_own_that_are_late(self, daemon: FakeDaemon) -> None:
        daemon.servers += [server("execution-1", state="backoff"), server("model-x", state="x")]
        assert self.look(daemon) == Waiting("starting execution-1")

    def test_nothing_where_nobody_answers(self, daemon: FakeDaemon, tmp_path: Path) -> None:
        daemon.pool = {}
        daemon.control = lambda request: {"error": {"code": "error", "message": "no"}}  # type: ignore[method-assign]
        assert self.look(daemon) is None
        assert Connection(FakeDaemon(tmp_path / "else").paths).waiting_for() is None
