"""`tale` as a user runs it: the real daemon, real servers, and a real small model in both roles."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tale_home import Tale

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

MODEL = "smollm2-135m"
SETTINGS = f"""
[models.ux]
name = "{MODEL}"
context = 2048
[models.task]
name = "{MODEL}"
context = 2048
[gateway]
port = 0
[model_server]
port = 0
"""


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Tale]:
    home = tmp_path_factory.mktemp("home")
    (home / "tale.toml").write_text(
        f'{SETTINGS}[models]\nbackend = "embedded"\ndirectory = "{small_model.parent}"\n'
    )
    made = Tale(home)
    yield made
    made.run("stop")
    assert made.processes() == []


def test_submit_from_nothing_starts_the_daemon_and_answers(tale: Tale) -> None:
    done = tale.run("submit", "hello world")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert MODEL in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_status_models_and_doctor_agree_that_all_is_well(tale: Tale) -> None:
    assert tale.run("serve", "--detach").returncode == 0
    tale.run("restart", "ux")  # returns once it is ready, and with it all that comes before
    status = json.loads(tale.run("status", "--json").stdout)
    names = {server["name"] for server in status["servers"]}
    assert {"models", "gateway", "ux", "execution-1", "model-ux", "model-task"} <= names
    assert "resident" in tale.run("models").stdout
    doctor = tale.run("doctor")
    assert "ok    files" in doctor.stdout


def test_tasks_sessions_and_events_are_there_afterwards(tale: Tale) -> None:
    submitted = json.loads(tale.run("submit", "Say hello", "--json").stdout)
    listed = json.loads(tale.run("tasks", "--json").stdout)["tasks"]
    assert submitted["id"] in {task["id"] for task in listed}
    assert tale.run("show", submitted["id"]).stdout.startswith("task ")
    lines = tale.run("watch", submitted["id"], "--json").stdout.splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert next(kind for kind in kinds if kind != "progress") == "queued"
    assert kinds[-1] == "done"


def test_chat_through_a_pipe_is_a_conversation_that_is_kept(tale: Tale) -> None:
    done = tale.run("chat", "--json", stdin="Hi!\nHow are you?\n")
    assert done.returncode == 0, done.stderr
    one, two = map(json.loads, done.stdout.splitlines()[:2])
    assert one["session"] == two["session"]
    shown = json.loads(tale.run("sessions", one["session"], "--json").stdout)
    assert [turn["speaker"] for turn in shown["turns"]] == ["user", "assistant"] * 2


def test_tasks_are_submitted_and_shown_while_the_ux_server_does_not_answer(tale: Tale) -> None:
    ux = _pid_of(tale, "ux")
    os.kill(ux, signal.SIGSTOP)
    try:
        submitted = tale.run("submit", "Say hello", "--json")
        task = json.loads(submitted.stdout)
        listed = tale.run("tasks")
        shown = tale.run("show", task["id"])
    finally:
        with suppress(ProcessLookupError):  # the supervisor may have done so before
            os.kill(ux, signal.SIGKILL)
    assert (submitted.returncode, task["state"]) == (0, "done")
    assert task["id"] in listed.stdout
    assert shown.stdout.startswith("task ")
    assert tale.run("chat", stdin="Hi!\n").returncode == 0
    assert _pid_of(tale, "ux") != ux


def _pid_of(tale: Tale, name: str) -> int:
    servers = json.loads(tale.run("status", "--json").stdout)["servers"]
    [pid] = [server["pid"] for server in servers if server["name"] == name]
    return int(pid)


def test_an_interrupted_submit_leaves_its_task_running(tale: Tale) -> None:
    before = {t["id"] for t in json.loads(tale.run("tasks", "--json").stdout)["tasks"]}
    with tale.start(
        "submit", "Write a Python module with two hundred functions, and tests for each"
    ) as process:
        while True:
            tasks = json.loads(tale.run("tasks", "--json").stdout)["tasks"]
            new = [t["id"] for t in tasks if t["id"] not in before]
            if new or process.poll() is not None:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"tale watch {new[0]}" in err
    assert tale.run("cancel", new[0]).returncode == 0


def test_what_can_not_be_done_has_an_exit_code_and_a_hint(tale: Tale) -> None:
    for arguments, code in (
        (("show", "nope"), 2),
        (("sessions", "nope"), 2),
        (("restart", "nobody"), 1),
        (("models", "unload", "ux"), 1),
    ):
        done = tale.run(*arguments)
        assert (done.returncode, "hint: " in done.stderr) == (code, True), done
        assert "Traceback" not in done.stderr


def test_pull_of_what_is_here_only_says_so(tale: Tale, small_model: Path) -> None:
    done = tale.run("models", "pull", MODEL)
    assert done.stdout == f"{small_model}\n"
    assert done.stderr == f"{MODEL} is here and verified.\n"


def test_bench_measures_both_roles(tale: Tale) -> None:
    figures = json.loads(tale.run("bench", "--rounds", "1", "--json").stdout)["roles"]
    assert [figure["role"] for figure in figures] == ["ux", "task"]
    assert all(figure["warm_ms"] > 0 and figure["load_seconds"] > 0 for figure in figures)


def test_stop_leaves_nothing_and_a_foreground_daemon_ends_with_ctrl_c(tale: Tale) -> None:
    assert "nothing is left" in tale.run("stop").stdout
    assert tale.processes() == []
    assert tale.run("status").returncode == 3
    assert tale.run("restart").stdout == "tale serves again.\n"
    assert tale.run("stop", "--json").returncode == 0
    with tale.start("serve") as process:
        assert process.stderr is not None
        while "Ctrl-C stops it" not in process.stderr.readline():
            assert process.poll() is None
        assert tale.run("submit", "hello").returncode == 0
        second = tale.run("serve")
        assert second.returncode == 1
        assert "running already" in second.stderr
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert tale.processes() == []


def test_what_dashboards_show_is_there_for_whoever_has_the_token_or_a_link(tale: Tale) -> None:
    assert tale.run("submit", "Say hello").returncode == 0
    runtime = json.loads((tale.home / "run" / "daemon.json").read_text())
    url, bearer = runtime["gateway"], {"Authorization": f"Bearer {runtime['token']}"}
    with urlopen(Request(f"{url}/api/overview", headers=bearer)) as answer:
        found = json.load(answer)
    assert {"models", "gateway", "ux", "model-ux"} <= {one["name"] for one in found["servers"]}
    assert {one["role"] for one in found["models"]} == {"ux", "task"}
    assert found["tasks"][0]["state"] == "done"
    assert found["tokens"]["completion"] > 0
    assert found["history"]["requests"][-1]["model"] == MODEL
    assert found["history"]["memory"], "what the supervisor measured before anybody looked"
    assert found["troubles"] == []
    with urlopen(Request(f"{url}/api/login-keys", headers=bearer, method="POST")) as answer:
        path = json.load(answer)["path"]
    with urlopen(url + path) as page:
        assert "seal=" in page.geturl()
        assert b"<title>tale</title>" in page.read()
    with pytest.raises(HTTPError, match="403"):
        urlopen(url + path)
