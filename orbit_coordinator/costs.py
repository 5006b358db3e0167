"""What runs have cost, line by line, and what that was beyond the least it could have been.

Runs that go on are read from the state, ended ones from the archive. Who may ask, and how it looks on the wire of a
call, is the service's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orbit_coordinator.archive import ArchivedRun
from orbit_coordinator.term import Resources
from orbit_core.errors import BlobError, NotFoundError
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.pb.orbit.v1 import scheduling_pb2 as pb
from orbit_core.sched.hindsight import Job, Least
from orbit_core.sched.model import Usage
from orbit_core.sched.past_work import EndedRun
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.workflow import StepPlan, Workflow

_BY_STEP = (pb.COST_BY_SATELLITE, pb.COST_BY_MODEL)
#: The newest runs that are looked back on at most.
_LOOKED_BACK_ON_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Share:
    """What one run had to do with one line."""

    key: str
    cost_usd: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Counted:
    """One run with its shares. `ended`: for hindsight, where it has ended and its work is known."""

    id: str
    cluster: str
    created_ms: int
    cost_usd: float
    usage: Usage
    shares: tuple[Share, ...]
    ended: EndedRun | None


async def counted(state: MeshState, resources: Resources, by: int, since_ms: int) -> AsyncIterator[Counted]:
    """Every run that was created since then. `by`: a `CostBy`."""
    live = [run for run in state.runs.values() if run.created_ms >= since_ms]
    for run in live:
        workflow = state.workflow(run)
        shares = await _shares_of(run, workflow, by)
        ended = EndedRun(run.id, workflow, run.created_ms, run.deadline_ms, dict(run.work)) if run.ended else None
        yield Counted(run.id, run.cluster, run.created_ms, run.cost_usd, run.usage, shares, ended)
    known = {run.id: None for run in live}
    async for archived in resources.archive.all():
        view = archived.view
        if view.run_id in known or view.created_ms < since_ms:
            continue
        try:
            shares = await _archived_shares(resources, view, by)
        except (BlobError, NotFoundError):
            continue  # its record is lost, and with it what its steps cost
        ended = await _ended(resources, archived)
        yield Counted(view.run_id, view.cluster, view.created_ms, view.cost_usd, _usage(view), shares, ended)


def looked_back_on(runs: Iterable[Counted]) -> list[EndedRun]:
    """The newest of those that have ended, oldest first."""
    ended = [run.ended for run in runs if run.ended is not None]
    return sorted(ended, key=lambda run: (run.created_ms, run.id))[-_LOOKED_BACK_ON_MOST:]


def lines(runs: Sequence[Counted], by: int, jobs: Sequence[Job], least: Least) -> tuple[list[pb.CostLine], pb.CostLine]:
    """The lines, the dearest first, and the total. `jobs` and what the `least` of each was, in the same order."""
    of_run: dict[str, list[tuple[StepPlan, float]]] = {}
    for job, usd in zip(jobs, least.cost_usd, strict=True):
        of_run.setdefault(job.run, []).append((job.step, usd))
    found: dict[str, pb.CostLine] = {}
    total = pb.CostLine(key="total")
    for run in runs:
        backward = of_run.get(run.id)
        for share in run.shares:
            line = found.setdefault(share.key, pb.CostLine(key=share.key))
            _add(line, share.cost_usd, share.usage)
            if backward is not None:
                part = [usd for step, usd in backward if by not in _BY_STEP or _key_of_step(step, by) == share.key]
                _look_back(line, share.cost_usd, sum(part))
        _add(total, run.cost_usd, run.usage)
        if backward is not None:
            _look_back(total, run.cost_usd, sum(usd for _, usd in backward))
    return sorted(found.values(), key=lambda line: (-line.cost_usd, line.key)), total


def _add(line: pb.CostLine, cost_usd: float, usage: Usage) -> None:
    """Adds one run, or what one run had to do with the line's key."""
    line.runs += 1
    line.cost_usd += cost_usd
    line.input_tokens += usage.input_tokens
    line.output_tokens += usage.output_tokens
    line.duration_ms += usage.duration_ms
    line.tokens_per_usd = (line.input_tokens + line.output_tokens) / line.cost_usd if line.cost_usd else 0.0


def _look_back(line: pb.CostLine, cost_usd: float, least_usd: float) -> None:
    line.runs_looked_back_on += 1
    line.least_usd += least_usd
    line.lost_usd += cost_usd - least_usd


async def _ended(resources: Resources, archived: ArchivedRun) -> EndedRun | None:
    view = archived.view
    if not archived.work:
        return None
    try:
        workflow = (await resources.specs.get(view.spec_hash)).workflow
    except NotFoundError:
        return None
    return EndedRun(view.run_id, workflow, view.created_ms, view.deadline_ms, archived.work)


async def _archived_shares(resources: Resources, view: runs_pb2.Run, by: int) -> tuple[Share, ...]:
    if by not in _BY_STEP:  # the summary will do
        return (Share(_key_of(view.run_id, view.cluster, view.created_ms, by), view.cost_usd, _usage(view)),)
    run = await resources.archive.run(view.run_id)
    return await _shares_of(run, (await resources.specs.get(run.spec_hash)).workflow, by)


async def _shares_of(run: Run, workflow: Workflow, by: int) -> tuple[Share, ...]:
    """A run's cost under the keys that it belongs to. Adding up a large run is for a thread, from a copied list."""
    if by not in _BY_STEP:
        return (Share(_key_of(run.id, run.cluster, run.created_ms, by), run.cost_usd, run.usage),)
    return await asyncio.to_thread(_by_step, list(run.invocations.values()), workflow, by)


def _by_step(invocations: Iterable[Invocation], workflow: Workflow, by: int) -> tuple[Share, ...]:
    sums: dict[str, tuple[float, Usage]] = {}
    for invocation in invocations:
        key = _key_of_step(workflow.steps[invocation.step], by)
        cost, usage = sums.get(key, (0.0, Usage()))
        sums[key] = (
            cost + invocation.cost_usd,
            Usage(
                usage.duration_ms + invocation.usage.duration_ms,
                usage.input_tokens + invocation.usage.input_tokens,
                usage.output_tokens + invocation.usage.output_tokens,
            ),
        )
    return tuple(Share(key, cost, usage) for key, (cost, usage) in sums.items())


def _key_of_step(step: StepPlan, by: int) -> str:
    return step.satellite if by == pb.COST_BY_SATELLITE else step.model or "no model"


def _key_of(run_id: str, cluster: str, created_ms: int, by: int) -> str:
    if by == pb.COST_BY_PROJECT:
        return cluster.partition("/")[0]
    if by == pb.COST_BY_DAY:
        return datetime.fromtimestamp(created_ms / 1000, UTC).date().isoformat()
    return run_id


def _usage(view: runs_pb2.Run) -> Usage:
    return Usage(view.usage.duration_ms, view.usage.input_tokens, view.usage.output_tokens)
