"""Models in our own child processes: one llama.cpp server each, started by the supervisor.

This module never starts or signals a process; it asks a `Launcher` to, finds the process where the
supervisor announces it, and talks OpenAI to it. So a model outlives a crash of the models server.
Above: the pool. Below: `launcher`, and `models.llama_server` in the child.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import psutil
from aiohttp import ClientSession
from pydantic import BaseModel, ValidationError

from tale.errors import BackendFailed, BackendUnavailable, ModelError, TaleError
from tale.models._chat_stream import request_body
from tale.models._faults import model_fault, read_error
from tale.models._http import fetch
from tale.models.backend import ChatRequest, Chunk, Residency
from tale.models.launcher import Launcher, same_process
from tale.models.machine import waited_for_a_core
from tale.models.openai_http import stream_chat
from tale.telemetry import get_logger
from tale.wire.leash import Peer

__all__ = ["EmbeddedBackend"]

log = get_logger(__name__)

# Counting takes a millisecond; where it takes longer an estimate does as well.
_COUNT_SECONDS = 1.0


class EmbeddedBackend:
    """One model in one llama.cpp process of ours.

    Args:
        server_name: The process's name at the supervisor (`model-ux`).
        model: The model's real name.
        context: Tokens of context for one request.
        launcher: Who starts processes.
        module_args: Arguments of `models.llama_server`.
        nice: Niceness of the process.
        token: The bearer token that every process of this daemon asks for.
        session: From `open_session`; stays the caller's.
    """

    def __init__(
        self,
        server_name: str,
        model: str,
        context: int,
        *,
        launcher: Launcher,
        module_args: Sequence[str],
        nice: int = 0,
        token: str,
        session: ClientSession,
    ) -> None:
        self._name = server_name
        self._model = model
        self._context = context
        self._launcher = launcher
        self._module_args = tuple(module_args)
        self._nice = nice
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session = session
        self._suspect: Peer | None = None

    @property
    def model(self) -> str:
        """The model's real name."""
        return self._model

    @property
    def context(self) -> int:
        """Tokens of context that one request may use."""
        return self._context

    async def load(self) -> None:
        """Have the process started, and wait until the model in it answers.

        Raises:
            LoadFailed: The process ended before; it stays ended until the next attempt.
            ModelFileDamaged: It ended because of its file.
            BackendUnavailable: The supervisor can't start it.
        """
        try:
            await self._start()
        except TaleError as error:
            raise self._mapped(error) from error

    async def unload(self) -> None:
        """Have the process ended."""
        try:
            await self._launcher.stop(self._name)
        except TaleError as error:
            raise self._mapped(error) from error

    async def recover(self, reason: str) -> None:
        """Wait for the process that replaces a dead one; have a hanging one replaced.

        A process in which a request failed may have been replaced before this is called, and its
        successor must not be killed for it.
        """
        peer = self._launcher.peer(self._name)
        suspect, self._suspect = self._suspect, None
        log.warning("model.recovering", model=self._model, server=self._name, reason=reason)
        try:
            if peer is None:
                await self._start()
            elif suspect is not None and not same_process(peer, suspect):
                log.info("model.already_replaced", server=self._name, pid=peer.pid)
            else:
                if _alive(peer.pid):
                    await self._launcher.restart(self._name, reason)
                await self._come_up(after=peer)
        except TaleError as error:
            raise self._mapped(error) from error

    async def residency(self) -> Residency:
        """Look up the process and the memory that it really takes (RSS)."""
        peer = self._launcher.peer(self._name)
        if peer is None or not _alive(peer.pid):
            return Residency(resident=False, starts=peer.starts if peer else 0)
        return Residency(
            resident=True,
            memory_bytes=_rss(peer.pid),
            pid=peer.pid,
            starts=peer.starts,
            waited=waited_for_a_core(peer.pid),
        )

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """Generate, in whichever process has the model now.

        llama.cpp reports each batch of the prompt that it has worked off; those reports come out
        as empty chunks, so that a long prefill isn't taken for a stall.
        """
        peer = self._launcher.peer(self._name)
        if peer is None:
            raise BackendUnavailable(
                f"The process {self._name} with {self._model} is not ready.",
                hint="It is started again by itself; `tale status` shows it.",
            )
        if self._suspect is not None and not same_process(self._suspect, peer):
            self._suspect = None
        finished = False
        answer = stream_chat(
            self._session,
            f"{peer.url}/v1",
            {**request_body(self._model, request), "return_progress": True},
            headers=self._headers,
            whose=f"{self._model} in {self._name}",
        )
        try:
            async for chunk in answer:
                finished = finished or chunk.finish is not None
                yield chunk
        finally:
            if not finished:
                self._suspect = peer
            await answer.aclose()

    async def count_tokens(self, text: str) -> int:
        """Count with the model's own tokenizer; llama.cpp does it beside a running generation.

        Raises:
            ModelError: The process isn't there, or didn't count in time.
        """
        peer = self._launcher.peer(self._name)
        if peer is None:
            raise BackendUnavailable(f"The process {self._name} with {self._model} is not ready.")
        whose = f"{self._model} in {self._name}"
        status, body = await fetch(
            self._session,
            "POST",
            f"{peer.url}/tokenize",
            whose=whose,
            headers=self._headers,
            body={"content": text},
            seconds=_COUNT_SECONDS,
        )
        if status != 200:
            raise model_fault(read_error(body), status, whose)
        try:
            return len(_Tokens.model_validate_json(body).tokens)
        except ValidationError as error:
            raise BackendFailed(f"{whose} counted tokens in an unknown way.") from error

    async def _start(self) -> None:
        await self._launcher.start(self._name, self._module_args, self._nice)
        await self._come_up()

    async def _come_up(self, after: Peer | None = None) -> None:
        try:
            await self._launcher.wait_ready(self._name, after=after)
        except TaleError:
            # The pool says when to try again; until then nobody starts what can't load in a loop.
            await self._launcher.stop(self._name)
            raise

    def _mapped(self, error: TaleError) -> ModelError:
        """Turn what the supervisor or the leash reported into what a backend may raise."""
        if isinstance(error, ModelError):
            return error
        return BackendUnavailable(
            f"{self._model} can't be brought up in {self._name}: {error.message}", hint=error.hint
        )


class _Tokens(BaseModel):
    tokens: tuple[int, ...]


def _alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _rss(pid: int) -> int | None:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
