"""`step(state, event, now_ms) -> commands`: the only thing that changes a run.

No I/O, no clock, no random number that was not handed in. The live coordinator, recovery and the tests drive this
same function; what the shell owes it is in `docs/adr/0002-journal.md`: persist the event, then act on the commands.

Stale words (of an attempt that has been given up, of a run that is gone) are answered, never refused: an agent that
says something twice, or late, must be able to forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orbit_core.limits import CLUSTER_VERSIONS_MAX, POISON_AGENT_LOSSES
from orbit_core.plants import planted
from orbit_core.sched import estimate, lineage
from orbit_core.sched.commands import AckResult, Command, Dispatch, RunChanged, StopAttempt
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentDetached,
    AgentDraining,
    AgentLost,
    AttemptFailed,
    AttemptReturned,
    AttemptSkipped,
    AttemptStarted,
    AttemptSucceeded,
    ClusterDeleted,
    ClusterEnabled,
    ClusterSubmitted,
    Event,
    LogsBatched,
    Placed,
    ResultsTakenOver,
    RunArchived,
    RunBroken,
    RunCancelled,
    RunCreated,
    RunForecast,
    RunPaused,
    RunResumed,
    TermBegan,
    TimePassed,
)
from orbit_core.sched.model import AgentStatus, AttemptKey, Failure, RunStatus, Sla, Status, Usage
from orbit_core.sched.price import attempt_cost_usd
from orbit_core.sched.state import Agent, Assigned, ClusterEntry, ClusterVersion, Invocation, MeshState, Run, Timer
from orbit_core.sched.transitions import InvalidTransitionError, move, tell


def step(state: MeshState, event: Event, now_ms: int) -> list[Command]:
    """Applies one event at `now_ms` (milliseconds since the epoch; never runs backward) and says what must be done.

    Raises `InvalidTransitionError`, or whatever a bug raises; the shell then sends `RunBroken` for that run.
    """
    state.now_ms = max(state.now_ms, now_ms)
    handler: Callable[[MeshState, Any], list[Command]] = _HANDLERS[type(event)]
    return handler(state, event)


def run_of(event: Event) -> str | None:
    """The run that an event belongs to, if it belongs to one."""
    if isinstance(event, AttemptStarted | AttemptSucceeded | AttemptSkipped | AttemptFailed | AttemptReturned):
        return event.key.run_id
    if isinstance(event, RunCreated | RunCancelled | RunPaused | RunResumed | RunForecast | RunBroken):
        return event.run_id
    if isinstance(event, RunArchived | LogsBatched | ResultsTakenOver):
        return event.run_id
    return None


# Clusters and runs.


def _cluster_submitted(state: MeshState, event: ClusterSubmitted) -> list[Command]:
    entry = state.clusters.get(event.identifier)
    if entry is None:
        state.clusters[event.identifier] = ClusterEntry(event.identifier, event.spec_hash, state.now_ms)
    elif entry.spec_hash != event.spec_hash:
        others = [each for each in entry.earlier if each.spec_hash != event.spec_hash]
        entry.earlier = [*others, ClusterVersion(entry.spec_hash, entry.submitted_ms)][-CLUSTER_VERSIONS_MAX:]
        entry.spec_hash = event.spec_hash
        entry.submitted_ms = state.now_ms
    return []


def _cluster_enabled(state: MeshState, event: ClusterEnabled) -> list[Command]:
    entry = state.clusters.get(event.identifier)
    if entry is None:
        return []
    if event.enabled and not entry.enabled:
        # What was meant to be quiet is not made up for.
        entry.last_tick_ms = max(entry.last_tick_ms, state.now_ms)
    entry.enabled = event.enabled
    return []


def _cluster_deleted(state: MeshState, event: ClusterDeleted) -> list[Command]:
    state.clusters.pop(event.identifier, None)
    return []


def _run_created(state: MeshState, event: RunCreated) -> list[Command]:
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


def _results_taken_over(state: MeshState, event: ResultsTakenOver) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended or not run.taking_over:
        return []
    run.takeovers.update((each.lineage, each) for each in event.results)
    if not event.final:
        return []
    run.taking_over = False
    return _begin(state, run)


def _run_cancelled(state: MeshState, event: RunCancelled) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.reason = event.reason
    return _stop_everything(state, run, RunStatus.CANCELLED, event.reason)


def _run_paused(state: MeshState, event: RunPaused) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.status is not RunStatus.RUNNING:
        return []
    run.status, run.reason = RunStatus.PAUSED, event.reason
    return [RunChanged(run.id)]


def _run_resumed(state: MeshState, event: RunResumed) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.status is not RunStatus.PAUSED:
        return []
    run.status, run.reason = RunStatus.RUNNING, ""
    if event.budget_usd is not None:
        run.budget_usd = event.budget_usd
    return [RunChanged(run.id)]


def _run_forecast(state: MeshState, event: RunForecast) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.expected_late = event.expected_late
    return [RunChanged(run.id)]


def _run_broken(state: MeshState, event: RunBroken) -> list[Command]:
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
            commands.append(StopAttempt(invocation.agent, _key(run, invocation), why))
            _charge(state, run, invocation, Usage(duration_ms=state.now_ms - invocation.assigned_ms))
            _release(state, invocation)
        move(state, run, invocation, Status.CANCELLED, why)
        invocation.ended_ms = state.now_ms
    return commands + lineage.end(state, run, outcome)


def _run_archived(state: MeshState, event: RunArchived) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is not None and run.ended:
        del state.runs[event.run_id]
    return []


def _logs_batched(state: MeshState, event: LogsBatched) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    run.logs_final = run.logs_final or event.final
    lineage.forward_logs(state, run, event.outputs)
    return lineage.settle(state, run)


# Agents.


def _term_began(state: MeshState, event: TermBegan) -> list[Command]:
    """What agents run is waited for anew: by the new leader's clock it may have begun an hour ago, or tomorrow."""
    for agent in state.agents.values():
        if agent.status is AgentStatus.ATTACHED:
            agent.status = AgentStatus.DETACHED
        for assigned in agent.assigned.values():
            found = state.invocation(assigned.run_id, assigned.invocation_id)
            if found is not None and not planted("guards-not-renewed"):
                found[1].awaited_from_ms = state.now_ms
                state.set_guard(*found)
    return []


