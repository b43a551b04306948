"""Further embedded models: those of the catalogue whose files are here, and what they would take.

A `ModelSource` and a `MemoryGuard` for the pool. Fetching is `tale models pull`'s business: a
request never waits for a download nobody asked for. Above: `servers.model_app`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tale.errors import UnknownModel
from tale.models.backend import Backend
from tale.models.catalog import CATALOG, ModelFile, resolve_file
from tale.models.embedded_pair import EmbeddedPair, need_of, server_name
from tale.models.llama_server import LaunchOptions
from tale.models.machine import Cores, MachineMemory
from tale.models.memory_plan import ModelNeed
from tale.models.model_store import is_present
from tale.models.tuning import tune

__all__ = ["EmbeddedLibrary", "MakeBackend", "ModelProcess"]


@dataclass(frozen=True, slots=True)
class ModelProcess:
    """How a model's process is run.

    Attributes:
        name: Its name at the supervisor.
        model: The model's real name.
        context: Tokens of context for one request.
        arguments: Arguments of `models.llama_server`.
        nice: Its niceness.
    """

    name: str
    model: str
    context: int
    arguments: tuple[str, ...]
    nice: int


MakeBackend = Callable[[ModelProcess], Backend]
"""Makes the backend of a process."""

# Prefixes of a model that is here for a while only.
_PROMPT_CACHE_MIB = 64


class EmbeddedLibrary:
    """The models beside the pair."""

    def __init__(
        self,
        pair: EmbeddedPair,
        make: MakeBackend,
        *,
        context: int,
        memory: Callable[[], MachineMemory] = MachineMemory.read,
        cores: Callable[[], Cores] = Cores.read,
    ) -> None:
        """Describe it.

        Args:
            pair: The core models, whose folder and launcher are used.
            make: Makes a backend.
            context: Tokens of context of a further model.
            memory: Looks at the machine's memory.
            cores: Looks at its processors.
        """
        self._pair = pair
        self._make = make
        self._context = context
        self._memory = memory
        self._tuning = tune(None, cores())

    def names(self) -> Sequence[str]:
        """Name the models that could be loaded now."""
        core = {model.file.name for model in self._pair.models}
        return tuple(
            name
            for name, model in CATALOG.items()
            if name not in core and is_present(model, self._pair.directory)
        )

    def open(self, name: str) -> Backend:
        """Make the backend of a model."""
        file = self._file(name)
        options = LaunchOptions(
            model=file.path,
            alias=file.name,
            context=self._context,
            slots=1,
            threads=self._tuning.threads,
            batch_threads=self._tuning.batch_threads,
            nice=self._tuning.nice,
            slot_dir=None,
            prompt_cache_mib=_PROMPT_CACHE_MIB,
        )
        arguments = tuple(options.arguments())
        return self._make(
            ModelProcess(server_name(name), name, self._context, arguments, self._tuning.nice)
        )

    def available(self) -> int:
        """Bytes that could be taken now without swapping."""
        return self._memory().available

    def need(self, name: str) -> int:
        """Bytes that a model would take."""
        return self._need(name).total

    def _need(self, name: str) -> ModelNeed:
        return need_of(self._file(name), context=self._context, slots=1)

    def _file(self, name: str) -> ModelFile:
        if name not in self.names():
            raise UnknownModel(
                f"No file of a model named {name!r} is here.", hint=f"`tale models pull {name}`."
            )
        return resolve_file(name, self._pair.directory)
