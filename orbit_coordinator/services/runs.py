"""RunService: runs are started, watched, read, cancelled. Ended runs are read from the archive."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.json_format import ParseDict

from orbit_coordinator.inputs import input_files
from orbit_coordinator.results import ObjectReader, ended_lineages, results_of
from orbit_coordinator.retries import retry_id_of
from orbit_coordinator.services.access import Access, Reading, page
from orbit_coordinator.services.clusters import find_cluster
from orbit_coordinator.term import Term
from orbit_coordinator.upkeep import blobs_of
from orbit_coordinator.views import INVOCATION_STATES, invocation_view, run_view
from orbit_core.errors import FieldViolation, InvalidRequestError, NotFoundError, NotLeaderError, PreconditionError
from orbit_core.ids import content_hash
from orbit_core.limits import OBJECT_MAX_BYTES, PAGE_DEFAULT, PAGE_MAX
from orbit_core.pb.orbit.v1 import common_pb2, runs_pb2, runs_pb2_grpc
from orbit_core.sched.events import RunCancelled, RunResumed
from orbit_core.sched.model import RunStatus
from orbit_core.sched.state import Run
from orbit_core.sched.workflow import Workflow
from orbit_core.store.blobs.api import check_name

#: A watched run is looked at this often though nothing is said to have changed: the term may be over.
WATCH_EVERY_S = 5.0
#: A watched run is shown at most this often.
WATCH_GAP_S = 0.1
_LOG_RECORDS = 500
#: Later than any run: what is left until then puts the newest first.
_LATEST_MS = 10**15


class RunService(runs_pb2_grpc.RunServiceServicer):
    """Everything about runs."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._reader = ObjectReader(access.resources.blobs)

    async def TriggerRun(self, request: runs_pb2.TriggerRunRequest, context: Any) -> runs_pb2.TriggerRunResponse:
        term = self._access.leading()
        entry = find_cluster(term.state.clusters, request.cluster)
        spec = await self._access.resources.specs.get(entry.spec_hash)
        if not any(trigger.kind == "api-call" for trigger in spec.cluster.triggers):
            raise PreconditionError(
                f"{entry.identifier} has no api-call trigger",
                remedy="add `api-call: true` to its `trigger` and submit it again",
            )
        if not entry.enabled:
            raise PreconditionError(
                f"{entry.identifier} is disabled", remedy=f"`orbit enable {entry.identifier}` lets it run again"
            )
        payload = _payload(request.payload_json)
        key = request.request_id or os.urandom(12).hex()
        run_id, created = await term.starter.start(spec, "api-call", key, payload)
        view = await self._view(term, run_id)
        if view is None:
            raise NotLeaderError()
        return runs_pb2.TriggerRunResponse(run=view, created=created)

    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Any) -> runs_pb2.GetRunResponse:
        reading = await self._access.reading(context)
        view = await self._view(reading, request.run_id)
        if view is None:
            view = (await self._access.resources.archive.get(request.run_id)).view
        return runs_pb2.GetRunResponse(run=view)

    async def _view(self, known: Term | Reading, run_id: str) -> runs_pb2.Run | None:
        run = known.state.runs.get(run_id)
        if run is not None:
            view = run_view(run, known.state.workflow(run))
            if run.ended and known.leader is not None:
                await known.leader.flushed()
            return view
        archived = await self._access.resources.archive.find(run_id)
        return archived.view if archived else None

    async def ListRuns(self, request: runs_pb2.ListRunsRequest, context: Any) -> runs_pb2.ListRunsResponse:
        state = (await self._access.reading(context)).state
        views = {run.id: run_view(run, state.workflow(run)) for run in state.runs.values()}
        async for archived in self._access.resources.archive.all():
            views.setdefault(archived.view.run_id, archived.view)
        runs = [view for view in views.values() if _is_asked_for(view, request)]
        runs.sort(key=lambda view: (-view.created_ms, view.run_id))
        found, token = page(
            runs,
            request.page_size,
            request.page_token,
            lambda view: f"{_LATEST_MS - view.created_ms:016d}/{view.run_id}",
            default=PAGE_DEFAULT,
            most=PAGE_MAX,
        )
        return runs_pb2.ListRunsResponse(runs=found, next_page_token=token)

    async def WatchRun(
        self, request: runs_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[runs_pb2.WatchRunResponse]:
        term = self._access.leading()
        changed = term.leader.watch(request.run_id)
        seen = request.resume_token
        try:
            while True:
                changed.clear()
                run = term.state.runs.get(request.run_id)
                ended = run is None or run.ended
                if run is None:
                    view = (await self._access.resources.archive.get(request.run_id)).view
                else:
                    view = run_view(run, term.state.workflow(run))
                token = _resume_token(view)
                if token != seen or ended:
                    seen = token
                    if ended:
                        await term.leader.flushed()
                    yield runs_pb2.WatchRunResponse(run=view, resume_token=token)
                if ended:
                    return
                await asyncio.sleep(WATCH_GAP_S)
                await _wait(changed, WATCH_EVERY_S)
                self._check(term)
        finally:
            term.leader.unwatch(request.run_id, changed)

    def _check(self, term: Term) -> None:
        """NotLeaderError where the term that a stream began in is over."""
        if self._access.leading() is not term:
            raise NotLeaderError()

    async def _whole(self, term: Term, run_id: str) -> tuple[Run, Workflow]:
        run = term.state.runs.get(run_id)
        if run is None:
            run = await self._access.resources.archive.run(run_id)
        return run, (await self._access.resources.specs.get(run.spec_hash)).workflow

    async def StreamResults(
        self, request: runs_pb2.StreamResultsRequest, context: Any
    ) -> AsyncIterator[runs_pb2.StreamResultsResponse]:
        term = self._access.leading()
        steps = frozenset(request.steps)
        run, workflow = await self._whole(term, request.run_id)
        _check_steps(steps, workflow)
        given: set[str] = set()
        changed = term.leader.watch(request.run_id)
        try:
            while True:
                changed.clear()
                ended = run.ended
                found = ended_lineages(run, workflow, steps)
                await term.leader.flushed()
                for invocation in found:
                    if invocation.id not in given:
                        given.add(invocation.id)
                        async for result in results_of(run, workflow, invocation, self._reader):
                            yield runs_pb2.StreamResultsResponse(result=result)
                if ended or not request.follow:
                    return
                await asyncio.sleep(WATCH_GAP_S)
                await _wait(changed, WATCH_EVERY_S)
                self._check(term)
        finally:
            term.leader.unwatch(request.run_id, changed)

    async def DownloadFile(
        self, request: runs_pb2.DownloadFileRequest, context: Any
    ) -> AsyncIterator[runs_pb2.DownloadFileResponse]:
        """From this machine, or from the agents that hold it: what a new leader was not there for lies with them.

        Only what the run has: whoever may read one run does not read another's by the hashes of its files.
        """
        term = self._access.leading()
        sha256, run_id = check_name(request.sha256), request.run_id
        if not await self._has_file(term, run_id, sha256):
            raise NotFoundError(f"{run_id} has no file {sha256}", remedy="ask for one that its results name")
        skip = request.offset
        async with aclosing(self._access.resources.blobs.open(sha256)) as chunks:
            async for chunk in chunks:
                if rest := chunk[skip:]:
                    yield runs_pb2.DownloadFileResponse(chunk=rest)
                skip = max(0, skip - len(chunk))

    async def _has_file(self, term: Term, run_id: str, sha256: str) -> bool:
        """Whether a run, or the one that it is a retry of, returned or was given that file. NotFoundError."""
        run = term.state.runs.get(run_id) or await self._access.resources.archive.run(run_id)
        if any(found == sha256 for found, _ in blobs_of(run)):
            return True
        if sha256 in await input_files(run, self._access.resources.blobs):
            return True
        try:  # a retry of a time when it did not yet say which files it had taken over
            return run.retry_of is not None and await self._has_file(term, run.retry_of, sha256)
        except NotFoundError:
            return False

    async def StreamLogs(
        self, request: runs_pb2.StreamLogsRequest, context: Any
    ) -> AsyncIterator[runs_pb2.StreamLogsResponse]:
        term = self._access.leading()
        run = term.state.runs.get(request.run_id)
        if run is None:
            content = await self._access.resources.archive.logs(request.run_id)
            records = [ParseDict(json.loads(line), common_pb2.LogRecord()) for line in content.splitlines()]
            for at in range(0, len(records), _LOG_RECORDS):
                yield runs_pb2.StreamLogsResponse(records=_matching(records[at : at + _LOG_RECORDS], request))
            return

        def follow() -> bool:
            self._check(term)
            return request.follow and not run.ended

        async for batch in self._access.resources.logs.read(request.run_id, follow=follow):
            matching = _matching(batch, request)
            if matching:
                yield runs_pb2.StreamLogsResponse(records=matching)

    async def ListInvocations(
        self, request: runs_pb2.ListInvocationsRequest, context: Any
    ) -> runs_pb2.ListInvocationsResponse:
        term = self._access.leading()
        run, workflow = await self._whole(term, request.run_id)
        _check_steps(frozenset(filter(None, [request.step])), workflow)
        # In the order in which they came to be, which is what they are paged by: more may come at the end.
        matching = [
            (f"{number:012d}", invocation)
            for number, invocation in enumerate(run.invocations.values())
            if (not request.step or workflow.steps[invocation.step].identifier == request.step)
            and (not request.states or INVOCATION_STATES[invocation.status] in request.states)
        ]
        found, token = page(
            matching,
            request.page_size,
            request.page_token,
            lambda numbered: numbered[0],
            default=PAGE_DEFAULT,
            most=PAGE_MAX,
        )
        views = [invocation_view(run, workflow, invocation) for _, invocation in found]
        return runs_pb2.ListInvocationsResponse(invocations=views, next_page_token=token)

    async def CancelRun(self, request: runs_pb2.CancelRunRequest, context: Any) -> runs_pb2.CancelRunResponse:
        term = self._access.leading()
        if request.run_id in term.state.runs:
            await term.leader.tell(RunCancelled(request.run_id, request.reason or "cancelled"))
        view = await self._view(term, request.run_id)
        if view is None:
            view = (await self._access.resources.archive.get(request.run_id)).view
        return runs_pb2.CancelRunResponse(run=view)

    async def RetryRun(self, request: runs_pb2.RetryRunRequest, context: Any) -> runs_pb2.RetryRunResponse:
        term = self._access.leading()
        key = request.request_id or os.urandom(12).hex()
        run_id = retry_id_of(request.run_id, key)
        async with term.starter.alone(run_id):
            created = not await term.starter.has_begun(run_id)
            if created:
                await term.retries.begin(request.run_id, key, term.leader.now_ms())
        view = await self._view(term, run_id)
        if view is None:
            raise NotLeaderError()
        return runs_pb2.RetryRunResponse(run=view, created=created)

    async def ResumeRun(self, request: runs_pb2.ResumeRunRequest, context: Any) -> runs_pb2.ResumeRunResponse:
        term = self._access.leading()
        run = term.state.runs.get(request.run_id)
        if run is None:
            await self._access.resources.archive.get(request.run_id)
        if run is None or run.ended:
            raise PreconditionError(
                f"{request.run_id} has ended", remedy=f"`orbit retry {request.run_id}` runs again what failed of it"
            )
        if run.status is RunStatus.RUNNING and request.budget_usd in (0, run.budget_usd):
            return runs_pb2.ResumeRunResponse(run=await self._view(term, run.id))  # the same call, made again
        if run.status is not RunStatus.PAUSED:
            raise PreconditionError(f"{run.id} is {run.status}, not paused", remedy="only a paused run is resumed")
        if request.budget_usd < 0 or 0 < request.budget_usd <= run.cost_usd:
            raise InvalidRequestError(
                f"a budget of ${request.budget_usd:g} lets nothing go on: ${run.cost_usd:.6f} has been spent",
                violations=[FieldViolation("budget_usd", "expected more than the run has cost so far")],
            )
        await term.leader.tell(RunResumed(run.id, request.budget_usd or None))
        return runs_pb2.ResumeRunResponse(run=await self._view(term, run.id))

    async def DeleteRun(self, request: runs_pb2.DeleteRunRequest, context: Any) -> runs_pb2.DeleteRunResponse:
        term = self._access.leading()
        run = term.state.runs.get(request.run_id)
        if run is not None:
            remedy = "try again in a moment" if run.ended else f"`orbit cancel {run.id}` ends it"
            raise PreconditionError(f"{run.id} is still under way or being archived", remedy=remedy)
        deleted = await self._access.resources.archive.delete(request.run_id, term.leadership)
        if deleted:
            await asyncio.to_thread(self._access.resources.logs.forget, request.run_id)
        return runs_pb2.DeleteRunResponse(deleted=deleted)


def _is_asked_for(view: runs_pb2.Run, request: runs_pb2.ListRunsRequest) -> bool:
    cluster = request.cluster.removeprefix("cluster/")
    return (
        (not cluster or view.cluster == cluster)
        and (not request.project or view.cluster.startswith(f"{request.project}/"))
        and (not request.states or view.state in request.states)
        and (not request.slas or view.sla in request.slas)
        and view.created_ms >= request.created_from_ms
        and (not request.created_before_ms or view.created_ms < request.created_before_ms)
    )


def _resume_token(view: runs_pb2.Run) -> str:
    """Names what a watch has shown, whoever leads: the same for the same picture of a run."""
    return content_hash(view.SerializeToString(deterministic=True))[:32]


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return


def _payload(data: bytes) -> dict[str, Any]:
    if len(data) > OBJECT_MAX_BYTES:
        raise InvalidRequestError(
            f"the payload has {len(data)} bytes; at most {OBJECT_MAX_BYTES} are allowed",
            remedy="leave large data in a bucket or a folder, and name it in the payload",
        )
    try:
        payload = json.loads(data or b"{}")
    except ValueError as error:
        violation = FieldViolation("payload_json", f"is not JSON: {error}")
        raise InvalidRequestError("the payload is not JSON", violations=[violation]) from error
    if not isinstance(payload, dict):
        violation = FieldViolation("payload_json", f"a JSON object is expected, not {type(payload).__name__}")
        raise InvalidRequestError("the payload is not a JSON object", violations=[violation])
    return payload


def _check_steps(steps: frozenset[str], workflow: Workflow) -> None:
    known = [step.identifier for step in workflow.steps]
    unknown = sorted(steps.difference(known))
    if unknown:
        raise InvalidRequestError(
            f"{workflow.identifier} has no step {', '.join(map(repr, unknown))}", remedy=f"it has {', '.join(known)}"
        )


def _matching(records: list[common_pb2.LogRecord], request: runs_pb2.StreamLogsRequest) -> list[common_pb2.LogRecord]:
    return [
        record
        for record in records
        if (not request.step or record.step == request.step)
        and (not request.invocation_id or record.invocation_id == request.invocation_id)
    ]