def _agent_attached(state: MeshState, event: AgentAttached) -> list[Command]:
    agent_id = event.agent.id
    known = state.agents.get(agent_id)
    status = AgentStatus.DRAINING if event.draining else AgentStatus.ATTACHED
    held = {(key.run_id, key.invocation_id, key.attempt) for key in event.held}
    commands: list[Command] = []
    if known is None:
        state.agents[agent_id] = Agent(event.agent, status)
    else:
        same_session = known.facts.session == event.agent.session
        known.facts, known.status = event.agent, status
        for assigned in list(known.assigned.values()):
            if (assigned.run_id, assigned.invocation_id, assigned.attempt) in held:
                continue
            key = AttemptKey(assigned.run_id, assigned.invocation_id, assigned.attempt)
            if same_session:
                if planted("no-resend"):
                    continue
                commands.append(Dispatch(agent_id, key))  # the assignment was lost on its way
            else:
                commands += _lose(state, agent_id, key, announced=False)
    for key in event.held:
        found = state.invocation(key.run_id, key.invocation_id)
        if found is None or found[1].ended:
            commands += [StopAttempt(agent_id, key, "not needed"), AckResult(agent_id, key)]
        elif found[1].agent != agent_id or found[1].attempt != key.attempt:
            # Another attempt is under way. A result that the agent has already is still welcome.
            commands.append(StopAttempt(agent_id, key, "given up for lost"))
    return commands


