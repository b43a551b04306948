"""What a small model wrote as work: whole files in fenced blocks, and lines that ask to run. Pure.

One answer does one whole thing, and the harness, not the model, writes and runs: so small models
solved 8 of 10 little problems, with one JSON action a turn 4 of 6, with native tools none. Above:
`tasks.agent`. Below: `tasks.fences`, which finds the blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tale.tasks.fences import Fences, NamedFile, parse_fences
from tale.tasks.hands import Reply
from tale.tasks.languages import SHELLS, default_name

__all__ = ["AFTERWORD", "Fenced", "read_fenced"]

AFTERWORD: Final = ("\n```\n\nT", "\n```\n\nE", "\n```\n\nI", "\n```\n\n###")
"""How what follows the last file begins, behind the file's own end: "This function …", "Tests:",
"Explanation", "In this …", a heading. Of 24 answers of the embedded 1.5B to HumanEval 14 had such,
in all a sixth of what it wrote, though its prompt says to write nothing more. A `FILE:` line does
not end the answer."""

_RUN: Final = re.compile(r"^[\s>*_`#-]*RUN[*_`]*:[*_`\s]*(.+?)[`*_\s]*$")
_FENCE: Final = re.compile(r"^\s*(?:`{3,}|~{3,})")
_MOST_RUNS: Final = 4


@dataclass(frozen=True, slots=True)
class Fenced:
    """What is to be done.

    Attributes:
        files: To write, in order; half a file is named `.partial`.
        commands: Shell lines to run after that, in order.
        notes: What was odd about it, in sentences for the user.
    """

    files: tuple[NamedFile, ...] = ()
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_fenced(reply: Reply, asked_for: str = "", writes: Sequence[str] = ()) -> Fenced:
    """Read what a model wants done.

    Args:
        reply: Its answer.
        asked_for: The name of a function that the request heads, which tells the block with the
            program from blocks that show its use.
        writes: The files that it was to write: where that is one, a block without a name is it.
    """
    found = parse_fences(reply.text)
    notes = list(found.problems)
    # A name with nothing under it, after the code itself, is only its name.
    files = tuple(file for file in found.files if file.content.strip() or not found.blocks)
    if not files and (block := _only_block(found, asked_for)):
        meant = writes[0] if len(writes) == 1 else ""
        named = found.files[-1].path if found.files else meant
        files = (replace(block, path=named) if named else block,)
        if not named:
            notes.append(f"The model named no file; its code is in {block.path}.")
    # Half a file must not take the place of a whole one.
    cut_off = reply.finish == "length"
    files = tuple(
        NamedFile(f"{file.path}.partial", file.content, complete=False)
        if cut_off and not file.complete
        else file
        for file in files
    )
    return Fenced(files, _commands(reply.text), tuple(notes))


def _only_block(found: Fences, asked_for: str) -> NamedFile | None:
    """Make a file of the one block that an answer has, though it names none."""
    blocks = [block for block in found.blocks if block.language not in SHELLS]
    if asked_for and len(blocks) > 1:
        blocks = [block for block in blocks if f"def {asked_for}(" in block.content][:1]
    if len(blocks) != 1 or not blocks[0].content.strip():
        return None
    [block] = blocks
    return NamedFile(default_name(block.language), block.content, block.complete)


def _commands(text: str) -> tuple[str, ...]:
    """Find the `RUN:` lines outside of blocks, each once."""
    inside, commands = False, dict[str, None]()
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside and (match := _RUN.match(line)):
            commands[match[1]] = None
    return tuple(commands)[:_MOST_RUNS]
