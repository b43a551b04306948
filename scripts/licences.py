"""The licences of all that is installed with tale: listed, and held against those that go with MIT.

`python scripts/licences.py` writes `LICENCES.md` from the metadata of what `requirements.lock`
names, as it is installed; with `--check` it only says whether the file is up to date. Packages for
other systems, which are not installed here, are listed as such.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "LICENCES.md"
_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_CLASSIFIER: Final = "License :: OSI Approved :: "

# By SPDX. Permissive ones, and those whose copyleft ends at the file or the library: used as they
# are, never copied into tale.
ALLOWED: Final = frozenset(
    """
    0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause CC0-1.0 CNRI-Python ISC LGPL-2.1-or-later
    LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MPL-2.0 PSF-2.0 Python-2.0 Unlicense Zlib
    """.split()  # noqa: SIM905 - a list would take a line for each
)
# What older metadata says in words of its own.
_SPOKEN: Final = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "lgpl with exceptions": "LGPL-3.0-only",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}


def licence_of(package: Distribution) -> str:
    """Give a package's licence as an SPDX expression, or in its own words."""
    expressions, words = _said(package, "License-Expression"), _said(package, "License")
    if expressions:
        return expressions[0]
    classified = [
        one.removeprefix(_CLASSIFIER)
        for one in _said(package, "Classifier")
        if one.startswith(_CLASSIFIER)
    ]
    said = classified or [words[0].splitlines()[0] if words else "unknown"]
    return " OR ".join(dict.fromkeys(_SPOKEN.get(one.lower(), one) for one in said))


def _said(package: Distribution, header: str) -> list[str]:
    """Give what the metadata say under a header; the package's own words may be anything."""
    return [str(one).strip() for one in package.metadata.get_all(header) or [] if str(one).strip()]


def goes_with_mit(licence: str) -> bool:
    """Tell whether a licence is allowed: all of its parts, or one of each choice."""
    bare = licence.replace("(", " ").replace(")", " ")
    bare = re.sub(r"\s+WITH\s+\S+", "", bare)
    return all(
        any(one.strip() in ALLOWED for one in part.split(" OR ")) for part in bare.split(" AND ")
    )


def listed(lock: str) -> list[tuple[str, str, str]]:
    """Give name, version and licence of each package; the licence is empty where it isn't here."""
    found: list[tuple[str, str, str]] = []
    for name, version in sorted(set(_PINNED.findall(lock)), key=lambda row: row[0].lower()):
        try:
            found.append((name, version, licence_of(distribution(name))))
        except PackageNotFoundError:
            found.append((name, version, ""))
    return found


def page(rows: list[tuple[str, str, str]]) -> str:
    """Write the list."""
    lines = [
        "# Licences of what is installed with tale",
        "",
        "Written by `make licences`. tale itself is under the MIT licence; it uses these packages",
        "as they are and has no code of theirs.",
        "",
        "| package | licence |",
        "| --- | --- |",
        *dict.fromkeys(
            f"| {name} | {licence or 'on other systems only'} |" for name, _, licence in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the list; 1 where a licence doesn't go with MIT, or it isn't up to date."""
    rows = listed((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    bad = [row for row in rows if row[2] and not goes_with_mit(row[2])]
    for name, version, licence in bad:
        print(f"{name} {version} is under {licence!r}, which is not in the list of allowed ones.")
    text = page(rows)
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        print(f"{FILE.name} is not up to date: `make licences` writes it anew.")
        return 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
