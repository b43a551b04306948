"""Texts are counted by the model's own tokenizer, where an estimate doesn't do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tale.errors import ServiceUnavailable
from tale.memory.talk import estimate_tokens
from tale.memory.token_counts import TokenCounts
from tale.models.caller import ScriptedModels

pytestmark = pytest.mark.anyio

PROSE = "some words that are said often " * 4


class Uncounting(ScriptedModels):
    async def count_tokens(
        self, texts: Sequence[str], target: str, deadline_s: float
    ) -> Sequence[int]:
        raise ServiceUnavailable("nobody is there")


async def test_nothing_is_counted_where_even_the_estimates_fit() -> None:
    models = ScriptedModels()
    count = await TokenCounts(models).of("ux", [PROSE, "hi"], room=1000)
    assert count(PROSE) == estimate_tokens(PROSE)
    assert models.counted == []


async def test_each_text_is_counted_once_for_a_model() -> None:
    models = ScriptedModels()
    counts = TokenCounts(models)
    await counts.of("ux", [PROSE, "hi", "hi"], room=10)
    count = await counts.of("ux", [PROSE, "hi", "new"], room=10)
    assert [count(PROSE), count("hi"), count("new")] == [24, 1, 1]
    assert models.counted == [PROSE, "hi", "new"]
    await counts.of("task", ["hi"], room=0)
    assert models.counted[3:] == ["hi"], "the other model has a tokenizer of its own"


async def test_a_model_that_cannot_count_is_met_with_estimates() -> None:
    count = await TokenCounts(Uncounting()).of("ux", [PROSE], room=1)
    assert count(PROSE) == estimate_tokens(PROSE)
