"""Secrets that the settings only refer to: in the environment, or in the desktop's own store.

`env:NAME` is the value of a variable, `keyring:SERVICE/NAME` that of an entry which `keyring set
SERVICE NAME` made; `${env:NAME}` and `${keyring:SERVICE/NAME}` stand for them within a longer text.
They are looked up as the settings are read, and what is found is never shown. Above: `config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

__all__ = ["AS_WRITTEN", "Secret", "find_secret", "is_reference"]

AS_WRITTEN: Final[Mapping[str, Any]] = {"secrets": "as written"}
"""Validation context in which nothing is looked up, for commands that need no secret."""

_WHOLE: Final = re.compile(r"(env|keyring):([^\s{}]+)")
_WITHIN: Final = re.compile(r"\$\{(env|keyring):([^}]*)\}")


def is_reference(text: str) -> bool:
    """Tell whether a text says where a secret is, rather than what it is."""
    return bool(_WHOLE.fullmatch(text) or _WITHIN.search(text))


def find_secret(text: str) -> str:
    """Put what is referred to in the place of its references; any other text stays.

    Raises:
        LookupError: It isn't there; says what, and what to do.
    """
    if whole := _WHOLE.fullmatch(text):
        return _FINDERS[whole[1]](whole[2])
    return _WITHIN.sub(lambda found: _FINDERS[found[1]](found[2]), text)


def _from_environment(name: str) -> str:
    if found := os.environ.get(name):
        return found
    raise LookupError(
        f"there is no variable {name} in the environment; the daemon has that of whoever starts it"
    )


def _from_keyring(place: str) -> str:
    service, slash, name = place.partition("/")
    if not (service and slash and name):
        raise LookupError(f"keyring:{place} must be keyring:SERVICE/NAME")
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError as error:
        raise LookupError("the keyring is not installed; install `tale[keyring]`") from error
    try:
        found = keyring.get_password(service, name)
    except KeyringError as error:
        raise LookupError(f"the keyring can't be read ({error or type(error).__name__})") from error
    if found:
        return found
    raise LookupError(f"the keyring has no such entry; `keyring set {service} {name}` makes it")


_FINDERS: Final[Mapping[str, Callable[[str], str]]] = {
    "env": _from_environment,
    "keyring": _from_keyring,
}


def _found(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.context is AS_WRITTEN:
        return value
    try:
        return SecretStr(find_secret(value.get_secret_value()))
    except LookupError as error:
        raise PydanticCustomError("secret", "{why}", {"why": str(error)}) from error


Secret = Annotated[SecretStr, AfterValidator(_found)]
"""A secret, or where it is."""
