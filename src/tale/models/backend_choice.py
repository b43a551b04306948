"""Where the settings have the models run. Pure; whether an Ollama has the pair is not looked at.

Above: `servers.models`, which starts them there, and `tale doctor`.
"""

from __future__ import annotations

from typing import Final

from tale.config import BackendKind, ModelsSettings, RoleSettings
from tale.errors import ConfigError
from tale.models.backend import Role

__all__ = ["configured_backend", "unused_urls"]

_ROLES: Final[tuple[Role, Role]] = ("ux", "task")


def configured_backend(settings: ModelsSettings) -> BackendKind:
    """Say where the models run; `auto` where the machine decides.

    Raises:
        ConfigError: One role has a `url`, so that its model would run elsewhere without it.
    """
    if settings.backend != "auto":
        return settings.backend
    given = _with_url(settings)
    if len(given) == 1:
        (role,) = given
        other = next(one for one in _ROLES if one != role)
        raise ConfigError(
            f"models.{role}.url is set and models.{other}.url is not: both models run on "
            "OpenAI-compatible servers, or none does.",
            hint=f"Set url and name under [models.{other}] too (one server may have both), or "
            'models.backend = "embedded" or "ollama", which leave the url alone. For a server that '
            "only helps out there is [routing.remotes].",
        )
    return "openai" if given else "auto"


def unused_urls(kind: BackendKind, settings: ModelsSettings) -> list[str]:
    """Name the addresses in the settings that a backend doesn't use.

    No error: who keeps two set-ups in one file changes `backend` alone, in a profile say.
    """
    return [] if kind == "openai" else [f"models.{role}.url" for role in _with_url(settings)]


def _with_url(settings: ModelsSettings) -> list[Role]:
    roles: dict[Role, RoleSettings] = {"ux": settings.ux, "task": settings.task}
    return [role for role in _ROLES if roles[role].url]
