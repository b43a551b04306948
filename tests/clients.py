"""Programs that people use, on a real tale: `llm` chats, `aider` mends a file. `make clients`.

Not part of the suite: aider comes with a hundred packages, in an environment of its own
(`.clients`), and a small model takes a minute over an edit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.installation import Installation

_ROOT: Final = Path(__file__).parents[1]
_ENVIRONMENT: Final = _ROOT / ".clients"
_AIDER: Final = "aider-chat==0.86.2"
_WRONG: Final = "def add(a, b):\n    return a - b\n"
_SECONDS: Final = 900


def _run(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _install() -> Path:
    """Bring aider, unless it is there."""
    aider = _ENVIRONMENT / "bin/aider"
    if not aider.exists():
        uv = shutil.which("uv") or str(_ROOT / ".uv/bin/uv")
        environ = dict(os.environ)
        _run([uv, "venv", "--quiet", "--allow-existing", str(_ENVIRONMENT)], _ROOT, environ)
        python = str(_ENVIRONMENT / "bin/python")
        _run([uv, "pip", "install", "--quiet", "--python", python, _AIDER], _ROOT, environ)
    return aider


def _try_llm(url: str, token: str, folder: Path) -> None:
    model = "- {model_id: tale, model_name: auto, api_base: %s/v1, api_key_name: tale}\n"
    (folder / "extra-openai-models.yaml").write_text(model % url)
    (folder / "keys.json").write_text(f'{{"tale": "{token}"}}')
    environ = {**os.environ, "LLM_USER_PATH": str(folder)}
    said = _run([sys.executable, "-m", "llm", "-m", "tale", "hello"], folder, environ)
    if not said.strip():
        raise SystemExit("llm said nothing.")
    print(f"llm: {said.strip()}")


def _try_aider(aider: Path, url: str, token: str, folder: Path) -> None:
    (folder / "calc.py").write_text(_WRONG)
    command = [str(aider), "--model", "openai/task", "--openai-api-base", f"{url}/v1"]
    command += ["--openai-api-key", token, "--edit-format", "whole", "--no-git", "--yes-always"]
    command += ["--no-show-model-warnings", "--no-check-update", "--analytics-disable"]
    command += ["--no-pretty", "--map-tokens", "0"]
    command += ["--message", "add must return the sum of a and b. Fix calc.py.", "calc.py"]
    # It keeps a folder in the user's home.
    said = _run(command, folder, {**os.environ, "HOME": str(folder)})
    found: dict[str, object] = {}
    exec((folder / "calc.py").read_text(), found)  # noqa: S102 - the program that was mended
    add = found["add"]
    if not callable(add) or add(2, 3) != 5:
        raise SystemExit(f"aider did not mend it:\n{said}")
    print("aider: mended calc.py")


def main() -> None:
    """Try both."""
    aider = _install()
    with Installation.fresh() as installation, tempfile.TemporaryDirectory() as folder:
        installation.tale("serve", "--detach")
        url, token = installation.url_of("models"), installation.runtime.token
        _try_llm(url, token, Path(folder))
        _try_aider(aider, url, token, Path(folder))


if __name__ == "__main__":
    main()
