"""What handlers share: the attempt under way, what it cost, the room that it takes, and how it fails."""

from __future__ import annotations

from orbit_core.plants import planted
from orbit_core.sched import lineage
from orbit_core.sched.commands import Command, RunChanged
from orbit_core.sched.model import AttemptKey, Failure, Status, Usage
from orbit_core.sched.price import attempt_cost_usd
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.transitions import InvalidTransitionError, move, tell


def key_of(run: Run, invocation: Invocation) -> AttemptKey:
    return AttemptKey(run.id, invocation.id, invocation.attempt)


def current(state: MeshState, key: AttemptKey, agent_id: str) -> tuple[Run | None, Invocation | None]:
    """The invocation whose attempt under way this is, or nothing when the word is stale."""
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[0].ended or found[1].agent != agent_id or found[1].attempt != key.attempt:
        return None, None
    return found


def charge(state: MeshState, run: Run, invocation: Invocation, usage: Usage) -> None:
    """Books what the attempt under way used, on the invocation and on its run."""
    agent = state.agents.get(invocation.agent or "")
    cost = 0.0
    if agent is not None:
        cost = attempt_cost_usd(agent.facts, state.step_of(run, invocation).request, usage.duration_ms)
    invocation.usage = _sum(invocation.usage, usage)
    invocation.cost_usd += cost
    run.usage = _sum(run.usage, usage)
    run.cost_usd += cost


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(
        duration_ms=left.duration_ms + right.duration_ms,
        input_tokens=left.input_tokens + right.input_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
        peak_memory_bytes=max(left.peak_memory_bytes, right.peak_memory_bytes),
    )


def release(state: MeshState, invocation: Invocation) -> None:
    """The agent no longer has this invocation; the last agent stays readable in the story."""
    agent = state.agents.get(invocation.agent or "")
    if agent is not None:
        agent.assigned.pop(invocation.id, None)
    tell(state, invocation, f"released by {invocation.agent}")
    invocation.last_agent = invocation.agent or invocation.last_agent
    invocation.agent = None
    invocation.gpu_indices = ()


def retry_or_fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure, draw: float) -> list[Command]:
    invocation.failures += 1
    policy = state.step_of(run, invocation).retries
    spent = invocation.failures > policy.max_retries and not planted("retry-unbounded")
    if not failure.retryable or spent:
        return fail(state, run, invocation, failure)
    invocation.failure = failure
    invocation.not_before_ms = state.now_ms + policy.delay_ms_for(invocation.failures, draw)
    move(state, run, invocation, Status.WAITING, f"retry {invocation.failures} after {failure.code}")
    return [RunChanged(run.id)]


def fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure) -> list[Command]:
    invocation.failure = failure
    invocation.ended_ms = state.now_ms
    if invocation.status in (Status.READY, Status.WAITING):
        raise InvalidTransitionError(f"{invocation.id} fails without an attempt under way")
    move(state, run, invocation, Status.FAILED, failure.code)
    lineage.follow(state, run, invocation)
    return [RunChanged(run.id), *lineage.settle(state, run)]
