"""A tale of its own for a measurement: real daemon, real models, a folder that is thrown away."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tale.models.catalog import EMBEDDED_PAIR, find_model
from tale.orchestration.control_client import Runtime, control, read_runtime
from tale.paths import Paths

__all__ = ["TALE", "Installation", "bare_server", "first_token", "model_file", "post"]

TALE = str(Path(sys.executable).with_name("tale"))
_MESSAGES = [{"role": "user", "content": "hello world"}]


def models_folder() -> Path:
    """Find the folder in which the embedded pair already lies."""
    configured = os.environ.get("TALE_MODELS__DIRECTORY")
    return Path(configured) if configured else Paths.from_environment().models


def model_file(role: str) -> Path:
    """Give the file of a core role's embedded model."""
    model = find_model(EMBEDDED_PAIR["ux" if role == "ux" else "task"])
    return models_folder() / model.file


@dataclass(frozen=True, slots=True)
class Installation:
    """One home folder and its daemon."""

    home: Path
    environment: Mapping[str, str]

    @classmethod
    @contextlib.contextmanager
    def fresh(cls) -> Generator[Installation]:
        """Make one; its daemon is stopped and its folder removed in the end."""
        home = Path(tempfile.mkdtemp(prefix="tale-bench-"))
        environment = {
            **os.environ,
            "TALE_HOME": str(home),
            "TALE_MODELS__DIRECTORY": str(models_folder()),
            "TALE_MODELS__BACKEND": "embedded",
            "TALE_GATEWAY__PORT": "0",
            "TALE_MODEL_SERVER__PORT": "0",
        }
        installation = cls(home, environment)
        try:
            yield installation
        finally:
            installation.tale("stop")
            shutil.rmtree(home, ignore_errors=True)

    def tale(self, *arguments: str) -> str:
        """Run a command to its end and give what it printed."""
        return subprocess.run(
            [TALE, *arguments],
            env=dict(self.environment),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        ).stdout

    def timed(self, *arguments: str) -> float:
        """Run a command and give its wall time, in seconds."""
        begun = time.perf_counter()
        done = subprocess.run(
            [TALE, *arguments],
            env=dict(self.environment),
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - begun
        if not done.stdout.strip():
            raise RuntimeError(f"tale {' '.join(arguments)} printed nothing")
        return seconds

    @property
    def runtime(self) -> Runtime:
        """How the running daemon is reached."""
        found = read_runtime(Paths.from_environment({"TALE_HOME": str(self.home)}))
        if found is None:
            raise RuntimeError("no daemon runs")
        return found

    def url_of(self, service: str) -> str:
        """Wait until a server is ready and give its address."""
        answer: Any = control(self.runtime, "wait", service=service, timeout=120)
        return answer["url"]

    def servers(self) -> dict[str, dict[str, Any]]:
        """Give the supervisor's facts about each server, by name."""
        status: Any = control(self.runtime, "status")
        return {server["name"]: server for server in status["servers"]}


@contextlib.contextmanager
def bare_server(
    role: str, context: int = 8192, *, slots: int | None = None
) -> Generator[tuple[str, float]]:
    """Run llama.cpp alone on a core model; gives its URL and how long it took to load."""
    arguments = ["--model", str(model_file(role)), "--standalone", "--port", "0"]
    arguments += ["--context", str(context), "--slots", str(slots or (2 if role == "ux" else 1))]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tale.models.llama_server", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        url = process.stdout.readline().split()[-1]
        yield url, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


def post(
    url: str, path: str, body: Mapping[str, Any], token: str
) -> Generator[tuple[float, dict[str, Any]]]:
    """Post a request and give each event of its answer with the seconds since it was sent."""
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=300)
    begun = time.perf_counter()
    connection.request(
        "POST",
        path,
        json.dumps(body),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{url}{path}: {response.status} {response.read()[:500]!r}")
        for line in _lines(response):
            if line.startswith(b"data: {"):
                yield time.perf_counter() - begun, json.loads(line[6:])
    finally:
        connection.close()


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := response.readline():
        yield line.strip()


@dataclass(frozen=True, slots=True)
class Generation:
    """A streamed answer, timed.

    Attributes:
        first: Seconds to the first token.
        tokens: Tokens generated.
        rate: Tokens a second after the first.
        model: Who gave it.
    """

    first: float
    tokens: int
    rate: float
    model: str


def first_token(
    url: str,
    token: str,
    *,
    model: str = "ux",
    messages: list[dict[str, str]] | None = None,
    max_tokens: int = 8,
) -> Generation:
    """Stream a chat completion and time it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": messages or _MESSAGES,
        "max_tokens": max_tokens,
        "stream": True,
        "temperature": 0,
    }
    times: list[float] = []
    name = ""
    for seconds, event in post(url, "/v1/chat/completions", body, token):
        name = str(event.get("model", name))
        choices: list[dict[str, Any]] = event.get("choices") or []
        deltas: list[dict[str, Any]] = [choice.get("delta") or {} for choice in choices]
        if any(delta.get("content") for delta in deltas):
            times.append(seconds)
    if not times:
        raise RuntimeError(f"{model} at {url} answered nothing")
    took = times[-1] - times[0]
    return Generation(times[0], len(times), (len(times) - 1) / took if took else 0.0, name)
