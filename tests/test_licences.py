"""Which licences go with MIT, however a package words its own."""

from __future__ import annotations

import re
import tomllib
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from scripts.licences import goes_with_mit, licence_of, listed, page

ROOT = Path(__file__).parents[1]


class Package(Distribution):
    """A package that is only metadata."""

    def __init__(self, *headers: tuple[str, str]) -> None:
        self._about = Message()
        for name, value in headers:
            self._about[name] = value

    @property
    def metadata(self) -> Any:
        return self._about

    def read_text(self, filename: str) -> str | None:
        del filename
        return None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("licence", "goes"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-2.0-or-later", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_choice_needs_one_licence_that_goes_and_the_rest_all_of_them(
    licence: str, *, goes: bool
) -> None:
    assert goes_with_mit(licence) is goes


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "BSD")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
        ([("License", "Apache License 2.0\n\nwith all of its text")], "Apache-2.0"),
        ([("License", "")], "unknown"),
        ([], "unknown"),
    ],
)
def test_old_and_new_metadata_are_understood(headers: list[tuple[str, str]], licence: str) -> None:
    assert licence_of(Package(*headers)) == licence


def test_what_is_locked_is_listed_once_with_what_is_not_here() -> None:
    rows = listed("anyio==1\n    --hash=sha256:0\nnot-here==2 ; sys_platform == 'win32'\n")
    assert [row[0] for row in rows] == ["anyio", "not-here"]
    assert "| anyio | MIT |" in page(rows)
    assert "| not-here | on other systems only |" in page(rows)


def test_every_dependency_that_is_named_is_in_the_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [re.split(r"[^A-Za-z0-9._-]", one)[0] for one in project["dependencies"]]
    assert len(named) > 20
    text = (ROOT / "LICENCES.md").read_text(encoding="utf-8").lower()
    assert [one for one in named if f"| {one.replace('.', '-')} |" not in text] == []
