"""The gateway as the ux server sees it: who takes work, and knows how it stands and ended.

Above: `servers.ux`. Below: the gateway's tools.
"""

from __future__ import annotations

from tale.memory.exchange import Standing, Work
from tale.memory.referring import apart
from tale.memory.results import Result, ResultPage, Verdict
from tale.servers.steps import ToolCaller
from tale.wire.contracts import SHOW, SUBMIT, ShowRequest, SubmitRequest
from tale.wire.result_contracts import RESULTS, ResultsRequest, ResultView

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
            private=work.private,
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

    async def results(self, after: int, wait: float) -> ResultPage:
        """Ask there what came of the tasks that ended after the one of a number."""
        request = ResultsRequest(after=after, wait=wait)
        found = await self._services.call(RESULTS, request, deadline=wait + self._deadline)
        return ResultPage(tuple(map(_result, found.results)), found.through)


def _result(view: ResultView) -> Result:
    return Result(
        number=view.number,
        task=view.task,
        text=view.text,
        state=view.state,
        at=view.finished,
        key=view.key,
        session=view.session,
        answer=view.answer,
        files=view.files,
        error=view.error,
        parts=view.parts,
        verdicts=tuple(Verdict(one.plan, one.asked, one.yes, one.said) for one in view.verdicts),
    )
