"""Git's objects as bytes: blobs, trees, commits, and the ids that their content gives them; pure.

Only what a snapshot needs, as gitformat-pack(5) and git-hash-object(1) document it. A folder that
is empty is kept as git's empty tree, which git's own index can't name and its objects can. Above:
`packs` (keeps them), `scan` (makes them), `restore` (reads them).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

__all__ = [
    "EXECUTABLE",
    "FILE",
    "FOLDER",
    "LINK",
    "Damaged",
    "Entry",
    "Kind",
    "decode_commit",
    "decode_tree",
    "encode_commit",
    "encode_tree",
    "kind_of",
    "object_id",
]

Kind = Literal["commit", "tree", "blob"]

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
LINK: Final = 0o120000
FOLDER: Final = 0o040000
_MODES: Final = frozenset({FILE, EXECUTABLE, LINK, FOLDER})

_ID_BYTES: Final = 20
_COMMIT: Final = re.compile(rb"tree ([0-9a-f]{40})(?:\n|$)")
_WHO: Final = b"tale <tale@localhost>"


class Damaged(Exception):
    """An object isn't what its id says, or isn't there; callers say which checkpoint that costs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder; `id` is the 20 bytes of a blob's or a tree's id."""

    name: bytes
    mode: int
    id: bytes


def object_id(kind: Kind, content: bytes) -> bytes:
    """Give the id that git gives this content."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)), usedforsecurity=False)
    digest.update(content)
    return digest.digest()


def encode_tree(entries: Iterable[Entry]) -> bytes:
    """Write a folder; git sorts folders as if their names ended in a slash."""
    ordered = sorted(entries, key=lambda one: one.name + b"/" if one.mode == FOLDER else one.name)
    return b"".join(b"%o %s\0%s" % (one.mode, one.name, one.id) for one in ordered)


def decode_tree(content: bytes) -> list[Entry]:
    """Read a folder.

    Raises:
        Damaged: It isn't one, or names something that can't be in a folder.
    """
    entries: list[Entry] = []
    seen: set[bytes] = set()
    at = 0
    while at < len(content):
        end = content.find(b"\0", at)
        mode, space, name = content[at:end].partition(b" ")
        at = end + 1 + _ID_BYTES
        if end < 0 or not space or at > len(content) or not mode.isdigit() or len(mode) > 6:
            raise Damaged("a tree is cut short")
        number = int(mode, 8) if not set(mode) & set(b"89") else -1
        if number not in _MODES or not _is_name(name) or name in seen:
            raise Damaged(f"a tree holds {name[:80]!r} as {mode.decode()}")
        seen.add(name)
        entries.append(Entry(name, number, content[at - _ID_BYTES : at]))
    return entries


def kind_of(entry: Entry) -> Kind:
    """Tell what an entry's id names."""
    return "tree" if entry.mode == FOLDER else "blob"


def encode_commit(tree: bytes, message: str, at: datetime) -> bytes:
    """Write a commit without parents: one that is dropped must not be held by the next."""
    stamp = b"%d +0000" % int(at.timestamp())
    return b"tree %s\nauthor %s %s\ncommitter %s %s\n\n%s" % (
        tree.hex().encode(),
        _WHO,
        stamp,
        _WHO,
        stamp,
        message.encode(errors="replace"),
    )


def decode_commit(content: bytes) -> tuple[bytes, str]:
    """Give a commit's tree and message.

    Raises:
        Damaged: It isn't a commit.
    """
    head, blank, message = content.partition(b"\n\n")
    found = _COMMIT.match(head)
    if found is None or not blank:
        raise Damaged("a commit can't be understood")
    return bytes.fromhex(found[1].decode()), message.decode(errors="replace")


def _is_name(name: bytes) -> bool:
    """Whether a folder may hold that name: nothing that leads elsewhere, nothing of git's own."""
    return bool(name) and b"/" not in name and name not in {b".", b".."} and name.lower() != b".git"
