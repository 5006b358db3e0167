"""What handlers share: the attempt under way, what it cost, and the room that it takes."""

from __future__ import annotations

from orbit_core.sched.estimate import hardware_kind, learn_life
from orbit_core.sched.model import AttemptKey, Usage
from orbit_core.sched.price import attempt_cost_usd
from orbit_core.sched.state import Agent, Invocation, MeshState, Run, WorkDone
from orbit_core.sched.transitions import tell


def key_of(run: Run, invocation: Invocation) -> AttemptKey:
    return AttemptKey(run.id, invocation.id, invocation.attempt)


def current(state: MeshState, key: AttemptKey, agent_id: str) -> tuple[Run | None, Invocation | None]:
    """The invocation whose attempt under way this is, or nothing when the word is stale."""
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[0].ended or found[1].agent != agent_id or found[1].attempt != key.attempt:
        return None, None
    return found


def count_life(state: MeshState, agent: Agent, *, lost: bool = False) -> None:
    """Has the agent's life since the last time teach how long agents like it last."""
    if not agent.attached_ms:  # from a snapshot of a time when nobody kept it
        agent.attached_ms = agent.counted_ms = state.now_ms
    ages = (agent.counted_ms - agent.attached_ms, state.now_ms - agent.attached_ms)
    learn_life(state.estimates, agent.facts, *ages, lost=lost)
    agent.counted_ms = state.now_ms


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


def note_work(state: MeshState, run: Run, invocation: Invocation, duration_ms: int) -> None:
    """The attempt under way did what it had to, in a result or in a failure of its own."""
    agent = state.agents.get(invocation.agent or "")
    if agent is None or duration_ms <= 0:
        return
    key = f"{invocation.step}|{hardware_kind(agent.facts, state.step_of(run, invocation))}"
    done = run.work.setdefault(key, WorkDone(shortest_ms=duration_ms))
    done.total_ms += duration_ms
    done.shortest_ms = min(done.shortest_ms, duration_ms)


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
