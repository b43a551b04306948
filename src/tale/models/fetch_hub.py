"""Model files from the Hugging Face hub, resumed where a connection broke.

Imported only when something is to be fetched: aiohttp takes its time to load. Above: `fetch`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import aiohttp
import anyio

from tale.errors import DownloadFailed
from tale.models.catalog import CatalogModel
from tale.models.fetch_sources import Progress, size_of

__all__ = ["HubSource"]

_PUBLIC_HUB: Final = "https://huggingface.co"
_CONNECT_SECONDS: Final = 5.0  # where the hub is blocked, this is what the user waits for
_SILENCE_SECONDS: Final = 30.0
_FRUITLESS_ATTEMPTS: Final = 3  # connections in a row that broke without a new byte
_BLOCK: Final = 1 << 20
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416


class HubSource:
    """The Hugging Face hub, or whatever `HF_ENDPOINT` names in its place; resumes by byte range."""

    name = "Hugging Face hub"

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")

    def offers(self, model: CatalogModel) -> bool:
        """See `Source`."""
        return model.hub_repo is not None

    def missing(self, model: CatalogModel, work: Path) -> int:
        """See `Source`."""
        return max(0, model.size - size_of(work / "hub.part"))

    async def fetch(self, model: CatalogModel, work: Path, progress: Progress) -> Path:
        """See `Source`."""
        url = f"{self.endpoint}/{model.hub_repo}/resolve/main/{model.file}"
        part = work / "hub.part"
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
        )
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            fruitless = 0
            connected = False
            while (before := size_of(part)) < model.size:
                try:
                    async with session.get(url, headers=_range(before)) as response:
                        connected = True
                        await _receive(response, model, part, progress)
                except (aiohttp.ClientError, TimeoutError) as error:
                    fruitless = 0 if size_of(part) > before else fruitless + 1
                    # A hub that was never reached is not there; one that broke off may go on.
                    if not connected:
                        raise DownloadFailed(f"not reached ({_reason(error)}).") from error
                    if fruitless == _FRUITLESS_ATTEMPTS:
                        raise DownloadFailed(f"{url}: {_reason(error)}.") from error
        return part


async def _receive(
    response: aiohttp.ClientResponse, model: CatalogModel, part: Path, progress: Progress
) -> None:
    """Append what the hub sends to the part; raises `ClientError` where it breaks off."""
    begin = size_of(part)
    if response.status == _RANGE_NOT_SATISFIABLE:
        raise _foreign(part)
    if response.status == _OK:
        begin = 0  # it doesn't do ranges: from the start
    elif response.status != _PARTIAL:
        raise DownloadFailed(f"{response.url} answered {response.status} {response.reason}.")
    if begin and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
        raise _foreign(part)
    if response.content_length not in (None, model.size - begin):
        raise DownloadFailed(
            f"{response.url} has {begin + (response.content_length or 0):,} bytes instead of "
            f"{model.size:,}."
        )
    done = begin
    async with await anyio.open_file(part, "ab" if begin else "wb") as file:
        async for block in response.content.iter_chunked(_BLOCK):
            done += len(block)
            if done > model.size:
                raise DownloadFailed(f"{response.url} sends more than {model.size:,} bytes.")
            await file.write(block)
            progress(done)


def _range(begin: int) -> dict[str, str]:
    return {"Range": f"bytes={begin}-"} if begin else {}


def _foreign(part: Path) -> aiohttp.ClientError:
    """Drop a part that the hub's file doesn't go on from, so that the next attempt starts over."""
    part.unlink(missing_ok=True)
    return aiohttp.ClientPayloadError("its file does not go on from what is here")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
