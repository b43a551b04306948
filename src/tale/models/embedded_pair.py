"""The embedded pair on its way up: files, memory plan, and how each process is to be run.

`begin` asks the supervisor for both processes before the models server has imported anything heavy;
`ensure` does what is missing (fetch, plan) when there is more to do; `mend` sees to a file that a
process could not load. A plan holds as long as the daemon, which takes it away as it comes and as
it goes: a models server that comes back after a crash asks for its processes with the same
arguments and so finds them running, resident and warm.

Above: `servers.models`, and the pool's keepers, for which it is the `Preparation`. Below: `fetch`,
`memory_plan`, `tuning`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import orjson
from pydantic import BaseModel, ValidationError

from tale import __version__
from tale.config import ModelsSettings, RoleSettings
from tale.errors import ModelError, ModelFileDamaged, TaleError
from tale.models.backend import Role
from tale.models.catalog import EMBEDDED_PAIR, ModelFile, resolve_file
from tale.models.fetch import FetchProgress, ensure_model
from tale.models.fetch_sources import Source
from tale.models.gguf import read_gguf
from tale.models.launcher import Launcher
from tale.models.llama_server import LaunchOptions
from tale.models.machine import Cores, MachineMemory
from tale.models.memory_plan import MIB, ModelNeed, plan
from tale.models.model_store import distrust, is_present
from tale.models.tuning import Tuning, tune
from tale.paths import Paths
from tale.telemetry import get_logger
from tale.wire.leash import Peer

__all__ = ["EmbeddedModel", "EmbeddedPair", "PlannedLauncher", "need_of", "server_name"]

log = get_logger(__name__)

_ROLES: Final[tuple[Role, ...]] = ("ux", "task")


def server_name(key: str) -> str:
    """Name the process of a model, by its role or its own name."""
    return f"model-{key}"


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """One model of the pair.

    Attributes:
        role: Its core role.
        file: Where its file is, or will be.
        context: Tokens of one slot.
        slots: Requests side by side.
        tuning: Threads and niceness of its process.
    """

    role: Role
    file: ModelFile
    context: int
    slots: int
    tuning: Tuning


class PlannedLauncher:
    """Starts processes with the arguments that were planned for them, once they are."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.arguments: dict[str, tuple[str, ...]] = {}

    async def start(self, name: str, module_args: Sequence[str], nice: int) -> None:
        """Start a process if it isn't running as planned."""
        await self._launcher.start(name, self.arguments.get(name, module_args), nice)

    async def restart(self, name: str, reason: str) -> None:
        """Kill a process and start it again."""
        await self._launcher.restart(name, reason)

    async def stop(self, name: str) -> None:
        """End a process for good."""
        await self._launcher.stop(name)

    async def keep_only(self, names: Collection[str]) -> None:
        """End all processes but these."""
        await self._launcher.keep_only(names)

    async def wait_ready(self, name: str, *, after: Peer | None = None) -> Peer:
        """Wait until a process is ready."""
        return await self._launcher.wait_ready(name, after=after)

    def peer(self, name: str) -> Peer | None:
        """Look up a ready process."""
        return self._launcher.peer(name)


class _Remembered(BaseModel):
    """The plan of this daemon, on disk."""

    key: str
    arguments: dict[str, tuple[str, ...]]


