"""What the agents that are there cannot do of a run in time, as time on one machine of a kind that can be bought.

The same estimates and the same plan as for everything else, made without the machines that are bought already. Pure;
what is bought because of it is decided in `capacity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orbit_core.sched._plan.observe import Demand, Scene, demands, look, observe
from orbit_core.sched._plan.pools import can_hold
from orbit_core.sched.estimate import Estimate, estimate, hardware_kind
from orbit_core.sched.model import AgentFacts, AgentStatus, RunStatus
from orbit_core.sched.plan import TIME_LIMIT_S, solve
from orbit_core.sched.price import COLD_MODEL_MS, FETCHED_MODEL_MS
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.workflow import StepPlan

#: The label with a bought machine's name, which its agent carries.
INSTANCE_LABEL = "orbit-instance"


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool where machines are sold. `facts`: what the agent of one will be; `available`: a spot one, now.

    No `satellites` in `facts`: they have whatever is needed. `slots`: attempts at once on one at most.
    """

    name: str
    facts: AgentFacts
    slots: int
    restart_ms: int
    spot_usd_per_hour: float
    on_demand_usd_per_hour: float
    available: bool


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What the agents that are there cannot do of a run in time: the time it takes one machine, and by when it must.

    `unknown`: how much of it there is, or how long it takes, is not known before some of it has been done.
    """

    machine_ms: float
    due_ms: float
    restart_ms: float
    offers: tuple[Offer, ...]
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """So many attempts of one step that are late, and when they have to have ended, from now."""

    step: StepPlan
    amount: float
    finish_ms: float
    scout: bool


def agents_of_machines(state: MeshState) -> dict[str, Agent]:
    """The agents on bought machines, by the machine's name."""
    named = ((dict(agent.facts.labels).get(INSTANCE_LABEL), agent) for agent in state.agents.values())
    return {name: agent for name, agent in named if name}


def shortfalls(
    state: MeshState, offers: Sequence[Offer], now_ms: int, attempts: Mapping[str, int] | None = None
) -> dict[str, Shortfall]:
    """Of each run, what a plan without the bought machines cannot end in time, and what runs on them now.

    None for a run of which all that is left fits elsewhere, though what runs on bought machines began anew there.
    """
    bought = agents_of_machines(state)
    names = dict.fromkeys(agent.facts.id for agent in bought.values())
    others = {agent_id: _as_if_there(agent) for agent_id, agent in state.agents.items() if agent_id not in names}
    without = replace(state, agents=others)
    scene = look(without, now_ms, attempts)
    late = _late(state, scene, demands(state))
    running = _running_on(state, bought.values(), now_ms)
    found: dict[str, Shortfall] = {}
    for run_id in _late(state, scene, _begun_anew(state, bought.values())) if running else late:
        run, parts = state.runs[run_id], late.get(run_id, [])
        fitting = tuple(offer for offer in offers if all(_fits(offer, part.step) for part in parts))
        most_ms, due_ms = 0.0, float(run.deadline_ms)
        for offer in fitting:
            machine_ms, by_ms = _on_one(state, offer, parts)
            most_ms, due_ms = max(most_ms, machine_ms), min(due_ms, now_ms + by_ms)
        if run.deadline_ms <= now_ms:
            due_ms = float(run.deadline_ms)
        cold_ms = COLD_MODEL_MS + FETCHED_MODEL_MS if any(part.step.model for part in parts) else 0
        restart_ms = max((offer.restart_ms for offer in fitting), default=0) + cold_ms
        seen = all(any(_estimate(state, offer.facts, part.step).samples for offer in fitting) for part in parts)
        unknown = not seen or any(part.scout for part in parts)
        machine_ms = most_ms + running.get(run_id, 0.0)
        found[run_id] = Shortfall(machine_ms, due_ms, restart_ms, fitting, unknown)
    return found


def _as_if_there(agent: Agent) -> Agent:
    """One whose stream has just broken is waited for: nothing is bought in its place before it is lost."""
    return replace(agent, status=AgentStatus.ATTACHED) if agent.status is AgentStatus.DETACHED else agent


