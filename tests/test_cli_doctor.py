"""What `tale doctor` finds, and what it says to do about it."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fake_daemon import FakeDaemon, model, server
from tale.cli.check import Check
from tale.cli.check_daemon import check_daemon
from tale.cli.check_machine import (
    check_folders,
    check_llama,
    check_ports,
    check_python,
    check_sandbox,
)
from tale.cli.check_models import check_backend, check_disk, check_files, check_memory
from tale.cli.checks import all_checks
from tale.cli.main import run
from tale.cli.pool_view import PoolView
from tale.cli.record import Record
from tale.config import Settings
from tale.config_tasks import SandboxSettings
from tale.models.catalog import CATALOG
from tale.paths import Paths
from tale.tasks.sandbox_bwrap import Unable, probe


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    home = tmp_path / "home"
    monkeypatch.setenv("TALE_HOME", str(home))
    return Paths.from_environment()


def _settings(**models: Any) -> Settings:
    ports = {"gateway": {"port": 0}, "model_server": {"port": 0}}
    return Settings.model_validate({"models": models, **ports})


def _sparse(file: Path, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.truncate(file, size)


def test_every_check_is_made_in_order(paths: Paths) -> None:
    paths.data.mkdir()
    paths.config_file.write_text('[models]\nbackend = "embedded"\n[gateway]\nport = 0\n')
    names = [check.name for check in all_checks(paths)]
    assert names == [
        "python",
        "settings",
        "folders",
        "database",
        "disk",
        "llama.cpp",
        "files",
        "memory",
        "backend",
        "ports",
        "sandbox",
        "daemon",
    ]


def test_settings_that_can_not_be_read_end_it(paths: Paths) -> None:
    paths.data.mkdir()
    paths.config_file.write_text("[gateway\n")
    found = list(all_checks(paths))
    assert [check.name for check in found] == ["python", "settings", "folders"]
    assert found[1].level == "fail"
    assert str(paths.config_file) in found[1].detail


def test_a_setting_of_the_environment_is_mended_there(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALE_GATEWAY__PORT", "-1")
    found = list(all_checks(paths))[1]
    assert "TALE_GATEWAY__PORT" in found.detail
    assert found.mend == "Correct the variable, or unset it."


def test_the_command_prints_each_check_with_its_remedy(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.data.mkdir()
    paths.config_file.write_text("[gateway]\nport = -1\n")
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "fail  settings    " in out
    assert f"mend: Correct {paths.config_file}" in out
    assert out.endswith("\n1 problem.\n")
    assert run(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["checks"][1]["level"]) == (False, "fail")


def test_warnings_alone_are_no_failure(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.data.mkdir()
    url = "http://127.0.0.1:9"
    paths.config_file.write_text(
        f'[models]\nollama_url = "{url}"\n[models.ux]\nname = "smollm2-135m"\n'
        '[models.task]\nname = "smollm2-135m"\n[gateway]\nport = 0\n[model_server]\nport = 0\n'
    )
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "daemon      not running" in out
    assert "warning" in out


class TestMachine:
    def test_an_old_interpreter_fails(self) -> None:
        assert check_python((3, 10)).level == "fail"
        assert check_python().level == "ok"

    def test_folders_are_made(self, paths: Paths) -> None:
        assert check_folders(paths).level == "ok"
        assert paths.logs.is_dir()

    def test_a_folder_that_can_not_be_written_fails(self, paths: Paths) -> None:
        paths.data.write_text("a file")
        found = check_folders(paths)
        assert found.level == "fail"
        assert str(paths.data) in found.detail
        assert "TALE_HOME" in found.mend

    def test_a_port_in_use_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            settings = Settings.model_validate({"gateway": {"port": port}})
            found = check_ports(settings, daemon_runs=False)
            assert found.level == "fail"
            assert f"127.0.0.1:{port}" in found.detail
            assert f"sport = :{port}" in found.mend
            assert check_ports(settings, daemon_runs=True).level == "ok"
        assert check_ports(_settings(), daemon_runs=False).level == "ok"

    def test_llama_cpp_is_there(self) -> None:
        assert check_llama().level == "ok"

    def test_the_sandbox_is_tried(self) -> None:
        found = check_sandbox(SandboxSettings())
        assert found.level == ("warn" if isinstance(probe(), Unable) else "ok")

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("[ $1 = --version ] && exec echo bubblewrap 0.9.0; echo No way >&2; exit 1", "No way"),
            ("[ $1 = --version ] && exec echo bubblewrap 0.9.0; exit 3", "exit 3"),
            ("echo bubblewrap 0.5.0", "version 0.5"),
        ],
    )
    def test_a_sandbox_that_can_not_be_made_is_a_warning(
        self, tmp_path: Path, script: str, words: str
    ) -> None:
        program = tmp_path / "bwrap"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        found = check_sandbox(SandboxSettings(), program)
        assert (found.level, words in found.detail) == ("warn", True)
        assert found.mend

    def test_a_broken_bubblewrap_is_a_warning(self, tmp_path: Path) -> None:
        broken = tmp_path / "bwrap"
        broken.write_bytes(b"\x7fELF not really")
        broken.chmod(0o755)
        assert "does not run" in check_sandbox(SandboxSettings(), broken).detail

    def test_without_a_sandbox_by_choice_the_user_is_reminded(self) -> None:
        found = check_sandbox(SandboxSettings(kind="none"))
        assert (found.level, "whatever you may do" in found.detail) == ("warn", True)


class TestModels:
    def test_missing_files_are_a_warning_with_their_size(self, paths: Paths) -> None:
        found = check_files(paths, _settings())
        assert (found.level, "1.5 GiB" in found.detail) == ("warn", True)
        assert "tale models pull" in found.mend

    def test_a_file_of_the_wrong_length_fails(self, paths: Paths) -> None:
        names = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
        for name in names:
            _sparse(paths.models / CATALOG[name].file, 1000)
        found = check_files(paths, _settings())
        assert found.level == "fail"
        assert f"tale models pull {names[0]}" in found.mend

    def test_files_that_are_whole_are_told_to_be_unverified(self, paths: Paths) -> None:
        known = CATALOG["smollm2-135m"]
        _sparse(paths.models / known.file, known.size)
        same = {"name": known.name}
        found = check_files(paths, _settings(ux=same, task=same))
        assert found.level == "ok"
        assert "will be verified" in found.detail

    def test_an_unknown_model_fails_with_the_known_ones(self, paths: Paths) -> None:
        settings = _settings(ux={"name": "gpt-9"})
        assert "smollm2-135m" in check_files(paths, settings).detail
        assert check_memory(paths, settings, None).level == "fail"
        assert check_disk(paths, settings).level in ("ok", "warn")

    def test_memory_is_compared_with_what_the_pair_needs(self, paths: Paths) -> None:
        small = {"name": "smollm2-135m", "context": 2048}
        assert check_memory(paths, _settings(ux=small, task=small), None).level == "ok"
        huge = {"name": "qwen2.5-coder-1.5b", "context": 1_000_000, "slots": 64}
        found = check_memory(paths, _settings(task=huge), None)
        assert found.level == "fail"
        assert "MiB" in found.detail
        assert found.mend

    def test_what_the_daemon_holds_counts_as_free(self, paths: Paths) -> None:
        small = {"name": "smollm2-135m", "context": 2048}
        pool = PoolView.read(Record({"models": [model(memory_bytes=1 << 50)]}))
        found = check_memory(paths, _settings(ux=small, task=small), pool)
        assert "1024.0 TiB of" in found.detail or "TiB" in found.detail

    def test_the_disk_is_looked_at_where_files_will_be(self, paths: Paths) -> None:
        assert str(paths.models) in check_disk(paths, _settings()).detail


@pytest.fixture
def ollama() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"version": "0.99"}')

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Stay silent."""

    web = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


