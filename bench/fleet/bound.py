"""The least that a scenario can cost for whoever knows everything: what it says of agents and work, for `hindsight`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from bench.fleet.scenario import Scenario, SimAgent
from bench.fleet.world import ORIGIN_MS, Outcome
from orbit_core.sched.hindsight import Job, Offer, can_run, least, windows


@dataclass(frozen=True, slots=True)
class Bound:
    """US dollars, and how many runs cannot be in time even so."""

    cost_usd: float
    late_runs: int


def lower_bound(scenario: Scenario, outcome: Outcome, work_of: dict[str, int]) -> Bound:
    """From the invocations that a finished game had: they are the same for every policy."""
    pools: defaultdict[tuple[object, ...], list[SimAgent]] = defaultdict(list)
    for agent in scenario.agents:
        facts = agent.facts
        pools[(facts.cpu_milli, facts.memory_bytes, facts.gpus, agent.speed, facts.price_usd_per_hour, agent.prices,
               agent.there_ms)].append(agent)  # fmt: skip
    groups = list(pools.values())
    offers = [
        Offer(agents[0].facts, tuple(each for agent in agents for each in _stretches(agent))) for agents in groups
    ]
    found = least(_jobs(scenario, outcome, work_of, offers, [agents[0].speed for agents in groups]), offers)
    return Bound(found.total_usd, len(found.late_runs))


def _stretches(agent: SimAgent) -> list[tuple[float, float, float]]:
    """(from, to, US dollars an hour) of the times at which the agent is there."""
    changes = [(0, agent.facts.price_usd_per_hour), *agent.prices]
    ends = [*(at for at, _ in changes[1:]), max(end for _, end in agent.there_ms)]
    return [
        (float(max(begin, come)), float(min(end, gone)), usd)
        for (begin, usd), end in zip(changes, ends, strict=True)
        for come, gone in agent.there_ms
        if max(begin, come) < min(end, gone)
    ]


def _jobs(
    scenario: Scenario, outcome: Outcome, work_of: dict[str, int], offers: list[Offer], speeds: list[float]
) -> list[Job]:
    fastest = max(speeds)
    found: list[Job] = []
    for run in outcome.ended.values():
        number = work_of[run.id]
        flow = scenario.work[number].flow
        totals: dict[int, float] = {}
        shortest: dict[int, float] = {}
        for invocation in run.invocations.values():
            took = scenario.duration_ms(number, invocation.step, invocation.id, 1.0)
            totals[invocation.step] = totals.get(invocation.step, 0.0) + took
            shortest[invocation.step] = min(shortest.get(invocation.step, took), took)
        closes = float(run.deadline_ms - ORIGIN_MS)
        opens = closes - flow.sla_ms
        around = windows(flow, {step: took / fastest for step, took in shortest.items()})
        for index, total_ms in totals.items():
            step = flow.steps[index]
            takes = {offer: total_ms / speeds[offer] for offer in can_run(offers, step)}
            before, after = around[index]
            found.append(Job(run.id, step, takes, opens + before, min(closes - after, float(scenario.end_ms))))
    return found