def _begun_anew(state: MeshState, agents: Iterable[Agent]) -> list[Demand]:
    """What runs still have to do if what these agents run is lost."""
    found = demands(state)
    by_run = {demand.name: demand for demand in found}
    for agent in agents:
        for assigned in agent.assigned.values():
            known = state.invocation(assigned.run_id, assigned.invocation_id)
            demand = by_run.get(assigned.run_id)
            if known is not None and demand is not None:
                index = known[1].step
                demand.open[index] = demand.open.get(index, 0.0) + 1.0
                demand.ready[index] = demand.ready.get(index, 0) + 1
                demand.running[index] = demand.running.get(index, 1.0) - 1.0
    return found


def _late(state: MeshState, scene: Scene, wanted: Iterable[Demand]) -> dict[str, list[_Part]]:
    """What the best plan in that scene leaves late, by run.

    Where runs were put together into one class, those with its last deadlines are late, as many as it takes.
    """
    picture = observe(scene, wanted)
    late: Mapping[int, float] = solve(picture, TIME_LIMIT_S).late if picture.classes else {}
    found: dict[str, list[_Part]] = {}
    step_of = {(number, run_id): step for (run_id, step), number in picture.class_of.items()}
    for number, amount in late.items():
        work = picture.classes[number]
        many = min(len(work.runs), math.ceil(amount / work.amount * len(work.runs)))
        for run_id in work.runs[len(work.runs) - many :]:
            step = state.workflow(state.runs[run_id]).steps[step_of[(number, run_id)]]
            found.setdefault(run_id, []).append(_Part(step, amount / many, work.finish_ms, work.scout))
    return found


def _running_on(state: MeshState, agents: Iterable[Agent], now_ms: int) -> dict[str, float]:
    """For each run, how long its attempts on these agents are expected to take still: the longest of each agent."""
    found: dict[str, float] = {}
    for agent in agents:
        longest: dict[str, float] = {}
        for assigned in agent.assigned.values():
            known = state.invocation(assigned.run_id, assigned.invocation_id)
            if known is None or known[0].status is not RunStatus.RUNNING:
                continue
            step = state.step_of(*known)
            left_ms = _estimate(state, agent.facts, step).mean_ms - (now_ms - known[1].assigned_ms)
            longest[assigned.run_id] = max(longest.get(assigned.run_id, 1.0), left_ms)
        for run_id, left_ms in longest.items():
            found[run_id] = found.get(run_id, 0.0) + left_ms
    return found


def _on_one(state: MeshState, offer: Offer, parts: Iterable[_Part]) -> tuple[float, float]:
    """The time that the work takes on one machine, and by when, from now, all of it has to be done.

    The mean of each, and once the spread of them together. One machine keeps every deadline exactly when, for each
    of them, what is due by then is done by then (Jackson 1955): the whole is due when the tightest of these says.
    """
    total_ms, spread = 0.0, 0.0
    done: list[tuple[float, float]] = []
    for part in sorted(parts, key=lambda part: part.finish_ms):
        known = _estimate(state, offer.facts, part.step)
        rounds = max(1.0, part.amount / _slots(offer, part.step))
        total_ms += rounds * known.mean_ms
        spread += rounds * (known.p95_ms - known.mean_ms) ** 2
        done.append((part.finish_ms, total_ms))
    due_ms = min((finish_ms + total_ms - done_ms for finish_ms, done_ms in done), default=math.inf)
    return total_ms + math.sqrt(spread), due_ms


def _estimate(state: MeshState, facts: AgentFacts, step: StepPlan) -> Estimate:
    return estimate(state.estimates, step, hardware_kind(facts, step))


def _fits(offer: Offer, step: StepPlan) -> bool:
    facts = offer.facts
    return can_hold(facts if facts.satellites else replace(facts, satellites=(step.satellite,)), step)


def _slots(offer: Offer, step: StepPlan) -> int:
    """How many attempts fit on an empty machine."""
    facts, need = offer.facts, step.request
    gpu_milli = need.gpu_milli if need.gpus == 1 and need.gpu_milli else 1000 * need.gpus
    pairs = ((facts.cpu_milli, need.cpu_milli), (facts.memory_bytes, need.memory_bytes))
    fits = [have // want for have, want in (*pairs, (1000 * len(facts.gpus), gpu_milli)) if want]
    return max(1, min([*fits, offer.slots]))