class TestBackend:
    NOWHERE = "http://127.0.0.1:9"

    def look(self, **models: Any) -> tuple[Check, bool]:
        found = check_backend(_settings(**models))
        return found.check, found.uses_embedded

    def test_embedded_needs_nobody(self) -> None:
        check, embedded = self.look(backend="embedded")
        assert (check.level, embedded) == ("ok", True)

    def test_auto_takes_ollama_where_it_answers(self, ollama: str) -> None:
        check, embedded = self.look(ollama_url=ollama)
        assert (check.level, embedded) == ("ok", True)
        assert "Ollama 0.99" in check.detail
        assert "no Ollama" in self.look(ollama_url=self.NOWHERE)[0].detail

    def test_ollama_that_is_wanted_and_does_not_answer_fails(self, ollama: str) -> None:
        check, embedded = self.look(backend="ollama", ollama_url=self.NOWHERE)
        assert (check.level, embedded) == ("fail", False)
        assert "ollama serve" in check.mend
        assert self.look(backend="ollama", ollama_url=ollama)[0].level == "ok"

    def test_what_answers_in_ollamas_place_is_not_taken_for_it(self, tmp_path: Path) -> None:
        with FakeDaemon(tmp_path).running() as other:
            check, _ = self.look(backend="ollama", ollama_url=other.url)
            assert check.level == "fail"
            assert check.detail == f"What answers at {other.url} is not Ollama."
            assert "no Ollama" in self.look(ollama_url=other.url)[0].detail

    def test_urls_are_tried(self, ollama: str) -> None:
        both = {"url": f"{ollama}/v1"}
        assert self.look(backend="openai", ux=both, task=both)[0].level == "ok"
        nowhere = {"url": f"{self.NOWHERE}/v1"}
        assert self.look(backend="openai", ux=both, task=nowhere)[0].level == "fail"
        assert "no url" in self.look(backend="openai", ux=both)[0].detail
        assert self.look(ux=both, task=both)[0].detail == f"{ollama}/v1"
        alone, embedded = self.look(task=both)
        assert (alone.level, embedded) == ("fail", False)
        assert "models.ux.url is not" in alone.detail
        tls = {"url": "https://127.0.0.1:9/v1"}
        assert self.look(backend="openai", ux=tls, task=tls)[0].level == "fail"


