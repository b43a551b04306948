"""A small file that is written whole or not at all, whatever cuts it off. Standard library only.

Above: `config_layers`, `orchestration.instance`, `tasks.notifier`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(file: Path, text: str, *, private: bool = False) -> None:
    """Write a file beside its place, and put it there once it is on the disk.

    Args:
        file: The file; its folder must be there. A new one is readable by its owner alone.
        text: What it is to hold.
        private: Whether one that others could read becomes its owner's alone, too.

    Raises:
        OSError: It can't be written; what was there is as it was.
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            if not private and file.exists():
                draft.chmod(stat.S_IMODE(file.stat().st_mode))
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
