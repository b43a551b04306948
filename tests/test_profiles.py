"""Profiles of the settings, where each value comes from, and secrets that are kept elsewhere."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.errors import KeyringError
from typer.testing import CliRunner

from small_disk import mounted
from tale.cli.settings import app
from tale.config_layers import choose_profile, load_settings, read_layers
from tale.config_secrets import find_secret, is_reference
from tale.errors import ConfigError
from tale.paths import Paths

TEXT = """\
log_level = "INFO"

[models.ux]
name = "small"
context = 4096

[profiles.gpu.models.ux]
name = "big"

[profiles.away.models]
backend = "openai"
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in ("TALE_PROFILE", "TALE_CONFIG", "TALE_MODELS__DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALE_HOME", str(tmp_path))
    return Paths.from_environment()


def write(paths: Paths, text: str = TEXT) -> None:
    paths.config_file.write_text(text, encoding="utf-8")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_without_a_choice_no_profile_is_in_force(paths: Paths) -> None:
    write(paths)
    assert load_settings(paths).models.ux.name == "small"


def test_a_profile_is_put_over_the_file_and_the_environment_over_both(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths)
    monkeypatch.setenv("TALE_PROFILE", "gpu")
    ux = load_settings(paths).models.ux
    assert (ux.name, ux.context) == ("big", 4096)
    monkeypatch.setenv("TALE_MODELS__UX__NAME", "other")
    assert load_settings(paths).models.ux.name == "other"


def test_the_file_says_which_profile_unless_the_environment_does(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, 'profile = "gpu"\n' + TEXT)
    assert load_settings(paths).models.ux.name == "big"
    monkeypatch.setenv("TALE_PROFILE", "away")
    assert load_settings(paths).models.backend == "openai"


def test_a_profile_that_is_not_there_is_named_with_those_that_are(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths)
    monkeypatch.setenv("TALE_PROFILE", "gqu")
    with pytest.raises(ConfigError, match="no profile 'gqu'") as caught:
        load_settings(paths)
    assert "gpu, away" in caught.value.hint


def test_a_fault_in_a_profile_is_found_at_its_line(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, TEXT.replace('backend = "openai"', 'bakend = "openai"'))
    assert load_settings(paths).models.ux.name == "small"
    monkeypatch.setenv("TALE_PROFILE", "away")
    with pytest.raises(ConfigError, match=r"line 11: unknown key 'models.bakend'"):
        load_settings(paths)


@pytest.mark.parametrize("text", ["profiles = 3\n", "[profiles]\ngpu = 3\n"])
def test_what_is_no_table_is_no_profile(paths: Paths, text: str) -> None:
    write(paths, text)
    with pytest.raises(ConfigError, match=r"\[profiles.NAME\]"):
        load_settings(paths)


