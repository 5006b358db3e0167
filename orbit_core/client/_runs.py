"""The calls about runs: a part of `OrbitClient`, one call a method. Nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from orbit_core.client import _convert
from orbit_core.client._requests import enum_of
from orbit_core.client._requests import request_id as new_request_id
from orbit_core.client._resuming import GivenLogs, GivenResults
from orbit_core.client._routing import Router
from orbit_core.client.types import (
    FileRef,
    Invocation,
    InvocationState,
    LogRecord,
    Result,
    Run,
    RunPage,
    RunState,
    SlaState,
)
from orbit_core.limits import PAGE_DEFAULT, PAGE_MAX
from orbit_core.pb.orbit.v1 import runs_pb2 as pb
from orbit_core.pb.orbit.v1.runs_pb2_grpc import RunServiceStub


class RunCalls:
    """Start, list, watch, read, retry, resume, cancel, delete."""

    _router: Router

    async def trigger(
        self, cluster: str, payload: Mapping[str, Any] | None = None, *, request_id: str | None = None
    ) -> Run:
        """Start a run. The same `request_id` again gives the same run."""
        request = pb.TriggerRunRequest(
            cluster=cluster,
            payload_json=json.dumps(dict(payload or {})).encode(),
            request_id=request_id or new_request_id(),
        )
        response = await self._router.unary(lambda channel: RunServiceStub(channel).TriggerRun, request)
        return _convert.run(response.run)

    async def run(self, run_id: str) -> Run:
        request = pb.GetRunRequest(run_id=run_id)
        response = await self._router.unary(lambda channel: RunServiceStub(channel).GetRun, request)
        return _convert.run(response.run)

    async def runs(
        self,
        cluster: str = "",
        *,
        states: Iterable[RunState] = (),
        limit: int = PAGE_DEFAULT,
        project: str = "",
        slas: Iterable[SlaState] = (),
        created_from_ms: int = 0,
        created_before_ms: int = 0,
    ) -> tuple[Run, ...]:
        """At most `limit` runs, the newest first, of those that all filters let through.

        `states`, `slas`: one of these; none: any. Times are milliseconds since the epoch, 0: no bound.
        """
        states, slas = tuple(states), tuple(slas)
        found: list[Run] = []
        token = ""
        while len(found) < limit:
            page = await self.runs_page(
                cluster,
                states=states,
                project=project,
                slas=slas,
                created_from_ms=created_from_ms,
                created_before_ms=created_before_ms,
                page_size=min(PAGE_MAX, limit - len(found)),
                page_token=token,
            )
            found.extend(page.runs)
            token = page.next_page_token
            if not token:
                break
        return tuple(found[:limit])

    async def runs_page(
        self,
        cluster: str = "",
        *,
        states: Iterable[RunState] = (),
        project: str = "",
        slas: Iterable[SlaState] = (),
        created_from_ms: int = 0,
        created_before_ms: int = 0,
        page_size: int = PAGE_DEFAULT,
        page_token: str = "",
    ) -> RunPage:
        """One page of `runs`, and the token that asks for the next one; an empty token: there is none."""
        request = pb.ListRunsRequest(
            cluster=cluster,
            states=[enum_of(pb.RunState, "RUN_STATE_", state) for state in states],
            project=project,
            slas=[enum_of(pb.SlaState, "SLA_STATE_", sla) for sla in slas],
            created_from_ms=created_from_ms,
            created_before_ms=created_before_ms,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._router.unary(lambda channel: RunServiceStub(channel).ListRuns, request)
        return RunPage(tuple(_convert.run(each) for each in response.runs), response.next_page_token)

    async def watch(self, run_id: str) -> AsyncGenerator[Run, None]:
        """The run now, then again whenever it has changed; the last one has ended.

        After a change of leader it goes on with what is new since the picture that was given last.
        """
        request = pb.WatchRunRequest(run_id=run_id)
        last: list[Run] = []

        def new(response: pb.WatchRunResponse) -> list[Run]:
            request.resume_token = response.resume_token
            now = [_convert.run(response.run)]
            changed = now != last
            last[:] = now
            return now if changed else []

        async def complete() -> bool:
            return any(run.ended for run in last)

        stream = self._router.stream(
            lambda channel: RunServiceStub(channel).WatchRun, request, new=new, complete=complete
        )
        async with aclosing(stream):
            async for run in stream:
                yield run

    async def results(
        self, run_id: str, *, follow: bool = True, steps: Iterable[str] = ()
    ) -> AsyncGenerator[Result, None]:
        """Each object that a lineage ended with, or its error, once; with `follow` until the run has ended.

        `steps`: the objects of these steps instead, whether or not others follow.
        """
        given = GivenResults()
        stream = self._router.stream(
            lambda channel: RunServiceStub(channel).StreamResults,
            pb.StreamResultsRequest(run_id=run_id, follow=follow, steps=list(steps)),
            new=lambda response: given.new(_convert.result(response.result)),
            complete=self._ended(run_id) if follow else None,
        )
        async with aclosing(stream):
            async for result in stream:
                yield result

    async def file(self, run_id: str, file: FileRef | str, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a file that an object of the run refers to, in chunks, from `offset` on.

        `file`: from `files_in(result.value)`, or its SHA-256. `BlobError` where no machine has it any more. The
        bytes are passed on as they come: whoever keeps them compares their hash (`download` does).
        """
        sha256 = file if isinstance(file, str) else file.sha256
        request = pb.DownloadFileRequest(run_id=run_id, sha256=sha256, offset=offset)

        def new(response: pb.DownloadFileResponse) -> list[bytes]:
            request.offset += len(response.chunk)
            return [response.chunk]

        stream = self._router.stream(lambda channel: RunServiceStub(channel).DownloadFile, request, new=new)
        async with aclosing(stream):
            async for chunk in stream:
                yield chunk

    async def logs(
        self, run_id: str, *, follow: bool = False, step: str = "", invocation_id: str = ""
    ) -> AsyncGenerator[LogRecord, None]:
        """The run's log records as they came in; with `follow` until the run has ended."""
        given = GivenLogs()
        stream = self._router.stream(
            lambda channel: RunServiceStub(channel).StreamLogs,
            pb.StreamLogsRequest(run_id=run_id, follow=follow, step=step, invocation_id=invocation_id),
            new=lambda response: given.new(_convert.log_record(each) for each in response.records),
            restarted=given.restart,
            complete=self._ended(run_id) if follow else None,
        )
        async with aclosing(stream):
            async for record in stream:
                yield record

    async def invocations(
        self, run_id: str, *, step: str = "", states: Iterable[InvocationState] = ()
    ) -> AsyncGenerator[Invocation, None]:
        """The run's invocations, page by page."""
        wanted = [enum_of(pb.InvocationState, "INVOCATION_STATE_", state) for state in states]
        token = ""
        while True:
            request = pb.ListInvocationsRequest(
                run_id=run_id, step=step, states=wanted, page_size=PAGE_MAX, page_token=token
            )
            response = await self._router.unary(lambda channel: RunServiceStub(channel).ListInvocations, request)
            for each in response.invocations:
                yield _convert.invocation(each)
            token = response.next_page_token
            if not token:
                return

    async def cancel(self, run_id: str, *, reason: str = "") -> Run:
        """End a run's attempts and drop late results. A run that has ended stays as it is."""
        request = pb.CancelRunRequest(run_id=run_id, reason=reason)
        response = await self._router.unary(lambda channel: RunServiceStub(channel).CancelRun, request)
        return _convert.run(response.run)

    async def retry(self, run_id: str, *, request_id: str | None = None) -> Run:
        """A new run, linked to one that ended in part or in whole badly: what failed, and what rests on it, runs again.

        Results that rest on nothing that failed are taken over (`Run.reused` counts them). The same `request_id`
        again gives the same run. `PreconditionError` for a run that goes on, or that succeeded.
        """
        request = pb.RetryRunRequest(run_id=run_id, request_id=request_id or new_request_id())
        response = await self._router.unary(lambda channel: RunServiceStub(channel).RetryRun, request)
        return _convert.run(response.run)

    async def resume(self, run_id: str, *, budget_usd: float = 0.0) -> Run:
        """Let a run that its budget paused go on, with another budget in US dollars if one is given."""
        request = pb.ResumeRunRequest(run_id=run_id, budget_usd=budget_usd)
        response = await self._router.unary(lambda channel: RunServiceStub(channel).ResumeRun, request)
        return _convert.run(response.run)

    async def delete_run(self, run_id: str) -> bool:
        """Forget a run that has ended: its summary, results and logs. `PreconditionError` while it goes on.

        Whether there was one (False too where an earlier attempt of this call had deleted it unseen).
        """
        request = pb.DeleteRunRequest(run_id=run_id)
        response = await self._router.unary(lambda channel: RunServiceStub(channel).DeleteRun, request)
        return response.deleted

    def _ended(self, run_id: str) -> Callable[[], Awaitable[bool]]:
        async def complete() -> bool:
            return (await self.run(run_id)).ended

        return complete
