"""Reads the objects of a run: inline ones from the state, others line by line out of their pages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection

from orbit_coordinator.views import failure_view, usage_view
from orbit_core.errors import BlobError
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.sched.lineage import addresses
from orbit_core.sched.model import ObjectAddress, Status
from orbit_core.sched.state import Invocation, Run
from orbit_core.sched.workflow import Workflow
from orbit_core.store.blobs import BlobStore, read_blob

_PAGES_KEPT = 8


class ObjectReader:
    """Reads objects by address; the pages that were read last stay in memory."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._pages: OrderedDict[str, list[bytes]] = OrderedDict()

    async def read(self, address: ObjectAddress) -> bytes:
        """The object's JSON text. BlobError where its page cannot be had."""
        if address.page is None:
            return (address.json or "null").encode()
        lines = await self._lines(address.page.sha256)
        if address.index >= len(lines):
            raise BlobError(f"page {address.page.sha256} has {len(lines)} objects, not {address.index + 1}")
        return lines[address.index]

    async def _lines(self, sha256: str) -> list[bytes]:
        known = self._pages.get(sha256)
        if known is None:
            known = (await read_blob(self._blobs, sha256)).splitlines()
            self._pages[sha256] = known
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(sha256)
        return known


def ended_lineages(run: Run, workflow: Workflow, steps: Collection[str]) -> list[Invocation]:
    """Invocations whose objects are results: ends of main lineages and failures, or those of the named steps."""
    followed = {need for step in workflow.steps for need in step.needs}
    found: list[Invocation] = []
    for invocation in run.invocations.values():
        if not invocation.ended or invocation.status is Status.CANCELLED:
            continue
        plan = workflow.steps[invocation.step]
        if steps:
            if plan.identifier in steps:
                found.append(invocation)
        elif plan.section == "main" and (
            invocation.status is Status.FAILED
            or plan.index not in followed
            or _ends_at_gather(run, workflow, invocation)
        ):
            found.append(invocation)
    return found


def _ends_at_gather(run: Run, workflow: Workflow, invocation: Invocation) -> bool:
    """A lineage whose gather never fired ended there, which is sure only once the run has ended."""
    return run.ended and not invocation.joined and not workflow.fans[invocation.step]


def lineage_of(run: Run, invocation: Invocation) -> list[str]:
    """The invocations that led here, first step first, this one included."""
    chain = [invocation.id]
    current = invocation
    while current.parent is not None:
        current = run.invocations[current.parent]
        chain.append(current.id)
    return chain[::-1]


async def results_of(
    run: Run, workflow: Workflow, invocation: Invocation, reader: ObjectReader
) -> AsyncIterator[runs_pb2.Result]:
    """One message for each object, or one for the failure."""
    plan = workflow.steps[invocation.step]

    def message(index: int) -> runs_pb2.Result:
        return runs_pb2.Result(
            invocation_id=invocation.id,
            step=plan.identifier,
            section=plan.section,
            index=index,
            agent_id=invocation.agent or invocation.last_agent or "",
            usage=usage_view(invocation.usage),
            cost_usd=invocation.cost_usd,
            attempts=invocation.attempt,
            lineage=lineage_of(run, invocation),
        )

    if invocation.status is Status.FAILED:
        failed = message(0)
        if invocation.failure is not None:
            failed.failure.CopyFrom(failure_view(invocation.failure))
        yield failed
        return
    if invocation.outputs is None:
        return
    for index, address in enumerate(addresses(invocation.outputs)):
        result = message(index)
        result.json = await reader.read(address)
        yield result
