"""What the models server keeps of each request, seen over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel
import orjson
import pytest
from aiohttp import ClientSession
from pydantic import JsonValue, TypeAdapter

from tale.models.assess import assess
from tale.models.entry import Row
from tale.models.ledger import Ledger
from tale.models.ledger_file import LedgerFile
from tale.models.trend import Trend
from test_openai_api import Served, chat_body, get, post, serving

pytestmark = pytest.mark.anyio

JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
CHAT = "/v1/chat/completions"
TEXT = "one two three"


class Kept:
    """A served ledger."""

    def __init__(self, served: Served, ledger: Ledger, path: Path) -> None:
        self.served = served
        self._ledger = ledger
        self._path = path

    async def rows(self) -> tuple[Row, ...]:
        await self._ledger.flush()
        with closing(LedgerFile.open(self._path)) as file:
            return file.newest(100)

    async def chat(self, headers: Mapping[str, str] | None = None, **fields: object) -> str:
        """Ask; gives the id under which the request is kept."""
        _, found, _ = await post(self.served, CHAT, chat_body(**fields), headers)
        return found.get("x-tale-request", "")


@asynccontextmanager
async def keeping(path: Path) -> AsyncGenerator[Kept]:
    async with Ledger(path) as ledger, serving(ledger=ledger) as served:
        yield Kept(served, ledger, path)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncGenerator[Kept]:
    async with keeping(tmp_path / "ledger.db") as kept:
        yield kept


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_kept_with_its_tokens_and_its_id(kept: Kept, stream: bool) -> None:
    request_id = await kept.chat(stream=stream)
    (row,) = await kept.rows()
    assert row.id == request_id
    asked = assess(TEXT)
    assert (row.model, row.role, row.kind, row.band) == ("small", "ux", asked.kind, asked.band)
    assert (row.prompt, row.completion, row.said) == (3, 3, 3)
    assert (row.finish, row.error, row.ok, row.fell_back) == ("stop", "", None, False)
    assert (row.session, row.own) == (None, False)
    assert (row.first_token is not None) == stream
    assert row.seconds > 0


async def test_the_id_is_the_completions(kept: Kept) -> None:
    _, headers, body = await post(kept.served, CHAT, chat_body())
    assert JSON.validate_json(body)["id"] == headers["x-tale-request"]


async def test_callers_say_session_kind_and_that_they_ask_for_tale_itself(kept: Kept) -> None:
    await kept.chat({"x-tale-session": "s-1", "x-tale-kind": "summarise", "x-tale-own": "1"})
    await kept.chat({"x-tale-session": "", "x-tale-kind": "nonsense", "x-tale-own": "yes"})
    first, second = await kept.rows()
    assert (first.session, first.kind, first.own) == ("s-1", "summarise", True)
    assert (second.session, second.kind, second.own) == (None, assess(TEXT).kind, False)


async def test_only_what_came_after_the_last_answer_is_new(kept: Kept) -> None:
    messages = [
        {"role": "system", "content": "a b c d"},
        {"role": "user", "content": "one two"},
        {"role": "assistant", "content": "three four"},
        {"role": "user", "content": "five six"},
    ]
    await kept.chat(messages=messages)
    (row,) = await kept.rows()
    assert row.prompt == 10
    assert row.said == round(10 * len("five six") / len("a b c done twothree fourfive six"))


async def test_a_system_prompt_is_not_new(kept: Kept) -> None:
    messages = [
        {"role": "system", "content": "a b c d"},
        {"role": "user", "content": "five six"},
    ]
    await kept.chat(messages=messages)
    (row,) = await kept.rows()
    assert row.said == round(6 * len("five six") / len("a b c dfive six"))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_kept_with_its_code(kept: Kept, stream: bool) -> None:
    for backend in (kept.served.ux, kept.served.task):
        backend.inject("fail")
    request_id = await kept.chat(stream=stream)
    (row,) = await kept.rows()
    assert (row.id, row.model, row.role) == (request_id, "small", "ux")
    assert (row.error, row.ok, row.finish) == ("backend_failed", False, None)
    assert (row.prompt, row.completion) == (0, 0)


async def test_an_answer_that_breaks_off_is_kept_with_what_it_gave(kept: Kept) -> None:
    kept.served.ux.inject("break", 1)
    await kept.chat(stream=True)
    (row,) = await kept.rows()
    assert (row.error, row.ok, row.finish, row.completion) == ("backend_failed", False, None, 1)
    assert row.prompt == row.estimated > 0


async def test_an_answer_by_another_model_is_kept_as_that_ones(kept: Kept) -> None:
    kept.served.ux.inject("fail", 1)
    await kept.chat()
    failed, answered = await kept.rows()
    assert (answered.model, answered.role, answered.fell_back) == ("large", "task", True)
    assert (failed.model, failed.role, failed.ok, failed.own) == ("small", "ux", False, True)


async def test_a_caller_that_leaves_is_kept_and_is_nobodys_fault(kept: Kept) -> None:
    kept.served.ux.inject("stall")
    async with ClientSession() as session:
        reply = await session.post(kept.served.url + CHAT, data=chat_body(stream=True))
        await reply.content.readany()
        reply.close()
    with anyio.fail_after(20):
        while not (rows := await kept.rows()):
            await anyio.lowlevel.checkpoint()
    assert (rows[0].error, rows[0].ok, rows[0].completion) == ("client_gone", None, 1)


async def test_what_no_model_was_asked_is_not_kept(kept: Kept) -> None:
    await post(kept.served, CHAT, b"nonsense")
    await kept.chat(model="nobody")
    assert await kept.rows() == ()


async def test_usage_is_reported(kept: Kept) -> None:
    await kept.chat({"x-tale-session": "s"})
    await kept.chat({"x-tale-session": "s"}, model="task")
    status, body = await get(kept.served, "/pool/usage")
    found = orjson.loads(body)
    assert status == 200
    assert found["since"] is None
    assert found["total"]["requests"] == 2
    assert {line["model"] for line in found["lines"]} == {"small", "large"}
    # What was said first and its answer, three words each, are sent again with the second.
    assert found["naive"] == {"prompt": 3 + 9, "completion": 6, "computed": 12}
    assert found["large_computed"] == 6
    _, body = await get(kept.served, "/pool/usage?since=99999999999")
    assert orjson.loads(body)["total"]["requests"] == 0


@pytest.mark.parametrize("since", ["soon", "-1", "inf", "nan"])
async def test_since_must_be_a_time(kept: Kept, since: str) -> None:
    status, body = await get(kept.served, f"/pool/usage?since={since}")
    assert status == 400
    assert orjson.loads(body)["error"]["param"] == "since"


async def test_a_late_word_marks_the_request(kept: Kept) -> None:
    request_id = await kept.chat()
    status, _, _ = await post(
        kept.served, "/pool/outcome", orjson.dumps({"id": request_id, "ok": False})
    )
    assert status == 200
    (row,) = await kept.rows()
    assert row.ok is False
    for word in ({"id": "nobody", "ok": True}, {"id": request_id, "ok": False}):
        status, _, _ = await post(kept.served, "/pool/outcome", orjson.dumps(word))
        assert status == 200
    assert await kept.rows() == (row,)


@pytest.mark.parametrize(
    ("body", "param"), [(b'{"ok": true}', "id"), (b'{"id": "x", "ok": 1}', "ok"), (b"[]", "id")]
)
async def test_a_word_must_say_whose_and_what(kept: Kept, body: bytes, param: str) -> None:
    status, _, answer = await post(kept.served, "/pool/outcome", body)
    assert status == 400
    assert orjson.loads(answer)["error"]["param"] == param


async def test_a_ledger_that_can_not_be_written_fails_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with keeping(tmp_path / "file" / "ledger.db") as kept:
        status, _, _ = await post(kept.served, CHAT, chat_body())
        assert status == 200
        _, body = await get(kept.served, "/pool/usage")
        assert orjson.loads(body)["total"]["requests"] == 1


async def test_a_chart_gets_what_ended_lately_and_only_what_it_does_not_know(kept: Kept) -> None:
    for _ in range(3):
        await kept.chat(stream=True)
    _, body = await get(kept.served, "/pool/trend")
    found = TypeAdapter(Trend).validate_json(body)
    assert [one.number for one in found.ended] == [1, 2, 3]
    assert all(one.ttft_ms is not None and one.at > 0 for one in found.ended)
    assert [(hour.requests, hour.naive > 0) for hour in found.hours] == [(3, True)]
    _, body = await get(kept.served, "/pool/trend?after=2")
    assert [one.number for one in TypeAdapter(Trend).validate_json(body).ended] == [3]
    status, _ = await get(kept.served, "/pool/trend?after=x")
    assert status == 400