def _agent_changed(state: MeshState, event: AgentChanged) -> list[Command]:
    agent = state.agents.get(event.agent.id)
    if agent is not None and agent.facts.session == event.agent.session:
        agent.facts = event.agent
    return []


def _agent_detached(state: MeshState, event: AgentDetached) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is not None and agent.facts.session == event.session and agent.status is AgentStatus.ATTACHED:
        agent.status = AgentStatus.DETACHED
    return []


def _agent_draining(state: MeshState, event: AgentDraining) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is not None:
        agent.status = AgentStatus.DRAINING
    return []


def _agent_lost(state: MeshState, event: AgentLost) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is None or agent.facts.session != event.session:
        return []
    commands: list[Command] = []
    for assigned in list(agent.assigned.values()):
        if planted("no-requeue-on-loss"):
            break
        key = AttemptKey(assigned.run_id, assigned.invocation_id, assigned.attempt)
        commands += _lose(state, event.agent_id, key, announced=event.announced)
    del state.agents[event.agent_id]
    return commands


def _lose(state: MeshState, agent_id: str, key: AttemptKey, *, announced: bool) -> list[Command]:
    """The attempt ended with its agent: back to the queue, unless this input has ended too many agents."""
    run, invocation = _current(state, key, agent_id)
    if run is None or invocation is None:
        return []
    counts = invocation.status is Status.RUNNING and not announced
    if planted("announced-loss-counted"):
        counts = True
    if planted("poison-uncounted"):
        counts = False
    usage = Usage(duration_ms=state.now_ms - (invocation.started_ms or state.now_ms))
    kind = state.agents[agent_id].facts.price_kind
    estimate.learn_survival(state.estimates, kind, usage.duration_ms, lost=True)
    _charge(state, run, invocation, usage)
    _release(state, invocation)
    run.attempts_lost += 1
    if counts:
        invocation.losses += 1
    if invocation.losses >= POISON_AGENT_LOSSES:
        message = f"{invocation.losses} agents ended unannounced while they ran this invocation"
        return _fail(state, run, invocation, Failure("poisoned", message, retryable=False))
    move(state, run, invocation, Status.READY, f"lost with agent {agent_id}")
    return [RunChanged(run.id)]


# Placement and attempts.


def _placed(state: MeshState, event: Placed) -> list[Command]:
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
        commands.append(Dispatch(agent.facts.id, _key(run, invocation)))
    commands += [RunChanged(run_id) for run_id in dict.fromkeys(p.run_id for p in event.placements)]
    return commands


def _attempt_started(state: MeshState, event: AttemptStarted) -> list[Command]:
    run, invocation = _current(state, event.key, event.agent_id)
    if run is None or invocation is None or invocation.status is not Status.ASSIGNED:
        return []
    move(state, run, invocation, Status.RUNNING, f"on agent {event.agent_id}")
    invocation.started_ms = state.now_ms
    return [RunChanged(run.id)]


def _attempt_succeeded(state: MeshState, event: AttemptSucceeded) -> list[Command]:
    def finish(run: Run, invocation: Invocation) -> None:
        invocation.outputs = event.outputs
        estimate.learn_fan_out(
            state.estimates, state.workflow(run).identifier, state.step_of(run, invocation), event.outputs.count
        )
        move(state, run, invocation, Status.SUCCEEDED, f"{event.outputs.count} objects")

    return _result(state, event.key, event.agent_id, event.usage, finish, teaches=True)


def _attempt_skipped(state: MeshState, event: AttemptSkipped) -> list[Command]:
    def finish(run: Run, invocation: Invocation) -> None:
        invocation.outputs = event.outputs or lineage.only(lineage.parent_object(run, invocation))
        move(state, run, invocation, Status.SKIPPED, "its condition is false")

    return _result(state, event.key, event.agent_id, event.usage, finish)


