"""Prompt caches that outlive a model's process.

A slot's computed prefix is worth seconds of prefill (12 s against 0.4 s for 800 tokens), so it is
saved when the process stops and restored when it starts; and once early on, for a process that is
killed: what is computed first is the beginning of every prompt. A file belongs to exactly one model
file, llama.cpp build, context and slot; anything else in the process's folder is swept away. A file
is moved aside while it is restored, so that one which crashes llama.cpp does so only once.

Above: `llama_server`. Below: llama.cpp's own `/slots/N?action=save|restore`.
"""

from __future__ import annotations

import hashlib
import http.client
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import orjson

from tale.telemetry import get_logger

__all__ = ["HttpSlots", "SavedSlots", "SlotApi", "cache_stem"]

log = get_logger(__name__)

_SAMPLE: Final = 1 << 16
_TIMEOUT: Final = 5.0  # seconds; a restore of the largest cache takes tenths
_FIRST_SECONDS: Final = 2.0  # the pool warms a model as soon as it is ready


class SlotApi(Protocol):
    """What llama.cpp does with one slot's cache. File names are relative to its slot folder."""

    async def save(self, slot: int, name: str) -> int:
        """Write the cache to a file and give its tokens; raises `OSError`."""
        ...

    async def restore(self, slot: int, name: str) -> int:
        """Read the cache from a file and give its tokens; raises `OSError`."""
        ...


class HttpSlots:
    """llama.cpp's server, over loopback, by the standard library: it imports in no time."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._token = token

    async def save(self, slot: int, name: str) -> int:
        """See `SlotApi`."""
        return await self._act(slot, "save", name, "n_saved")

    async def restore(self, slot: int, name: str) -> int:
        """See `SlotApi`."""
        return await self._act(slot, "restore", name, "n_restored")

    async def _act(self, slot: int, action: str, name: str, count: str) -> int:
        def post() -> int:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
            try:
                headers = {
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": "application/json",
                }
                body = orjson.dumps({"filename": name})
                connection.request("POST", f"/slots/{slot}?action={action}", body, headers)
                response = connection.getresponse()
                answer = response.read()
            except http.client.HTTPException as error:
                raise OSError(f"slot {slot} could not {action}: {error!r}") from error
            finally:
                connection.close()
            if response.status != http.HTTPStatus.OK:
                raise OSError(f"slot {slot} could not {action}: {answer.decode(errors='replace')}")
            return int(orjson.loads(answer)[count])

        return await anyio.to_thread.run_sync(post, abandon_on_cancel=True)


class SavedSlots:
    """The cache files of one process, in a folder that is its own."""

    def __init__(self, folder: Path, stem: str, slots: int) -> None:
        self._folder = folder
        self._names = [f"{stem}-{slot}.bin" for slot in range(slots)]

    async def restore(self, api: SlotApi) -> None:
        """Bring every saved cache back; one that can't be is dropped. Sweeps foreign files."""
        self._sweep(keep=self._names)
        for slot, name in enumerate(self._names):
            saved, trial = self._folder / name, self._folder / f"{name}.trial"
            if not saved.exists():
                continue
            saved.replace(trial)
            try:
                tokens = await api.restore(slot, trial.name)
            except OSError as error:
                log.warning("slot.not_restored", slot=slot, error=error)
                trial.unlink(missing_ok=True)
            else:
                trial.replace(saved)
                log.info("slot.restored", slot=slot, tokens=tokens)

    async def save(self, api: SlotApi) -> None:
        """Save every slot side by side; bound it with a cancel scope: a busy slot makes it wait."""
        async with anyio.create_task_group() as group:
            for slot, name in enumerate(self._names):
                group.start_soon(self._save, api, slot, name)

    async def save_first(self, api: SlotApi, pause: float = _FIRST_SECONDS) -> None:
        """Save once something has been computed; looks after a pause that doubles each time."""
        while not any((self._folder / name).exists() for name in self._names):
            await anyio.sleep(pause)
            await self.save(api)
            pause *= 2

    async def _save(self, api: SlotApi, slot: int, name: str) -> None:
        half = self._folder / f"{name}.half"
        try:
            tokens = await api.save(slot, half.name)
            if tokens:
                half.replace(self._folder / name)
            else:
                half.unlink(missing_ok=True)
        except OSError as error:
            log.warning("slot.not_saved", slot=slot, error=error)
        else:
            log.info("slot.saved", slot=slot, tokens=tokens)

    def _sweep(self, keep: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.iterdir():
            if file.name not in keep and file.suffix in {".bin", ".half", ".trial"}:
                file.unlink(missing_ok=True)


def cache_stem(alias: str, model: Path, build: str, context: int, slots: int) -> str:
    """Name what a cache belongs to, so that it is never restored into anything else.

    Args:
        alias: The model's name.
        model: Its file; its size, beginning and end stand for all of it.
        build: The llama.cpp build, whose cache format may change.
        context: Tokens of one slot.
        slots: How many there are.
    """
    digest = hashlib.blake2b(build.encode(), digest_size=8)
    with model.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(size.to_bytes(8, "little"))
        file.seek(0)
        digest.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read(_SAMPLE))
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", alias).strip(".")
    return f"{plain}-{digest.hexdigest()}-{context}x{slots}"