def test_each_value_says_where_it_comes_from(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    write(paths)
    monkeypatch.setenv("TALE_PROFILE", "gpu")
    monkeypatch.setenv("TALE_MODELS__TASK__CONTEXT", "2048")
    lines = run("show").splitlines()
    assert "# The profile gpu is put over it." in lines
    assert 'name = "big"  # profile gpu, line 8; default: ""' in lines
    assert "context = 4096  # tale.toml, line 5; default: 8192" in lines
    assert "context = 2048  # TALE_MODELS__TASK__CONTEXT; default: 8192" in lines
    assert "slots = 2" in lines


def test_what_is_shown_is_valid_toml_for_any_profile(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths)
    monkeypatch.setenv("TALE_PROFILE", "gpu")
    assert tomllib.loads(run("show"))["models"]["ux"]["name"] == "big"


def test_profiles_are_listed_and_one_is_chosen_for_good(paths: Paths) -> None:
    write(paths)
    assert run("profiles") == "  gpu\n  away\n"
    run("use", "away")
    assert run("profiles") == "  gpu\n* away\n"
    assert paths.config_file.read_text() == 'profile = "away"\n' + TEXT
    run("use", "")
    assert paths.config_file.read_text() == TEXT


def test_a_profile_that_cannot_be_used_is_not_chosen(paths: Paths) -> None:
    write(paths)
    result = CliRunner().invoke(app, ["use", "nobody"])
    assert isinstance(result.exception, ConfigError)
    assert paths.config_file.read_text() == TEXT


NAMES = st.text(st.characters(categories=("L", "N")), max_size=8)


@given(first=NAMES, second=NAMES)
def test_choosing_changes_nothing_but_the_choice(
    tmp_path_factory: pytest.TempPathFactory, first: str, second: str
) -> None:
    file = tmp_path_factory.mktemp("home") / "tale.toml"
    file.write_text(TEXT, encoding="utf-8")
    choose_profile(file, first)
    choose_profile(file, second)
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    assert found.pop("profile", "") == second
    assert found == tomllib.loads(TEXT)


def test_choosing_on_a_full_disk_loses_nothing_of_the_settings(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        file, link = disk.path / "tale.toml", tmp_path / "tale.toml"
        text = TEXT + f"# {'x' * 8192}"[: 8192 - len(TEXT)]  # whole pages, so one more is needed
        file.write_text(text)
        file.chmod(0o640)
        link.symlink_to(file)
        disk.fill()
        with pytest.raises(ConfigError, match="can't be written"):
            choose_profile(link, "away")
        assert file.read_text() == text
        disk.free()
        choose_profile(link, "away")
        assert file.read_text() == f'profile = "away"\n{text}'
        assert file.stat().st_mode & 0o777 == 0o640
        assert [one.name for one in disk.path.iterdir()] == ["tale.toml"]


# -- secrets ---------------------------------------------------------------------------------------

SECRET = """\
[models.ux]
api_key = "env:THE_KEY"

[mcpServers.git]
url = "http://127.0.0.1:1/mcp"
headers = { Authorization = "Bearer ${keyring:git/token}" }
"""


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring of these entries, in the place of the desktop's."""
    found: dict[tuple[str, str], str] = {}

    def get_password(service: str, name: str) -> str | None:
        if service == "locked":
            raise KeyringError("it is locked")
        return found.get((service, name))

    monkeypatch.setattr("keyring.get_password", get_password)
    return found


def test_secrets_are_taken_from_where_they_are(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, entries: dict[tuple[str, str], str]
) -> None:
    write(paths, SECRET)
    monkeypatch.setenv("THE_KEY", "hunter2")
    entries["git", "token"] = "hunter3"
    settings = load_settings(paths)
    assert settings.models.ux.api_key.get_secret_value() == "hunter2"
    assert settings.mcpServers["git"].secrets() == ["Bearer hunter3"]
    assert "hunter" not in repr(settings)
    assert "hunter" not in settings.model_dump_json()


def test_where_a_secret_is_is_shown_and_what_it_is_is_not(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, SECRET + '\n[models.task]\napi_key = "hunter4"\n')
    monkeypatch.setenv("THE_KEY", "hunter2")
    for shown in (run("show"), run("show", "--json")):
        assert "env:THE_KEY" in shown
        assert "${keyring:git/token}" in shown
        assert "hunter" not in shown


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:NOT_THERE", "no variable NOT_THERE"),
        ("keyring:git/none", "`keyring set git none`"),
        ("keyring:locked/x", "it is locked"),
        ("keyring:word", "keyring:SERVICE/NAME"),
        ("Bearer ${env:NOT_THERE}", "no variable NOT_THERE"),
    ],
)
@pytest.mark.usefixtures("entries")
def test_a_secret_that_is_not_there_is_told_with_its_key(
    paths: Paths, reference: str, words: str
) -> None:
    write(paths, f"[models.ux]\napi_key = '{reference}'\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    assert "line 2: models.ux.api_key can't be used" in caught.value.message
    assert words in caught.value.message
    assert load_settings(paths, secrets=False)


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(LookupError, match=r"tale\[keyring\]"):
        find_secret("keyring:a/b")


def test_a_secret_of_the_wrong_kind_is_not_quoted(paths: Paths) -> None:
    write(paths, "[models.ux]\napi_key = 12345678\n[mcpServers.a]\nenv = { K = 87654321 }\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    assert "models.ux.api_key is not allowed" in caught.value.message
    assert "12345678" not in caught.value.message
    assert "87654321" not in caught.value.message


@given(st.text(st.characters(exclude_characters="$:")))
def test_what_refers_to_nothing_is_the_secret_itself(text: str) -> None:
    assert not is_reference(text)
    assert find_secret(text) == text


def test_an_unknown_key_at_the_top_is_told_of_profiles_too(paths: Paths) -> None:
    write(paths, "[profils.gpu]\n")
    with pytest.raises(ConfigError, match="Did you mean 'profiles'"):
        load_settings(paths)


def test_layers_know_what_is_the_default(paths: Paths) -> None:
    write(paths)
    layers = read_layers(paths.config_file, flags={"log_level": "DEBUG"})
    assert layers.origin(["log_level"]) == "command line"
    assert layers.origin(["gateway", "port"]) == ""
