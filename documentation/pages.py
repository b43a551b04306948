"""Which pages are made from the code. Above: `__main__`, and the test that they are current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from documentation.commands import commands_page
from documentation.errors import errors_page
from documentation.metrics import metrics_page
from documentation.settings import settings_page
from documentation.tools import tools_page

__all__ = ["GENERATED", "REFERENCE", "outdated", "write"]

REFERENCE: Final = Path(__file__).parent.parent / "docs" / "reference"
GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "mcp-tools.md": tools_page,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
}
_NOTICE: Final = "<!-- Made by `make reference` from the code; changes belong there. -->\n\n"


def _pages() -> dict[Path, str]:
    return {REFERENCE / name: _NOTICE + make().rstrip() + "\n" for name, make in GENERATED.items()}


def write() -> None:
    """Write every page anew."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for file, text in _pages().items():
        file.write_text(text, encoding="utf-8")


def outdated() -> list[str]:
    """Name the pages that are not what the code makes of them."""
    return [
        file.name
        for file, text in _pages().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
