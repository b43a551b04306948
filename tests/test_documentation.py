"""The pages say what is so: commands, settings, addresses and messages are held to the code."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml
from documentation.built import faults, loaded
from documentation.commands import EXITS, root
from documentation.errors import all_errors
from documentation.fences import Fence, fences, pages, tale_calls
from documentation.messages import all_texts, is_said
from documentation.pages import outdated
from documentation.settings import Setting, all_settings
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route
from typer.exceptions import TyperException

from tale.cli.main import INTERRUPTED
from tale.cli.plan_file import read_plan
from tale.config import Settings
from tale.config_layers import load_settings
from tale.models import headers
from tale.paths import Paths
from tale.servers.openai_api import model_routes, pool_routes
from tale.servers.usage_api import usage_routes
from tale.servers.web_api import WebApi
from tale.servers.web_page import WebPage
from tale.tasks.plan_facts import PlanFacts
from tale.wire.contracts import Event

ROOT = Path(__file__).parent.parent
FENCES = [fence for page in pages() for fence in fences(page)]
LANGUAGES = {"console", "ini", "json", "python", "text", "toml", "yaml"}


def of(language: str) -> list[Any]:
    return [
        pytest.param(fence, id=f"{fence.page}:{fence.line}")
        for fence in FENCES
        if fence.language == language and not (fence.not_run and language == "toml")
    ]


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in ("TALE_HOME", "TALE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return Paths.from_environment({"TALE_HOME": str(tmp_path)})


def untold(routes: Iterable[Route]) -> list[str]:
    """Name the addresses that the page of HTTP leaves out; `{id}` stands there as ID."""
    told = re.findall(r"`(?:[A-Z]+ )?(/[^?`]*)[^`]*`", text_of("reference/http.md"))
    paths = [re.sub(r"\{(\w+)(:\w+)?\}", lambda m: m[1].upper(), r.path) for r in routes]
    return [path for path in paths if path not in told]


def parse(words: list[str]) -> None:
    """Let the command line parse a call, and do nothing of it."""
    command, name = root(), "tale"
    while words and words[0] in getattr(command, "commands", {}):
        command, name, words = command.commands[words[0]], f"{name} {words[0]}", words[1:]
    with suppress(typer.Exit):  # --help and --version
        context = command.make_context(name, list(words))
        if words and hasattr(command, "commands") and not words[0].startswith("-"):
            command.resolve_command(context, words)


def unknown_in(words: list[str]) -> list[str]:
    """Give what a call names that the command line doesn't have; it may be short of arguments."""
    command = root()
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    options = {"--help"} | {
        name for one in command.params for name in (*one.opts, *one.secondary_opts)
    }
    # What is in capitals stands for any.
    is_group, first = hasattr(command, "commands"), words[:1]
    missing = [one for one in first if is_group and one[0] != "-" and not one.isupper()]
    given = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
    return missing + [one for one in given if one not in options]


class TestReference:
    def test_what_is_made_from_the_code_is_as_the_code_makes_it(self) -> None:
        assert outdated() == [], "run `make reference` and commit what it writes"

    def test_all_addresses_of_the_models_server_are_told(self) -> None:
        none = cast("Any", None)
        routes = (*model_routes(none), *pool_routes(none, none), *usage_routes(none))
        assert untold(routes) == []

    def test_all_addresses_of_the_gateway_are_told(self) -> None:
        none = cast("Any", None)
        api = WebApi(
            none, none, none, actions=none, keys=none, paths=none, task_events=none, background=none
        )
        routes = (*api.routes(), *WebPage(none, none).routes())
        assert untold(routes) == []

    def test_all_fields_of_plans_and_of_questions_about_them_are_told(self) -> None:
        rows = text_of("reference/events.md").splitlines()
        facts = [field.name for field in fields(PlanFacts)]
        plan = next(row for row in rows if row.startswith("| `plan` |"))
        assert [name for name in facts if f"`{name}`" not in plan] == ["seconds"]
        approval = next(row for row in rows if row.startswith("| `approval` |"))
        assert [name for name in facts if f"`{name}`" not in approval] == []

    def test_all_headers_are_told(self) -> None:
        page = text_of("reference/http.md")
        told = [getattr(headers, name) for name in headers.__all__]
        assert [header for header in told if f"`{header}`" not in page] == []

    def test_the_events_are_those_that_there_are(self) -> None:
        rows = re.findall(r"^\| (`.*?) \|", text_of("reference/events.md"), re.MULTILINE)
        told = {kind for row in rows for kind in re.findall(r"`(\w+)`", row)}
        about = " ".join((Event.__doc__ or "").split())
        names = re.findall(r"`(\w+)`(?=(?: and (?:then )?`\w+`)? \{)", about)
        assert told == {*names, "progress"}

    def test_errors_of_one_module_are_told_by_their_own_codes(self) -> None:
        codes = [error.code for error in all_errors()]
        assert {"no_terminal", "not_found", "unknown_server"} <= set(codes)
        assert len(codes) == len(set(codes))

    def test_all_exit_codes_are_told(self) -> None:
        told = {code for code, _ in EXITS}
        assert {0, INTERRUPTED, *(error.exit_code for error in all_errors())} == told

    def test_all_files_are_told(self) -> None:
        page = text_of("reference/files.md")
        here = Paths.from_environment({"TALE_HOME": "/h"})
        known = [value for name in dir(Paths) if isinstance(value := getattr(here, name), Path)]
        left = {"daemon.lock", "run", "h"}
        assert {path.name for path in known if path.name not in page} <= left


