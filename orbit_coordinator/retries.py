"""Retries: a new run linked to one that has ended. What it takes over is decided in `sched.takeover`; here it is told.

The run exists, durable, before its results come: a leader that dies in between leaves a run that `taking_over` marks,
and the next one tells it everything again. Telling twice changes nothing.
"""

from __future__ import annotations

from orbit_coordinator.archive import Archive
from orbit_coordinator.leader import Leader
from orbit_coordinator.recovery import load_workflow
from orbit_coordinator.specs import SpecStore
from orbit_core.errors import NotFoundError, PreconditionError
from orbit_core.failpoints import reach
from orbit_core.ids import derived_id
from orbit_core.sched import takeover
from orbit_core.sched.events import ResultsTakenOver, RunCancelled, RunCreated
from orbit_core.sched.model import RunStatus
from orbit_core.sched.state import Run


def retry_id_of(old_run_id: str, key: str) -> str:
    """The run that this request makes, however often it is made."""
    return derived_id("run", old_run_id, "retry", key)


class Retries:
    """Begins retries, and goes on with those that an earlier leader had begun."""

    def __init__(self, leader: Leader, archive: Archive, specs: SpecStore) -> None:
        self._leader = leader
        self._archive = archive
        self._specs = specs

    async def begin(self, old_run_id: str, key: str, now_ms: int) -> str:
        """The new run's identifier; durable when it returns. NotFoundError, PreconditionError."""
        old = await self._whole(old_run_id)
        if not old.ended:
            raise PreconditionError(f"{old.id} has not ended", remedy=f"wait for it, or `orbit cancel {old.id}`")
        if old.status is RunStatus.SUCCEEDED:
            raise PreconditionError(
                f"{old.id} succeeded: there is nothing to retry", remedy=f"`orbit trigger {old.cluster}` runs it anew"
            )
        spec = await self._specs.get(old.spec_hash)
        await load_workflow(self._leader.state, self._specs, old.spec_hash)
        run_id = retry_id_of(old.id, key)
        created = RunCreated(
            run_id=run_id,
            cluster=old.cluster,
            spec_hash=old.spec_hash,
            trigger=old.trigger,
            payload=old.payload,
            deadline_ms=now_ms + spec.cluster.sla_ms,
            retry_of=old.id,
            takes_over=True,
        )
        await self._leader.tell(created)
        reach("retry-before-results")
        await self._tell_results(run_id, old)
        return run_id

    async def go_on(self, run: Run) -> None:
        """Tells a run that still waits for its results all of them, or ends it where they are gone."""
        assert run.retry_of is not None
        try:
            old = await self._whole(run.retry_of)
        except NotFoundError:
            await self._leader.tell(RunCancelled(run.id, f"{run.retry_of}, which it is a retry of, is gone"))
            return
        await self._tell_results(run.id, old)

    async def _tell_results(self, run_id: str, old: Run) -> None:
        workflow = (await self._specs.get(old.spec_hash)).workflow
        *parts, last = takeover.parts_of(takeover.of_run(old, workflow))
        for part in parts:
            self._leader.tell(ResultsTakenOver(run_id, part, final=False))
        await self._leader.tell(ResultsTakenOver(run_id, last, final=True))

    async def _whole(self, run_id: str) -> Run:
        return self._leader.state.runs.get(run_id) or await self._archive.run(run_id)
