"""Saved prompt caches: restored into exactly what they were saved from, and never harmful."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from tale.models.llama_slots import SavedSlots, cache_stem

pytestmark = pytest.mark.anyio


@dataclass
class _Slots:
    """llama.cpp's slots in memory: their content is what their files hold."""

    folder: Path
    content: dict[int, str] = field(default_factory=dict[int, str])
    busy: set[int] = field(default_factory=set[int])
    broken: bool = False

    async def save(self, slot: int, name: str) -> int:
        if slot in self.busy:
            await anyio.sleep_forever()
        if self.broken:
            raise OSError("no slot folder")
        text = self.content.get(slot, "")
        await anyio.Path(self.folder / name).write_text(text)
        return len(text)

    async def restore(self, slot: int, name: str) -> int:
        if self.broken:
            raise OSError("invalid slot save file")
        self.content[slot] = await anyio.Path(self.folder / name).read_text()
        return len(self.content[slot])


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_what_was_saved_is_restored_slot_by_slot(tmp_path: Path) -> None:
    saved = SavedSlots(tmp_path, "m", slots=3)
    await saved.save(_Slots(tmp_path, {0: "first", 2: "third"}))
    assert _names(tmp_path) == ["m-0.bin", "m-2.bin"]
    started = _Slots(tmp_path)
    await saved.restore(started)
    assert started.content == {0: "first", 2: "third"}
    assert _names(tmp_path) == ["m-0.bin", "m-2.bin"]


async def test_what_is_computed_first_is_saved_without_waiting_for_the_end(tmp_path: Path) -> None:
    slots = _Slots(tmp_path)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(SavedSlots(tmp_path, "m", slots=1).save_first, slots, 0.001)
            await anyio.wait_all_tasks_blocked()
            slots.content[0] = "a system prompt"
    assert (tmp_path / "m-0.bin").read_text() == "a system prompt"


async def test_what_was_saved_already_is_not_saved_again(tmp_path: Path) -> None:
    saved = SavedSlots(tmp_path, "m", slots=1)
    await saved.save(_Slots(tmp_path, {0: "a long conversation"}))
    with anyio.fail_after(10):
        await saved.save_first(_Slots(tmp_path, {0: "a pulse"}), 0.001)
    assert (tmp_path / "m-0.bin").read_text() == "a long conversation"


async def test_the_folder_is_made_and_nothing_is_restored_at_first(tmp_path: Path) -> None:
    started = _Slots(tmp_path / "new")
    await SavedSlots(tmp_path / "new", "m", slots=1).restore(started)
    assert started.content == {}


async def test_a_cache_that_is_refused_is_dropped(tmp_path: Path) -> None:
    saved = SavedSlots(tmp_path, "m", slots=1)
    await saved.save(_Slots(tmp_path, {0: "first"}))
    await saved.restore(_Slots(tmp_path, broken=True))
    assert _names(tmp_path) == []


async def test_a_cache_that_crashed_the_process_is_not_tried_twice(tmp_path: Path) -> None:
    (tmp_path / "m-0.bin.trial").write_text("poison")
    started = _Slots(tmp_path)
    await SavedSlots(tmp_path, "m", slots=1).restore(started)
    assert started.content == {}
    assert _names(tmp_path) == []


async def test_caches_of_another_model_or_context_are_swept_away(tmp_path: Path) -> None:
    await SavedSlots(tmp_path, "old", slots=2).save(_Slots(tmp_path, {0: "a", 1: "b"}))
    (tmp_path / "README").touch()
    started = _Slots(tmp_path)
    await SavedSlots(tmp_path, "new", slots=2).restore(started)
    assert started.content == {}
    assert _names(tmp_path) == ["README"]


async def test_a_busy_slot_does_not_keep_the_others_from_being_saved(tmp_path: Path) -> None:
    slots = _Slots(tmp_path, {0: "busy", 1: "idle"}, busy={0})
    with anyio.move_on_after(0.5) as bound:
        await SavedSlots(tmp_path, "m", slots=2).save(slots)
    assert bound.cancelled_caught
    assert _names(tmp_path) == ["m-1.bin"]


async def test_slots_that_cannot_be_saved_are_only_logged(tmp_path: Path) -> None:
    await SavedSlots(tmp_path, "m", slots=2).save(_Slots(tmp_path, {0: "a"}, broken=True))
    assert _names(tmp_path) == []


async def test_a_new_save_replaces_the_old_one_in_one_step(tmp_path: Path) -> None:
    saved = SavedSlots(tmp_path, "m", slots=1)
    await saved.save(_Slots(tmp_path, {0: "old"}))
    await saved.save(_Slots(tmp_path, {0: "new"}))
    assert (tmp_path / "m-0.bin").read_text() == "new"


def test_a_cache_is_named_after_everything_it_depends_on(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    one.write_bytes(b"a" * 200_000)
    other.write_bytes(b"a" * 199_999 + b"b")
    stems = {
        cache_stem("qwen:7b", one, "1", 8192, 2),
        cache_stem("qwen:7b", other, "1", 8192, 2),
        cache_stem("qwen:7b", one, "2", 8192, 2),
        cache_stem("qwen:7b", one, "1", 4096, 2),
        cache_stem("qwen:7b", one, "1", 8192, 1),
        cache_stem("phi", one, "1", 8192, 2),
    }
    assert len(stems) == 6
    assert all("/" not in stem and ":" not in stem for stem in stems)


def test_an_alias_with_slashes_stays_inside_the_folder(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    assert cache_stem("../../etc/x", model, "1", 1, 1).startswith("_.._etc_x-")