def overridable() -> Iterator[Any]:
    for _, _, keys in all_settings():
        for key in keys:
            if "NAME" in key.table:
                continue
            node, default = key.node, key.node.get("default")
            other: object = None
            if "enum" in node:
                other = next(one for one in node["enum"] if one != default)
            elif node.get("type") == "boolean":
                other = not default
            elif node.get("type") in ("integer", "number"):
                other = (default or 0) + 1
            if other is not None:
                yield pytest.param(key, other, id=key.variable)


class TestSettings:
    @pytest.mark.parametrize(("key", "value"), list(overridable()))
    def test_a_variable_overrides_its_setting(
        self, key: Setting, value: object, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(key.variable, value if isinstance(value, str) else json.dumps(value))
        found: object = load_settings(paths)
        for name in filter(None, [*key.table.split("."), key.key]):
            found = getattr(found, name)
        assert found == value

    def test_variables_reach_into_tables_of_the_users_own(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths.config_file.write_text(
            '[mcpServers.docs]\nurl = "https://docs.example/mcp"\n[servers.search]\n'
            'command = ["x"]\n[routing.remotes.hosted]\nurl = "https://a.example/v1"\nname = "m"\n'
        )
        monkeypatch.setenv("TALE_MCPSERVERS__DOCS__HEADERS", '{"Authorization": "Bearer x"}')
        monkeypatch.setenv("TALE_SERVERS__SEARCH__REPLICAS", "3")
        monkeypatch.setenv("TALE_ROUTING__REMOTES__HOSTED__CONTEXT", "1024")
        found = load_settings(paths)
        assert found.mcpServers["docs"].secrets() == ["Bearer x"]
        assert found.servers["search"].replicas == 3
        assert found.routing.remotes["hosted"].context == 1024

    @pytest.mark.parametrize("fence", of("toml"))
    def test_what_the_pages_set_can_be_set(self, fence: Fence, paths: Paths) -> None:
        paths.config_file.write_text(fence.text, encoding="utf-8")
        load_settings(paths)

    @pytest.mark.parametrize("fence", of("json"))
    def test_servers_of_other_clients_settings_can_be_taken_over(self, fence: Fence) -> None:
        found = json.loads(fence.text)
        # One editor has another name for the same.
        if servers := found.get("mcpServers") or found.get("servers"):
            Settings.model_validate({"mcpServers": servers})


class TestBlocks:
    def test_there_are_blocks_of_every_kind_that_a_test_knows_and_of_no_other(self) -> None:
        assert {fence.language for fence in FENCES} == LANGUAGES

    @pytest.mark.parametrize("fence", of("console"))
    def test_a_console_shows_what_is_typed_behind_a_dollar(self, fence: Fence) -> None:
        typed = [entry.command for entry in fence.entries()]
        assert typed
        assert fence.text.startswith("$ ")
        assert not any(line.startswith("tale ") for line in fence.text.splitlines())

    def test_commands_are_found_in_the_blocks(self) -> None:
        typed = [entry.command for fence in FENCES for entry in fence.entries()]
        assert len([call for command in typed for call in tale_calls(command)]) > 100

    @pytest.mark.parametrize("fence", of("console"))
    def test_commands_are_such_as_the_command_line_takes(self, fence: Fence) -> None:
        for entry in fence.entries():
            for words in tale_calls(entry.command):
                try:
                    parse(words)
                except TyperException as error:
                    pytest.fail(f"{entry.command}: {error.format_message()}")

    @pytest.mark.parametrize("page", [page for page in pages() if page != "CHANGELOG.md"])
    def test_commands_within_the_text_are_there_and_have_the_options_that_are_named(
        self, page: str
    ) -> None:
        text = (ROOT / page).read_text(encoding="utf-8")
        said = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for call in re.findall(r"`tale ([^`\n]+)`", said):
            assert unknown_in(call.split()) == [], call

    def test_a_command_or_an_option_that_is_not_there_is_found_out(self) -> None:
        assert unknown_in(["memory", "search", "TEXT", "--json"]) == []
        assert unknown_in(["COMMAND", "--help"]) == []
        assert unknown_in(["memory", "remember"]) == ["remember"]
        assert unknown_in(["submit", "--faster", "x"]) == ["--faster"]

    @pytest.mark.parametrize("fence", of("console"))
    def test_make_has_the_targets_that_are_named(self, fence: Fence) -> None:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        named = re.findall(r"^\$ make ([a-z-]+)", fence.text, re.MULTILINE)
        assert set(named) <= set(targets)

    @pytest.mark.parametrize("fence", of("python"))
    def test_programs_can_be_compiled(self, fence: Fence) -> None:
        compile(fence.text, fence.page, "exec")

    @pytest.mark.parametrize("fence", of("ini"))
    def test_units_can_be_read(self, fence: Fence) -> None:
        unit = configparser.ConfigParser(strict=True, interpolation=None)
        unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
        unit.read_string(fence.text)
        assert unit["Service"]["ExecStart"].endswith("tale serve")

    @pytest.mark.parametrize("fence", of("yaml"))
    def test_plans_can_be_worked_on(self, fence: Fence, tmp_path: Path) -> None:
        if fence.title:
            file = tmp_path / fence.title
            file.write_text(fence.text, encoding="utf-8")
            assert len(read_plan(file)) > 1
        else:
            assert yaml.safe_load(fence.text)

    def test_every_message_of_troubleshooting_is_one_of_tales(self) -> None:
        texts = all_texts()
        lines = [
            line
            for fence in fences("docs/troubleshooting.md")
            if fence.language == "text"
            for line in fence.text.splitlines()
        ]
        assert len(lines) > 20
        assert [line for line in lines if not is_said(line, texts)] == []

    def test_a_message_that_tale_does_not_have_is_found_out(self) -> None:
        texts = all_texts()
        assert is_said("The daemon is not running.", texts)
        assert is_said("Task t-1 has no checkpoint 7.", texts)
        assert not is_said("The daemon has gone for lunch.", texts)


class TestCalls:
    def test_calls_are_found_in_pipes_lists_and_substitutions(self) -> None:
        line = 'git diff | tale submit "Review this" - > out.txt; cat "$(tale config path data)/x"'
        assert list(tale_calls(line)) == [
            ["config", "path", "data"],
            ["submit", "Review this", "-"],
        ]

    def test_what_follows_a_hash_is_no_part_of_a_call(self) -> None:
        assert list(tale_calls("tale tasks    # all of them | tale nothing")) == [["tasks"]]

    def test_a_call_that_the_command_line_does_not_take_is_found_out(self) -> None:
        with pytest.raises(TyperException):
            parse(["submit", "--faster", "x"])
        with pytest.raises(TyperException):
            parse(["memory", "remember", "x"])

    @given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1))
    def test_words_come_out_as_they_were_typed(self, words: list[str]) -> None:
        assert list(tale_calls("tale " + " ".join(f'"{word}"' for word in words))) == [words]


