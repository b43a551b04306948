"""What has to be done before a model can load, seen from where models are kept.

Above: `keeper`, which calls it at each attempt; `resident` shows what it is doing. `embedded_pair`
fills it in; models that run elsewhere need nothing.
"""

from __future__ import annotations

from typing import Protocol

import anyio.lowlevel

from tale.errors import ModelError

__all__ = ["NothingToPrepare", "Preparation"]


class Preparation(Protocol):
    """Files fetched, a memory plan made."""

    async def ensure(self) -> None:
        """Return once all is prepared; called by each model at each attempt, bounded by itself.

        Raises:
            TaleError: It failed; the models try again after a pause.
        """
        ...

    async def mend(self, model: str, error: ModelError) -> None:
        """Hear that a model could not be loaded; return once its file is as it should be.

        Raises:
            TaleError: The file is damaged and can't be had anew.
        """
        ...

    def doing(self, model: str) -> str:
        """Say in words what is being done for a model now; empty if nothing is."""
        ...


class NothingToPrepare:
    """A preparation for models that are somewhere already."""

    async def ensure(self) -> None:
        """Return."""
        await anyio.lowlevel.checkpoint()

    async def mend(self, model: str, error: ModelError) -> None:
        """Return."""
        del model, error
        await anyio.lowlevel.checkpoint()

    def doing(self, model: str) -> str:
        """Say nothing."""
        del model
        return ""
