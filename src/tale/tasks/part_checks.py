"""A check for each part of a plan: the one that the model gave, mended, or one that follows. Pure.

A check is a shell line that exits with 0 where the part is done well. Small models give prose,
checks that can't fail, that never end, or that need files which nobody writes: those say nothing,
or fail for ever, so one that follows from the part's files takes their place. Above:
`tasks.plan_answers`, `tasks.plan_safe`. Below: `tasks.check_line`,
`tasks.shell_syntax`, `tasks.task`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Final

from tale.tasks.check_line import why_not
from tale.tasks.checks import is_test
from tale.tasks.languages import is_file_name
from tale.tasks.shell_syntax import Unreadable, commands
from tale.tasks.task import Subtask

__all__ = ["Mended", "Runs", "mended_check", "usual_check", "whatever"]

Runs = Callable[[Sequence[str]], bool]
"""Tells of a command's words whether the machine has what it runs."""

_MOST_CHARACTERS: Final = 300
_MOST_FILES: Final = 12
"""Files that a check of ours names: a line that somebody can read."""
_LEADS: Final = re.compile(r"^(?:\$|>|#!|RUN:|run:|Run:?|Execute:?|Check:?)\s+(?=\S)")
_FENCE: Final = re.compile(r"^```\w*\s*\n?|\n?```\s*$")
_PROGRAMS: Final = frozenset(
    {
        *("!", "[", "[[", "awk", "bash", "bun", "cargo", "cat", "cd", "clang", "cmake", "cmp"),
        *("coverage", "curl", "cut", "deno", "diff", "docker", "dotnet", "env", "file", "find"),
        *("flake8", "g++", "gcc", "git", "go", "gradle", "grep", "head", "if", "java", "javac"),
        *("jq", "ls", "lua", "make", "mvn", "mypy", "node", "npm", "npx", "perl", "php", "pip"),
        *("pip3", "pnpm", "py.test", "pylint", "pyright", "pytest", "python", "python3", "rg"),
        *("ruby", "ruff", "rustc", "sed", "sh", "sort", "sqlite3", "stat", "tail", "test", "tsc"),
        *("uv", "wc", "wget", "xmllint", "yamllint", "yarn", "zsh"),
    }
)
"""First words of a shell line, as plans have them; any other is taken for prose, unless an option
follows."""
_WITH_OPTION: Final = re.compile(r"[a-z][\w.+-]*(?:\s+[\w.:/-]+)?\s+--?[a-zA-Z]")
_EMPTY: Final = re.compile(
    r"^(?:true|:|exit(?: 0)?|echo\b.*|printf\b.*|pass|none|n/?a|null)$", re.IGNORECASE
)
_CAN_NOT_FAIL: Final = re.compile(r"(?:\|\||;)\s*(?:true|:|exit 0|echo\b[^|&;]*)\s*$")
_ENDLESS: Final = re.compile(
    r"\bflask\s+(?:--app\s+\S+\s+)?run\b|\buvicorn\b|\bgunicorn\b|\bhttp\.server\b|\bnodemon\b"
    r"|\bnpm\s+(?:run\s+)?(?:start|dev|serve)\b|\byarn\s+(?:start|dev)\b|\brunserver\b|\btail\s+-f\b"
    r"|\bstreamlit\s+run\b|\bcelery\b.*\bworker\b|(?<!&)&\s*$|\bwatch\s|\bsleep\s+\d{3,}"
)
_LOCAL: Final = re.compile(
    r"(?:curl|wget|http)\b.*\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0)\b"
    r"|(?:^|[;&|]\s*)(?:psql|createdb|mysql|mariadb|mongosh?|redis-cli)\b"
)
"""Commands that ask a server, of which none runs beside a check."""
_RUNS_FILE: Final = re.compile(r"^python3?\s+(?:-u\s+)?([\w./-]+\.py)\s*$")
_SERVES: Final = re.compile(
    r"\b(?:flask|fastapi|django|aiohttp|tornado|starlette|uvicorn|socket|http\.server|web ?server"
    r"|server|serves?|rest api|endpoints?|gui|tkinter|pygame|bot|daemon|scheduler|interactive)\b",
    re.IGNORECASE,
)
"""What a part says whose program may wait for ever once it is started."""
_TOKEN: Final = re.compile(r"""[^\s"'`=;|&()<>,:]+""")
_ALL_TESTS: Final = re.compile(r"^python3? -m pytest(?: -[qvx]+)*$")


@dataclass(frozen=True, slots=True)
class Mended:
    """A check that can be run; `why` says why it isn't the one that was given, if it isn't."""

    check: str
    why: str = ""


def usual_check(part: Subtask) -> str:
    """Give the check that follows from a part's files: tests pass, code compiles, all are there."""
    files = [path for path in part.writes if not path.endswith("/")]
    if tests := [path for path in files if is_test(path)]:
        return f"python -m pytest -q {_quoted(tests)}"
    if python := [path for path in files if path.endswith(".py")]:
        return f"python -m py_compile {_quoted(python)}"
    if files:
        return " && ".join(f"test -s {shlex.quote(path)}" for path in files[:_MOST_FILES])
    if folders := list(part.writes):
        return " && ".join(f"test -d {shlex.quote(path)}" for path in folders[:_MOST_FILES])
    # Nothing is known of what it makes, but that something is to be there.
    return "python -m compileall -q ." if part.kind == "code" else "ls -A | grep -q ."


