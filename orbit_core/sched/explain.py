"""Why work is where it is, why it waits, and what it would be elsewhere: in words, from the same plan and estimates.

Reads only; what it says of a run is what the placer and the planner would say at this moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from orbit_core.errors import NotFoundError
from orbit_core.sched._plan.pools import can_hold
from orbit_core.sched.estimate import estimate, hardware_kind
from orbit_core.sched.model import AgentStatus, RunStatus, Status
from orbit_core.sched.plan import NEARLY, Plan
from orbit_core.sched.price import expected_cost_usd
from orbit_core.sched.state import Agent, Invocation, MeshState, Run
from orbit_core.sched.workflow import StepPlan


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Agents that are alike for this step, cheapest first, and what one attempt would be there."""

    agent_ids: tuple[str, ...]
    price_usd_per_hour: float
    cost_usd: float
    duration_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One invocation, or all that waits at one step. `latest_start_ms`: 0 where there is none to keep."""

    step: str
    invocation_id: str
    agent_id: str
    reason: str
    latest_start_ms: int
    waiting: int
    elsewhere: tuple[Elsewhere, ...]


def explain(
    state: MeshState, run: Run, plan: Plan | None, now_ms: int, invocation_id: str = ""
) -> tuple[Explanation, ...]:
    """Every step of the run that has work, or one invocation. NotFoundError."""
    if invocation_id:
        invocation = run.invocations.get(invocation_id)
        if invocation is None:
            raise NotFoundError(f"{run.id} has no invocation {invocation_id}")
        return (_of(state, run, invocation, plan, now_ms),)
    found: dict[tuple[int, str], Invocation] = {}
    for each in run.invocations.values():
        if not each.ended:
            group = each.agent or ("waiting" if each.status is Status.WAITING else "ready")
            found.setdefault((each.step, group), each)
    return tuple(_of(state, run, each, plan, now_ms) for _, each in sorted(found.items(), key=lambda item: item[0]))


def _of(state: MeshState, run: Run, invocation: Invocation, plan: Plan | None, now_ms: int) -> Explanation:
    step = state.step_of(run, invocation)
    elsewhere = _elsewhere(state, step)
    number = plan.class_of(run.id, step.index) if plan else None
    latest = 0
    if plan is not None and number is not None:
        latest = round(plan.made_ms + plan.picture.classes[number].latest_start_ms)
    return Explanation(
        step=step.identifier,
        invocation_id=invocation.id,
        agent_id=invocation.agent or "",
        reason=_reason(state, run, invocation, elsewhere, (plan, number, latest), now_ms),
        latest_start_ms=latest,
        waiting=len(state.ready.get(run.id, {}).get(step.index, {})),
        elsewhere=elsewhere,
    )


def _elsewhere(state: MeshState, step: StepPlan) -> tuple[Elsewhere, ...]:
    groups: dict[tuple[float, float, int, str], list[str]] = {}
    for agent in state.agents.values():
        facts = agent.facts
        if step.satellite not in facts.satellites:
            continue
        cost = expected_cost_usd(state.estimates, facts, step, age_ms=state.age_ms(agent))
        mean = round(estimate(state.estimates, step, hardware_kind(facts, step)).mean_ms)
        key = (cost, facts.price_usd_per_hour, mean, _state_of(agent, step))
        groups.setdefault(key, []).append(facts.id)
    ordered = sorted(groups.items())
    return tuple(Elsewhere(tuple(agents), price, cost, mean, why) for (cost, price, mean, why), agents in ordered)


def _state_of(agent: Agent, step: StepPlan) -> str:
    if step.model in agent.facts.barred_models:
        return f"the model {step.model} is kept to agents with other labels"
    if not can_hold(agent.facts, step):
        return "too small, or without the accelerator that it needs"
    if agent.status is not AgentStatus.ATTACHED:
        return f"{agent.status}: takes no work now"
    return f"runs {len(agent.assigned)} now" if agent.assigned else "idle"


def _reason(
    state: MeshState,
    run: Run,
    invocation: Invocation,
    elsewhere: tuple[Elsewhere, ...],
    planned: tuple[Plan | None, int | None, int],
    now_ms: int,
) -> str:
    match invocation.status:
        case Status.ASSIGNED | Status.RUNNING:
            return _why_here(invocation.agent or "", elsewhere)
        case Status.WAITING:
            left_s = max(0, invocation.not_before_ms - now_ms) / 1000
            why = f"after {invocation.failure.code}" if invocation.failure else "as its delay says"
            return f"waits {left_s:.0f} s more, {why}"
        case Status.READY:
            return _why_not_yet(state, run, invocation, elsewhere, planned, now_ms)
        case _:
            return f"has ended: {invocation.status}"


def _why_here(agent_id: str, elsewhere: tuple[Elsewhere, ...]) -> str:
    here = next((each for each in elsewhere if agent_id in each.agent_ids), None)
    if here is None:
        return f"on {agent_id}, which has changed since"
    cheaper = [each for each in elsewhere if each.cost_usd * NEARLY < here.cost_usd]
    if not cheaper:
        return f"on {agent_id}: nothing that can run it is cheaper (${here.cost_usd:.6f})"
    return f"on {agent_id} for ${here.cost_usd:.6f}: cheaper agents were full, and waiting would risk the deadline"


def _why_not_yet(
    state: MeshState,
    run: Run,
    invocation: Invocation,
    elsewhere: tuple[Elsewhere, ...],
    planned: tuple[Plan | None, int | None, int],
    now_ms: int,
) -> str:
    step = state.step_of(run, invocation)
    if run.status is RunStatus.PAUSED:
        return f"the run is paused: {run.reason}"
    if not elsewhere:
        return f"no agent has {step.satellite}"
    able = [agent for agent in state.agents.values() if can_hold(agent.facts, step)]
    if not able and all(step.model in agent.facts.barred_models for agent in state.agents.values()):
        return f"no agent has the labels that the model {step.model} is kept to"
    if not able:
        return "no agent is large enough, or has the accelerator that it needs"
    if all(agent.status is not AgentStatus.ATTACHED for agent in able):
        return "every agent that could run it is away or draining"
    plan, number, latest = planned
    if plan is None or number is None:
        return "it has just become ready; the next plan looks at it within a second"
    if plan.pressing(number, now_ms):
        return "every agent that could run it is full; it goes before all that is less urgent"
    open_pools = plan.open_pools(number)
    kept = [pool for pool in plan.picture.classes[number].options if pool not in open_pools]
    left_s = max(0, latest - now_ms) / 1000
    if kept:
        hope = (
            ", or for the hours at which spot is usually cheaper"
            if any(p in plan.picture.awaited for p in kept)
            else ""
        )
        return f"waits for cheaper room{hope}: it can start {left_s:.0f} s from now at the latest and still be in time"
    return f"every agent that could run it is full; it has {left_s:.0f} s left to start"
