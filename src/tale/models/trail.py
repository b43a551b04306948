"""What one request has met on its way: who failed it, how, and what it has cost so far.

Above: `dispatch` and `whole`, which pass one trail on through all tries of a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tale.errors import BackendBroke, ContextExceeded, TaleError
from tale.models.answer import Try
from tale.models.backend import Usage
from tale.models.choice import Candidate, Miss

__all__ = ["Trail"]


@dataclass(slots=True)
class Trail:
    """The tries of one request.

    Attributes:
        misses: How models failed it, by their key.
        tries: The same for those who account for it.
        last: What the last try failed with.
        narrow: The largest window that the prompt did not fit into.
        absent: The model asked for, where it could not be loaded.
        patient: Whether a model that isn't ready is worth waiting for: not with an answer in hand.
    """

    misses: dict[str, Miss] = field(default_factory=dict[str, Miss])
    tries: list[Try] = field(default_factory=list[Try])
    last: TaleError | None = None
    narrow: int = 0
    absent: Candidate | None = None
    patient: bool = True
    _rejected: set[str] = field(default_factory=set[str])
    _broken: set[str] = field(default_factory=set[str])

    def failed(self, key: str, model: str, epoch: int, error: TaleError) -> None:
        """Note that a model failed it; in its next life it may try again."""
        narrow = isinstance(error, ContextExceeded)
        what = "has too small a window" if narrow else "failed this request"
        self.misses[key] = Miss(what, epoch)
        self.tries.append(Try(model, what, counts=not narrow))
        self.last = error

    def broke_off(self, key: str, model: str, epoch: int, error: TaleError) -> None:
        """Note that a model failed in the middle of its answer.

        One whose process died comes back in seconds, and answers better than its substitute; only
        the second time it is taken to be the request's fault.
        """
        if not isinstance(error, BackendBroke) or key in self._broken:
            self.failed(key, model, epoch, error)
            return
        self._broken.add(key)
        self.tries.append(Try(model, "broke off"))
        self.last = error

    def rejected(self, key: str, model: str, fault: str, usage: Usage | None) -> None:
        """Note that a model's whole answer was no good; it isn't asked again."""
        self.misses[key] = Miss(fault)
        self._rejected.add(model)
        self.tries.append(Try(model, fault, usage))
        self.patient = False

    def was_rejected(self, model: str) -> bool:
        """Tell whether a model gave a whole answer that was no good."""
        return model in self._rejected
