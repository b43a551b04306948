"""The HTTP headers between the models server and whoever asks it, beside OpenAI's own.

Above: `client`, and `servers.openai_api`.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "DEADLINE_HEADER",
    "FELL_BACK_HEADER",
    "KIND_HEADER",
    "MODEL_HEADER",
    "OWN_HEADER",
    "REASON_HEADER",
    "REPEATABLE_HEADER",
    "REQUEST_HEADER",
    "ROLE_HEADER",
    "SESSION_HEADER",
]

DEADLINE_HEADER: Final = "x-tale-deadline"
"""Request: seconds that the caller still has."""
KIND_HEADER: Final = "x-tale-kind"
"""Request: what is asked for (`assess.Kind`), where the last message's text doesn't show it."""
SESSION_HEADER: Final = "x-tale-session"
"""Request: the conversation or task that it belongs to, for the ledger."""
OWN_HEADER: Final = "x-tale-own"
"""Request: `1` where tale asks for itself, as for a summary, and not for the user."""
REPEATABLE_HEADER: Final = "x-tale-repeatable"
"""Request: `1` where the same request may be given the same answer (a plan, a summary)."""

REQUEST_HEADER: Final = "x-tale-request"
"""Response: the request's id in the ledger, by which its outcome can be told."""
MODEL_HEADER: Final = "x-tale-model"
"""Response: the real name of the model that answers."""
ROLE_HEADER: Final = "x-tale-role"
"""Response: the role it has, `ux` or `task`; empty for an optional model."""
REASON_HEADER: Final = "x-tale-reason"
"""Response: why it was chosen (routing, fallback)."""
FELL_BACK_HEADER: Final = "x-tale-fell-back"
"""Response: `true` where another model than the one decided on answers."""
