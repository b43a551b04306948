"""What a server shows of itself, and the trace that its requests are in."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tale import trace
from tale.servers.guard import Guard
from tale.servers.observed import Observed
from tale.telemetry import configure_logging, get_logger
from tale.wire.metrics import InstanceView, WireMetrics

pytestmark = pytest.mark.anyio

TOKEN = "token-of-the-test"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def where(request: Request) -> Response:
    get_logger("test").info("request.seen")
    return PlainTextResponse(trace.outgoing())


@asynccontextmanager
async def visiting(metrics: WireMetrics, token: str = TOKEN) -> AsyncGenerator[httpx2.AsyncClient]:
    door = Guard(Observed(Starlette(routes=[Route("/where", where)]), metrics), TOKEN)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=door),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


def busy() -> WireMetrics:
    metrics = WireMetrics()
    edge = metrics.made.edge("gateway", "show")
    for error in ("", "", 'odd "code"'):
        edge.began()
        edge.ended(0.0, 0.25, error)
    metrics.served.edge("ux", "chat").began()
    metrics.watch(lambda: [InstanceView("gateway", "gateway-1", "open", 3)])
    return metrics


async def test_prometheus_can_read_what_is_counted_and_what_the_process_takes() -> None:
    async with visiting(busy()) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }
    assert samples["tale_wire_calls_total", "gateway", "made", "show"] == 3
    assert samples["tale_wire_errors_total", 'odd "code"', "gateway", "made", "show"] == 1
    assert samples["tale_wire_in_flight", "ux", "served", "chat"] == 1
    assert samples["tale_wire_call_seconds_sum", "gateway", "made", "show"] == 0.75
    assert ("tale_wire_call_seconds", "0.95", "gateway", "made", "show") in samples
    assert samples["tale_wire_instance_state", "gateway-1", "gateway", "open"] == 1
    assert samples["process_resident_memory_bytes",] > 1 << 20


async def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    async with visiting(busy()) as client:
        answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_the_command_line_gets_the_same_as_json() -> None:
    async with visiting(busy()) as client:
        report = (await client.get("/wire")).json()
    assert report["made"][0]["errors"] == {'odd "code"': 1}
    assert report["served"][0]["in_flight"] == 1
    assert report["instances"][0]["breaker"] == "open"


async def test_none_of_it_is_shown_without_the_token() -> None:
    async with visiting(busy(), token="wrong") as client:
        assert [(await client.get(path)).status_code for path in ("/metrics", "/wire")] == [401] * 2


async def test_a_request_goes_on_in_its_callers_trace_and_its_log_lines_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = logging.getLogger().handlers[:]
    configure_logging()
    try:
        async with visiting(WireMetrics()) as client:
            answer = await client.get("/where", headers={"traceparent": TRACEPARENT})
    finally:
        logging.getLogger().handlers[:] = handlers
    assert "0af7651916cd43dd8448eb211c80319c" in answer.text
    assert answer.text != TRACEPARENT
    assert "request.seen trace=0af7651916cd43dd8448eb211c80319c" in capsys.readouterr().err


async def test_a_request_without_a_trace_begins_one() -> None:
    async with visiting(WireMetrics()) as client:
        first, second = [(await client.get("/where")).text for _ in range(2)]
    assert first[:35] != second[:35]
