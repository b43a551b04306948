"""The models of the pool, by name: the two core ones, and the further ones beside them.

Above: `model_pool` and `dispatch`. Below: `resident`, `further`.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from tale.errors import DeadlineExceeded, ServiceUnavailable, TaleError, UnknownModel
from tale.models.backend import Role
from tale.models.further import FurtherModels
from tale.models.resident import ResidentModel
from tale.models.waiting import Deadline

__all__ = ["Roster"]


class Roster:
    """Who is there.

    Attributes:
        core: The core models, which are always there.
        further: The optional ones.
    """

    def __init__(self, core: Mapping[Role, ResidentModel], further: FurtherModels) -> None:
        self.core = core
        self.further = further

    @property
    def models(self) -> tuple[ResidentModel, ...]:
        """All that take memory now, the core ones first."""
        return (*self.core.values(), *self.further.models)

    def names(self) -> tuple[str, ...]:
        """Real names of the models that may be asked for, the core ones first."""
        core = (model.backend.model for model in self.core.values())
        return tuple(dict.fromkeys((*core, *self.further.names())))

    async def present(self, name: str, until: Deadline) -> ResidentModel:
        """Give the model of that role or name, loading it first if it is a further one.

        Raises:
            UnknownModel: No model is called that.
            InsufficientMemory: The machine can't hold it.
            TaleError: It did not load, or not in time.
        """
        if model := self.core_named(name) or self.further.get(name):
            return model
        if name not in self.further.names():
            known = ", ".join(dict.fromkeys(("auto", *self.core, *self.names())))
            raise UnknownModel(f"No model named {name!r} is known.", hint=f"Known: {known}.")
        with anyio.CancelScope(deadline=until.at):
            return await self.further.load(name)
        raise self.late(name, until)

    def core_named(self, name: str) -> ResidentModel | None:
        """Give the core model of a role or real name."""
        named = (model for model in self.core.values() if model.backend.model == name)
        return next((m for role, m in self.core.items() if role == name), next(named, None))

    def other(self, model: ResidentModel) -> ResidentModel | None:
        """Give the core model beside a core model."""
        if model.role is None:
            return None
        return next((other for other in self.core.values() if other is not model), None)

    def late(self, target: str, until: Deadline) -> TaleError:
        """Say with figures why a request got no model in time."""
        standing = "; ".join(model.standing() for model in self.models)
        message = f"{target} was not available within {until.waited:.1f} s: {standing}."
        hint = "`tale status` shows the recovery; ask again, or allow more time."
        if until.asked:
            return DeadlineExceeded(message, hint=hint)
        return ServiceUnavailable(message, hint=hint)
