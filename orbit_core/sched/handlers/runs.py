"""Clusters and runs: submitted, triggered, taken over, paused, cancelled, broken, archived; and their log batches."""

from __future__ import annotations

from orbit_core.limits import CLUSTER_VERSIONS_MAX
from orbit_core.sched import lineage
from orbit_core.sched.commands import Command, RunChanged, StopAttempt
from orbit_core.sched.events import (
    ClusterDeleted,
    ClusterEnabled,
    ClusterSubmitted,
    LogsBatched,
    ResultsTakenOver,
    RunArchived,
    RunBroken,
    RunCancelled,
    RunCreated,
    RunForecast,
    RunPaused,
    RunResumed,
)
from orbit_core.sched.handlers.ends import end_making
from orbit_core.sched.handlers.under_way import charge, key_of, release
from orbit_core.sched.model import RunStatus, Status, Usage
from orbit_core.sched.state import ClusterEntry, ClusterVersion, MeshState, Run
from orbit_core.sched.transitions import move


def cluster_submitted(state: MeshState, event: ClusterSubmitted) -> list[Command]:
    entry = state.clusters.get(event.identifier)
    if entry is None:
        state.clusters[event.identifier] = ClusterEntry(event.identifier, event.spec_hash, state.now_ms)
    elif entry.spec_hash != event.spec_hash:
        others = [each for each in entry.earlier if each.spec_hash != event.spec_hash]
        entry.earlier = [*others, ClusterVersion(entry.spec_hash, entry.submitted_ms)][-CLUSTER_VERSIONS_MAX:]
        entry.spec_hash = event.spec_hash
        entry.submitted_ms = state.now_ms
    return []


def cluster_enabled(state: MeshState, event: ClusterEnabled) -> list[Command]:
    entry = state.clusters.get(event.identifier)
    if entry is None:
        return []
    if event.enabled and not entry.enabled:
        # What was meant to be quiet is not made up for.
        entry.last_tick_ms = max(entry.last_tick_ms, state.now_ms)
    entry.enabled = event.enabled
    return []


def cluster_deleted(state: MeshState, event: ClusterDeleted) -> list[Command]:
    state.clusters.pop(event.identifier, None)
    return []


def run_created(state: MeshState, event: RunCreated) -> list[Command]:
    if event.run_id in state.runs:
        return []
    entry = state.clusters.get(event.cluster)
    if entry is not None and event.trigger.kind == "cron":
        entry.last_tick_ms = max(entry.last_tick_ms, event.trigger.time_ms)
    workflow = state.workflows[event.spec_hash]
    run = Run(
        id=event.run_id,
        cluster=event.cluster,
        spec_hash=event.spec_hash,
        trigger=event.trigger,
        payload=event.payload,
        created_ms=state.now_ms,
        deadline_ms=event.deadline_ms,
        retry_of=event.retry_of,
        budget_usd=workflow.budget_usd,
        taking_over=event.takes_over,
    )
    state.runs[run.id] = run
    state.set_timer(run.deadline_ms, "deadline", run.id)
    return [RunChanged(run.id)] if run.taking_over else _begin(state, run)


def _begin(state: MeshState, run: Run) -> list[Command]:
    lineage.start(state, run)
    return [RunChanged(run.id), *lineage.settle(state, run)]


def results_taken_over(state: MeshState, event: ResultsTakenOver) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended or not run.taking_over:
        return []
    run.takeovers.update((each.lineage, each) for each in event.results)
    if not event.final:
        return []
    run.taking_over = False
    return _begin(state, run)


def run_cancelled(state: MeshState, event: RunCancelled) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.reason = event.reason
    return _stop_everything(state, run, RunStatus.CANCELLED, event.reason)


def run_paused(state: MeshState, event: RunPaused) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.status is not RunStatus.RUNNING:
        return []
    run.status, run.reason = RunStatus.PAUSED, event.reason
    return [RunChanged(run.id)]


def run_resumed(state: MeshState, event: RunResumed) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.status is not RunStatus.PAUSED:
        return []
    run.status, run.reason = RunStatus.RUNNING, ""
    if event.budget_usd is not None:
        run.budget_usd = event.budget_usd
    return [RunChanged(run.id)]


def run_forecast(state: MeshState, event: RunForecast) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.expected_late = event.expected_late
    return [RunChanged(run.id)]


def run_broken(state: MeshState, event: RunBroken) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.reason = f"internal: {event.message}"
    return _stop_everything(state, run, RunStatus.FAILED, "the run failed as internal")


def _stop_everything(state: MeshState, run: Run, outcome: RunStatus, why: str) -> list[Command]:
    commands: list[Command] = []
    for invocation in run.invocations.values():
        if invocation.ended:
            continue
        if invocation.agent is not None:
            commands.append(StopAttempt(invocation.agent, key_of(run, invocation), why))
            charge(state, run, invocation, Usage(duration_ms=state.now_ms - invocation.assigned_ms))
            release(state, invocation)
        if invocation.remaking is not None:
            end_making(state, run, invocation)
            continue
        move(state, run, invocation, Status.CANCELLED, why)
        invocation.awaits.clear()
        invocation.ended_ms = state.now_ms
    return commands + lineage.end(state, run, outcome)


def run_archived(state: MeshState, event: RunArchived) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is not None and run.ended:
        del state.runs[event.run_id]
    return []


def logs_batched(state: MeshState, event: LogsBatched) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.logs_final = run.logs_final or event.final
    lineage.forward_logs(state, run, event.outputs)
    return lineage.settle(state, run)