def whatever(words: Sequence[str]) -> bool:
    """Take it that the machine has what any command runs."""
    del words
    return True


def mended_check(part: Subtask, known: Collection[str], runs: Runs = whatever) -> Mended:
    """Give a part's check as it can be run, or the usual one where it can't.

    Args:
        part: With the check that the model gave.
        known: Files that are there once it is done: in the workspace, or written by it or by those
            that it waits for.
        runs: Tells of a command's words whether the machine has what it runs.
    """
    given = _bare(part.check)
    if not given:
        return Mended(usual_check(part))
    if why := _useless(given, part, known) or why_not(given) or _not_here(given, known, runs):
        return Mended(usual_check(part), why)
    return Mended(given)


def _quoted(files: Sequence[str]) -> str:
    return shlex.join(files[:_MOST_FILES])


def _bare(check: str) -> str:
    """Take off what models put around a command, and give the name by which pytest always runs."""
    line = _FENCE.sub("", check.strip()).strip()
    line = " && ".join(each.strip() for each in line.splitlines() if each.strip())
    while (shorter := _LEADS.sub("", line).strip()) != line:
        line = shorter
    if len(line) > 1 and line[0] == line[-1] == "`":
        line = line[1:-1].strip()
    if found := re.match(r"(?:pytest|py\.test)(?=\s|$)", line):
        line = f"python -m pytest{line[found.end() :]}"
    if found := re.match(r"\./([\w/-]+\.py)(?=\s|$)", line):
        line = f"python {found[1]}{line[found.end() :]}"
    return line


def _useless(line: str, part: Subtask, known: Collection[str]) -> str:
    """Say why a check is of no use; nothing where it is."""
    if len(line) > _MOST_CHARACTERS or not line.isprintable() or not _closed(line):
        return "it is no line that a shell takes"
    if _EMPTY.match(line) or _CAN_NOT_FAIL.search(line):
        return "it can't fail"
    runs = _RUNS_FILE.match(line)
    if _ENDLESS.search(line) or (runs and _SERVES.search(f"{part.title} {part.text}")):
        return "it would not end"
    return _is_no_command(line, known) or _lacks(line, known)


def _is_no_command(line: str, known: Collection[str]) -> str:
    first = line.split(maxsplit=1)[0]
    runs = first in _PROGRAMS or "=" in first or first.removeprefix("./") in known
    if first == "test":  # a program, and how many a sentence begins
        runs = re.match(r"test\s+(?:!\s+)?(?:-\w|[\"'$\w(])", line) is not None
    # Of a program that plans seldom have, it is told elsewhere whether the machine has it.
    runs = runs or _WITH_OPTION.match(line) is not None
    return "" if runs and not _is_prose(line) else "it is a sentence, and no command"


def _lacks(line: str, known: Collection[str]) -> str:
    if _LOCAL.search(line):
        return "no server runs while it is checked"
    if missing := _missing(line, known):
        return f"it needs {missing}, which is not there then"
    if _ALL_TESTS.match(line) and not any(map(is_test, known)):
        return "there are no tests then"
    return ""


def _not_here(line: str, known: Collection[str], runs: Runs) -> str:
    """Say what a line runs that neither the machine nor the plan has."""
    try:
        found = commands(line)
    except Unreadable:  # the rules of plans say why
        return ""
    for each in found:
        words = each.words or ("true",)
        program, *arguments = words
        module = arguments[1] if arguments[:1] == ["-m"] and len(arguments) > 1 else ""
        own = module.replace(".", "/") or program.removeprefix("./")
        if not (runs(words) or _is_there(own, known) or _is_there(f"{own}.py", known)):
            lacks = f"no Python module `{module}`" if module else f"no program `{program}`"
            return (
                f"this machine has {lacks}. Install it and name it in the plan (`tale edit`) if it"
                " is to be checked so"
            )
    return ""


def _closed(line: str) -> bool:
    try:
        return bool(shlex.split(line))
    except ValueError:
        return False


def _is_prose(line: str) -> bool:
    """Tell a sentence from a command that begins with its word: "test that the file exists"."""
    words = line.split()
    plain = [word for word in words[1:] if re.fullmatch(r"[A-Za-z']+[.,;]?", word)]
    said = {"the", "that", "is", "are", "it", "and", "a", "an", "of", "if", "should", "all"}
    return len(words) > 3 and len(said.intersection(word.lower().strip(".,") for word in plain)) > 1


def _missing(line: str, known: Collection[str]) -> str:
    """Find a file that a check needs and nobody has; patterns and folders are left alone."""
    made = set(re.findall(r"(?:^|[^0-9&])>{1,2}\s*([\w./-]+)", line))
    for token in _TOKEN.findall(line):
        path = normpath(token)
        other = token.startswith(("/", "~", "$", "-")) or path.startswith(".")
        if other or not is_file_name(token) or not re.fullmatch(r"[\w./-]+", token):
            continue
        if "." in path and path not in made and not _is_code(path) and not _is_there(path, known):
            return token
    return ""


def _is_there(path: str, known: Collection[str]) -> bool:
    """Tell whether a file or a folder is there."""
    return path in known or any(
        path == (there := normpath(each)) or there.startswith(f"{path}/") for each in known
    )


def _is_code(word: str) -> bool:
    """Tell `json.tool` from a file of the name."""
    return word in {"json.tool", "http.server", "unittest.mock"}
