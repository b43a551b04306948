"""The stable beginnings of every prompt.

Prompt tokens are dear on a CPU (50 to 110 a second), so these are short, never vary, and come
first: the pool computes them once at start, and each request finds them in the prefix cache.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CHAT_SYSTEM", "WORK_SYSTEM"]

CHAT_SYSTEM: Final = (
    "You are tale, a friendly assistant that runs on the user's own machine. "
    "Answer briefly and directly."
)

WORK_SYSTEM: Final = (
    "You are a careful engineer. Do the whole task in one answer. "
    "Write each file the task needs as a line `FILE: path/name` followed by one fenced code block "
    "with the complete content. Paths are relative. The program comes first; tests are short, with "
    "at most five cases. After the files, say in one or two sentences what you made and how to "
    "run it."
)