class TestDaemon:
    def look(self, home: Path, change: Callable[[FakeDaemon], None]) -> Check:
        fake = FakeDaemon(home)
        change(fake)
        with fake.running():
            return check_daemon(fake.paths)[0]

    def test_one_that_is_well_is_ok_and_gives_its_pool(self, tmp_path: Path) -> None:
        fake = FakeDaemon(tmp_path)
        with fake.running():
            check, pool = check_daemon(fake.paths)
        assert check.level == "ok"
        assert pool is not None
        assert len(pool.core) == 2

    def test_another_version_fails(self, tmp_path: Path) -> None:
        def change(fake: FakeDaemon) -> None:
            fake.version = "0.0.1"

        found = self.look(tmp_path, change)
        assert (found.level, "tale stop" in found.mend) == ("fail", True)

    def test_a_server_that_is_down_fails_with_the_way_to_the_logs(self, tmp_path: Path) -> None:
        def change(fake: FakeDaemon) -> None:
            fake.servers[1] = server("gateway", state="backoff")

        found = self.look(tmp_path, change)
        assert found.level == "fail"
        assert "gateway is backoff" in found.detail
        assert "tale logs" in found.mend

    def test_a_models_server_that_is_missing_or_mute_fails(self, tmp_path: Path) -> None:
        def missing(fake: FakeDaemon) -> None:
            del fake.servers[0]

        def mute(fake: FakeDaemon) -> None:
            fake.pool = {"models": "x" * 10}

        assert self.look(tmp_path, missing).level == "fail"
        assert self.look(tmp_path, mute).level == "fail"


def test_the_interpreter_is_named() -> None:
    assert sys.executable in check_python().detail
