"""Which servers may stand beside each other, and what is told where they can't be started."""

from __future__ import annotations

import itertools
import signal
from typing import Any

import pytest

from tale.config import Settings
from tale.errors import ConfigError
from tale.orchestration.foreign import with_port
from tale.orchestration.order import check_order
from tale.orchestration.own_servers import default_specs
from tale.orchestration.specs import Dependency, ServerSpec


def spec(name: str, *depends_on: str, service: str = "") -> ServerSpec:
    return ServerSpec(name, service or name, ("true",), tuple(map(Dependency, depends_on)))


def settings(**servers: Any) -> Settings:
    return Settings.model_validate({"servers": servers})


def test_servers_may_depend_on_servers_and_on_services() -> None:
    check_order(
        [
            spec("a-1", service="a"),
            spec("a-2", "a-1", service="a"),
            spec("b", "a"),
            spec("c", "a-2", "b"),
        ]
    )


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([spec("a"), spec("b"), spec("a")], "Two servers are called 'a'"),
        ([spec("a", "b"), spec("b", "c"), spec("c", "a")], "wait for each other"),
        ([spec("a", "a")], "a → a wait for each other"),
        ([spec("a", "x")], r"servers\.a\.depends_on names 'x'"),
    ],
)
def test_servers_that_cannot_be_started_are_named(specs: list[ServerSpec], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_order(specs)


def test_a_cycle_is_told_in_the_order_in_which_they_wait() -> None:
    with pytest.raises(ConfigError) as caught:
        check_order([spec("a", "b"), spec("b", "c"), spec("c", "a")])
    cycle = caught.value.message.split("The servers ")[1].split(" wait")[0].split(" → ")
    waits = {"a": "b", "b": "c", "c": "a"}
    assert all(waits[one] == other for one, other in itertools.pairwise(cycle))


def test_a_users_server_becomes_as_many_processes_as_it_has_replicas() -> None:
    search = {
        "command": ["search", "--port", "{port}"],
        "replicas": 2,
        "depends_on": ["gateway"],
        "environment": {"MODE": "fast"},
        "health": "/live",
        "stop_signal": "SIGINT",
        "grace_seconds": 1,
        "max_memory_mb": 100,
    }
    found = [s for s in default_specs(settings(search=search)) if s.service == "search"]
    assert [s.name for s in found] == ["search-1", "search-2"]
    one = found[0]
    assert one.depends_on == (Dependency("gateway", "ready"),)
    assert one.probe is not None
    assert (one.probe.path, one.stop_signal) == ("/live", signal.SIGINT)
    assert (one.policy.grace, one.max_rss, one.leash) == (1, 100 << 20, False)
    assert with_port(one, 8123) == ("search", "--port", "8123")


@pytest.mark.parametrize("name", ["gateway", "ux", "execution", "execution-1", "fork-server"])
def test_a_users_server_cannot_take_the_name_of_one_of_tales(name: str) -> None:
    with pytest.raises(ConfigError, match=f"servers.{name}"):
        default_specs(settings(**{name: {"command": ["true"]}}))


def test_users_servers_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="wait for each other"):
        default_specs(
            settings(
                a={"command": ["true"], "depends_on": ["b"]},
                b={"command": ["true"], "depends_on": ["a"]},
            )
        )


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"log_level": "DEBUG"}, {"models", "gateway", "execution-1", "ux"}),
        ({"gateway": {"port": 1}}, {"gateway"}),
        ({"models": {"pulse_seconds": 9}}, {"models", "gateway", "ux"}),
        ({"models": {"ux": {"api_key": "new"}}}, {"models", "gateway", "ux"}),
        ({"model_server": {"port": 2}}, {"models"}),
        ({"routing": {"pin": {"code": "task"}}}, {"models"}),
        ({"execution": {"replicas": 2}}, {"gateway"}),
        ({}, set[str]()),
    ],
)
def test_a_setting_concerns_those_who_read_it(change: dict[str, Any], changed: set[str]) -> None:
    before = {s.name: s for s in default_specs(Settings())}
    after = {s.name: s for s in default_specs(Settings.model_validate(change))}
    assert {name for name in before if before[name] != after[name]} == changed


def test_another_key_of_a_remote_concerns_the_models_server() -> None:
    def spec(key: str) -> object:
        remote = {"url": "http://far/v1", "name": "m", "api_key": key}
        return default_specs(Settings.model_validate({"routing": {"remotes": {"far": remote}}}))[0]

    assert spec("old") != spec("new")
