"""Settings: where they come from, and what a user is told when they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tale.config import RoutingSettings
from tale.config_layers import load_settings
from tale.config_tasks import TaskSettings, ToolRule
from tale.errors import ConfigError
from tale.models.assess import Kind
from tale.models.backend import Role
from tale.models.preferences import preferences_of
from tale.paths import Paths
from tale.tasks.permissions import Rule
from tale.tasks.task import Level


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in ("TALE_GATEWAY__PORT", "TALE_MODELS__DIRECTORY", "TALE_MODEL_SERVER__PORT"):
        monkeypatch.delenv(name, raising=False)
    return Paths.from_environment({"TALE_HOME": str(tmp_path)})


def write(paths: Paths, text: str) -> None:
    paths.config_file.write_text(text, encoding="utf-8")


def test_without_a_file_everything_has_a_default(paths: Paths) -> None:
    settings = load_settings(paths)
    assert (settings.gateway.port, settings.model_server.port) == (7433, 7434)
    assert settings.models.ux.slots == 2
    assert settings.models.task.slots == 2


def test_the_environment_overrides_the_file_and_flags_override_both(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(paths, "[models.ux]\nname = 'file'\ncontext = 4096\n[models.task]\nname = 'file'\n")
    monkeypatch.setenv("TALE_MODELS__UX__NAME", "environment")
    monkeypatch.setenv("TALE_MODELS__TASK__NAME", "environment")
    settings = load_settings(paths, flags={"models": {"task": {"name": "flag"}}})
    assert settings.models.ux.name == "environment"
    assert settings.models.ux.context == 4096
    assert settings.models.ux.slots == 2
    assert settings.models.task.name == "flag"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[models]\nbackend = 'olama'\n", 2, ["models.backend", "'olama'", "'ollama'"]),
        ("# a\n[models.ux]\ncontxt = 1\n", 3, ["models.ux.contxt", "'context'", "slots"]),
        ("[gatway]\nport = 1\n", 1, ["gatway", "'gateway'"]),
        ("gateway.port = 99999\n", 1, ["gateway.port", "65535"]),
        ("models = { ux = { slots = 0 } }\n", 1, ["models.ux.slots", "greater"]),
        ("\n[gateway]\nport = 'x'\n", 3, ["gateway.port", "integer"]),
        ("[routing.pin]\ncoed = 'task'\n", 2, ["routing.pin.coed", "'code'", "summarise"]),
        ("[routing.weight]\n'*' = { ux = 0 }\n", 2, ["routing.weight.*.ux", "greater"]),
        ("[routing]\nforbid = { code = 'ux' }\n", 2, ["routing.forbid.code", "'ux'", "tuple"]),
        ("[routing.forbid]\ncode = ['ux', 'a b']\n", 2, ["routing.forbid.code.1", "'a b'"]),
        ("[routing.fallback]\nux = ['ux']\n", 2, ["routing.fallback.ux", "itself"]),
        ("[routing.fallback]\nux = ['a', 'a']\n", 2, ["routing.fallback.ux", "twice"]),
        ("[routing.remotes.far]\nname = 'm'\n", 1, ["routing.remotes.far.url", "required"]),
        ("[routing.remotes.far]\nurl = 'far'\nname = 'm'\n", 2, ["remotes.far.url", "http"]),
        ("[routing.remotes.ux]\nurl = 'http://f/v1'\nname = 'm'\n", 1, ["ux", "taken"]),
        (
            "[routing]\npin = { code = 'ux' }\nforbid = { '*' = ['ux'] }\n",
            2,
            ["routing.pin.code", "forbidden"],
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_is_allowed(
    paths: Paths, text: str, line: int, words: list[str]
) -> None:
    write(paths, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    message = str(caught.value)
    assert f"{paths.config_file}, line {line}:" in message
    for word in words:
        assert word in message


ROUTING = """
[routing]
pin = { code = "task" }
forbid = { plan = ["ux"], "*" = ["old"] }
weight = { talk = { task = 1.5 } }
fallback = { task = ["far", "ux"] }
[routing.remotes.far]
url = "https://far.example/v1"
name = "big"
api_key = "sk-hidden"
"""


def test_the_users_wishes_reach_the_router(paths: Paths) -> None:
    write(paths, ROUTING)
    settings = load_settings(paths)
    preferences = preferences_of(settings.routing)
    assert preferences.pin == {"code": "task"}
    assert preferences.forbids("plan", ("small", "ux"))
    assert preferences.forbids("talk", ("old",))
    assert not preferences.forbids("talk", ("small", "ux"))
    assert preferences.weight_of("talk", ("large", "task")) == 1.5
    assert preferences.chain("task") == ("far", "ux")
    assert preferences.chain("ux") == ("task",)
    assert settings.routing.remotes["far"].context == 32_768
    assert "sk-hidden" not in repr(settings)


def test_a_fault_in_the_routing_shows_no_secret(paths: Paths) -> None:
    write(paths, ROUTING.replace('["far", "ux"]', '["ux"]') + "[routing.pin]\n")
    with pytest.raises(ConfigError):
        load_settings(paths)
    write(paths, ROUTING.replace('["far", "ux"]', '["ux"]').replace('"task" }', '"far" }', 1))
    with pytest.raises(ConfigError, match=r"routing\.pin\.code.* no fallback chain") as caught:
        load_settings(paths)
    assert "sk-hidden" not in str(caught.value)


def test_the_routing_can_be_set_by_the_environment(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_ROUTING__PIN__CODE", "task")
    monkeypatch.setenv("TALE_ROUTING__FALLBACK__TASK", '["ux"]')
    routing = load_settings(paths).routing
    assert routing.pin == {"code": "task"}
    assert routing.fallback == {"task": ("ux",)}


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "github_token", "Path"])
def test_a_variable_for_a_server_keeps_its_letters_in_the_environment(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(paths, "[servers.search]\ncommand = ['x']\n[mcpServers.git]\ncommand = 'x'\n")
    monkeypatch.setenv(f"TALE_SERVERS__SEARCH__ENVIRONMENT__{name}", "1")
    monkeypatch.setenv(f"TALE_MCPSERVERS__GIT__ENV__{name}", "true")
    monkeypatch.setenv("TALE_MCPSERVERS__GIT__ENV", '{"OTHER": "2"}')
    monkeypatch.setenv("TALE_MCPSERVERS__GIT__ENV__http_proxy", "a")
    monkeypatch.setenv("TALE_MCPSERVERS__GIT__ENV__HTTP_PROXY", "b")
    settings = load_settings(paths)
    assert settings.servers["search"].environment == {name: "1"}
    env = settings.mcpServers["git"].env
    assert {key: one.get_secret_value() for key, one in env.items()} == {
        name: "true",
        "OTHER": "2",
        "http_proxy": "a",
        "HTTP_PROXY": "b",
    }


@pytest.mark.parametrize("name", ["TALE_SERVERS", "TALE_SERVERS__SEARCH__ENVIRONMENT"])
@pytest.mark.parametrize("value", ["[1]", "3", '{"search": 3}'])
def test_a_table_that_is_none_in_the_environment_is_refused(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("TALE_SERVERS__SEARCH__ENVIRONMENT__KEY", "1")
    with pytest.raises(ConfigError):
        load_settings(paths)


def test_servers_of_any_name_are_set_by_the_environment(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_SERVERS__ENVIRONMENT__COMMAND", '["x"]')
    monkeypatch.setenv("TALE_MCPSERVERS__ENV__COMMAND", "x")
    settings = load_settings(paths)
    assert settings.servers["environment"].command == ("x",)
    assert settings.mcpServers["env"].command == "x"


@pytest.mark.parametrize(
    ("name", "key", "meant"),
    [
        ("TALE_MODEL__TASK__NAME", "model", "models"),
        ("TALE_GATWAY__PORT", "gatway", "gateway"),
        ("TALE_LOGLEVEL", "loglevel", "log_level"),
        ("TALE_LOG_LEVLE", "log_levle", "log_level"),
        ("tale_databaseurl", "databaseurl", "database_url"),
    ],
)
def test_a_section_that_is_unknown_in_the_environment_is_told_as_in_the_file(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str, key: str, meant: str
) -> None:
    monkeypatch.setenv(name, "hidden")
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    said = f"environment, TALE_{key.upper()}: unknown key {key!r}. Did you mean {meant!r}? Allowed"
    assert str(caught.value).startswith(said)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["CONFIG", "FORK_FD", "TEST_POSTGRESQL", "GATEWAY_PORT", "SERVICE_HOST", "PORT_7433_TCP"],
)
def test_variables_that_set_nothing_are_left_alone(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"TALE_{name}", "tcp://10.0.0.1:7433")
    assert load_settings(paths).gateway.port == 7433


def test_kinds_and_roles_are_those_of_the_models() -> None:
    for key in get_args(Kind):
        RoutingSettings.model_validate({"pin": {key: "task"}, "forbid": {key: ["x"]}})
    for role in get_args(Role):
        RoutingSettings.model_validate({"fallback": {role: ["x"]}})


def test_a_wrong_variable_is_named_as_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALE_GATEWAY__PORT", "many")
    with pytest.raises(ConfigError, match="environment, TALE_GATEWAY__PORT"):
        load_settings(paths)


def test_an_unreadable_variable_is_an_error_not_a_traceback(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_MODELS", "{not json")
    with pytest.raises(ConfigError, match="environment"):
        load_settings(paths)


def test_broken_toml_says_where_it_breaks(paths: Paths) -> None:
    write(paths, "[gateway]\nport = = 1\n")
    with pytest.raises(ConfigError, match=r"tale\.toml is not valid TOML: .*line 2"):
        load_settings(paths)


def test_a_file_that_is_not_text_is_refused(paths: Paths) -> None:
    paths.config_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(paths)


def test_all_faults_are_told_at_once(paths: Paths) -> None:
    write(paths, "nope = 1\n[gateway]\nport = -1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    assert len(str(caught.value).splitlines()) == 2


def test_secrets_do_not_show(paths: Paths) -> None:
    write(paths, "[models.ux]\napi_key = 'sk-hidden'\n")
    assert "sk-hidden" not in repr(load_settings(paths))


def test_tale_home_moves_everything(tmp_path: Path) -> None:
    paths = Paths.from_environment({"TALE_HOME": str(tmp_path)})
    files = (paths.config_file, paths.database, paths.runtime_file, paths.log_of("ux"), paths.slots)
    assert all(file.is_relative_to(tmp_path) for file in files)


def test_without_tale_home_the_usual_folders_are_used() -> None:
    paths = Paths.from_environment({})
    assert paths.config_file.name == "tale.toml"
    assert paths.config_file.parent.name == "tale"
    assert paths.data != paths.runtime


def test_tale_config_moves_the_file_alone(tmp_path: Path) -> None:
    environment = {"TALE_HOME": str(tmp_path), "TALE_CONFIG": str(tmp_path / "other.toml")}
    paths = Paths.from_environment(environment)
    assert paths.config_file == tmp_path / "other.toml"
    assert paths.data == tmp_path


def test_tasks_are_shut_in_and_ask_unless_the_user_says_otherwise(paths: Paths) -> None:
    settings = load_settings(paths)
    assert (settings.sandbox.kind, settings.sandbox.network) == ("bubblewrap", False)
    assert settings.tasks.permission == "workspace"


def test_the_same_words_are_allowed_as_where_they_are_used() -> None:
    permission = TaskSettings.model_fields["permission"].annotation
    assert get_args(permission) == get_args(Level)
    assert get_args(ToolRule) == get_args(Rule)


def test_mcp_servers_are_written_as_for_other_clients(paths: Paths) -> None:
    write(
        paths,
        "[mcpServers.git]\ncommand = 'uvx'\nargs = ['mcp-server-git']\nenv = {TOKEN = 's3cret'}\n"
        "tools = {push = 'deny'}\n[mcpServers.docs]\nurl = 'https://docs.example/mcp'\n"
        "headers = {Authorization = 'Bearer s3cret'}\n",
    )
    settings = load_settings(paths)
    git, docs = settings.mcpServers["git"], settings.mcpServers["docs"]
    assert (git.command, git.args, git.tools) == ("uvx", ("mcp-server-git",), {"push": "deny"})
    assert docs.headers["Authorization"].get_secret_value() == "Bearer s3cret"
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mcpServers.a]\n", "mcpServers.a.command is not allowed: it needs a command or a url"),
        ("[mcpServers.a]\ncommand = 'x'\nurl = 'http://x'\n", "line 3: mcpServers.a.url"),
        ("[mcpServers.a]\ncommand = 'x'\ntype = 'http'\n", "http needs a url"),
        ("[mcpServers.a]\ncommand = 'x'\ntools = {b = 'maybe'}\n", "'allow', 'ask' or 'deny'"),
        ("[mcpServers.a]\ncomand = 'x'\n", "Did you mean 'command'?"),
        ("[mcpServers.'a.b']\ncommand = 'x'\n", "mcpServers.a.b"),
        ("[sandbox]\nkind = 'docker'\n", "'bubblewrap' or 'none'"),
        ("[tasks]\npermission = 'all'\n", "'ask', 'workspace' or 'full'"),
    ],
)
def test_what_is_wrong_about_tasks_is_said(paths: Paths, text: str, says: str) -> None:
    write(paths, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    assert says in caught.value.message