class EmbeddedPair:
    """Prepares both models together, since only together they fit or don't."""

    def __init__(
        self,
        settings: ModelsSettings,
        paths: Paths,
        launcher: Launcher,
        *,
        token: str,
        sources: Sequence[Source] | None = None,
        memory: Callable[[], MachineMemory] = MachineMemory.read,
        cores: Callable[[], Cores] = Cores.read,
        version: str = __version__,
    ) -> None:
        """Find out which files are meant; nothing is fetched or started yet.

        Args:
            settings: Names, contexts and slots.
            paths: Where files, caches and the plan are.
            launcher: Who starts processes.
            token: This installation's, by which a plan of another one is told apart.
            sources: Where files are fetched from; the usual ones by default.
            memory: Looks at the machine's memory.
            cores: Looks at its processors.
            version: Of tale; another one may want other arguments.

        Raises:
            UnknownModel: The settings name a model that isn't known.
            ModelFileDamaged: They name a file that is no model.
        """
        self.directory = settings.directory or paths.models
        self.launcher = PlannedLauncher(launcher)
        self._slot_dir = paths.slots
        self._plan_file = paths.model_plan
        self._sources = sources
        self._memory = memory
        roles: dict[Role, RoleSettings] = {"ux": settings.ux, "task": settings.task}
        machine = cores()
        self.models = tuple(
            EmbeddedModel(
                role,
                resolve_file(roles[role].name or EMBEDDED_PAIR[role], self.directory),
                roles[role].context,
                roles[role].slots,
                tune(role, machine),
            )
            for role in _ROLES
        )
        meant = repr((self.models, str(self._slot_dir), token, version)).encode()
        self._key = hashlib.sha256(meant).hexdigest()
        self._preparing = anyio.Lock()
        self._prepared = self._alone = False
        self._mending = anyio.Lock()
        self._vouched: set[str] = set()
        self._doing: dict[str, str] = {}

    async def begin(self) -> bool:
        """Ask for both processes at once, if everything for it is here; says whether it did.

        What is wrong is not raised here: the pool meets it again in `ensure`, and tells.
        """
        if not all(map(self._is_here, self.models)):
            return False
        try:
            await self.ensure()
            for model in self.models:
                await self.launcher.start(server_name(model.role), (), model.tuning.nice)
        except TaleError as error:
            log.warning("models.not_begun", reason=str(error))
            return False
        return True

    async def ensure(self) -> None:
        """Have the plan made and the files here; see `preparation`.

        The plan comes first, from the catalogue's figures where a file is missing: nobody waits for
        a gigabyte that the machine can't hold.

        Raises:
            InsufficientMemory: The pair doesn't fit; nothing was fetched.
            DownloadFailed: A file can't be had.
            ModelFileDamaged: The user's own file is no model.
        """
        async with self._preparing:
            if self._prepared:
                return
            arguments = self._remembered()
            if not self._alone:
                # What an earlier models server left holds memory that is planned with here.
                await self.launcher.keep_only(arguments)
                self._alone = True
            if arguments:
                log.info("models.plan_kept")
            else:
                arguments = await self._plan()
                for model in self.models:
                    await self._bring(model)
                self._remember(arguments)
            self.launcher.arguments |= arguments
            self._prepared = True

    async def mend(self, model: str, error: ModelError) -> None:
        """Check the file that a process could not load, and fetch it again if it is damaged.

        llama.cpp may refuse a good file too, for want of memory say: what isn't damaged for sure is
        hashed once. A user's own file is the user's to replace.

        Raises:
            DownloadFailed: It is damaged and can't be had.
        """
        meant = next((one for one in self.models if one.file.name == model), None)
        if meant is None or meant.file.model is None:
            return
        async with self._mending:
            sure = isinstance(error, ModelFileDamaged)
            if not sure and model in self._vouched and self._is_here(meant):
                return
            log.warning("model.doubted", model=model, reason=error.message)
            distrust(meant.file.model, self.directory)
            await self._bring(meant)
            self._vouched.add(model)

    def doing(self, model: str) -> str:
        """Say how far a file is."""
        return self._doing.get(model, "")

    async def _plan(self) -> dict[str, tuple[str, ...]]:
        needs = [await self._need(model) for model in self.models]
        planned = plan(needs, self._memory()).models
        log.info("models.planned", needed_mib=sum(p.need.total for p in planned) // MIB)
        return {
            server_name(model.role): tuple(
                LaunchOptions(
                    model=model.file.path,
                    alias=model.file.name,
                    context=model.context,
                    slots=model.slots,
                    threads=model.tuning.threads,
                    batch_threads=model.tuning.batch_threads,
                    nice=model.tuning.nice,
                    slot_dir=self._slot_dir,
                    prompt_cache_mib=part.prompt_cache // MIB,
                ).arguments()
            )
            for model, part in zip(self.models, planned, strict=True)
        }

    async def _need(self, model: EmbeddedModel) -> ModelNeed:
        read = partial(need_of, model.file, context=model.context, slots=model.slots)
        try:
            return await anyio.to_thread.run_sync(read)
        except ModelFileDamaged as error:
            if model.file.model is None:
                raise
            # Verified once and damaged since: it is hashed again, moved aside and fetched anew.
            log.warning("model.damaged", model=model.file.name, reason=error.message)
            distrust(model.file.model, self.directory)
            await self._bring(model)
            return await anyio.to_thread.run_sync(read)

    async def _bring(self, model: EmbeddedModel) -> None:
        if model.file.model is None:
            return
        try:
            await ensure_model(
                model.file.model, self.directory, self._follow, sources=self._sources
            )
        finally:
            self._doing.pop(model.file.name, None)

    def _follow(self, progress: FetchProgress) -> None:
        verb = {"download": "downloading", "verify": "verifying"}.get(progress.phase, "")
        percent = 100 * progress.done // max(1, progress.total)
        said = f"{verb} {percent}%" if verb else progress.text
        if said != self._doing.get(progress.model):
            self._doing[progress.model] = said
            if not verb or percent % 10 == 0:
                log.info("model.fetching", model=progress.model, doing=said)

    def _is_here(self, model: EmbeddedModel) -> bool:
        return model.file.model is None or is_present(model.file.model, self.directory)

    def _remembered(self) -> dict[str, tuple[str, ...]]:
        try:
            found = _Remembered.model_validate_json(self._plan_file.read_bytes())
        except (OSError, ValidationError):
            return {}
        return found.arguments if found.key == self._key else {}

    def _remember(self, arguments: dict[str, tuple[str, ...]]) -> None:
        data = orjson.dumps({"key": self._key, "arguments": arguments})
        half = self._plan_file.with_suffix(".half")
        try:
            self._plan_file.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data)
            half.replace(self._plan_file)
        except OSError as error:
            # Costs a reload after a crash of the models server, nothing else.
            log.warning("models.plan_not_kept", reason=str(error))


def need_of(file: ModelFile, *, context: int, slots: int) -> ModelNeed:
    """Find out what a model takes: from its file, or from the catalogue while that is missing.

    Raises:
        ModelFileDamaged: The file is no model.
    """
    try:
        info = read_gguf(file.path)
    except OSError as error:
        if file.model is None:
            raise ModelFileDamaged(f"{file.path} can't be read: {error.strerror}.") from error
        return ModelNeed(file.name, file.model.size, file.model.shape, context, slots)
    return ModelNeed.of(file.name, info, context=context, slots=slots)
