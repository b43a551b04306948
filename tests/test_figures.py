"""Figures for Prometheus: what is counted, and that what ships for Grafana reads what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tale.config import Settings
from tale.models.backend import Backend, ChatRequest, Message, Role, Usage
from tale.models.entry import Entry
from tale.models.further import PlainMemory
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_pool import ModelPool
from tale.models.order import Order
from tale.models.pool_policy import Policy
from tale.paths import Paths
from tale.servers.exposition import expose
from tale.servers.model_figures import ModelFigures
from tale.servers.task_figures import TaskFigures
from tale.storage.database import Database
from tale.tasks.task import TaskEvent
from tale.wire.figures import Figure, Histogram, Tally
from tale.wire.metrics import InstanceView, WireMetrics

DEPLOY = Path(__file__).parents[1] / "deploy"
CALM = Policy(pulse_seconds=3600, check_seconds=3600)
Samples = dict[tuple[str, ...], float]


class Kept:
    """A ledger that only remembers."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def note(self, entry: Entry) -> None:
        self.entries.append(entry)


def entry(error: str = "") -> Entry:
    return Entry(
        id="c-1",
        at=0,
        session=None,
        own=False,
        model="small",
        role="ux",
        kind="talk",
        band="easy",
        usage=Usage(prompt=100, completion=20, cached=90),
        said="hi",
        prompt_bytes=10,
        first_token=None if error else 0.05,
        seconds=1.5,
        finish=None if error else "stop",
        error=error,
    )


def read(text: bytes) -> Samples:
    """Read the exposition by a parser that isn't ours: name and labels, sorted, to values."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def shown(figures: Iterable[Figure]) -> Samples:
    return read(expose(WireMetrics(), tuple(figures), "")[0])


def two_models() -> ModelPool:
    models: dict[Role, Backend] = {"ux": InMemoryBackend("small"), "task": InMemoryBackend("large")}
    return ModelPool(models, policy=CALM, memory=PlainMemory(lambda: 1 << 30))


def busy_wire() -> WireMetrics:
    metrics = WireMetrics()
    for recorder in (metrics.made, metrics.served):
        edge = recorder.edge("gateway", "show")
        edge.began()
        edge.ended(0.0, 0.25, "")
        edge.began()
        edge.ended(0.0, 0.25, "busy")
    metrics.watch(lambda: [InstanceView("gateway", "gateway-1", "open", 3)])
    return metrics


def event(kind: str) -> TaskEvent:
    return TaskEvent("t-1", 1, datetime.now(UTC), kind)


@pytest.mark.anyio
async def test_requests_are_counted_by_model_and_handed_on() -> None:
    ledger = Kept()
    pool = two_models()
    async with pool:
        await pool.ensure_ready("ux")
        figures = ModelFigures(pool, ledger)
        figures.note(entry())
        figures.note(entry("backend_failed"))
        samples = shown(await figures.figures())
    assert [one.error for one in ledger.entries] == ["", "backend_failed"]
    assert samples["tale_model_requests_total", "talk", "small", "stop", "ux"] == 1
    assert samples["tale_model_requests_total", "talk", "small", "backend_failed", "ux"] == 1
    assert samples["tale_model_tokens_total", "small", "ux", "cached"] == 180
    assert samples["tale_model_tokens_total", "small", "ux", "computed"] == 20
    assert samples["tale_model_first_token_seconds_bucket", "0.06", "small", "ux"] == 1
    assert samples["tale_model_first_token_seconds_bucket", "0.04", "small", "ux"] == 0
    assert samples["tale_model_request_seconds_sum", "small", "ux"] == 1.5
    assert samples["tale_model_ready", "small", "ux"] == 1
    assert samples["tale_memory_available_bytes",] == 1 << 30


@pytest.mark.anyio
async def test_tasks_are_counted_by_state_and_by_what_happens(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    async with Database.open(paths, Settings()) as database:
        figures = TaskFigures(database)
        for kind in ("queued", "token", "done", "done"):
            figures.take(event(kind))
        samples = shown(await figures.figures())
    assert samples["tale_task_events_total", "done"] == 2
    assert ("tale_task_events_total", "token") not in samples
    assert samples["tale_tasks", "waiting"] == 0


@given(st.lists(st.floats(0, 100)))
def test_a_histograms_buckets_grow_to_the_count_of_all(values: list[float]) -> None:
    histogram = Histogram("seconds", "How long.", (1, 10), "model")
    for value in values:
        histogram.add(value, "m")
    for sample in histogram.figure().samples:
        counts = [count for _, count in sample.buckets]
        assert all(before <= after for before, after in pairwise(counts))
        assert counts[0] == sum(value <= 1 for value in values)
        assert counts[-1] == len(values)
        assert sample.value == pytest.approx(sum(values))


def test_what_was_never_counted_has_a_name_and_no_value() -> None:
    text = expose(WireMetrics(), [Tally("tale_x", "Things.", "kind").figure()], "")[0].decode()
    assert "# TYPE tale_x_total counter" in text
    assert "\ntale_x_total" not in text


# -- what ships for Prometheus and Grafana ---------------------------------------------------------


async def every_name(home: Path) -> set[str]:
    """Give the name of every series that some server of tale's shows."""
    paths = Paths.from_environment({"TALE_HOME": str(home)})
    pool = two_models()
    async with pool, Database.open(paths, Settings()) as database:
        await pool.ensure_ready("ux")
        await pool.complete(Order("ux"), ChatRequest((Message("user", "one " * 20),)))
        models, tasks = ModelFigures(pool), TaskFigures(database)
        models.note(entry())
        tasks.take(event("done"))
        further = [*await models.figures(), *await tasks.figures()]
    return {name for name, *_ in read(expose(busy_wire(), further, "")[0])} | {"up"}


def expressions() -> list[str]:
    """Give every expression of the dashboard and of the rules."""
    board: dict[str, Any] = json.loads((DEPLOY / "grafana/tale.json").read_text())
    rules: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/tale.rules.yml").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return found + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:tale_\w+|process_\w+|up(?=\{))", bare))


@pytest.mark.anyio
async def test_dashboard_and_alerts_read_only_what_servers_show(tmp_path: Path) -> None:
    shown = await every_name(tmp_path)
    read = {name for expression in expressions() for name in names_in(expression)}
    assert len(read) > 20
    assert read - shown == set()


def test_each_panel_has_its_own_place_and_number() -> None:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana/tale.json").read_text())
    panels: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
