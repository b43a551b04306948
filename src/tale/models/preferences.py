"""What the user wants of the routing: who is pinned, forbidden, weighted, and who helps out. Pure.

Above: `router`, which obeys. Below: `[routing]` of `tale.toml`, which `preferences_of` takes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tale.models.assess import Kind
from tale.models.backend import Role

if TYPE_CHECKING:
    from tale.config import RoutingSettings

__all__ = ["ANY", "AnyKind", "Preferences", "preferences_of"]

AnyKind = Kind | Literal["*"]
ANY: Final = "*"
_CHAINS: Final[Mapping[Role, tuple[str, ...]]] = {"ux": ("task",), "task": ("ux",)}


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the user wants. A model is named by its role or by its real name.

    Attributes:
        pin: The one model that answers a kind, as long as it is up and its window holds the text.
        forbid: Models that never answer a kind; `*` is every kind.
        weight: What a model's chance of success is multiplied by, by kind; `*` is every kind.
        fallback: Who answers when the model of a role can't, in this order. A model without a core
            role answers only where it is named here or in `pin`: being named is the permission.
    """

    pin: Mapping[Kind, str] = field(default_factory=dict[Kind, str])
    forbid: Mapping[AnyKind, frozenset[str]] = field(default_factory=dict[AnyKind, frozenset[str]])
    weight: Mapping[AnyKind, Mapping[str, float]] = field(
        default_factory=dict[AnyKind, Mapping[str, float]]
    )
    fallback: Mapping[Role, tuple[str, ...]] = field(default_factory=lambda: dict(_CHAINS))

    def forbids(self, kind: Kind, names: tuple[str, ...]) -> bool:
        """Tell whether a model, by any of its names, may not answer a kind."""
        return any(name in self.forbid.get(which, ()) for which in (kind, ANY) for name in names)

    def weight_of(self, kind: Kind, names: tuple[str, ...]) -> float:
        """Give a model's weight for a kind: that for the kind, else that for all, else 1."""
        for which in (kind, ANY):
            for name in names:
                if name in (weights := self.weight.get(which, {})):
                    return weights[name]
        return 1.0

    def chain(self, role: Role) -> tuple[str, ...]:
        """Name who answers when the model of a role can't."""
        return self.fallback.get(role, _CHAINS[role])


def preferences_of(settings: RoutingSettings) -> Preferences:
    """Take over what `tale.toml` says."""
    return Preferences(
        dict(settings.pin),
        {kind: frozenset(names) for kind, names in settings.forbid.items()},
        {kind: dict(weights) for kind, weights in settings.weight.items()},
        {**_CHAINS, **settings.fallback},
    )
