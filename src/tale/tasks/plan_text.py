"""A plan as YAML that a person edits, and back. Pure.

Written with comments that say what each field is for; read strictly, with the line of each fault.
All values are read as the text that they are, so `id: on` is no truth value. References between
places (`*name`) are refused: they can make a short text a huge one. Above: `tasks.plan_approval`,
and whoever has plans edited. Below: `tasks.task`; whether a plan can be worked on is decided by
`tasks.plan`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast, get_args

import yaml

from tale.errors import PromptRejected
from tale.tasks.task import Size, Subtask, WorkKind

__all__ = ["looks_like_plan", "read_plan_text", "write_plan_text"]

WordT = TypeVar("WordT", bound=str)

_yaml: Any = yaml
"""Its types say nothing of what its functions take."""

_MOST_CHARACTERS: Final = 1_000_000
"""Of an edited plan: 200 parts with 5,000 each, of which nobody writes more by hand."""
_MOST_FAULTS: Final = 10
_DEEPEST: Final = 6
"""Nesting of a plan is 4; more is no plan, and thousands would exhaust the stack."""
_LISTED: Final = "subtasks"
_TEXTS: Final = ("id", "title", "text", "check")
_LISTS: Final = ("depends_on", "reads", "writes")
_FIELDS: Final = ("id", "title", "kind", "size", "priority", *_LISTS, "check", "text")
_KINDS: Final[tuple[WorkKind, ...]] = get_args(WorkKind)
_SIZES: Final[tuple[Size, ...]] = get_args(Size)
_HINT: Final = "Correct these lines and give the plan again."
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./][\w./()+@,\- ]*(?<! )", re.ASCII)
"""What needs no quotes; no colon and no `#`, which can mean something."""
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
_LONG: Final = 60
"""Characters of a text beyond which it stands below its name."""
# What YAML takes as it is, without other signs for a line's end, which it would fold.
_PRINTABLE: Final = re.compile(
    "[ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_HEAD: Final = """\
