"""Where the facts of an overview come from: the supervisor, the models server, every server's wire.

Above: `overview`. Below: the leash (`orchestration.leashes` answers), and the other servers' HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from pydantic import TypeAdapter, ValidationError

from tale.errors import ServiceUnavailable, WireError
from tale.models.pool_stats import PoolStatus
from tale.models.trend import Trend
from tale.models.usage import UsageReport
from tale.servers.overview_facts import SupervisorReport
from tale.wire.child import Leash
from tale.wire.loose import read_object

__all__ = ["DaemonSources", "Sources", "open_sources"]

_T = TypeVar("_T")

_SECONDS: Final = 2.0
"""A server that is slow to answer must not hold up the picture of everything else."""
_POOL: Final = TypeAdapter(PoolStatus)
_USAGE: Final = TypeAdapter(UsageReport)
_TREND: Final = TypeAdapter(Trend)


class Sources(Protocol):
    """Who is asked; every method raises a `TaleError` where there is no answer."""

    async def supervisor(self) -> SupervisorReport:
        """Ask what runs."""
        ...

    async def pool(self) -> PoolStatus:
        """Ask the models server for its models."""
        ...

    async def usage(self) -> UsageReport:
        """Ask it what they took."""
        ...

    async def trend(self, after: int) -> Trend:
        """Ask it for the requests after a number, and the sums of the last hours."""
        ...

    async def wire(self, url: str) -> Mapping[str, Any]:
        """Ask a server what it calls."""
        ...

    async def restart(self, name: str) -> None:
        """Have a server restarted; returns once it is ready again."""
        ...


class DaemonSources:
    """The running daemon."""

    def __init__(self, leash: Leash, session: ClientSession) -> None:
        """Ask nobody yet.

        Args:
            leash: The line to the supervisor, which also knows who serves where.
            session: For HTTP.
        """
        self._leash = leash
        self._session = session

    async def supervisor(self) -> SupervisorReport:
        """Ask what runs."""
        found = await self._leash.call("status")
        try:
            return SupervisorReport.model_validate(found)
        except ValidationError as error:
            raise WireError(f"The supervisor's report can't be read: {error}.") from error

    async def pool(self) -> PoolStatus:
        """Ask the models server for its models."""
        return _read(_POOL, await self._models("/pool"))

    async def usage(self) -> UsageReport:
        """Ask it what they took."""
        return _read(_USAGE, await self._models("/pool/usage"))

    async def trend(self, after: int) -> Trend:
        """Ask it for the requests after a number, and the sums of the last hours."""
        return _read(_TREND, await self._models(f"/pool/trend?after={after}"))

    async def wire(self, url: str) -> Mapping[str, Any]:
        """Ask a server what it calls."""
        return read_object(await self._get(f"{url}/wire", "the server")) or {}

    async def restart(self, name: str) -> None:
        """Have a server restarted; returns once it is ready again."""
        await self._leash.call("restart", name=name)

    async def _models(self, path: str) -> bytes:
        peers = self._leash.peers
        if found := peers.of("models"):
            return await self._get(found[0].url + path, "the models server")
        failed = peers.failure("models")
        raise ServiceUnavailable(
            f"the models server failed to start: {failed.reason}"
            if failed
            else "the models server is not there"
        )

    async def _get(self, url: str, whose: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._leash.token}"}
        try:
            async with self._session.get(url, headers=headers) as response:
                body = await response.read()
        except (ClientError, TimeoutError, OSError) as error:
            raise ServiceUnavailable(f"{whose} does not answer") from error
        if response.status != 200:
            raise ServiceUnavailable(f"{whose} answered with HTTP {response.status}")
        return body


@asynccontextmanager
async def open_sources(leash: Leash) -> AsyncGenerator[DaemonSources]:
    """Open the way to the daemon's facts."""
    async with ClientSession(
        timeout=ClientTimeout(total=_SECONDS), cookie_jar=DummyCookieJar()
    ) as session:
        yield DaemonSources(leash, session)


def _read(shape: TypeAdapter[_T], body: bytes) -> _T:
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        raise WireError("the models server reports in an unknown way") from error
