"""A real model in a real process on a real leash; and its file, really fetched."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import openai
import psutil
import pytest
from openai.types.chat import ChatCompletion

from tale.models.backend import Role
from tale.models.catalog import CATALOG, EMBEDDED_PAIR, find_model
from tale.models.gguf import read_gguf
from tale.models.llama_server import EXIT_DAMAGED, EXIT_LOAD_FAILED, LaunchOptions
from tale.models.memory_plan import MIB, ModelNeed
from tale.wire.leash import Hello, Ready, decode_child, encode

pytestmark = pytest.mark.integration

_MODEL = find_model("smollm2-135m")
_TOKEN = "a-token"
_DEADLINE = 60
_QUESTION = "Say in a few words what a cache is. " * 12


@pytest.fixture
def model(small_model: Path) -> Path:
    return small_model


@dataclass(frozen=True, slots=True)
class _Running:
    """A started process, its supervisor's end of the leash, and where it serves."""

    process: subprocess.Popen[bytes]
    leash: socket.socket
    url: str

    def client(self, token: str = _TOKEN) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0)

    def ask(self, question: str, *, most: int = 8) -> ChatCompletion:
        with self.client() as client:
            return client.chat.completions.create(
                model="small",
                messages=[{"role": "user", "content": question}],
                max_tokens=most,
                temperature=0,
            )


def _options(model: Path, folder: Path, **changes: int) -> LaunchOptions:
    return LaunchOptions(
        model=model,
        alias="small",
        context=changes.get("context", 1024),
        slots=changes.get("slots", 1),
        threads=2,
        batch_threads=2,
        nice=changes.get("nice", 3),
        slot_dir=folder / "slots",
        prompt_cache_mib=64,
    )


def _command(options: LaunchOptions) -> list[str]:
    return [sys.executable, "-m", "tale.models.llama_server", *options.arguments()]


@contextmanager
def _running(options: LaunchOptions, errors: IO[bytes] | None = None) -> Generator[_Running]:
    near, far = socket.socketpair()
    near.settimeout(_DEADLINE)
    process = subprocess.Popen(_command(options), stdin=far.fileno(), stderr=errors)
    far.close()
    try:
        near.sendall(encode(Hello(name="model-small", token=_TOKEN)))
        with near.makefile("rb") as lines:
            ready = decode_child(lines.readline())
        assert isinstance(ready, Ready)
        yield _Running(process, near, ready.url)
    finally:
        near.close()
        if process.poll() is None:
            process.kill()
        process.wait(_DEADLINE)


def _cached(answer: ChatCompletion) -> int:
    assert answer.usage
    assert answer.usage.prompt_tokens_details
    return answer.usage.prompt_tokens_details.cached_tokens or 0


def test_the_catalogue_says_what_the_files_header_says(model: Path) -> None:
    info = read_gguf(model)
    assert info.shape == _MODEL.shape
    assert info.file_size == _MODEL.size
    assert info.has_chat_template


@pytest.mark.parametrize("role", ["ux", "task"])
def test_the_catalogue_says_what_the_pairs_headers_say(pair: dict[Role, Path], role: Role) -> None:
    assert read_gguf(pair[role]).shape == CATALOG[EMBEDDED_PAIR[role]].shape


def test_it_says_ready_and_answers_with_the_key_only(model: Path, tmp_path: Path) -> None:
    with _running(_options(model, tmp_path)) as running:
        assert psutil.Process(running.process.pid).nice() == 3
        answer = running.ask("Hello!")
        assert answer.model == "small"
        assert answer.choices[0].message.content
        with running.client("wrong") as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="small", messages=[])


def test_it_streams_token_by_token(model: Path, tmp_path: Path) -> None:
    with _running(_options(model, tmp_path)) as running, running.client() as client:
        stream = client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": "Count from one to ten in words."}],
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    usage = chunks[-1].usage
    assert usage is not None
    assert len([piece for piece in pieces if piece]) > usage.completion_tokens // 2 > 0


def test_it_takes_no_more_memory_than_planned(model: Path, tmp_path: Path) -> None:
    with _running(_options(model, tmp_path, context=2048, slots=2)) as running:
        running.ask("word " * 1000)
        resident = psutil.Process(running.process.pid).memory_info().rss
    need = ModelNeed.of("small", read_gguf(model), context=2048, slots=2)
    assert 0.6 * need.total < resident < need.total + 64 * MIB  # its prompt cache comes on top


def test_sigterm_saves_the_prompt_cache_and_a_restart_restores_it(
    model: Path, tmp_path: Path
) -> None:
    options = _options(model, tmp_path, slots=2)
    with _running(options) as running:
        first = running.ask(_QUESTION)
        assert _cached(first) == 0
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(_DEADLINE) == 0
    with _running(options) as running:
        again = running.ask(_QUESTION)
    assert _cached(again) > 100
    assert again.choices[0].message.content == first.choices[0].message.content


