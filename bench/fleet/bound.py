"""The least that a scenario can cost for whoever knows everything: a linear program with hindsight.

Work is a fluid that may be cut and moved at will, every duration is known, prices are the lowest of each slice; only
capacity, arrival, the shortest way to a step and from it to the deadline bind. No policy can be cheaper with as few
misses, and none can quite reach it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from bench.fleet.scenario import Scenario, SimAgent
from bench.fleet.world import ORIGIN_MS, Outcome
from orbit_core.sched._plan.pools import can_hold, need_room
from orbit_core.sched._plan.program import Program
from orbit_core.sched.price import dominant_share

_BOUNDS_MOST = 60
_LATE = 1e3


@dataclass(frozen=True, slots=True)
class Bound:
    """US dollars, and how many runs cannot be in time even so."""

    cost_usd: float
    late_runs: int


@dataclass(slots=True)
class _Job:
    """All of one step of one run: milliseconds of work at speed 1, and the window that it has."""

    run: str
    work: int
    step: int
    total_ms: float = 0.0
    longest_ms: float = 0.0
    opens_ms: float = 0.0
    closes_ms: float = 0.0


def lower_bound(scenario: Scenario, outcome: Outcome, work_of: dict[str, int]) -> Bound:
    """From the invocations that a finished game had: they are the same for every policy."""
    jobs = _jobs(scenario, outcome, work_of)
    bounds = _slices(scenario, jobs)
    pools: defaultdict[tuple[object, ...], list[SimAgent]] = defaultdict(list)
    for agent in scenario.agents:
        facts = agent.facts
        pools[(facts.cpu_milli, facts.memory_bytes, facts.gpus, agent.speed, facts.price_usd_per_hour, agent.prices,
               agent.there_ms)].append(agent)  # fmt: skip
    program = Program()
    groups = list(pools.values())
    room = {
        (pool, at, dimension): program.row(upper=have)
        for pool, agents in enumerate(groups)
        for at in range(len(bounds) - 1)
        for dimension, have in enumerate(_room(agents, bounds[at], bounds[at + 1]))
    }
    costs: dict[int, float] = {}
    late: dict[int, _Job] = {}
    for job in jobs:
        plan = scenario.work[job.work].flow.steps[job.step]
        need = need_room(plan.request)[:3]
        whole = program.row(lower=1.0, upper=1.0)
        cheapest = float("inf")
        for pool, agents in enumerate(groups):
            first = agents[0]
            if not can_hold(first.facts, plan):
                continue
            hours = job.total_ms / first.speed / 3_600_000 * dominant_share(first.facts, plan.request)
            cheapest = min(cheapest, hours * min(_price(first, 0, bounds[-1]), first.facts.price_usd_per_hour))
            for at in range(len(bounds) - 1):
                if bounds[at] < job.opens_ms - 1e-6 or bounds[at + 1] > job.closes_ms + 1e-6:
                    continue
                entries = [(whole, 1.0)]
                for dimension, want in enumerate(need):
                    if want > 0:
                        entries.append((room[(pool, at, dimension)], want * job.total_ms / first.speed))
                cost = hours * _price(first, bounds[at], bounds[at + 1])
                costs[program.column(cost, entries)] = cost
        column = program.column(_LATE, [(whole, 1.0)])
        costs[column] = cheapest if cheapest < float("inf") else 0.0
        late[column] = job
    solution = program.solve(None)
    assert solution is not None, "the bound has no solution"
    missed = dict.fromkeys(job.run for column, job in late.items() if solution[column] > 1e-4)
    return Bound(sum(float(solution[column]) * cost for column, cost in costs.items()), len(missed))


def _jobs(scenario: Scenario, outcome: Outcome, work_of: dict[str, int]) -> list[_Job]:
    speed = max(agent.speed for agent in scenario.agents)
    found: list[_Job] = []
    for run in outcome.ended.values():
        number = work_of[run.id]
        flow = scenario.work[number].flow
        jobs = {step.index: _Job(run.id, number, step.index) for step in flow.steps}
        shortest: dict[int, float] = {}
        for invocation in run.invocations.values():
            took = scenario.duration_ms(number, invocation.step, invocation.id, 1.0)
            job = jobs[invocation.step]
            job.total_ms += took
            job.longest_ms = max(job.longest_ms, took)
            shortest[invocation.step] = min(shortest.get(invocation.step, took), took)
        origin = run.deadline_ms - flow.sla_ms
        began = origin - ORIGIN_MS
        for step in flow.steps:
            before = flow.ancestors[step.index]
            # The shortest of each step above, one after the other along the longest chain of them.
            jobs[step.index].opens_ms = began + _longest(flow, step.index, before, shortest, speed)
        for step in flow.steps:
            after = [other.index for other in flow.steps if step.index in flow.ancestors[other.index]]
            tail = min((shortest.get(index, 0.0) for index in after), default=0.0) / speed
            jobs[step.index].closes_ms = began + flow.sla_ms - tail
        found += [job for job in jobs.values() if job.total_ms]
    return found


def _longest(flow: object, step: int, before: frozenset[int], shortest: dict[int, float], speed: float) -> float:
    steps = flow.steps  # type: ignore[attr-defined]
    return max(
        (_longest(flow, need, before, shortest, speed) + shortest.get(need, 0.0) / speed for need in steps[step].needs),
        default=0.0,
    )


def _slices(scenario: Scenario, jobs: list[_Job]) -> list[float]:
    """Boundaries of time. Where there are too many, windows are widened to those that are kept."""
    marks = {0.0, float(scenario.end_ms)}
    for agent in scenario.agents:
        marks.update(float(at) for span in agent.there_ms for at in span)
        marks.update(float(at) for at, _ in agent.prices)
    marks.update(job.opens_ms for job in jobs)
    marks.update(job.closes_ms for job in jobs)
    bounds = sorted(mark for mark in marks if 0 <= mark <= scenario.end_ms)
    if len(bounds) > _BOUNDS_MOST:
        kept = [bounds[at * (len(bounds) - 1) // (_BOUNDS_MOST - 1)] for at in range(_BOUNDS_MOST)]
        bounds = sorted(dict.fromkeys(kept))
    for job in jobs:
        job.opens_ms = max(bound for bound in bounds if bound <= max(job.opens_ms, 0.0))
        job.closes_ms = min((bound for bound in bounds if bound >= job.closes_ms), default=bounds[-1])
    return bounds


def _room(agents: list[SimAgent], start: float, end: float) -> list[float]:
    there = sum(max(0.0, min(end, b) - max(start, a)) for agent in agents[:1] for a, b in agent.there_ms)
    facts = agents[0].facts
    each = (facts.cpu_milli, facts.memory_bytes / (1 << 20), 1000.0 * len(facts.gpus))
    return [amount * there * len(agents) for amount in each]


def _price(agent: SimAgent, start: float, end: float) -> float:
    """The lowest price at any time of the slice."""
    current = agent.facts.price_usd_per_hour
    lowest = None
    for at, usd in agent.prices:
        if at <= start:
            current = usd
        elif at < end:
            lowest = usd if lowest is None else min(lowest, usd)
    return current if lowest is None else min(current, lowest)