def _result(
    state: MeshState,
    key: AttemptKey,
    agent_id: str,
    usage: Usage,
    finish: Callable[[Run, Invocation], None],
    *,
    teaches: bool = False,
) -> list[Command]:
    """Commits a result once, from whichever attempt it comes first. `teaches`: its time says something of the work."""
    commands: list[Command] = [AckResult(agent_id, key)]
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[0].ended or key.attempt > found[1].attempt:
        return commands
    run, invocation = found
    if invocation.ended and not planted("no-dedupe-of-results"):
        return commands
    current = invocation.agent == agent_id and invocation.attempt == key.attempt
    if invocation.agent is not None:
        if not current:
            commands.append(StopAttempt(invocation.agent, _key(run, invocation), "an earlier attempt came back"))
        if current and teaches:
            _learn(state, run, invocation, usage)
        _charge(state, run, invocation, usage)
        if current or not planted("late-result-keeps-room"):
            _release(state, invocation)
    invocation.ended_ms = state.now_ms
    finish(run, invocation)
    lineage.follow(state, run, invocation)
    return [*commands, RunChanged(run.id), *lineage.settle(state, run)]


def _attempt_failed(state: MeshState, event: AttemptFailed) -> list[Command]:
    acknowledgement = AckResult(event.agent_id, event.key)
    run, invocation = _current(state, event.key, event.agent_id)
    if run is None or invocation is None:
        return [acknowledgement]
    _charge(state, run, invocation, event.usage)
    _release(state, invocation)
    return [acknowledgement, *_retry_or_fail(state, run, invocation, event.failure, event.draw)]


def _attempt_returned(state: MeshState, event: AttemptReturned) -> list[Command]:
    acknowledgement = AckResult(event.agent_id, event.key)
    run, invocation = _current(state, event.key, event.agent_id)
    if run is None or invocation is None:
        return [acknowledgement]
    usage = Usage(duration_ms=state.now_ms - (invocation.started_ms or state.now_ms))
    _charge(state, run, invocation, usage)
    _release(state, invocation)
    run.attempts_lost += 1
    move(state, run, invocation, Status.READY, f"handed back by {event.agent_id}: {event.reason}")
    return [acknowledgement, RunChanged(run.id)]


def _retry_or_fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure, draw: float) -> list[Command]:
    invocation.failures += 1
    policy = state.step_of(run, invocation).retries
    spent = invocation.failures > policy.max_retries and not planted("retry-unbounded")
    if not failure.retryable or spent:
        return _fail(state, run, invocation, failure)
    invocation.failure = failure
    invocation.not_before_ms = state.now_ms + policy.delay_ms_for(invocation.failures, draw)
    move(state, run, invocation, Status.WAITING, f"retry {invocation.failures} after {failure.code}")
    return [RunChanged(run.id)]


def _fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure) -> list[Command]:
    invocation.failure = failure
    invocation.ended_ms = state.now_ms
    if invocation.status in (Status.READY, Status.WAITING):
        raise InvalidTransitionError(f"{invocation.id} fails without an attempt under way")
    move(state, run, invocation, Status.FAILED, failure.code)
    lineage.follow(state, run, invocation)
    return [RunChanged(run.id), *lineage.settle(state, run)]


# Time.


def _time_passed(state: MeshState, event: TimePassed) -> list[Command]:
    commands: list[Command] = []
    for timer in state.due_timers():
        commands += _timer(state, timer, event.draw)
    return commands


def _timer(state: MeshState, timer: Timer, draw: float) -> list[Command]:
    _, kind, run_id, invocation_id, attempt = timer
    run = state.runs.get(run_id)
    if run is None or run.ended:
        return []
    if kind == "deadline":
        run.sla = Sla.MISSED
        return [RunChanged(run.id)]
    invocation = run.invocations[invocation_id]
    if invocation.attempt != attempt:
        return []
    if kind == "wake" and invocation.status is Status.WAITING and invocation.not_before_ms <= state.now_ms:
        move(state, run, invocation, Status.READY, "its delay has passed")
    elif kind == "guard" and invocation.agent is not None and state.guard_ms(run, invocation) <= state.now_ms:
        agent_id, key = invocation.agent, _key(run, invocation)
        _charge(state, run, invocation, Usage(duration_ms=state.now_ms - invocation.assigned_ms))
        _release(state, invocation)
        failure = Failure("timeout", f"agent {agent_id} did not say how the attempt ended")
        return [StopAttempt(agent_id, key, "timeout"), *_retry_or_fail(state, run, invocation, failure, draw)]
    return []