def test_a_process_that_is_killed_finds_what_it_computed_first(model: Path, tmp_path: Path) -> None:
    options = _options(model, tmp_path)
    with _running(options) as running:
        running.ask(_QUESTION)
        folder, deadline = tmp_path / "slots/model-small", time.monotonic() + _DEADLINE
        while not list(folder.glob("*.bin")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.process.kill()
    with _running(options) as running:
        assert _cached(running.ask(_QUESTION)) > 100


def test_a_cache_of_another_context_is_not_restored_but_swept_away(
    model: Path, tmp_path: Path
) -> None:
    with _running(_options(model, tmp_path)) as running:
        running.ask(_QUESTION)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(_DEADLINE) == 0
    folder = tmp_path / "slots/model-small"
    assert len(list(folder.iterdir())) == 1
    with _running(_options(model, tmp_path, context=2048)) as running:
        assert list(folder.iterdir()) == []
        assert _cached(running.ask(_QUESTION)) == 0


def test_a_damaged_cache_is_dropped_and_the_model_serves(model: Path, tmp_path: Path) -> None:
    options = _options(model, tmp_path)
    with _running(options) as running:
        running.ask(_QUESTION)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(_DEADLINE) == 0
    (saved,) = (tmp_path / "slots/model-small").iterdir()
    saved.write_bytes(saved.read_bytes()[:500])
    with _running(options) as running:
        assert not saved.exists()
        assert running.ask(_QUESTION).choices[0].message.content


def test_it_leaves_when_the_supervisor_is_gone(model: Path, tmp_path: Path) -> None:
    with _running(_options(model, tmp_path)) as running:
        running.leash.shutdown(socket.SHUT_RDWR)
        assert running.process.wait(_DEADLINE) == 0


def test_it_leaves_when_the_supervisor_goes_while_it_loads(model: Path, tmp_path: Path) -> None:
    ended = _run(_options(model, tmp_path))
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_it_refuses_to_start_without_a_leash(model: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        _command(_options(model, tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        check=False,
    )
    assert ended.returncode == EXIT_LOAD_FAILED
    assert _word_of(ended.stderr, "wire_error")


def test_it_leaves_in_the_middle_of_an_answer(model: Path, tmp_path: Path) -> None:
    with _running(_options(model, tmp_path)) as running, running.client() as client:
        stream = client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": "Tell a very long story."}],
            max_tokens=900,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        next(iter(stream))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(_DEADLINE) == 0
        stream.close()


def test_llama_cpp_says_only_what_matters(model: Path, tmp_path: Path) -> None:
    options = _options(model, tmp_path)
    with (tmp_path / "log").open("wb") as log, _running(options, log) as running:
        running.ask("Hello!")
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(_DEADLINE)
    lines = (tmp_path / "log").read_text().splitlines()
    assert any("model.ready" in line for line in lines)
    assert len(lines) < 10


def _run(options: LaunchOptions) -> subprocess.CompletedProcess[str]:
    """Start it for a supervisor that says hello and is gone; wait for its end."""
    near, far = socket.socketpair()
    near.sendall(encode(Hello(name="model-small", token=_TOKEN)))
    near.close()
    with far:
        return subprocess.run(
            _command(options),
            stdin=far.fileno(),
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )


def _word_of(stderr: str, code: str) -> str:
    """Give the one line that begins with a code; llama.cpp's logger may still write after it."""
    [line] = [line for line in stderr.splitlines() if line.startswith(f"{code}: ")]
    return line


@pytest.mark.parametrize(
    ("size", "reason"),
    [(None, "No such file"), (0, "cut off at the magic number"), (50_000_000, "is cut off")],
    ids=["missing", "empty", "truncated"],
)
def test_a_damaged_file_ends_it_with_one_clear_line(
    model: Path, tmp_path: Path, size: int | None, reason: str
) -> None:
    damaged = tmp_path / "damaged.gguf"
    if size is not None:
        with model.open("rb") as file:
            damaged.write_bytes(file.read(size))
    ended = _run(_options(damaged, tmp_path))
    assert ended.returncode == EXIT_DAMAGED
    assert reason in _word_of(ended.stderr, "model_file_damaged")
    assert "Traceback" not in ended.stderr


def test_a_model_of_an_unknown_kind_ends_it_with_another_code(model: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(model.read_bytes().replace(b"llama", b"lhama"))
    ended = _run(_options(strange, tmp_path))
    assert ended.returncode == EXIT_LOAD_FAILED
    assert _word_of(ended.stderr, "load_failed")


def test_it_runs_without_a_supervisor_for_benchmarks(model: Path, tmp_path: Path) -> None:
    command = [*_command(_options(model, tmp_path)), "--standalone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            names = [entry.id for entry in client.models.list()]
        process.send_signal(signal.SIGINT)
        assert process.wait(_DEADLINE) == 0
    assert names == ["small"]
