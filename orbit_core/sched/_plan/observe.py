"""From the state to the picture: which agents are alike, which work is alike, how much of it is still to come.

Work that is not there yet counts: what a step will return is estimated from what it returned before, so that a plan
sees a fan-out before it happens. Only agents that are attached count as capacity. Pure reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orbit_core.limits import MIB
from orbit_core.sched import estimate as estimates_of
from orbit_core.sched._plan.picture import Option, Picture, Pool, Room, WorkClass
from orbit_core.sched.estimate import Estimate, hardware_kind
from orbit_core.sched.model import AgentFacts, AgentStatus, RunStatus, Status
from orbit_core.sched.price import expected_cost_usd
from orbit_core.sched.state import Agent, MeshState, Run
from orbit_core.sched.workflow import Need, StepPlan, Workflow

#: The first slice where nobody says another: what starts in it starts now.
FIRST_SLICE_MS = 2_000.0
#: What sending an attempt out and hearing of its end adds for each step on the way.
HOP_MS = 250.0
_SLICES = 9
_OWN_BOUNDS = 6
_CLASSES_MOST = 64
_POOLS_MOST = 12
#: How far apart deadlines may be and still count as one, tried until there are few enough classes.
_COARSENESS = (1.0, 1.02, 1.1, 1.3, 1.8, 3.0, 10.0, 1e9)
#: Attempts under way that a pool is described by; beyond it the last ones count as the longest of them.
_BUSY_MOST = 64


@dataclass(slots=True)
class Demand:
    """The work that a run, or one that only might be, still has: by step, how much is open, ready, under way."""

    name: str
    workflow: Workflow
    deadline_ms: int
    open: dict[int, float] = field(default_factory=dict[int, float])
    ready: dict[int, int] = field(default_factory=dict[int, int])
    running: dict[int, float] = field(default_factory=dict[int, float])
    gathered: tuple[int, ...] = ()


def demand_of(state: MeshState, run: Run) -> Demand:
    """What a run that is there still has to do."""
    found = Demand(run.id, state.workflow(run), run.deadline_ms)
    for index, counts in run.counts.items():
        running = counts.of(Status.ASSIGNED) + counts.of(Status.RUNNING)
        created = sum(counts.by_status.values())
        there = counts.of(Status.READY) + counts.of(Status.WAITING)
        found.open[index] = float(max(0, counts.expected - created) + there)
        found.ready[index] = counts.of(Status.READY)
        found.running[index] = float(running)
        if found.workflow.steps[index].gather is not None and counts.expected:
            found.gathered += (index,)
    return found


def demands(state: MeshState) -> list[Demand]:
    """Of all runs that go on."""
    return [demand_of(state, run) for run in state.runs.values() if run.status is RunStatus.RUNNING]


def observe(
    state: MeshState,
    wanted: Iterable[Demand],
    now_ms: int,
    attempts: Mapping[str, int] | None = None,
    first_slice_ms: float = FIRST_SLICE_MS,
) -> Picture:
    """The picture at `now_ms`. `attempts`: how many more each agent takes at once now; None: any number."""
    pools, pool_of, facts = _pools(state, now_ms, attempts)
    view = _View(state, pools, facts, now_ms)
    tails: dict[int, _Tails] = {}
    work: list[_Part] = []
    for each in wanted:
        if id(each.workflow) not in tails:
            tails[id(each.workflow)] = _Tails(view, each.workflow)
        work.append(_Part(each, tails[id(each.workflow)]))
        _expect(view, work[-1])
    groups: dict[tuple[int, int, int], list[tuple[_Part, int]]] = {}
    for coarseness in _COARSENESS:
        groups = {}
        for part in work:
            bucket = _bucket(part.demand.deadline_ms - now_ms, coarseness)
            for index in part.amounts:
                groups.setdefault((id(part.demand.workflow), index, bucket), []).append((part, index))
        if len(groups) <= _CLASSES_MOST:
            break
    numbers = {key: number for number, key in enumerate(groups)}
    classes = tuple(_work_class(view, key, members, numbers) for key, members in groups.items())
    class_of = {(part.demand.name, index): numbers[key] for key, members in groups.items() for part, index in members}
    return Picture(pools, classes, _bounds(classes, first_slice_ms), class_of, pool_of)


# Pools.


def _pools(
    state: MeshState, now_ms: int, attempts: Mapping[str, int] | None
) -> tuple[tuple[Pool, ...], dict[str, int], list[AgentFacts]]:
    usable = [agent for agent in state.agents.values() if agent.status is AgentStatus.ATTACHED]
    groups: dict[object, list[Agent]] = {}
    for like in (_alike, _alike_but_for_models, _alike_roughly):
        groups = {}
        for agent in usable:
            groups.setdefault(like(agent), []).append(agent)
        if len(groups) <= _POOLS_MOST:
            break
    pools = tuple(_pool(state, members, now_ms, attempts) for members in groups.values())
    pool_of = {agent.facts.id: number for number, members in enumerate(groups.values()) for agent in members}
    return pools, pool_of, [members[0].facts for members in groups.values()]


def _alike(agent: Agent) -> object:
    return (*_shape(agent.facts), agent.facts.price_usd_per_hour, agent.facts.warm_models)


def _alike_but_for_models(agent: Agent) -> object:
    return (*_shape(agent.facts), agent.facts.price_usd_per_hour)


def _alike_roughly(agent: Agent) -> object:
    facts = agent.facts
    price = round(math.log(facts.price_usd_per_hour, 1.25)) if facts.price_usd_per_hour > 0 else None
    return (facts.gpus[:1], len(facts.gpus), facts.satellites, facts.price_kind == "spot", price)


def _shape(facts: AgentFacts) -> tuple[object, ...]:
    label = dict(facts.labels).get("hardware", "")
    return (facts.cpu_milli, facts.memory_bytes, facts.gpus, facts.satellites, facts.price_kind, label)


def _pool(state: MeshState, members: list[Agent], now_ms: int, attempts: Mapping[str, int] | None) -> Pool:
    rooms = [_room(agent, attempts) for agent in members]
    busy: list[tuple[float, Room]] = []
    for agent in members:
        for assigned in agent.assigned.values():
            found = state.invocation(assigned.run_id, assigned.invocation_id)
            if found is None:
                continue
            step = state.step_of(*found)
            known = estimates_of.estimate(state.estimates, step, hardware_kind(agent.facts, step))
            ran_ms = now_ms - found[1].assigned_ms
            left_ms = known.mean_ms - ran_ms if ran_ms < known.mean_ms else max(known.p95_ms - ran_ms, 0.1 * ran_ms)
            busy.append((max(100.0, left_ms), need_room(step.request)))
    busy.sort(key=lambda each: each[0])
    total = tuple(math.fsum(room[at] for room in rooms) for at in range(4))
    return Pool(
        agents=tuple(agent.facts.id for agent in members),
        room=(total[0], total[1], total[2], total[3]),
        each=min(rooms),
        busy=_summed(busy),
        spot=members[0].facts.price_kind == "spot",
    )


def _room(agent: Agent, attempts: Mapping[str, int] | None) -> Room:
    facts = agent.facts
    most = math.inf if attempts is None else attempts.get(facts.id, 0) + len(agent.assigned)
    slots = min(float(most), facts.cpu_milli / 1.0)
    return (float(facts.cpu_milli), facts.memory_bytes / MIB, 1000.0 * len(facts.gpus), slots)


def _summed(busy: list[tuple[float, Room]]) -> tuple[tuple[float, Room], ...]:
    """At most `_BUSY_MOST` entries: neighbours in time are put together, at the later end."""
    size = -(-len(busy) // _BUSY_MOST)
    if size <= 1:
        return tuple(busy)
    found: list[tuple[float, Room]] = []
    for at in range(0, len(busy), size):
        some = busy[at : at + size]
        rooms = [room for _, room in some]
        found.append((some[-1][0], (_add(rooms, 0), _add(rooms, 1), _add(rooms, 2), _add(rooms, 3))))
    return tuple(found)


def _add(rooms: list[Room], dimension: int) -> float:
    return math.fsum(room[dimension] for room in rooms)


def need_room(need: Need) -> Room:
    """What one attempt takes of a pool."""
    gpu = float(need.gpu_milli) if need.gpus == 1 and need.gpu_milli else 1000.0 * need.gpus
    return (float(need.cpu_milli), need.memory_bytes / MIB, gpu, 1.0)


def can_hold(facts: AgentFacts, step: StepPlan) -> bool:
    """Whether an empty agent like this could run the step."""
    need = step.request
    if step.satellite not in facts.satellites or need.cpu_milli > facts.cpu_milli:
        return False
    if need.memory_bytes > facts.memory_bytes or need.gpus > len(facts.gpus):
        return False
    if not need.gpus:
        return True
    fits = [gpu for gpu in facts.gpus if gpu.memory_bytes >= need.gpu_memory_bytes]
    fits = [gpu for gpu in fits if not need.gpu_models or gpu.model in need.gpu_models]
    return len(fits) >= need.gpus


# Work.


class _View:
    """Estimates as seen from the pools, each asked for once."""

    def __init__(self, state: MeshState, pools: tuple[Pool, ...], facts: list[AgentFacts], now_ms: int) -> None:
        self.state = state
        self.pools = pools
        self.facts = facts
        self.now_ms = now_ms
        self._known: dict[tuple[int, StepPlan], Estimate] = {}

    def capable(self, step: StepPlan) -> list[int]:
        return [number for number, facts in enumerate(self.facts) if can_hold(facts, step)]

    def estimate(self, pool: int, step: StepPlan) -> Estimate:
        key = (pool, step)
        if key not in self._known:
            hardware = hardware_kind(self.facts[pool], step)
            self._known[key] = estimates_of.estimate(self.state.estimates, step, hardware)
        return self._known[key]

    def fastest(self, step: StepPlan) -> Estimate:
        known = [self.estimate(pool, step) for pool in self.capable(step)]
        if not known:
            return estimates_of.estimate(self.state.estimates, step, "")
        return min(known, key=lambda each: each.mean_ms)


class _Tails:
    """For each step of a workflow, what follows it at least: mean time, and how uncertain that is."""

    def __init__(self, view: _View, workflow: Workflow) -> None:
        self.mean_ms: dict[int, float] = {}
        self.variance: dict[int, float] = {}
        for step in sorted(workflow.steps, key=lambda each: -workflow.depth[each.index]):
            self.mean_ms[step.index] = self.variance[step.index] = 0.0
            for after in workflow.steps:
                if step.index in after.needs and after.section == step.section:
                    known = view.fastest(after)
                    mean = self.mean_ms[after.index] + known.mean_ms + HOP_MS
                    if mean > self.mean_ms[step.index]:
                        self.mean_ms[step.index] = mean
                        spread = known.p95_ms - known.mean_ms
                        self.variance[step.index] = self.variance[after.index] + spread**2

    def finish_ms(self, deadline_ms: float, step: StepPlan, own: Estimate, amount: float) -> float:
        """When the step has to have ended; its own uncertainty is kept free too: that of the slowest of `amount`."""
        spread = max(0.0, own.p95_ms - own.mean_ms) * (1.0 + 0.6 * math.log10(max(1.0, amount)))
        margin = math.sqrt(self.variance[step.index] + spread**2) + HOP_MS
        return deadline_ms - self.mean_ms[step.index] - margin


class _Part:
    """A demand with what is expected of it: how much of each step is to start, and not before when."""

    def __init__(self, demand: Demand, tails: _Tails) -> None:
        self.demand = demand
        self.tails = tails
        self.amounts: dict[int, float] = {}
        self.release: dict[int, float] = {}


def _expect(view: _View, part: _Part) -> None:
    """Fills in how much of each step is to come, and the earliest time at which it may start, from now."""
    demand, workflow = part.demand, part.demand.workflow
    ending: dict[int, float] = {}
    release = part.release
    for step in sorted(workflow.steps, key=lambda each: (workflow.depth[each.index], each.index)):
        opened = demand.open.get(step.index, 0.0)
        coming = _coming(view, part, step, ending) if step.section == "main" else 0.0
        amount = opened + coming
        ending[step.index] = amount + demand.running.get(step.index, 0.0)
        release[step.index] = 0.0
        if not opened and coming:
            release[step.index] = max(
                (
                    release[need] + view.fastest(workflow.steps[need]).p50_ms * (1.0 if demand.open.get(need) else 0.25)
                    for need in step.needs
                    if ending.get(need)
                ),
                default=0.0,
            )
        if amount > 1e-9:
            part.amounts[step.index] = amount


def _coming(view: _View, part: _Part, step: StepPlan, ending: dict[int, float]) -> float:
    """How much of the step the ends of others will still bring forth."""
    demand, workflow = part.demand, part.demand.workflow
    if step.gather is not None:
        if step.gather.over is None:
            return 0.0 if step.index in demand.gathered or not any(ending.get(n) for n in step.needs) else 1.0
        over = workflow.steps[step.gather.over]
        waiting = max((ending.get(need, 0.0) for need in step.needs), default=0.0)
        return min(waiting, max(1.0, waiting / _fan_out(view, workflow, over))) if waiting else 0.0
    if len(step.needs) != 1:
        return 0.0
    parent = workflow.steps[step.needs[0]]
    return ending.get(parent.index, 0.0) * _fan_out(view, workflow, parent)


def _fan_out(view: _View, workflow: Workflow, step: StepPlan) -> float:
    return estimates_of.fan_out(view.state.estimates, workflow.identifier, step)


def _bucket(left_ms: float, coarseness: float) -> int:
    if left_ms <= 0:
        return -1
    return round(left_ms) if coarseness == 1.0 else int(math.log(1.0 + left_ms) / math.log(coarseness))


def _work_class(
    view: _View,
    key: tuple[int, int, int],
    members: list[tuple[_Part, int]],
    numbers: dict[tuple[int, int, int], int],
) -> WorkClass:
    first, index = members[0]
    workflow = first.demand.workflow
    step = workflow.steps[index]
    amount = math.fsum(part.amounts[index] for part, _ in members)
    fastest = view.fastest(step)
    deadline = min(part.demand.deadline_ms for part, _ in members) - view.now_ms
    after: list[tuple[int, float]] = []
    for need in step.needs:
        above = numbers.get((key[0], need, key[2]))
        if above is not None:
            parents = math.fsum(part.amounts.get(need, 0.0) for part, _ in members)
            ratio = amount / parents if step.gather and parents else _fan_out(view, workflow, workflow.steps[need])
            after.append((above, ratio))
    return WorkClass(
        name=f"{workflow.identifier}/{step.identifier}",
        need=need_room(step.request),
        amount=amount,
        ready=sum(part.demand.ready.get(index, 0) for part, _ in members),
        release_ms=min(part.release[index] for part, _ in members),
        finish_ms=first.tails.finish_ms(deadline, step, fastest, amount),
        options=_options(view, workflow, step, amount),
        objective=workflow.objective,
        priority=workflow.priority,
        after=tuple(after),
        runs=tuple(part.demand.name for part, _ in sorted(members, key=lambda m: m[0].demand.deadline_ms)),
    )


def _options(view: _View, workflow: Workflow, step: StepPlan, amount: float) -> dict[int, Option]:
    """Where the step can run. `availability` keeps to capacity that does not go away, where there is some."""
    capable = view.capable(step)
    lasting = [pool for pool in capable if not view.pools[pool].spot]
    if workflow.objective == "availability" and lasting:
        capable = lasting
    again_ms = min((view.estimate(pool, step).p95_ms for pool in lasting), default=0.0)
    found: dict[int, Option] = {}
    for pool in capable:
        known = view.estimate(pool, step)
        margin = max(0.0, known.p95_ms - known.mean_ms) / math.sqrt(max(1.0, amount))
        cost = expected_cost_usd(view.state.estimates, view.facts[pool], step, amount)
        reserve_ms = again_ms if view.pools[pool].spot else 0.0
        found[pool] = Option(known.mean_ms + margin, cost, reserve_ms, known.p50_ms, known.p95_ms)
    return found


def _bounds(classes: tuple[WorkClass, ...], first_ms: float) -> tuple[float, ...]:
    """Slices from now on: short ones first, longer ones later, and an end where most deadlines are."""
    finishes = sorted({work.finish_ms for work in classes if work.finish_ms > first_ms})
    if not finishes:
        return (0.0, first_ms)
    horizon = finishes[-1]
    ratio = (horizon / first_ms) ** (1.0 / (_SLICES - 1))
    grid = [first_ms * ratio**power for power in range(_SLICES - 1)]
    step = max(1, -(-len(finishes) // _OWN_BOUNDS))
    own = [*finishes[::step], horizon]
    grid = [bound for bound in grid if all(abs(bound - each) > 0.08 * each for each in own) or bound == grid[0]]
    return (0.0, *sorted({*grid, *own}))
