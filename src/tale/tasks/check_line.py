"""Which shell lines can check a part of a plan, without anybody beside it. Pure.

A check runs in a sandbox with nobody at a keyboard, has to end by itself, and says by its exit
whether the work is done well. What programs there are is not known here. Above: `plan`. Below:
`shell_syntax`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tale.tasks.shell_syntax import Command, Unreadable, commands

__all__ = ["MAX_CHECK", "why_not"]

MAX_CHECK: Final = 2000
"""Characters of a check: more is a program that should be a file."""

_MOST_NESTED: Final = 3
_WRAPPERS: Final = frozenset({"env", "nice", "nohup", "time", "command", "exec", "timeout"})
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_KEYBOARD: Final = re.compile(
    "vi|vim|nvim|nano|pico|emacs|less|more|most|man|top|htop|btop|tmux|screen|mc|gdb|whiptail|"
    "dialog|fzf|visudo"
)
_REPL: Final = re.compile(
    r"python[\d.]*|ipython|node|irb|ghci|scala|R|julia|lua|php|bc|sqlite3|psql|mysql|mongosh|"
    r"redis-cli|fish|sh|bash|dash|zsh|ksh"
)
_PASSWORD: Final = frozenset({"sudo", "su", "doas", "passwd", "pkexec"})
_SENTENCE: Final = re.compile(
    "check|ensure|verify|confirm|validate|the|all|it|this|there|should|none|no|n/a|manual|manually",
    re.IGNORECASE,
)
_PROGRAMS_IN_CAPITALS: Final = frozenset({"R", "Rscript", "Xvfb", "PATH"})
_ENDLESS: Final = re.compile(
    r"(?:watch|sleep infinity|tail -[fF]|yes|flask run|uvicorn|gunicorn|hypercorn|streamlit run|"
    r"http-server|live-server|nodemon|php -S|rails server|jupyter (?:notebook|lab)|"
    r"npm start|npm run (?:dev|start|serve|watch)|(?:yarn|pnpm) (?:start|dev)|"
    r"docker(?:-| )compose up|"
    r"python[\d.]* (?:-m (?:http\.server|flask run|uvicorn|gunicorn)|manage\.py runserver))(?= |$)"
)
_QUICK: Final = frozenset({"-h", "--help", "-V", "--version", "-d", "--detach", "-n"})
"""Arguments with which programs end that would not without."""
_CAPITALISED: Final = re.compile(r"[A-Z][a-z]+,?")


def why_not(line: str) -> str:
    """Say why a line can't check anything; empty where it can. Completes "... because"."""
    if len(line) > MAX_CHECK:
        return f"it has {len(line)} characters, and at most {MAX_CHECK} are taken; call a script"
    return _why_not(line, 0)


@lru_cache(maxsize=1024)  # a plan is checked at each change of it
def _why_not(line: str, depth: int) -> str:
    try:
        found = commands(line)
    except Unreadable as error:
        return str(error)
    if not any(one.words for one in found):
        return "it runs no program"
    if not any(one.waits for one in found) or not found[-1].waits:
        return "it leaves its last command in the background, so that nobody learns how it ends"
    return next(filter(None, (_fault_of(one, depth) for one in found)), "")


def _fault_of(command: Command, depth: int) -> str:
    words, bounded = _unwrapped(command.words)
    if not words:
        return ""
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program in _SHELLS and arguments[:1] == ("-c",):
        return _why_not("".join(arguments[1:2]), depth + 1) if depth < _MOST_NESTED else ""
    found = _misunderstood(words, program)
    if found or command.fed or not command.waits:
        return found
    return _waits_for_somebody(words, program) or ("" if bounded else _stays(program, arguments))


def _misunderstood(words: Sequence[str], program: str) -> str:
    if not words[0].strip():
        return "a program without a name is to be run"
    if _is_sentence(words):
        return "it is a sentence, not a shell line"
    if program in _PASSWORD:
        return f"`{program}` asks for a password, and nobody is there"
    if program in {"[", "test"} and "==" in words:
        return "only bash has `==` in a test: write `=`"
    return ""


def _waits_for_somebody(words: Sequence[str], program: str) -> str:
    if _KEYBOARD.fullmatch(program) and not _QUICK.intersection(words):
        return f"`{program}` waits for somebody at a keyboard"
    opens = program == "sqlite3" and len(words) == 2 and not words[1].startswith("-")
    if _REPL.fullmatch(program) and (len(words) == 1 or words[1:] == ("-i",) or opens):
        return f"`{' '.join(words)}` waits for somebody who types; give it something to run"
    return ""


def _stays(program: str, arguments: Sequence[str]) -> str:
    found = _ENDLESS.match(" ".join((program, *arguments)))
    if found is None or _QUICK.intersection(arguments):
        return ""
    return f"`{found[0]}` does not end by itself; start it with `&`, test it, and end it"


def _unwrapped(words: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Give what is really run, and whether it is stopped after a time."""
    rest, bounded = tuple(words), False
    while rest and rest[0] in _WRAPPERS:
        wrapper, rest = rest[0], rest[1:]
        while rest and (rest[0].startswith("-") or (wrapper == "env" and "=" in rest[0])):
            # What follows `-n`, `-s` or `-k` on its own is its value.
            rest = rest[2:] if rest[0] in {"-n", "-s", "-k"} else rest[1:]
        if wrapper == "timeout":
            rest, bounded = rest[1:], True
    return rest, bounded


def _is_sentence(words: Sequence[str]) -> bool:
    """Tell whether somebody wrote what is to be looked at instead of how."""
    first = words[0]
    if _SENTENCE.fullmatch(first) or words[:2] == ("make", "sure"):
        return True
    named = _CAPITALISED.fullmatch(first) and first not in _PROGRAMS_IN_CAPITALS
    return bool(named) and len(words) > 2 and not any(one.startswith("-") for one in words)
