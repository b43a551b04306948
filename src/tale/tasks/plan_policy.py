"""Must the user say yes to a plan before it is worked on? Pure.

What each act may do is asked for when it comes to it (`tasks.permissions`); this is about the plan
as a whole, before anything of it is done. Above: `tasks.plan_approval`. Below: `tasks.task`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tale.models.budgets import prior_length
from tale.tasks.durations import SIZE_FACTORS, prior_duration
from tale.tasks.task import Subtask, ToolOffer, WorkKind
from tale.tasks.words import span

__all__ = ["Approve", "Cost", "PlanPolicy", "expected_cost", "reasons_to_ask", "usual_seconds"]

Approve = Literal["auto", "always", "never"]
"""Whether a plan is put to the user: where there is a reason, in any case, or not at all."""

_CALLS: Final = 2
"""Answers for a part: of the embedded model's every second one had to be corrected once."""
_PROMPT: Final = 700
"""Tokens of one prompt: the system's, the part, what it belongs to, a result or two."""
_NAMED: Final = 3
"""Paths, programs or tools that a reason names; the plan itself has them all."""

_HARMLESS: Final = frozenset({"/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"})
_SYSTEM_PATH: Final = re.compile(
    r"(?<![\w:/.~-])(?:~/[\w.-]+|/(?:etc|usr|var|opt|root|srv|mnt|boot|data|dev|sys|proc|tmp|Users|Library)"
    r"/[\w./-]+|/home/\w+/[\w./-]+|[A-Z]:\\\w[\w\\.-]*)"
)
"""Not any word that begins with a slash: a web application's `/login` is no path."""
_WORDS: Final = re.compile(r"""[^\s"'=;|&()<>`]+""")
_PARTED: Final = re.compile(r"&&|\|\||[;|&\n]")
_SETS: Final = re.compile(r"[A-Za-z_]\w*=\S*")
_LEADS: Final = frozenset({"sudo", "env", "time", "nohup", "exec", "!", "then", "do", "xargs"})
_NETWORK: Final = frozenset(
    {
        *("apt", "apt-get", "brew", "curl", "dnf", "docker", "ftp", "gh", "kubectl", "nc", "ncat"),
        *("npm", "npx", "ping", "pip", "pip3", "pipx", "pnpm", "podman", "rsync", "scp", "sftp"),
        *("ssh", "telnet", "wget", "yarn", "yum"),
    }
)
_NETWORK_USES: Final = (
    re.compile(
        r"\bgit\s+(?:-[cC]\s+\S+\s+|-(?![cC]\s)\S+\s+)*(?:clone|fetch|pull|push|submodule)\b"
    ),
    re.compile(r"\bpython[\d.]*\s+-m\s+pip\b"),
    re.compile(r"\buv\s+(?:pip|add|sync|tool)\b"),
    re.compile(r"\b(?:cargo|go)\s+(?:add|get|install|update)\b"),
    re.compile(r"\b(?:https?|ftp)://(?!localhost\b|127\.|\[::1\])"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan probably takes: seconds one after the other, and tokens."""

    seconds: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """When the user is asked about a plan.

    Attributes:
        approve: In general.
        kinds: For plans with parts of a kind; the most careful word counts.
        parts: Parts up to which a plan is not large: six are some minutes of the embedded model's
            work, and about what somebody takes in at a glance.
        seconds: Expected work up to which it is not costly.
        tokens: Expected tokens up to which it is not costly.
    """

    approve: Approve = "auto"
    kinds: Mapping[WorkKind, Approve] = field(default_factory=dict[WorkKind, Approve])
    parts: int = 6
    seconds: float = 900.0
    tokens: float = 60_000.0


def expected_cost(plan: Sequence[Subtask], seconds: Mapping[str, float] | None = None) -> Cost:
    """Estimate what a plan takes.

    Args:
        plan: Its parts; those that are done cost nothing more.
        seconds: How long each part takes, by id, where something was learned about it.
    """
    left = [one for one in plan if one.state not in {"done", "cancelled"}]
    seconds = seconds or {}
    tokens = sum(
        _CALLS * (_PROMPT + prior_length(one.kind, "medium").median * SIZE_FACTORS[one.size])
        for one in left
    )
    return Cost(sum(seconds.get(one.id, usual_seconds(one)) for one in left), tokens)


def reasons_to_ask(
    plan: Sequence[Subtask],
    policy: PlanPolicy,
    cost: Cost,
    tools: Sequence[ToolOffer] = (),
    holds: Callable[[str], bool] | None = None,
) -> tuple[str, ...]:
    """Say why the user is to be asked about a plan; nothing where they need not be.

    Args:
        plan: Its parts.
        policy: When they are asked.
        cost: What it probably takes.
        tools: What external servers offer.
        holds: Tells whether the workspace holds a path, where that is known better than by how it
            is written.
    """
    words = {policy.approve, *(policy.kinds.get(one.kind, policy.approve) for one in plan)}
    if "always" in words:
        asked = "you want to be asked about every plan"
        kinds = sorted({one.kind for one in plan if policy.kinds.get(one.kind) == "always"})
        return (f"you want to be asked about plans with {', '.join(kinds)}" if kinds else asked,)
    if words == {"never"}:
        return ()
    told = (
        _large(plan, policy),
        *_costly(cost, policy),
        _named("it touches what is outside of the workspace", _paths(plan, holds or _holds)),
        _named("its checks use the network", _networking(plan)),
        _named("it uses tools that may change something", _changing(plan, tools)),
    )
    return tuple(reason for reason in told if reason)


def _large(plan: Sequence[Subtask], policy: PlanPolicy) -> str:
    if len(plan) <= policy.parts:
        return ""
    return f"it is large: {len(plan)} parts, and more than {policy.parts} are asked for"


def _costly(cost: Cost, policy: PlanPolicy) -> tuple[str, ...]:
    told: list[str] = []
    if cost.seconds > policy.seconds:
        told.append(f"it probably takes {span(cost.seconds)} of work")
    if cost.tokens > policy.tokens:
        told.append(f"it probably takes {round(cost.tokens, -3):,.0f} tokens")
    return tuple(told)


def _named(reason: str, found: Sequence[str]) -> str:
    if not found:
        return ""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{reason}: {', '.join(found[:_NAMED])}{more}"


def usual_seconds(part: Subtask) -> float:
    """Say how long a part takes as long as nothing was learned of such ones."""
    return prior_duration(part.kind).median * SIZE_FACTORS[part.size]


def _paths(plan: Sequence[Subtask], holds: Callable[[str], bool]) -> list[str]:
    found: list[str] = []
    for one in plan:
        found += [path for path in (*one.reads, *one.writes) if not holds(path)]
        found += [path for path in _words_of(one.check) if _absolute(path) and not holds(path)]
        found += [path.rstrip(".") for path in _SYSTEM_PATH.findall(one.text) if not holds(path)]
    return list(dict.fromkeys(path for path in found if path not in _HARMLESS))


def _holds(path: str) -> bool:
    return not _absolute(path) and ".." not in path.replace("\\", "/").split("/")


def _absolute(path: str) -> bool:
    return path.startswith(("/", "~", "../")) or re.match(r"[A-Za-z]:[\\/]", path) is not None


def _words_of(line: str) -> list[str]:
    return _WORDS.findall(line)


def _networking(plan: Sequence[Subtask]) -> list[str]:
    found: list[str] = []
    for one in plan:
        found += [program for program in _programs(one.check) if program in _NETWORK]
        found += [used[0] for use in _NETWORK_USES if (used := use.search(one.check))]
    return list(dict.fromkeys(found))


def _programs(line: str) -> list[str]:
    """Name the programs of a shell line, as far as that can be seen without running it."""
    programs: list[str] = []
    for piece in _PARTED.split(line):
        try:
            words = shlex.split(piece.strip(" (){}`$"))
        except ValueError:  # a quote that another piece closes
            words = piece.split()
        left = [word for word in words if word not in _LEADS and not _SETS.fullmatch(word)]
        if left:
            programs.append(left[0].rsplit("/", 1)[-1])
    return programs


def _changing(plan: Sequence[Subtask], tools: Sequence[ToolOffer]) -> list[str]:
    told = " ".join(f"{one.title} {one.text} {one.check}" for one in plan)
    return [
        each.name
        for each in tools
        if not each.read_only
        and re.search(rf"(?<![\w.])(?:{re.escape(each.name)}|{_own(each)})(?!\w)", told)
    ]


def _own(tool: ToolOffer) -> str:
    """Give a tool's own name where it is no word of the language, as `create_issue` is none."""
    plain = tool.tool.isalpha() and tool.tool.islower()
    return r"(?!)" if plain else re.escape(tool.tool)
