"""Whether models fit into memory, decided before any of them is loaded.

Pure: files' dimensions and the machine's memory in, a plan or `InsufficientMemory` out. Below are
`gguf` (dimensions) and `machine` (the look at the machine); above, the pool, which loads nothing
that isn't planned for, so that no model ever runs from swap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Final

from tale.errors import InsufficientMemory
from tale.models.catalog import CATALOG
from tale.models.gguf import GgufInfo, ModelShape
from tale.models.machine import MachineMemory

__all__ = ["MIB", "MemoryPlan", "ModelNeed", "PlannedModel", "plan", "shortfall"]

MIB: Final = 1 << 20

# Resident size of a llama.cpp process beyond weights, repacked weights and KV cache, measured over
# 135M, 0.5B and 1.5B models at 2,048 to 32,768 tokens: 30 MiB of process, 20 to 85 MiB of compute
# buffers once long prompts were in, and 430 bytes for each token of the vocabulary. Rounded up.
_PROCESS_OVERHEAD: Final = 128 * MIB
_VOCABULARY_OVERHEAD: Final = 448
_KV_ELEMENT: Final = 2  # f16; quantized caches were slower

# Host memory for prompt prefixes that no slot holds: worth 12 s a prompt where there is room.
_MOST_PROMPT_CACHE: Final = 512 * MIB
_LEAST_PROMPT_CACHE: Final = 64 * MIB

_SMALLER_CONTEXTS: Final = (32_768, 16_384, 8_192, 4_096, 2_048)
_MOST_ALTERNATIVES: Final = 4


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """What one model would take.

    Attributes:
        name: Its name; two needs of the same name share the weights' pages.
        weights: Bytes of its file, which is mapped.
        shape: Its dimensions.
        context: Tokens of one slot.
        slots: Requests generated side by side.
    """

    name: str
    weights: int
    shape: ModelShape
    context: int
    slots: int

    @classmethod
    def of(cls, name: str, info: GgufInfo, *, context: int, slots: int) -> ModelNeed:
        """Take the dimensions from a file's header."""
        return cls(name, info.file_size, info.shape, context, slots)

    @property
    def kv_cache(self) -> int:
        """Bytes of keys and values, allocated and touched at load."""
        row = self.shape.kv_heads * (self.shape.key_length + self.shape.value_length)
        return self.shape.layers * row * _KV_ELEMENT * self.context * self.slots

    @property
    def overhead(self) -> int:
        """Bytes beyond weights and KV cache."""
        vocabulary = self.shape.vocabulary * _VOCABULARY_OVERHEAD
        return self.shape.repacked + vocabulary + _PROCESS_OVERHEAD

    @property
    def total(self) -> int:
        """Bytes resident once it has worked."""
        return self.weights + self.kv_cache + self.overhead


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model that fits, and the bytes of host memory its prompt cache may use."""

    need: ModelNeed
    prompt_cache: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Models that fit together.

    Attributes:
        models: In the order they were asked for.
        needed: Bytes for all of them, without prompt caches.
        available: Bytes the machine had.
        reserve: Bytes left to everything else.
    """

    models: tuple[PlannedModel, ...]
    needed: int
    available: int
    reserve: int


def plan(models: Sequence[ModelNeed], machine: MachineMemory, reserve: int = 0) -> MemoryPlan:
    """Plan for models that are to be resident together.

    Args:
        models: What is to be loaded; nothing of it is in memory yet.
        machine: What the machine has now.
        reserve: Bytes that must stay available.

    Raises:
        InsufficientMemory: They don't fit; has the figures, and what would fit instead.
    """
    needed = _together(models)
    spare = machine.available - reserve - needed
    if spare < 0:
        raise _refusal(models, machine, reserve)
    # Half of what is spare stays with the system; caches fill up only over hours of work.
    share = min(_MOST_PROMPT_CACHE, spare // (2 * max(1, len(models))))
    cache = share if share >= _LEAST_PROMPT_CACHE else 0
    planned = tuple(PlannedModel(model, cache) for model in models)
    return MemoryPlan(planned, needed, machine.available, reserve)


def shortfall(need: ModelNeed, machine: MachineMemory, reserve: int) -> int:
    """Bytes that must be freed before an optional model can load beside what is resident.

    Args:
        need: The optional model.
        machine: What the machine has now, with the resident models in it.
        reserve: Bytes that must stay available afterwards.
    """
    return max(0, need.total + reserve - machine.available)


def _together(models: Sequence[ModelNeed]) -> int:
    """Sum the needs; processes that map the same file share its pages."""
    weights = {model.name: model.weights for model in models}
    return sum(weights.values()) + sum(model.total - model.weights for model in models)


def _refusal(
    models: Sequence[ModelNeed], machine: MachineMemory, reserve: int
) -> InsufficientMemory:
    lines = [
        f"{' and '.join(model.name for model in models)} need {_mib(_together(models))} MiB "
        f"of memory; {_mib(machine.available)} of {_mib(machine.total)} MiB are available"
        + (f", of which {_mib(reserve)} are kept free." if reserve else "."),
        *(
            f"  {model.name}: weights {_mib(model.weights)} + KV cache {_mib(model.kv_cache)} "
            f"({model.context:,} tokens x {model.slots}) + overhead {_mib(model.overhead)} "
            f"= {_mib(model.total)} MiB"
            for model in models
        ),
    ]
    budget = machine.available - reserve
    if len(models) == 2 and (fitting := list(_fitting_pairs(models[0], models[1], budget))):
        lines.append("These pairs (ux + task) would fit:")
        lines += [
            f"  {ux.name} + {task.name}, context {ux.context:,} and {task.context:,}: "
            f"{_mib(_together((ux, task)))} MiB"
            for ux, task in fitting
        ]
        hint = "Set models.ux and models.task (name, context) to one of them, or free memory."
    else:
        smallest = min(CATALOG.values(), key=lambda model: model.size).name
        hint = f"Free memory, lower models.ux.context and models.task.context, or use {smallest}."
    return InsufficientMemory("\n".join(lines), hint=hint)


def _fitting_pairs(
    ux: ModelNeed, task: ModelNeed, budget: int
) -> Iterator[tuple[ModelNeed, ModelNeed]]:
    """Give pairs that fit, the largest models first, each with the largest context that fits."""
    by_name = {model.name: (model.weights, model.shape) for model in (ux, task)} | {
        model.name: (model.size, model.shape) for model in CATALOG.values()
    }
    ordered = sorted(by_name, key=lambda name: by_name[name][0])
    pairs = sorted(
        combinations_with_replacement(ordered, 2),
        key=lambda pair: (by_name[pair[1]][0], by_name[pair[0]][0]),
        reverse=True,
    )
    found = 0
    for small, large in pairs:
        for most in (1 << 30, *_SMALLER_CONTEXTS):
            pair = (
                _swapped(ux, small, by_name[small], most),
                _swapped(task, large, by_name[large], most),
            )
            if _together(pair) <= budget:
                yield pair
                found += 1
                break
        if found == _MOST_ALTERNATIVES:
            return


def _swapped(
    need: ModelNeed, name: str, file: tuple[int, ModelShape], most_context: int
) -> ModelNeed:
    weights, shape = file
    context = min(need.context, most_context, shape.window or need.context)
    return replace(need, name=name, weights=weights, shape=shape, context=context)


def _mib(size: int) -> str:
    return f"{-(-size // MIB):,}"
