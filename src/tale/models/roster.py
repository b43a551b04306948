"""The models of the pool, by name: the two core ones, further ones beside them, and remote ones.

Above: `model_pool` and `dispatch`. Below: `resident`, `further`, `remote`.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError, UnknownModel
from tale.models.backend import Role
from tale.models.choice import Candidate, Miss
from tale.models.further import FurtherModels
from tale.models.order import Order
from tale.models.remote import RemoteModel
from tale.models.resident import ResidentModel
from tale.models.waiting import Deadline

__all__ = ["Member", "Roster"]

Member = ResidentModel | RemoteModel
"""A model that can be given a request."""


class Roster:
    """Who is there.

    Attributes:
        core: The core models, which are always there.
        further: The optional ones.
        remotes: Those on other servers, by the names they are asked for by.
    """

    def __init__(
        self,
        core: Mapping[Role, ResidentModel],
        further: FurtherModels,
        remotes: Mapping[str, RemoteModel],
    ) -> None:
        self.core = core
        self.further = further
        self.remotes = remotes

    @property
    def models(self) -> tuple[ResidentModel, ...]:
        """All that take memory now, the core ones first."""
        return (*self.core.values(), *self.further.models)

    def names(self) -> tuple[str, ...]:
        """Names of the models that may be asked for, the core ones first."""
        core = (model.backend.model for model in self.core.values())
        return tuple(dict.fromkeys((*core, *self.further.names(), *self.remotes)))

    async def present(self, name: str, until: Deadline) -> Member:
        """Give the model of that role or name, loading it first if it is a further one.

        Raises:
            UnknownModel: No model is called that.
            InsufficientMemory: The machine can't hold it.
            TaleError: It did not load, or not in time.
        """
        if model := self.core_named(name) or self.further.get(name):
            return model
        if name in self.further.names():
            with anyio.CancelScope(deadline=until.at):
                return await self.further.load(name)
            raise self.late(name, until)
        if remote := self.remotes.get(name):
            return remote
        known = ", ".join(dict.fromkeys(("auto", *self.core, *self.names())))
        raise UnknownModel(f"No model named {name!r} is known.", hint=f"Known: {known}.")

    def core_named(self, name: str) -> ResidentModel | None:
        """Give the core model of a role or real name."""
        named = (model for model in self.core.values() if model.backend.model == name)
        return next((m for role, m in self.core.items() if role == name), next(named, None))

    def key(self, name: str) -> str:
        """Give what a model is called inside the pool: its role, or its name."""
        core = self.core_named(name)
        return core.key if core else name

    def chain(self, order: Order) -> tuple[str, ...]:
        """Name those that may answer in place of the order's target, by their keys.

        Without a chain in the order that is the other core model, for a core model.
        """
        target = self.key(order.target)
        chain = order.chain
        if chain is None:
            chain = tuple(self.core) if target in self.core else ()
        known = {*self.core, *self.names()}
        keys = dict.fromkeys(self.key(name) for name in chain if name in known)
        return tuple(key for key in keys if key != target)

    def glance(self, key: str, miss: Miss | None) -> Candidate:
        """Show a model to `choose` as it stands, without loading it."""
        member = self.core_named(key) or self.further.get(key)
        if member is None and key not in self.further.names():
            member = self.remotes.get(key)
        return member.candidate(miss) if member else self.further.candidate(key, miss)

    def window(self, key: str) -> int | None:
        """Give the tokens of a model's window; None for one that isn't loaded."""
        member = self.core_named(key) or self.further.get(key) or self.remotes.get(key)
        return member.backend.context if member else None

    def late(self, target: str, until: Deadline) -> TaleError:
        """Say with figures why a request got no model in time."""
        standing = "; ".join(model.standing() for model in self.models)
        message = f"{target} was not available within {until.waited:.1f} s: {standing}."
        hint = "`tale status` shows the recovery; ask again, or allow more time."
        if until.asked:
            return DeadlineExceeded(message, hint=hint)
        return ServiceUnavailable(message, hint=hint)
