"""Whether models fit, and what is said when they don't."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.errors import InsufficientMemory
from tale.models.catalog import CATALOG
from tale.models.gguf import GgufInfo
from tale.models.machine import MachineMemory, waited_for_a_core
from tale.models.memory_plan import MIB, ModelNeed, plan, shortfall


def _need(name: str, context: int = 8192, slots: int = 1) -> ModelNeed:
    model = CATALOG[name]
    return ModelNeed(name, model.size, model.shape, context, slots)


def _machine(mib: int) -> MachineMemory:
    return MachineMemory(total=2 * mib * MIB, available=mib * MIB)


_PAIR = (_need("qwen2.5-coder-0.5b", slots=2), _need("qwen2.5-coder-1.5b"))

# Resident MiB of the real process once it had answered a long prompt.
_MEASURED = [
    ("smollm2-135m", 2048, 1, 218),
    ("qwen2.5-coder-0.5b", 4096, 1, 681),
    ("qwen2.5-coder-0.5b", 8192, 2, 840),
    ("qwen2.5-coder-1.5b", 8192, 1, 2068),
]


@pytest.mark.parametrize(("name", "context", "slots", "measured"), _MEASURED)
def test_the_estimate_is_above_what_was_measured_but_not_far(
    name: str, context: int, slots: int, measured: int
) -> None:
    assert measured < _need(name, context, slots).total / MIB < measured + 72


def test_the_kv_cache_is_two_bytes_for_each_key_and_value_of_each_layer() -> None:
    need = _need("qwen2.5-coder-0.5b", context=1000, slots=3)
    assert need.kv_cache == 2 * 24 * 2 * 64 * 2 * 1000 * 3


def test_a_need_takes_its_dimensions_from_the_file() -> None:
    model = CATALOG["smollm2-135m"]
    info = GgufInfo("llama", model.shape, 576, 9, True, model.size)
    assert ModelNeed.of("smollm2-135m", info, context=8192, slots=1) == _need("smollm2-135m")


def test_a_pair_that_fits_is_planned_in_order_with_full_prompt_caches() -> None:
    made = plan(_PAIR, _machine(16_000), reserve=512 * MIB)
    assert [item.need for item in made.models] == list(_PAIR)
    assert {item.prompt_cache for item in made.models} == {512 * MIB}
    assert made.needed == sum(need.total for need in _PAIR)


def test_prompt_caches_shrink_before_a_model_is_refused() -> None:
    tight = -(-sum(need.total for need in _PAIR) // MIB)
    assert {item.prompt_cache for item in plan(_PAIR, _machine(tight)).models} == {0}
    some = plan(_PAIR, _machine(tight + 800)).models[0].prompt_cache
    assert 64 * MIB <= some < 512 * MIB


def test_too_little_memory_is_refused_with_all_figures_and_the_pairs_that_fit() -> None:
    with pytest.raises(InsufficientMemory) as caught:
        plan(_PAIR, _machine(2000), reserve=100 * MIB)
    message = caught.value.message
    assert "2,000 of 4,000 MiB are available, of which 100 are kept free" in message
    assert "qwen2.5-coder-1.5b: weights 1,066 + KV cache 224 (8,192 tokens x 1)" in message
    assert "These pairs (ux + task) would fit:" in message
    assert "smollm2-135m + qwen2.5-coder-0.5b" in message
    assert "models.ux" in caught.value.hint


def test_a_pair_of_the_same_models_with_a_smaller_context_is_offered() -> None:
    large = (_need("qwen2.5-coder-0.5b", 32_768), _need("qwen2.5-coder-1.5b", 32_768))
    with pytest.raises(InsufficientMemory) as caught:
        plan(large, _machine(3000))
    assert "qwen2.5-coder-0.5b + qwen2.5-coder-1.5b, context 8,192 and 8,192" in str(caught.value)


def test_a_machine_too_small_for_anything_is_told_so_without_offers() -> None:
    with pytest.raises(InsufficientMemory) as caught:
        plan(_PAIR, _machine(100))
    assert "would fit" not in caught.value.message
    assert "smollm2-135m" in caught.value.hint


def test_a_single_model_is_refused_without_pairs() -> None:
    with pytest.raises(InsufficientMemory) as caught:
        plan([_need("qwen2.5-coder-1.5b")], _machine(500))
    assert "would fit" not in caught.value.message


def test_both_roles_on_one_file_map_its_weights_once() -> None:
    one = _need("qwen2.5-coder-1.5b")
    assert plan([one, one], _machine(16_000)).needed == 2 * one.total - one.weights


def test_an_optional_model_fits_only_with_the_reserve() -> None:
    need = _need("smollm2-135m", 2048)
    room = MachineMemory(total=1 << 40, available=need.total + 512 * MIB)
    assert shortfall(need, room, 512 * MIB) == 0
    assert shortfall(need, room, 512 * MIB + 7) == 7


@given(available=st.integers(0, 8_000), reserve=st.integers(0, 2_000))
def test_a_plan_never_takes_more_than_there_is_and_offers_never_do(
    available: int, reserve: int
) -> None:
    machine = _machine(available)
    try:
        made = plan(_PAIR, machine, reserve * MIB)
    except InsufficientMemory as refused:
        offers = [line for line in refused.message.splitlines() if ", context " in line]
        for offer in offers:
            size = int(offer.rsplit(":", 1)[1].split()[0].replace(",", ""))
            assert size <= max(0, available - reserve)
    else:
        caches = sum(item.prompt_cache for item in made.models)
        assert made.needed + caches <= machine.available - reserve * MIB


def _group(root: Path, line: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    _, controllers, path = line.split(":", 2)
    folder = root / "sys/fs/cgroup" / controllers / path.lstrip("/")
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return root


def test_the_machines_memory_is_read_without_swap(tmp_path: Path) -> None:
    read = MachineMemory.read(tmp_path)
    assert read.total == psutil.virtual_memory().total
    assert 0 < read.available < read.total


def test_a_control_groups_limit_counts_less_what_can_be_reclaimed(tmp_path: Path) -> None:
    files = {
        "memory.max": str(500 * MIB),
        "memory.current": str(300 * MIB),
        "memory.stat": f"anon 5\ninactive_file {100 * MIB}",
    }
    read = MachineMemory.read(_group(tmp_path, "0::/user/box", files))
    assert read == MachineMemory(total=500 * MIB, available=300 * MIB)


def test_the_limit_of_an_outer_group_counts_too(tmp_path: Path) -> None:
    root = _group(tmp_path, "0::/outer/inner", {"memory.max": "max", "memory.current": "1"})
    outer = root / "sys/fs/cgroup/outer"
    (outer / "memory.max").write_text(str(64 * MIB))
    (outer / "memory.current").write_text(str(80 * MIB))
    assert MachineMemory.read(root) == MachineMemory(total=64 * MIB, available=0)


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    files = {
        "memory.limit_in_bytes": str(400 * MIB),
        "memory.usage_in_bytes": str(100 * MIB),
        "memory.stat": "total_inactive_file 0",
    }
    read = MachineMemory.read(_group(tmp_path, "7:memory:/box", files))
    assert read == MachineMemory(total=400 * MIB, available=300 * MIB)


def test_a_process_waited_as_long_for_a_core_as_its_thread_that_waited_longest(
    tmp_path: Path,
) -> None:
    for thread, waited in ((7, "3000000000"), (8, "4500000000"), (9, "")):
        folder = tmp_path / f"proc/7/task/{thread}"
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(f"12 {waited} 5\n" if waited else "")
    assert waited_for_a_core(7, tmp_path) == 4.5
    assert waited_for_a_core(8, tmp_path) == 0