# What handlers share.


def _key(run: Run, invocation: Invocation) -> AttemptKey:
    return AttemptKey(run.id, invocation.id, invocation.attempt)


def _current(state: MeshState, key: AttemptKey, agent_id: str) -> tuple[Run | None, Invocation | None]:
    """The invocation whose attempt under way this is, or nothing when the word is stale."""
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[0].ended or found[1].agent != agent_id or found[1].attempt != key.attempt:
        return None, None
    return found


def _charge(state: MeshState, run: Run, invocation: Invocation, usage: Usage) -> None:
    """Books what the attempt under way used, on the invocation and on its run."""
    agent = state.agents.get(invocation.agent or "")
    cost = 0.0
    if agent is not None:
        cost = attempt_cost_usd(agent.facts, state.step_of(run, invocation).request, usage.duration_ms)
    invocation.usage = _sum(invocation.usage, usage)
    invocation.cost_usd += cost
    run.usage = _sum(run.usage, usage)
    run.cost_usd += cost


def _learn(state: MeshState, run: Run, invocation: Invocation, usage: Usage) -> None:
    """What the attempt under way teaches. Its time is that from its placement on: so long its room was taken."""
    agent = state.agents.get(invocation.agent or "")
    if agent is None:
        return
    plan = state.step_of(run, invocation)
    held_ms = max(usage.duration_ms, state.now_ms - invocation.assigned_ms)
    size = lineage.object_bytes(lineage.parent_object(run, invocation))
    hardware = estimate.hardware_kind(agent.facts, plan)
    estimate.learn_result(state.estimates, plan, hardware, held_ms, usage.peak_memory_bytes, size)
    estimate.learn_survival(state.estimates, agent.facts.price_kind, held_ms, lost=False)


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(
        duration_ms=left.duration_ms + right.duration_ms,
        input_tokens=left.input_tokens + right.input_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
        peak_memory_bytes=max(left.peak_memory_bytes, right.peak_memory_bytes),
    )


def _release(state: MeshState, invocation: Invocation) -> None:
    """The agent no longer has this invocation; the last agent stays readable in the story."""
    agent = state.agents.get(invocation.agent or "")
    if agent is not None:
        agent.assigned.pop(invocation.id, None)
    tell(state, invocation, f"released by {invocation.agent}")
    invocation.last_agent = invocation.agent or invocation.last_agent
    invocation.agent = None
    invocation.gpu_indices = ()


_HANDLERS: dict[type, Callable[[MeshState, Any], list[Command]]] = {
    ClusterSubmitted: _cluster_submitted,
    ClusterEnabled: _cluster_enabled,
    ClusterDeleted: _cluster_deleted,
    RunCreated: _run_created,
    ResultsTakenOver: _results_taken_over,
    RunCancelled: _run_cancelled,
    RunPaused: _run_paused,
    RunResumed: _run_resumed,
    RunForecast: _run_forecast,
    RunBroken: _run_broken,
    RunArchived: _run_archived,
    TermBegan: _term_began,
    LogsBatched: _logs_batched,
    AgentAttached: _agent_attached,
    AgentChanged: _agent_changed,
    AgentDetached: _agent_detached,
    AgentDraining: _agent_draining,
    AgentLost: _agent_lost,
    Placed: _placed,
    AttemptStarted: _attempt_started,
    AttemptSucceeded: _attempt_succeeded,
    AttemptSkipped: _attempt_skipped,
    AttemptFailed: _attempt_failed,
    AttemptReturned: _attempt_returned,
    TimePassed: _time_passed,
}
