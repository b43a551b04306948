"""The models server decides by its models, tells why, learns, and shortens what fits nowhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
import pytest

from tale.errors import ContextExceeded
from tale.models.assess import Band
from tale.models.backend import ChatRequest, Message, Usage
from tale.models.client import ModelClient
from tale.models.entry import Entry
from tale.models.ledger import Ledger
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.pool_policy import estimated_tokens
from tale.models.preferences import Preferences
from tale.models.router import RouteRequest
from tale.servers.openai_shapes import parse_chat
from tale.servers.routing import Asked, Routing
from test_openai_api import CALM, Served, post, serving

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


def body(text: str, model: str = "auto", **fields: object) -> bytes:
    messages = [{"role": "user", "content": text}]
    return orjson.dumps({"model": model, "messages": messages, **fields})


@asynccontextmanager
async def routing(
    preferences: Preferences | None = None, *, contexts: tuple[int, int] = (8192, 8192)
) -> AsyncGenerator[Routing]:
    ux = InMemoryBackend("small", context=contexts[0])
    task = InMemoryBackend("large", context=contexts[1])
    pool = ModelPool({"ux": ux, "task": task}, policy=CALM)
    with anyio.fail_after(20):
        async with pool:
            await pool.ensure_ready("ux")
            await pool.ensure_ready("task")
            yield Routing(pool, preferences)


async def test_a_decision_is_told_without_asking_a_model(served: Served) -> None:
    status, _, reply = await post(served, "/pool/route", orjson.dumps({"text": "Write a parser"}))
    decision = orjson.loads(reply)
    assert (status, decision["target"], decision["role"]) == (200, "large", "task")
    assert "asks to write something" in decision["reason"]
    assert decision["chain"] == ["small"]
    assert served.ux.requests == served.task.requests == []


async def test_what_is_no_text_is_refused(served: Served) -> None:
    status, _, reply = await post(served, "/pool/route", b'{"text": 5}')
    assert (status, orjson.loads(reply)["error"]["param"]) == (400, "text")


async def test_the_reason_of_a_decision_comes_with_the_answer(served: Served) -> None:
    _, headers, _ = await post(served, CHAT, body("Write a parser in Python"))
    assert headers["x-tale-role"] == "task"
    assert "asks to write something" in headers["x-tale-reason"]
    _, headers, _ = await post(served, CHAT, body("Write a parser in Python", "ux"))
    assert (headers["x-tale-role"], headers["x-tale-reason"]) == ("ux", "")


async def test_only_what_is_left_to_tale_gets_a_limit_of_tales(served: Served) -> None:
    await post(served, CHAT, body("hello"))
    await post(served, CHAT, body("hello", max_tokens=9))
    await post(served, CHAT, body("hello", "ux"))
    await post(served, CHAT, body("hello", "ux"), {"x-tale-session": "s"})
    limits = [request.max_tokens for request in served.ux.requests]
    assert limits[0] == limits[3]
    assert limits[0] is not None
    assert limits[1:3] == [9, None]


async def test_what_a_user_prefers_decides() -> None:
    preferences = Preferences(pin={"talk": "task"})
    async with routing(preferences) as asked:
        assert asked.decide(RouteRequest("hello")).role == "task"


async def test_outcomes_shift_decisions_also_after_a_restart(tmp_path: Path) -> None:
    question = RouteRequest("What is the capital of France?")
    for learned_already in (False, True):
        async with routing() as asked:
            first = asked.decide(question)
            assert first.role == "ux"
            learning = asked.estimates
            path = tmp_path / "ledger.db"
            async with Ledger(path, learn=learning.learn, judged=learning.judged) as ledger:
                if not learned_already:
                    for number in range(40):
                        ledger.note(wrong_answer(number, first.band))
                await ledger.flush()
            assert asked.decide(question).role == "task"


def wrong_answer(number: int, band: Band) -> Entry:
    return Entry(
        id=f"r{number}",
        at=2e9 + number,
        session=None,
        own=False,
        model="small",
        role="ux",
        kind="question",
        band=band,
        usage=Usage(20, 5),
        said="",
        prompt_bytes=60,
        first_token=0.2,
        seconds=0.4,
        finish="stop",
        ok=False,
    )


async def test_a_long_conversation_loses_its_oldest_turns(served: Served) -> None:
    turns: list[dict[str, str]] = [{"role": "system", "content": "be brief"}]
    for number in range(60):
        turns.append({"role": "user", "content": f"{number} " + "word " * 150})
        turns.append({"role": "assistant", "content": "so be it"})
    turns.append({"role": "user", "content": "What did I say last?"})
    asked = orjson.dumps({"model": "auto", "messages": turns})
    status, headers, _ = await post(served, CHAT, asked)
    assert status == 200
    assert "were left out" in headers["x-tale-reason"]
    sent = (served.ux.requests or served.task.requests)[-1].messages
    assert [sent[0].content, sent[-1].content] == ["be brief", "What did I say last?"]
    assert len(sent) < len(turns)
    assert (await post(served, CHAT, asked.replace(b'"auto"', b'"ux"')))[0] == 400


def counts(bytes_per_token: float) -> Callable[[ChatRequest], str]:
    """Answer as a model does that counts the tokens of its prompt, and refuses too many."""

    def answer(request: ChatRequest) -> str:
        tokens = int(sum(len(turn.content) for turn in request.messages) / bytes_per_token)
        if tokens > 4096:
            raise ContextExceeded(f"The prompt has {tokens} tokens.")
        return "It fits."

    return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "times", "bytes_per_token"), [("some words ", 160, 4.3), ("1234567890", 80, 1.0)]
)
async def test_a_conversation_that_a_model_finds_too_long_loses_its_oldest_turns(
    text: str, times: int, bytes_per_token: float, *, stream: bool
) -> None:
    turns: list[dict[str, str]] = []
    for number in range(10):
        turns.append({"role": "user", "content": f"{number} " + text * times})
        turns.append({"role": "assistant", "content": "so be it"})
    turns.append({"role": "user", "content": "hello there"})
    asked = orjson.dumps({"model": "auto", "messages": turns, "stream": stream})
    async with serving(answer=counts(bytes_per_token)) as served:
        status, headers, reply = await post(served, CHAT, asked)
        assert (status, b"fits" in reply) == (200, True)
        assert "were left out" in headers["x-tale-reason"]
        whole, *_, sent = served.ux.requests + served.task.requests
        assert len(whole.messages) == len(turns)
        assert 1 < len(sent.messages) < len(turns)
        assert sent.messages[-1].content == "hello there"


async def test_tools_take_their_part_of_the_window(served: Served) -> None:
    turns: list[dict[str, str]] = []
    for _ in range(15):
        turns.append({"role": "user", "content": "word " * 150})
        turns.append({"role": "assistant", "content": "so be it"})
    turns.append({"role": "user", "content": "hello there"})
    tool = {"type": "function", "function": {"name": "look", "description": "word " * 2000}}
    asked = {"model": "auto", "messages": turns}
    assert (await post(served, CHAT, orjson.dumps(asked)))[0] == 200
    _, headers, _ = await post(served, CHAT, orjson.dumps({**asked, "tools": [tool]}))
    assert "were left out" in headers["x-tale-reason"]
    sent = [*served.ux.requests, *served.task.requests]
    assert [estimated_tokens(request) <= 4096 for request in sent] == [True, True]


async def test_what_can_not_be_shortened_is_refused_in_the_models_words() -> None:
    async with serving(answer=counts(1.0)) as served:
        status, _, reply = await post(served, CHAT, body("1234567890 " * 500))
        assert (status, b"The prompt has 5500 tokens." in reply) == (400, True)


async def test_a_text_that_fits_no_window_is_summarised_in_parts() -> None:
    paragraph = "The council met and decided to build a bridge for 5,000 euros. " * 8
    text = "Summarise this text:\n\n" + "\n\n".join([paragraph] * 80)
    async with serving(answer=lambda _: "A bridge for 5,000 euros.") as served:
        status, headers, _ = await post(served, CHAT, body(text))
        assert status == 200
        assert "summarised in parts" in headers["x-tale-reason"]
        *parts, last = served.ux.requests
        assert len(parts) >= 2
        assert all(estimated_tokens(part) < 4096 for part in parts)
        assert "A bridge for 5,000 euros." in last.messages[-1].content


async def test_any_other_text_that_fits_no_window_is_refused_with_the_figures(
    served: Served,
) -> None:
    status, _, reply = await post(served, CHAT, body("Translate this to German: " + "word " * 9000))
    assert status == 400
    assert "ux 4,096, task 4,096" in orjson.loads(reply)["error"]["message"]
    assert served.ux.requests == served.task.requests == []


async def test_a_prompts_beginning_is_computed_ahead(served: Served) -> None:
    async with ModelClient(served.url, "") as client:
        beginning = (Message("system", "be kind"), Message("assistant", "I was."))
        assert await client.compute_ahead(beginning, "ux", 5)
    assert served.ux.requests[-1].messages == beginning


async def test_a_request_is_answered_in_spare_time(served: Served) -> None:
    async with ModelClient(served.url, "") as client:
        asked = ChatRequest((Message("user", "hello there"),), max_tokens=9, temperature=0)
        assert await client.in_spare_time(asked, "ux", 5) == "hello there"
        assert await client.in_spare_time(asked, "nobody", 5) is None
        served.ux.inject("fail", times=2)
        assert await client.in_spare_time(asked, "ux", 5) is None
    assert served.ux.requests[1].max_tokens == 9


async def test_tokens_are_counted_by_the_models_own_tokenizer(served: Served) -> None:
    async with ModelClient(served.url, "any") as client:
        counts = await client.count_tokens(["one two three", "four"], "ux", 5)
    assert list(counts) == [3, 1]


async def test_only_a_call_that_says_so_may_be_answered_from_memory() -> None:
    call = parse_chat(body("Summarise this: tea is good"))
    async with routing() as asked:
        _, order, _ = asked.plan(call, Asked(repeatable=True))
        assert order.cacheable
        _, order, _ = asked.plan(call, Asked())
        assert not order.cacheable


async def test_a_model_asked_for_by_name_says_itself_that_a_prompt_is_too_long() -> None:
    async with routing(contexts=(512, 1024)) as asked:
        with pytest.raises(ContextExceeded, match="1,024"):
            asked.decide(RouteRequest("word " * 4000))
