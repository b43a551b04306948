"""What fenced blocks are called and the files they make: data, and one question about names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

__all__ = ["EXTENSIONS", "SHELLS", "default_name", "is_document", "is_file_name"]

EXTENSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "bash": (".sh", ".bash"),
    "c": (".c", ".h"),
    "c++": (".cpp", ".cc", ".hpp", ".h"),
    "cpp": (".cpp", ".cc", ".hpp", ".h"),
    "cs": (".cs",),
    "csharp": (".cs",),
    "css": (".css",),
    "csv": (".csv",),
    "diff": (".diff", ".patch"),
    "dockerfile": ("", ".dockerfile"),
    "go": (".go",),
    "html": (".html", ".htm"),
    "ini": (".ini", ".cfg", ".conf"),
    "java": (".java",),
    "javascript": (".js", ".mjs", ".cjs", ".jsx"),
    "js": (".js", ".mjs", ".cjs", ".jsx"),
    "json": (".json",),
    "jsx": (".jsx",),
    "kotlin": (".kt", ".kts"),
    "lua": (".lua",),
    "makefile": ("", ".mk"),
    "markdown": (".md", ".markdown"),
    "md": (".md", ".markdown"),
    "perl": (".pl", ".pm"),
    "php": (".php",),
    "py": (".py", ".pyi"),
    "python": (".py", ".pyi"),
    "python3": (".py", ".pyi"),
    "r": (".r",),
    "ruby": (".rb",),
    "rust": (".rs",),
    "scss": (".scss",),
    "sh": (".sh", ".bash"),
    "shell": (".sh", ".bash"),
    "sql": (".sql",),
    "svg": (".svg",),
    "swift": (".swift",),
    "text": (".txt",),
    "toml": (".toml",),
    "ts": (".ts", ".mts", ".cts"),
    "tsx": (".tsx",),
    "txt": (".txt",),
    "typescript": (".ts", ".mts", ".cts", ".tsx"),
    "vue": (".vue",),
    "xml": (".xml", ".svg"),
    "yaml": (".yaml", ".yml"),
    "yml": (".yaml", ".yml"),
    "zsh": (".sh", ".zsh"),
    # Not files, but what somebody types or sees:
    "console": (),
    "output": (),
    "powershell": (".ps1",),
    "shell-session": (),
}
"""Extensions of a language's files; the first is the usual one."""

SHELLS: Final = frozenset(
    {"bash", "sh", "shell", "zsh", "console", "output", "powershell", "shell-session"}
)
"""Blocks that more often say what to type than what is in a file."""

_MAIN_NAMES: Final = {
    "css": "style.css",
    "dockerfile": "Dockerfile",
    "html": "index.html",
    "java": "Main.java",
    "makefile": "Makefile",
    "markdown": "README.md",
    "md": "README.md",
}
_PLAIN_NAMES: Final = frozenset(
    {
        "dockerfile",
        "gemfile",
        "license",
        "makefile",
        "procfile",
        "readme",
        "rakefile",
        "vagrantfile",
    }
)
_SHAPE: Final = re.compile(r"^[\w.+@~\-()\[\]/\\]*\.[A-Za-z][A-Za-z0-9]{0,9}$|^\.\w[\w.\-]*$")


def is_file_name(word: str) -> bool:
    """Tell whether a word has the shape of a file's path: a known extension, or a known name."""
    if "://" in word or len(word) > 255:
        return False
    path = PurePosixPath(word.replace("\\", "/"))
    if path.name.lower() in _PLAIN_NAMES:
        return True
    return bool(_SHAPE.match(word)) and path.suffix.lower() in _KNOWN | {""}


def is_document(path: str) -> bool:
    """Tell whether a file is for people to read: a README, notes, a manual."""
    name = PurePosixPath(path).name.lower()
    return name in {"readme", "license"} or name.endswith((".md", ".markdown", ".rst", ".adoc"))


def default_name(language: str) -> str:
    """Choose a name for a file of which only the language is known."""
    if language in _MAIN_NAMES:
        return _MAIN_NAMES[language]
    extensions = EXTENSIONS.get(language) or (".txt",)
    return f"main{extensions[0]}"


_KNOWN: Final = frozenset(
    extension for extensions in EXTENSIONS.values() for extension in extensions
) | {".bat", ".env", ".example", ".gradle", ".in", ".ipynb", ".lock", ".log", ".properties", ".tf"}
