"""`python -m documentation.built FOLDER`: what the builder of the site does not look at.

Every page loads only what is beside it: no script, style, font or picture of a foreign host, and
none that is missing. Links to other sites are links, and nobody is sent there unasked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["faults", "loaded"]

_LOADING: Final = frozenset(
    {"audio", "embed", "iframe", "img", "object", "script", "source", "video"}
)
_FOREIGN_STYLE: Final = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")
_LINKS: Final = frozenset({"alternate", "canonical", "next", "prev"})
"""Relations of a `<link>` that load nothing."""


class _Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        said = dict(attrs)
        if tag in _LOADING:
            self.found += [value for key in ("src", "data") if (value := said.get(key))]
        elif tag == "link" and said.get("rel") not in _LINKS and (value := said.get("href")):
            self.found.append(value)


def loaded(page: str) -> list[str]:
    """Give the addresses that a page loads."""
    parser = _Loads()
    parser.feed(page)
    return parser.found


def faults(site: Path) -> Iterator[str]:
    """Say of each page and style sheet what it loads that it must not, or that is not there."""
    for page in sorted(site.rglob("*.html")):
        for address in loaded(page.read_text(encoding="utf-8")):
            if fault := _fault(site, page, address):
                yield f"{page.relative_to(site)}: {address} {fault}"
    for sheet in sorted(site.rglob("*.css")):
        for address in _FOREIGN_STYLE.findall(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)}: {address} is of a foreign host"


def _fault(site: Path, page: Path, address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "is of a foreign host"
    root = site if parts.path.startswith("/") else page.parent
    there = root / unquote(parts.path).lstrip("/")
    return "" if there.exists() else "is not there"


def main(folder: str) -> int:
    """Print what is wrong; gives the exit code."""
    found = list(faults(Path(folder)))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
