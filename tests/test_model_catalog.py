"""The catalogue: names, files, and a user's own file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tale.errors import ModelFileDamaged, UnknownModel
from tale.models.catalog import (
    CATALOG,
    EMBEDDED_PAIR,
    CatalogModel,
    action_form,
    find_model,
    resolve_file,
)


@pytest.mark.parametrize("model", CATALOG.values(), ids=lambda model: model.name)
def test_every_entry_is_complete(model: CatalogModel) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.file.endswith(".gguf")
    assert model.size > 90_000_000
    assert model.licence == "Apache-2.0"
    assert model.wheels or model.hub_repo
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in model.wheels)
    assert len(set(model.wheels)) == len(model.wheels)


def test_the_embedded_pair_is_in_the_catalogue_and_ux_is_the_smaller() -> None:
    ux, task = find_model(EMBEDDED_PAIR["ux"]), find_model(EMBEDDED_PAIR["task"])
    assert (ux.size, task.size) == (491_400_064, 1_117_320_768)
    assert (len(ux.wheels), len(task.wheels)) == (6, 22)


def test_a_name_is_found_in_any_case() -> None:
    assert find_model(" Qwen2.5-Coder-0.5B ").name == "qwen2.5-coder-0.5b"


def test_an_unknown_name_is_answered_with_a_close_one_and_all_that_are_known() -> None:
    with pytest.raises(UnknownModel) as caught:
        find_model("qwen2.5-coder-0.5")
    assert "Did you mean qwen2.5-coder-0.5b?" in caught.value.message
    assert all(name in caught.value.message for name in CATALOG)


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UnknownModel) as caught:
        find_model("zzz")
    assert "Did you mean" not in caught.value.message


def test_a_catalogue_name_resolves_into_the_models_folder(tmp_path: Path) -> None:
    found = resolve_file("SMOLLM2-135M", tmp_path)
    assert found.name == "smollm2-135m"
    assert found.path == tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert found.model is CATALOG["smollm2-135m"]


def test_a_file_of_the_users_own_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "my-model.gguf"
    own.touch()
    found = resolve_file(str(own), tmp_path / "elsewhere")
    assert (found.name, found.path, found.model) == ("my-model", own, None)


def test_a_path_to_nothing_is_an_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"no model file .*gone\.gguf"):
        resolve_file(str(tmp_path / "gone.gguf"), tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.touch()
    with pytest.raises(ModelFileDamaged, match=r"not a \.gguf file"):
        resolve_file(str(other), tmp_path)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "fences") for name in EMBEDDED_PAIR.values()),
        ("qwen2.5-coder:1.5b", "fences"),
        ("qwen2.5-coder:7b", "json"),
        ("Qwen2.5-Coder-14B-Instruct-Q4_K_M", "json"),
        ("llama3.2:3b-instruct", "fences"),
        ("llama-3.1-8b", "json"),
        ("gpt-oss", "fences"),
        ("a4b-500m", "fences"),
    ],
)
def test_small_models_act_by_fences_and_large_ones_by_json(name: str, form: str) -> None:
    assert action_form(name) == form