class TestSite:
    def test_the_modules_that_pages_name_are_there(self) -> None:
        text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
        named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
        assert len(named) > 50
        places = (ROOT, ROOT / "src" / "tale")
        assert [one for one in named if not any((place / one).exists() for place in places)] == []

    def test_every_page_has_its_place(self) -> None:
        settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
        listed = re.findall(r"[\w/-]+\.md", json.dumps(settings["project"]["nav"]))
        recorded = [f"demos/{page.name}" for page in (ROOT / "docs" / "demos").glob("*.md")]
        there = [page.removeprefix("docs/") for page in pages() if page.startswith("docs/")]
        assert sorted(listed) == sorted([*there, *recorded])

    @pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/")])
    def test_a_page_begins_with_what_it_is_for(self, page: str) -> None:
        text = re.sub(r"\A(<!--.*?-->\n\n)?", "", (ROOT / page).read_text(encoding="utf-8"))
        assert re.match(r"# [^\n]+\n\n[A-Z`][^\n]{20,}", text)

    def test_nothing_is_loaded_from_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "here.png").touch()
        page = '<img src="here.png"><a href="https://example.com/">a</a>'
        (tmp_path / "good.html").write_text(page)
        assert list(faults(tmp_path)) == []
        bad = '<script src="https://example.com/x.js"></script><img src="gone.png">'
        (tmp_path / "bad.html").write_text(bad)
        (tmp_path / "bad.css").write_text("@import url(//fonts.example.com/a.css);")
        assert list(faults(tmp_path)) == [
            "bad.html: https://example.com/x.js is of a foreign host",
            "bad.html: gone.png is not there",
            "bad.css: //fonts.example.com/a.css is of a foreign host",
        ]

    def test_what_a_link_only_leads_to_is_not_loaded(self) -> None:
        page = '<link rel="canonical" href="https://a.example/"><link rel="icon" href="i.png">'
        assert loaded(page) == ["i.png"]
