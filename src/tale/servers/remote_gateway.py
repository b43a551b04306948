"""The gateway as the ux server sees it: who takes work, and knows how it stands.

Above: `servers.ux`. Below: the gateway's tools.
"""

from __future__ import annotations

from tale.memory.exchange import Standing, Work
from tale.memory.referring import apart
from tale.servers.steps import ToolCaller
from tale.wire.contracts import SHOW, SUBMIT, ShowRequest, SubmitRequest

__all__ = ["RemoteGateway"]


class RemoteGateway:
    """Hands work to the gateway server."""

    def __init__(self, services: ToolCaller, *, deadline: float) -> None:
        """`deadline` is how long to wait for it, in seconds."""
        self._services = services
        self._deadline = deadline

    async def submit(self, work: Work) -> str:
        """Record a task there and give its id."""
        request = SubmitRequest(
            text=work.text,
            workspace=work.workspace,
            session=work.session or None,
            key=work.key,
        )
        return (await self._services.call(SUBMIT, request, deadline=self._deadline)).id

    async def stands(self, task: str) -> Standing:
        """Ask there how a task stands."""
        found = await self._services.call(SHOW, ShowRequest(id=task), deadline=self._deadline)
        words = found.progress.words if found.progress else f"is {found.state}."
        words = words.removeprefix(f"Task {task} ")
        return Standing(
            task,
            apart(found.text)[0],
            found.state,
            words,
            found.finished,
            found.answer or "",
            found.files,
        )
