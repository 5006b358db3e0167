"""Attempts: placed, begun, ended in a result, a failure or neither. A result is committed once, whoever brings it."""

from __future__ import annotations

from collections.abc import Callable

from orbit_core.plants import planted
from orbit_core.sched import estimate, lineage
from orbit_core.sched.commands import AckResult, Command, Dispatch, RunChanged, StopAttempt
from orbit_core.sched.events import (
    AttemptFailed,
    AttemptReturned,
    AttemptSkipped,
    AttemptStarted,
    AttemptSucceeded,
    Placed,
)
from orbit_core.sched.handlers.ends import made_again, retry_or_fail
from orbit_core.sched.handlers.under_way import charge, count_life, current, key_of, note_work, release
from orbit_core.sched.model import Blob, Outputs, Status, Usage
from orbit_core.sched.state import Assigned, Invocation, MeshState, Run
from orbit_core.sched.transitions import move


def placed(state: MeshState, event: Placed) -> list[Command]:
    commands: list[Command] = []
    for placement in event.placements:
        run = state.runs[placement.run_id]
        invocation = run.invocations[placement.invocation_id]
        agent = state.agents[placement.agent_id]
        move(state, run, invocation, Status.ASSIGNED, f"to agent {agent.facts.id}")
        invocation.attempt += 1
        invocation.agent = agent.facts.id
        invocation.gpu_indices = placement.gpu_indices
        invocation.assigned_ms = state.now_ms
        invocation.started_ms = 0
        invocation.awaited_from_ms = state.now_ms
        run.attempts += 1
        agent.assigned[invocation.id] = Assigned(run.id, invocation.id, invocation.attempt)
        state.set_guard(run, invocation)
        commands.append(Dispatch(agent.facts.id, key_of(run, invocation)))
    commands += [RunChanged(run_id) for run_id in dict.fromkeys(p.run_id for p in event.placements)]
    return commands


def attempt_started(state: MeshState, event: AttemptStarted) -> list[Command]:
    run, invocation = current(state, event.key, event.agent_id)
    if run is None or invocation is None or invocation.status is not Status.ASSIGNED:
        return []
    move(state, run, invocation, Status.RUNNING, f"on agent {event.agent_id}")
    invocation.started_ms = state.now_ms
    return [RunChanged(run.id)]


def attempt_succeeded(state: MeshState, event: AttemptSucceeded) -> list[Command]:
    def finish(run: Run, invocation: Invocation) -> None:
        invocation.outputs = event.outputs
        estimate.learn_fan_out(
            state.estimates, state.workflow(run).identifier, state.step_of(run, invocation), event.outputs.count
        )
        move(state, run, invocation, Status.SUCCEEDED, f"{event.outputs.count} objects")

    return _result(state, event, event.outputs, finish, teaches=True)


def attempt_skipped(state: MeshState, event: AttemptSkipped) -> list[Command]:
    def finish(run: Run, invocation: Invocation) -> None:
        invocation.outputs = event.outputs or lineage.only(lineage.parent_object(run, invocation))
        move(state, run, invocation, Status.SKIPPED, "its condition is false")

    return _result(state, event, event.outputs, finish)


def _result(
    state: MeshState,
    event: AttemptSucceeded | AttemptSkipped,
    outputs: Outputs | None,
    finish: Callable[[Run, Invocation], None],
    *,
    teaches: bool = False,
) -> list[Command]:
    """Commits a result once, from whichever attempt it comes first. `teaches`: its time says something of the work."""
    key, agent_id, usage = event.key, event.agent_id, event.usage
    commands: list[Command] = [AckResult(agent_id, key)]
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[0].ended or key.attempt > found[1].attempt:
        return commands
    run, invocation = found
    if invocation.ended and not planted("no-dedupe-of-results"):
        return commands
    current = invocation.agent == agent_id and invocation.attempt == key.attempt
    if invocation.remaking is not None and not current:
        return commands  # what it returned then is what has been lost since
    if invocation.agent is not None:
        if not current:
            commands.append(StopAttempt(invocation.agent, key_of(run, invocation), "an earlier attempt came back"))
        if current and teaches:
            _learn(state, run, invocation, usage)
        charge(state, run, invocation, usage)
        if invocation.remaking is None:
            note_work(state, run, invocation, usage.duration_ms)
        if current or not planted("late-result-keeps-room"):
            release(state, invocation)
    if invocation.remaking is not None:
        return [*commands, *made_again(state, run, invocation, outputs)]
    invocation.ended_ms = state.now_ms
    invocation.awaits.clear()
    invocation.files = _files(event)
    finish(run, invocation)
    lineage.follow(state, run, invocation)
    return [*commands, RunChanged(run.id), *lineage.settle(state, run)]


def _files(event: AttemptSucceeded | AttemptSkipped) -> tuple[Blob, ...]:
    pages = {page.sha256 for page in event.outputs.pages} if event.outputs else set[str]()
    return tuple(blob for blob in event.blobs if blob.sha256 not in pages)


def _learn(state: MeshState, run: Run, invocation: Invocation, usage: Usage) -> None:
    """What the attempt under way teaches. Its time is that from its placement on: so long its room was taken.

    How long nobody led says nothing of the work: of an attempt that outlived a leader, the agent's own time counts.
    """
    agent = state.agents.get(invocation.agent or "")
    if agent is None:
        return
    plan = state.step_of(run, invocation)
    outlived_leader = invocation.awaited_from_ms > invocation.assigned_ms
    held_ms = max(usage.duration_ms, state.now_ms - invocation.assigned_ms)
    if outlived_leader and usage.duration_ms:
        held_ms = usage.duration_ms
    size = lineage.object_bytes(lineage.parent_object(run, invocation))
    hardware = estimate.hardware_kind(agent.facts, plan)
    estimate.learn_result(state.estimates, plan, hardware, held_ms, usage.peak_memory_bytes, size)
    count_life(state, agent)


def attempt_failed(state: MeshState, event: AttemptFailed) -> list[Command]:
    acknowledgement = AckResult(event.agent_id, event.key)
    run, invocation = current(state, event.key, event.agent_id)
    if run is None or invocation is None:
        return [acknowledgement]
    charge(state, run, invocation, event.usage)
    note_work(state, run, invocation, event.usage.duration_ms)
    release(state, invocation)
    return [acknowledgement, *retry_or_fail(state, run, invocation, event.failure, event.draw)]


def attempt_returned(state: MeshState, event: AttemptReturned) -> list[Command]:
    acknowledgement = AckResult(event.agent_id, event.key)
    run, invocation = current(state, event.key, event.agent_id)
    if run is None or invocation is None:
        return [acknowledgement]
    usage = Usage(duration_ms=state.now_ms - (invocation.started_ms or state.now_ms))
    charge(state, run, invocation, usage)
    release(state, invocation)
    run.attempts_lost += 1
    move(state, run, invocation, Status.READY, f"handed back by {event.agent_id}: {event.reason}")
    return [acknowledgement, RunChanged(run.id)]
