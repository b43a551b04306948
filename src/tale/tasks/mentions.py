"""What the parts of a plan say about files: what each declares, names, tests, documents. Pure.

Words are matched roughly, and files by their path or their name, never by what is in them. Above:
`dependencies`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Final, Literal

from tale.tasks.task import Subtask

__all__ = ["Mentions", "about", "covers", "mentions_of", "named_in", "subject_of"]

About = Literal["tests", "documents"]

_TOKEN: Final = re.compile(r"[\w./\\*-]*\w")
_WORD: Final = re.compile(r"\w+")
_PATTERN: Final = re.compile(r"[*?\[]")
_TEST_FILE: Final = re.compile(
    r"test_(?P<before>.+)|(?P<after>.+?)_tests?|(?P<dotted>.+)\.(?:test|spec)|(?P<camel>.+)Tests?"
)
_TESTS: Final = frozenset({"test", "tests", "testing", "unittest", "pytest"})
_DOCUMENTS: Final = frozenset(
    {"document", "documents", "documentation", "docs", "docstrings", "readme", "tutorial", "manual"}
)
_PROSE: Final = frozenset({".md", ".rst", ".txt", ".adoc", ".html"})
# Shorter names of files are words that stand in any text.
_SHORTEST_STEM: Final = 3


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one part says.

    Attributes:
        reads: Files that it declares to need.
        writes: Files that it declares to write.
        tokens: What may be a path, an id or a name in its title and text, in lower case.
        words: The words of its title and text, in lower case.
        text: Both, in lower case, white space made even.
        about: Whether it tests or documents something; None where it does neither.
        subjects: Stems of the files that its own are tests or pages of, in lower case.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    tokens: frozenset[str]
    words: frozenset[str]
    text: str
    about: About | None
    subjects: frozenset[str]


def mentions_of(part: Subtask) -> Mentions:
    """See what a part says of files."""
    said = f"{part.title}\n{part.text}"
    writes = _paths(part.writes)
    words = frozenset(_WORD.findall(said.lower()))
    subjects = {subject for path in writes if (subject := subject_of(path))}
    title = frozenset(_WORD.findall(part.title.lower()))
    about: About | None = None
    if subjects or title & _TESTS:
        about = "tests"
    elif (writes and all(_is_prose(path) for path in writes)) or title & _DOCUMENTS:
        about = "documents"
        subjects = {PurePosixPath(path).stem.lower() for path in writes}
    return Mentions(
        reads=_paths(part.reads),
        writes=writes,
        tokens=frozenset(
            normpath(token.replace("\\", "/")).lower() for token in _TOKEN.findall(said)
        ),
        words=words,
        text=" ".join(said.lower().split()),
        about=about,
        subjects=frozenset(subjects),
    )


def named_in(path: str, said: Mentions) -> bool:
    """Tell whether a text names a file: by its path, or by a name that looks like a file's."""
    name = PurePosixPath(path).name
    looks_like_one = "." in name or name[:1].isupper()
    return path.lower() in said.tokens or (looks_like_one and name.lower() in said.tokens)


def covers(declared: Iterable[str], path: str) -> bool:
    """Tell whether a path is among what was declared: files, folders, or patterns."""
    return any(
        path == one
        or path.startswith(f"{one}/")
        or one == "."
        or (_PATTERN.search(one) is not None and fnmatchcase(path, one))
        for one in declared
    )


def about(path: str, said: Mentions) -> bool:
    """Tell whether a part tests or documents a file, which is neither a test nor prose itself."""
    if said.about is None or subject_of(path) or _is_prose(path):
        return False
    stem = PurePosixPath(path).stem.lower()
    if stem in said.subjects:
        return True
    return len(stem) >= _SHORTEST_STEM and (stem in said.words or named_in(path, said))


def subject_of(path: str) -> str:
    """Give the stem of the file that a test is for, in lower case; empty where it is no test."""
    found = _TEST_FILE.fullmatch(PurePosixPath(path).stem)
    return "" if found is None else next(one for one in found.groups() if one).lower()


def _paths(declared: Iterable[str]) -> frozenset[str]:
    return frozenset(normpath(path.strip().replace("\\", "/")) for path in declared if path.strip())


def _is_prose(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _PROSE
