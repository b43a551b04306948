"""Adds the bearer token to what passes through: the suite can't send one.

Everything else goes on as it came, `Host` and `Origin` too, so that the gateway's own guard judges
them. Above: `__main__`. Below: the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

__all__ = ["with_token"]

# aiohttp frames both bodies anew.
_HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length")


@asynccontextmanager
async def with_token(upstream: str, token: str) -> AsyncGenerator[str]:
    """Forward to a server for as long as the context lasts; gives the address to use instead."""

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = _passed_on(request.headers)
        headers["Authorization"] = f"Bearer {token}"
        async with session.request(
            request.method,
            upstream + request.path_qs,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", forward)
    # A client that goes away ends the call at the gateway too.
    runner = web.AppRunner(application, handler_cancellation=True)
    async with aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0)
            await site.start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept
