"""The page of metrics, from what a server answers at `/metrics`.

Above: `pages`. Below: `tale.servers.exposition`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Never, Self, cast

import anyio

from documentation.markdown import code, table
from tale.servers.exposition import expose
from tale.servers.model_figures import ModelFigures
from tale.servers.task_figures import TaskFigures
from tale.wire.figures import Figure
from tale.wire.metrics import InstanceView, WireMetrics

__all__ = ["Family", "all_families", "metrics_page"]

_INTRODUCTION = """\
# Metrics

Every figure that a server gives at `/metrics`, in the form that Prometheus reads.

`tale_model_…` are the models server's, `tale_task…` the gateway's; the others are every server's.
Each server has its own page: the gateway at `http://127.0.0.1:7433/metrics`, the models server at
`http://127.0.0.1:7434/metrics`, the others at the addresses that `tale status --json` has, all with
the token as bearer. [Monitoring](../guides/monitoring.md) says how they are collected. `side` is
`made` for calls to other servers and `served` for calls from them.
"""
_HEAD = re.compile(r"^# (HELP|TYPE) (\S+) (.*)$", re.MULTILINE)
_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="')
_SUFFIX = re.compile(r"_(total|sum|count|info|bucket)$")


@dataclass(frozen=True, slots=True)
class Family:
    """One figure: its name in a query, what kind it is, what it says, by what it is told apart."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]


def all_families() -> Iterator[Family]:
    """Give every family, in the order in which a server gives them."""
    text = expose(_with_one_of_everything(), (), "text/plain")[0].decode()
    facts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for what, name, said in _HEAD.findall(text):
        facts[name][what] = said
    labels: defaultdict[str, list[str]] = defaultdict(list)
    for name, inside in _SAMPLE.findall(text):
        labels[_SUFFIX.sub("", name)] += _LABEL.findall(inside)
    for name, said in facts.items():
        found = dict.fromkeys(labels[_SUFFIX.sub("", name)])
        yield Family(name, said["TYPE"], said["HELP"], tuple(found))
    for figure in anyio.run(_further):
        ending = "_total" if figure.kind == "counter" else ""
        yield Family(f"{figure.name}{ending}", figure.kind, figure.help, figure.labels)


class _Nothing:
    """Stands for a pool without models and for a database without tasks."""

    models: tuple[Never, ...] = ()
    available_bytes = 0

    async def status(self) -> Self:
        return self

    async def read(self, work: object) -> dict[str, int]:
        del work
        return {}


async def _further() -> list[Figure]:
    nothing = cast("Any", _Nothing())
    return [*await TaskFigures(nothing).figures(), *await ModelFigures(nothing).figures()]


def _with_one_of_everything() -> WireMetrics:
    metrics = WireMetrics()
    for recorder in (metrics.made, metrics.served):
        edge = recorder.edge("gateway", "show")
        edge.began()
        edge.ended(1.0, 0.1, "busy")
    metrics.watch(lambda: [InstanceView("execution", "execution-1", "closed", 0)])
    return metrics


def metrics_page() -> str:
    """Write the page."""
    rows = [
        (code(each.name), each.kind, ", ".join(map(code, each.labels)), each.about)
        for each in all_families()
    ]
    return "\n".join([_INTRODUCTION, *table(("Metric", "Kind", "Labels", "What it says"), rows)])
