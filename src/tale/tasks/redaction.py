"""Taking secrets out of what is logged. Pure.

Known forms are enough for logs: a log never needs the rest of a line that looks like a key. What a
program prints goes to the model and the user as it is; only what is kept in logs passes through
here. Above: `tasks.tools`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

__all__ = ["redact"]

_HIDDEN: Final = "[hidden]"
# Prefixes as their makers publish them, for scanners to find: OpenAI and Anthropic, GitHub, GitLab,
# Slack, AWS, Google, Hugging Face, PyPI, npm, Stripe; JSON Web Tokens (RFC 7519).
_TOKENS: Final = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abposr]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|hf_\w{20,}"
    r"|pypi-[\w-]{20,}|npm_\w{20,}|[sr]k_live_\w{16,}"
    r"|eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*)"
)
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_BEARER: Final = re.compile(r"(?i)\b((?:bearer|basic|token)\s+)[\w.~+/=-]{8,}")
# A word is looked at from its first letter only, and never in parts: a long one, as base64 makes
# it, would else be gone through once for each of its letters.
_USERINFO: Final = re.compile(r"(?<!\w)(\w++://[^\s/:@]*+):[^\s/@]+@")
_NAMED: Final = re.compile(
    r"(?i)(?<![\w-])"
    r"((?=[\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credential))[\w-]++"
    r"[\"']?\s*(?:=|:|\s(?=[\"']))\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"']+)"
)


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """Replace what looks like a secret, and those that are known.

    Args:
        text: What is to be logged.
        secrets: Values that must not show whatever they look like, such as tale's own token.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, _HIDDEN)
    text = _KEY_BLOCK.sub(_HIDDEN, text)
    text = _USERINFO.sub(rf"\1:{_HIDDEN}@", text)
    text = _TOKENS.sub(_HIDDEN, text)
    text = _BEARER.sub(rf"\1{_HIDDEN}", text)
    return _NAMED.sub(rf"\1{_HIDDEN}", text)