# {title}
# Change what you like; save and leave the editor to have it checked and worked on.
#
#   id          a short name of its own; no spaces, no dots
#   depends_on  ids of those that must be done before; the others are done at the same time
#   reads       files that it needs, relative to the workspace
#   writes      files that it makes; two parts that may run together can't write the same
#   check       a shell line that exits with 0 where it is done well
#   kind        {kinds}
#   size        {sizes}
#   priority    a whole number; the higher is sooner
#   text        what its model is told
"""


def write_plan_text(plan: Sequence[Subtask], title: str = "") -> str:
    """Write a plan for somebody to edit.

    Args:
        plan: The parts; what came of them is not written.
        title: What it is the plan of, for the first line.
    """
    head = _HEAD.format(
        title=" ".join(_clean(title or f"A plan of {len(plan)} parts.").split()),
        kinds=", ".join(one for one in _KINDS if one != "plan"),
        sizes=", ".join(_SIZES),
    )
    return "\n".join([f"{head}{_LISTED}:", *("\n".join(_part(one)) for one in plan), ""])


def looks_like_plan(text: str) -> bool:
    """Tell whether a text is meant as a plan, however faulty, rather than as a remark."""
    return (
        re.search(rf"^(?:{_LISTED}\s*:|\s*-\s+['\"]?id['\"]?\s*:)", text, re.MULTILINE) is not None
    )


def read_plan_text(text: str) -> tuple[Subtask, ...]:
    """Read what somebody made of a plan.

    Raises:
        PromptRejected: It is no plan; each fault is told with its line.
    """
    root = _tree(text)
    faults: list[str] = []
    listed = _listed(root, faults)
    parts = [_read_part(node, faults) for node in listed]
    if not faults and not parts:
        faults.append(f"There is no part under `{_LISTED}:`.")
    if faults:
        more = f"\n… and {len(faults) - _MOST_FAULTS} more." if len(faults) > _MOST_FAULTS else ""
        raise PromptRejected("\n".join(faults[:_MOST_FAULTS]) + more, hint=_HINT)
    return tuple(parts)


# -- writing ---------------------------------------------------------------------------------------


def _part(part: Subtask) -> list[str]:
    lines = [f"  - id: {_scalar(part.id)}", f"    title: {_scalar(part.title)}"]
    lines += [f"    kind: {part.kind}", f"    size: {part.size}"]
    if part.priority:
        lines.append(f"    priority: {part.priority}")
    for name in _LISTS:
        values: tuple[str, ...] = getattr(part, name)
        lines.append(f"    {name}: [{', '.join(map(_item, values))}]")
    return [*lines, f"    check: {_scalar(part.check)}", f"    text: {_text(part.text)}", ""]


def _text(text: str) -> str:
    """Put a long text below its name, as it is; quote it where that would change it."""
    lines = text.split("\n")
    whole = all(_PRINTABLE.sub("", line) == "" for line in lines)
    edges = text[:1].strip() and text[-1:].strip()
    if not whole or not edges or (len(lines) == 1 and len(text) <= _LONG):
        return _scalar(text)
    return "\n".join(["|-", *(f"      {line}" if line else "" for line in lines)])


def _item(text: str) -> str:
    return f'"{_quoted(text)}"' if "," in text else _scalar(text)


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _NOTHING:
        return text
    return f'"{_quoted(text)}"'


def _quoted(text: str) -> str:
    return "".join(
        f"\\{sign}" if sign in '"\\' else sign if _PRINTABLE.fullmatch(sign) else _escaped(sign)
        for sign in text
    )


def _escaped(sign: str) -> str:
    code = ord(sign)
    if sign == "\n":
        return "\\n"
    if 0xD800 <= code < 0xE000:  # half a pair, which is no text
        return "?"
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _clean(text: str) -> str:
    return "".join(sign if _PRINTABLE.fullmatch(sign) else " " for sign in text)


# -- reading ---------------------------------------------------------------------------------------


def _tree(text: str) -> yaml.Node | None:
    if len(text) > _MOST_CHARACTERS:
        raise _no_yaml(f"The plan has {len(text):,} characters; {_MOST_CHARACTERS:,} are taken.")
    # libyaml's is ten times as fast, where PyYAML was built with it.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _guard(text, loader)
        return cast("yaml.Node | None", _yaml.compose(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"Line {mark.line + 1}: " if mark else ""
        raise _no_yaml(f"{where}this is no YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        first = str(error).split("\n", 1)[0]
        raise _no_yaml(f"This is no YAML: {first}.") from error


def _guard(text: str, loader: Any) -> None:
    """Refuse what could make the tree huge or deep, before there is one."""
    depth = documents = 0
    for event in _yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _no_yaml(f"Line {line}: references (`*name`) aren't taken; write it out.")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _no_yaml(f"Line {line}: a second document begins here; give one.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _no_yaml(f"Line {line}: this is nested too deeply for a plan.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _listed(root: yaml.Node | None, faults: list[str]) -> list[yaml.Node]:
    """Give the nodes of the parts: the root is their list, or has it under `subtasks`."""
    if isinstance(root, yaml.MappingNode):
        for name, key, node in _members(root):
            if name != _LISTED:
                faults.append(_unknown(key, name, (_LISTED,), "the plan"))
            elif isinstance(node, yaml.SequenceNode):
                return _nodes(node)
            elif not _is_nothing(node):
                faults.append(f"{_line(node)}: `{_LISTED}` is to be a list, each with `- id: …`.")
    elif isinstance(root, yaml.SequenceNode):
        return _nodes(root)
    elif root is not None and not _is_nothing(root):
        faults.append(f"{_line(root)}: a plan begins with `{_LISTED}:` and lists its parts below.")
    return []


def _read_part(node: yaml.Node, faults: list[str]) -> Subtask:
    if not isinstance(node, yaml.MappingNode):
        faults.append(f"{_line(node)}: a part is to have fields, such as `- id: …`.")
        return Subtask("", "", "")
    there: dict[str, yaml.Node] = {}
    for name, key, value in _members(node):
        if name not in _FIELDS:
            faults.append(_unknown(key, name, _FIELDS, "a part"))
        elif name in there:
            faults.append(f"{_line(key)}: `{name}` stands here a second time; keep one.")
        else:
            there[name] = value
    texts = {name: _read_text(name, there.get(name), faults) for name in _TEXTS}
    for name, what in (("id", "a short name of its own"), ("text", "what is to be done")):
        if not texts[name].strip() and (name not in there or _is_scalar(there[name])):
            faults.append(f"{_line(there.get(name, node))}: `{name}` is missing: {what}.")
    lists = {name: _read_list(name, there.get(name), faults) for name in _LISTS}
    return Subtask(
        texts["id"],
        texts["title"] or texts["id"],
        texts["text"],
        lists["depends_on"],
        kind=_read_word("kind", there.get("kind"), _KINDS, "code", faults),
        reads=lists["reads"],
        writes=lists["writes"],
        check=texts["check"],
        size=_read_word("size", there.get("size"), _SIZES, "medium", faults),
        priority=_read_number(there.get("priority"), faults),
    )


def _read_text(name: str, node: yaml.Node | None, faults: list[str]) -> str:
    if node is None or _is_nothing(node):
        return ""
    if not _is_scalar(node):
        faults.append(f"{_line(node)}: `{name}` is to be a text; put it in quotes.")
        return ""
    return str(node.value)


def _read_list(name: str, node: yaml.Node | None, faults: list[str]) -> tuple[str, ...]:
    if node is None or _is_nothing(node):
        return ()
    if _is_scalar(node):
        return (str(node.value),)
    if not isinstance(node, yaml.SequenceNode) or not all(map(_is_scalar, _nodes(node))):
        faults.append(f"{_line(node)}: `{name}` is to be a list, such as `[a, b]`.")
        return ()
    return tuple(str(one.value) for one in _nodes(node))


def _read_word(
    name: str, node: yaml.Node | None, words: tuple[WordT, ...], usual: WordT, faults: list[str]
) -> WordT:
    given = _read_text(name, node, faults)
    for word in words:
        if word == given:
            return word
    if node is not None and given:
        faults.append(f"{_line(node)}: `{name}` is to be one of {', '.join(words)}.")
    return usual


def _read_number(node: yaml.Node | None, faults: list[str]) -> int:
    given = _read_text("priority", node, faults)
    if re.fullmatch(r"[+-]?\d{1,6}", given, re.ASCII):
        return int(given)
    if node is not None and given:
        faults.append(f"{_line(node)}: `priority` is to be a whole number.")
    return 0


def _members(node: yaml.MappingNode) -> list[tuple[str, yaml.Node, yaml.Node]]:
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    return [(str(key.value) if _is_scalar(key) else "?", key, value) for key, value in pairs]


def _nodes(node: yaml.SequenceNode) -> list[yaml.Node]:
    return cast("list[yaml.Node]", node.value)


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _is_nothing(node: yaml.Node) -> bool:
    if not isinstance(node, yaml.ScalarNode):
        return False
    # Plain, as one in quotes is a text.
    return cast("str | None", node.style) in {None, ""} and str(node.value) in _NOTHING


def _unknown(node: yaml.Node, name: str, known: Sequence[str], where: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(known)}."
    return f"{_line(node)}: {where} has no `{name[:40]}`; {meant}"


def _line(node: yaml.Node) -> str:
    return f"Line {node.start_mark.line + 1}" if node.start_mark else "Somewhere"


def _no_yaml(message: str) -> PromptRejected:
    return PromptRejected(message, hint=_HINT)
