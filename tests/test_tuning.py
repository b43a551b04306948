"""Threads and niceness from cores and role."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.models.backend import Role
from tale.models.machine import Cores
from tale.models.tuning import Tuning, tune


def test_on_two_cores_both_models_take_both_and_only_the_task_model_yields() -> None:
    two = Cores(physical=2, available=2)
    assert tune("ux", two) == Tuning(threads=2, batch_threads=2, nice=0)
    assert tune("task", two) == Tuning(threads=2, batch_threads=2, nice=10)


def test_an_optional_model_yields_to_both() -> None:
    assert tune(None, Cores(physical=2, available=2)).nice == 10


def test_hardware_threads_of_a_core_count_once() -> None:
    assert tune("ux", Cores(physical=4, available=8)).threads == 4


def test_an_affinity_narrower_than_the_machine_counts() -> None:
    assert tune("ux", Cores(physical=16, available=3)) == Tuning(3, 3, 0)


def test_many_cores_compute_prompts_but_few_decode() -> None:
    many = tune("task", Cores(physical=32, available=64))
    assert (many.threads, many.batch_threads) == (8, 32)


@given(
    role=st.sampled_from([None, "ux", "task"]),
    physical=st.integers(1, 512),
    available=st.integers(1, 512),
)
def test_no_process_gets_more_threads_than_it_may_use(
    role: Role | None, physical: int, available: int
) -> None:
    tuned = tune(role, Cores(physical, available))
    assert 1 <= tuned.threads <= tuned.batch_threads <= available


def _group(root: Path, line: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    _, controllers, path = line.split(":", 2)
    folder = root / "sys/fs/cgroup" / controllers / path.lstrip("/")
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return root


@pytest.mark.parametrize("quota", ["100000 100000", "50000 100000"])
def test_a_processor_quota_limits_the_cores(tmp_path: Path, quota: str) -> None:
    assert Cores.read(_group(tmp_path, "0::/", cpu__max=quota)).available == 1


def test_the_older_form_of_a_quota_counts_too(tmp_path: Path) -> None:
    root = _group(tmp_path, "4:cpu:/box", cpu__cfs_quota_us="90000", cpu__cfs_period_us="100000")
    assert Cores.read(root).available == 1


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert Cores.read(_group(tmp_path, "0::/", cpu__max="max 100000")) == Cores.read(
        tmp_path / "nothing"
    )
