"""The manual page is that of the commands as they are, and one that `man` can show."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from documentation.commands import leaves
from documentation.man import man_page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "man/tale.1"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == man_page(), "`make man` writes it anew"


def test_it_has_every_command() -> None:
    text = man_page()
    for name, _ in leaves():
        assert f"\\fBtale {name}\\fR".replace("-", "\\-") in text


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_man_shows_it_without_a_complaint() -> None:
    command = ["man", "--warnings", "-l", str(PAGE)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "tale submit [OPTIONS]" in re.sub("\x1b\\[[0-9;]*m|.\x08", "", shown.stdout)


def test_the_unit_in_the_documentation_is_the_file() -> None:
    unit = (ROOT / "deploy/systemd/tale.service").read_text(encoding="utf-8")
    assert f"```ini\n{unit}```" in (ROOT / "docs/guides/service.md").read_text(encoding="utf-8")
