"""A file is written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from small_disk import mounted
from tale.whole_file import write_whole


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_new_file_is_its_owners_alone_and_one_that_is_there_stays_as_open(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    write_whole(file, "é\n")
    assert (file.read_text(encoding="utf-8"), mode(file)) == ("é\n", 0o600)
    file.chmod(0o644)
    write_whole(file, "")
    assert (file.read_text(encoding="utf-8"), mode(file)) == ("", 0o644)
    write_whole(file, "secret", private=True)
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        file = disk.path / "kept"
        write_whole(file, "before")
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            write_whole(file, "x" * 8192)
        assert file.read_text() == "before"
        assert [one.name for one in disk.path.iterdir() if one.name.startswith(".kept")] == []
