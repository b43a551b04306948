"""One process that is called: what is under way there, and whether it shows signs of life.

Calls are sent over its channel and cut off where the process hangs: while any are under way and
nothing arrives, it is asked for a sign of life again and again, which tells a process that hangs
(stopped, deadlocked) from a tool that takes its time. Above: `service`. Below: `post`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import anyio

from tale.telemetry import get_logger
from tale.wire.leash import Peer
from tale.wire.metrics import InstanceView
from tale.wire.post import Answer, Broken, Channel, Garbled, NotSent, OnProgress
from tale.wire.resilience import Breaker, BreakerPolicy
from tale.wire.tool import Tool

__all__ = ["Instance"]

log = get_logger(__name__)

_ROUNDS: Final = 4
"""In so many parts a tool's patience is spent. More than one, so that this process's own pause
(one long callback) is not taken for the other's."""
_SHORTEST_ROUND: Final = 0.02
_LONGEST_ROUND: Final = 1.0
"""A less patient call may come in the midst of a round."""


class _Attempt:
    """One call under way, and how to cut it off."""

    def __init__(self, tool: Tool[Any, Any]) -> None:
        self.tool = tool
        self.scope = anyio.CancelScope()


class Instance:
    """A process, for as long as it is announced and calls are under way there."""

    def __init__(
        self, peer: Peer, token: str, policy: BreakerPolicy, on_change: Callable[[], None]
    ) -> None:
        """Connect to nothing yet.

        Args:
            peer: Where it is.
            token: The bearer token.
            policy: Of its breaker.
            on_change: Is called when another call may be possible.
        """
        self.name = peer.name
        self.service = peer.service
        self.breaker = Breaker()
        self.in_flight = 0
        self.retired = False
        self._policy = policy
        self._on_change = on_change
        self._channel = Channel(peer.url, token, peer.name)
        self._attempts: set[_Attempt] = set()
        self._busy = anyio.Event()
        self._done = anyio.Event()
        self._heard = False

    def view(self) -> InstanceView:
        """Describe it."""
        breaker = self.breaker
        half_open = breaker.until <= anyio.current_time()
        state = "closed" if breaker.closed else "half-open" if half_open else "open"
        return InstanceView(
            self.service, self.name, "draining" if self.retired else state, self.in_flight
        )

    def retire(self) -> None:
        """Take no more calls, and close once those in flight have ended.

        A process that drains is announced as gone while it still answers what it was asked; one
        that died breaks its calls by itself.
        """
        self.retired = True
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self.retired and not self.in_flight:
            self._done.set()

    async def own(self) -> None:
        """Keep its connections until it is retired and its last call has ended."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                await self._done.wait()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._channel.aclose()

    def take(self) -> None:
        """Count a call that is about to be made; `call` gives it back."""
        self.in_flight += 1
        self.breaker = self.breaker.called(anyio.current_time())

    def leave(self) -> None:
        """Give back what `take` counted: the call is not made after all."""
        self.in_flight -= 1
        self.breaker = self.breaker.left()
        self._finish_if_done()
        self._on_change()

    async def call(
        self,
        tool: Tool[Any, Any],
        name: str,
        arguments: bytes,
        seconds: float,
        on_progress: OnProgress | None,
    ) -> Answer:
        """Make a call that was taken.

        Args:
            tool: What to call.
            name: Under which name: its own, or that of its batched form.
            arguments: A JSON object.
            seconds: The caller's time.
            on_progress: Gets what it reports meanwhile.

        Raises:
            NotSent: It did not take the call.
            Broken: It went away, or was cut off for showing no life, after it had taken it.
            TaleError: It was refused, or the answer can't be understood.
        """
        attempt = _Attempt(tool)
        self._attempts.add(attempt)
        self._busy.set()
        verdict = self._left
        try:
            with attempt.scope:
                answer = await self._channel.call(
                    name,
                    arguments,
                    seconds=seconds,
                    on_progress=on_progress,
                    on_life=self._hear,
                )
                verdict = self._answered
                return answer
        except (NotSent, Broken, Garbled):
            verdict = self._failed
            raise
        except Exception:
            verdict = self._answered
            raise
        finally:
            self._attempts.discard(attempt)
            self.in_flight -= 1
            self.breaker = verdict()
            self._finish_if_done()
            self._on_change()
        # Its scope ended it: the breaker has been told already.
        raise Broken("it shows no sign of life")

    def _hear(self) -> None:
        self._heard = True

    def _left(self) -> Breaker:
        return self.breaker.left()

    def _answered(self) -> Breaker:
        return self.breaker.succeeded()

    def _failed(self) -> Breaker:
        return self.breaker.failed(anyio.current_time(), self._policy)

    async def _watch(self) -> None:
        """Connect ahead of the first call; then look after the calls under way."""
        with anyio.move_on_after(1):
            await self._shows_life()
        while True:
            await self._busy.wait()
            silent = 0.0
            while self._attempts:
                shortest = min(attempt.tool.patience for attempt in self._attempts)
                pause = min(max(shortest / _ROUNDS, _SHORTEST_ROUND), _LONGEST_ROUND)
                self._heard = False
                if silent == 0.0:
                    await anyio.sleep(pause)
                if not self._heard:
                    with anyio.move_on_after(pause):
                        if not await self._shows_life():
                            await anyio.sleep_forever()
                silent = 0.0 if self._heard else silent + pause
                self._cut_off(silent)
            self._busy = anyio.Event()

    async def _shows_life(self) -> bool:
        try:
            await self._channel.ping()
        except OSError:
            return False
        self._heard = True
        return True

    def _cut_off(self, silent: float) -> None:
        """Let go of what has waited for longer than its tool's patience; others may do it."""
        lost = [one for one in self._attempts if one.tool.patience <= silent + 1e-9]
        if not lost:
            return
        if self.breaker.closed or self.breaker.until <= anyio.current_time():
            log.warning("instance.hangs", instance=self.name, silent=silent)
            self.breaker = self.breaker.tripped(anyio.current_time(), self._policy)
        for attempt in lost:
            if attempt.tool.repeatable:
                attempt.scope.cancel()
