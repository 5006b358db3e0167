"""From the state to the picture: which agents are alike, which work is alike, how much of it is still to come.

Work that is not there yet counts: what a step will return is estimated from what it returned before, so that a plan
sees a fan-out before it happens. Only agents that are attached count as capacity. Pure reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from orbit_core.sched._plan.durations import Durations, Tails
from orbit_core.sched._plan.picture import NEARLY, Option, Picture, Pool, WorkClass
from orbit_core.sched._plan.pools import can_hold, need_room, pools_of
from orbit_core.sched._plan.usual import only_while_safe, usual_prices
from orbit_core.sched.estimate import Estimate, fan_out, hardware_kind, knows_fan_out
from orbit_core.sched.model import AgentFacts, RunStatus, Status
from orbit_core.sched.price import expected_cost_usd
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.tariff import DAY_MS, Tariff, lowest_price, mean_price, spans
from orbit_core.sched.workflow import StepPlan, Workflow

#: The first slice where nobody says another: what starts in it starts now.
FIRST_SLICE_MS = 2_000.0
_SLICES = 9
_OWN_BOUNDS = 5
#: The odds that are taken of an attempt, or of any that start together, running over its deadline.
_RISK = 0.01
_CLASSES_MOST = 64
#: Changes of price that slices are cut at; beyond them a slice has its mean price.
_SWITCHES_MOST = 6
#: How far apart deadlines may be and still count as one, tried until there are few enough classes.
_COARSENESS = (1.0, 1.02, 1.1, 1.3, 1.8, 3.0, 10.0, 1e9)


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
    #: Machines are held for it, which cost by the hour whatever they do: the sooner it ends, the less.
    hurried: bool = False


def demand_of(state: MeshState, run: Run) -> Demand:
    """What a run that is there still has to do."""
    found = Demand(run.id, state.workflow(run), run.deadline_ms)
    found.hurried = any(lane.held is not None for lane in run.bought.values())
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


@dataclass(frozen=True, slots=True)
class Scene:
    """What a plan has to know of the mesh besides the work. `facts`: one agent of each pool.

    `usual`: by pool, prices by the time of day that are expected and that nobody has promised.
    Taken from the state once and independent of it after that, but for what `durations` reads.
    """

    durations: Durations
    pools: tuple[Pool, ...]
    pool_of: Mapping[str, int]
    facts: tuple[AgentFacts, ...]
    now_ms: int
    usual: Mapping[int, Tariff] = field(default_factory=dict[int, Tariff])


def look(state: MeshState, now_ms: int, attempts: Mapping[str, int] | None = None, *, expectant: bool = False) -> Scene:
    """The scene at `now_ms`. `attempts`: how many more each agent takes at once now; None: any number.

    `expectant`: what spot prices usually are counts too. A quote, which is to be kept, goes without.
    """
    durations = Durations(state.estimates, (agent.facts for agent in state.agents.values()))
    pools, pool_of, facts = pools_of(state, durations, now_ms, attempts)
    usual = usual_prices(state.history, facts, now_ms) if expectant else {}
    return Scene(durations, pools, pool_of, tuple(facts), now_ms, usual)


def observe(scene: Scene, wanted: Iterable[Demand], first_slice_ms: float = FIRST_SLICE_MS) -> Picture:
    """The picture of that work in that scene."""
    view = _View(scene)
    tails: dict[int, Tails] = {}
    work: list[_Part] = []
    for each in wanted:
        if id(each.workflow) not in tails:
            tails[id(each.workflow)] = Tails(each.workflow, view.fastest)
        work.append(_Part(each, tails[id(each.workflow)]))
        _expect(view, work[-1])
    groups: dict[tuple[int, int, int], list[tuple[_Part, int]]] = {}
    for coarseness in _COARSENESS:
        groups = {}
        for part in work:
            bucket = _bucket(part.demand.deadline_ms - scene.now_ms, coarseness)
            for index in part.amounts:
                groups.setdefault((id(part.demand.workflow), index, bucket), []).append((part, index))
        if len(groups) <= _CLASSES_MOST:
            break
    numbers = {key: number for number, key in enumerate(groups)}
    classes = tuple(_work_class(view, key, members, numbers) for key, members in groups.items())
    class_of = {(part.demand.name, index): numbers[key] for key, members in groups.items() for part, index in members}
    bounds = _bounds(view, classes, first_slice_ms)
    classes = tuple(_priced(view, each, bounds) for each in classes)
    picture = Picture(scene.pools, classes, bounds, class_of, scene.pool_of)
    return only_while_safe(picture, scene.usual) if scene.usual else picture


# Work.


class _View:
    """The estimates as seen from the pools."""

    def __init__(self, scene: Scene) -> None:
        self.estimates = scene.durations.estimates
        self.pools = scene.pools
        self.facts = scene.facts
        self.now_ms = scene.now_ms
        self.durations = scene.durations
        self._usual = scene.usual
        self._demanded: dict[StepPlan, float] = {}

    def capable(self, step: StepPlan) -> list[int]:
        return [number for number, facts in enumerate(self.facts) if can_hold(facts, step)]

    def estimate(self, pool: int, step: StepPlan) -> Estimate:
        return self.durations.of(hardware_kind(self.facts[pool], step), step)

    def tail_ms(self, pool: int, step: StepPlan, odds: float) -> float:
        return self.durations.tail_ms(hardware_kind(self.facts[pool], step), step, odds)

    def count(self, step: StepPlan, amount: float) -> None:
        self._demanded[step] = self._demanded.get(step, 0.0) + amount

    def demanded(self, step: StepPlan) -> float:
        """How much of the step there is in all classes: what chance makes longer, it makes shorter elsewhere."""
        return self._demanded.get(step, 0.0)

    def tariff(self, pool: int) -> Tariff:
        """What an hour costs by the time of day, as promised, or as it usually is; empty: as it is now."""
        return (self.facts[pool].tariff or self._usual.get(pool, ())) if self.facts[pool].price_usd_per_hour > 0 else ()

    def prices(self, pool: int, from_ms: float, to_ms: float) -> float:
        """What an hour costs on average between two times from now, in times of what it costs now."""
        tariff, now_usd = self.tariff(pool), self.facts[pool].price_usd_per_hour
        begin = self.now_ms + int(from_ms)
        return mean_price(tariff, begin, self.now_ms + int(to_ms)) / now_usd if tariff else 1.0

    def cheapest_hour(self, pool: int, until_ms: float) -> float:
        """The lowest price until that time from now, in times of what an hour costs now."""
        tariff, now_usd = self.tariff(pool), self.facts[pool].price_usd_per_hour
        if not tariff:
            return 1.0
        return min(1.0, lowest_price(tariff, self.now_ms, self.now_ms + max(1, int(until_ms))) / now_usd)

    def fastest(self, step: StepPlan) -> Estimate:
        known = [self.estimate(pool, step) for pool in self.capable(step)]
        if not known:
            return self.durations.of("", step)
        return min(known, key=lambda each: each.mean_ms)


class _Part:
    """A demand with what is expected of it: how much of each step is to start, and not before when."""

    def __init__(self, demand: Demand, tails: Tails) -> None:
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
            view.count(step, amount)


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
    return fan_out(view.estimates, workflow.identifier, step)


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
    finish = first.tails.finish_ms(min(part.demand.deadline_ms for part, _ in members) - view.now_ms, step)
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
        finish_ms=finish,
        options=_options(view, workflow, step, amount, finish),
        objective="time" if any(part.demand.hurried for part, _ in members) else workflow.objective,
        priority=workflow.priority,
        after=tuple(after),
        runs=tuple(part.demand.name for part, _ in sorted(members, key=lambda m: m[0].demand.deadline_ms)),
        scout=_needs_scout(view, workflow, step, members),
    )


def _needs_scout(view: _View, workflow: Workflow, step: StepPlan, members: list[tuple[_Part, int]]) -> bool:
    follows = any(step.index in other.needs and other.section == step.section for other in workflow.steps)
    if not follows or knows_fan_out(view.estimates, workflow.identifier, step):
        return False
    return not any(part.demand.running.get(index) for part, index in members)


def _options(view: _View, workflow: Workflow, step: StepPlan, amount: float, finish_ms: float) -> dict[int, Option]:
    """Where the step can run; only where it can still be in time, if it can somewhere.

    `availability` keeps to capacity that does not go away, where there is some.
    """
    capable = view.capable(step)
    lasting = [pool for pool in capable if not view.pools[pool].spot]
    if workflow.objective == "availability" and lasting:
        capable = lasting
    again_ms = min((view.estimate(pool, step).p95_ms for pool in lasting), default=0.0)
    quick = [pool for pool in capable if view.estimate(pool, step).mean_ms <= finish_ms]
    costs = {
        pool: expected_cost_usd(view.estimates, view.facts[pool], step, amount, view.pools[pool].age_ms)
        for pool in quick or capable
    }
    least = min((usd * view.cheapest_hour(pool, finish_ms) for pool, usd in costs.items()), default=0.0) * NEARLY
    found: dict[int, Option] = {}
    for pool, cost in costs.items():
        known = view.estimate(pool, step)
        duration, together = known.mean_ms, 1.0
        if cost * view.cheapest_hour(pool, finish_ms) > least:
            # Cheap room is counted as it is on average, and each last attempt there takes a small risk: what it
            # leaves idle has to be bought. What is bought makes up for bad luck, and for it none may be left over.
            duration += max(0.0, known.p95_ms - known.mean_ms) / math.sqrt(max(1.0, view.demanded(step)))
            together = max(1.0, min(amount, view.pools[pool].slots(need_room(step.request))))
        reserve = max(0.0, view.tail_ms(pool, step, _RISK / together) - duration)
        # Where not even one round is that safe, the usual safety has to do: else all of it would be called late.
        reserve = min(reserve, max(finish_ms - duration, known.p95_ms - duration, 0.0))
        if view.pools[pool].spot:
            reserve += again_ms
        found[pool] = Option(duration, cost, reserve, known.p50_ms, known.p95_ms)
    return found


def _priced(view: _View, work: WorkClass, bounds: tuple[float, ...]) -> WorkClass:
    """With what attempts cost by the slice that they start in, on pools whose price changes with time."""
    if not any(view.tariff(pool) for pool in work.options):
        return work
    options = dict(work.options)
    for pool, option in work.options.items():
        if view.tariff(pool):
            last = max(0.0, work.finish_ms - option.reserve_ms - option.duration_ms)
            # No attempt starts after the last moment: what it would cost then is not to be compared with.
            starts = [(min(start, last), min(end, last)) for start, end in pairwise(bounds)]
            prices = [view.prices(pool, start, max(end, start + option.duration_ms)) for start, end in starts]
            options[pool] = replace(option, costs_usd=tuple(option.cost_usd * price for price in prices))
    return replace(work, options=options)


def _switches(view: _View, horizon_ms: float) -> list[float]:
    """When tariffs change the price of a pool, from now, the first few of them."""
    found: set[float] = set()
    for pool in range(len(view.pools)):
        tariff = view.tariff(pool)
        if tariff:
            ends = (end for _, end, _ in spans(tariff, view.now_ms, view.now_ms + min(int(horizon_ms), 2 * DAY_MS)))
            found.update(float(end - view.now_ms) for end in ends)
    return sorted(found)[:_SWITCHES_MOST]


def _bounds(view: _View, classes: tuple[WorkClass, ...], first_ms: float) -> tuple[float, ...]:
    """Slices from now on: short ones first, longer ones later, and bounds where last attempts start and end."""
    found: set[float] = set()
    for work in classes:
        for option in work.options.values():
            end = work.finish_ms - option.reserve_ms
            found.update((end, end - option.duration_ms))
    finishes = sorted(finish for finish in found if finish > first_ms)
    if not finishes:
        return (0.0, first_ms)
    horizon = finishes[-1]
    ratio = (horizon / first_ms) ** (1.0 / (_SLICES - 1))
    grid = [first_ms * ratio**power for power in range(_SLICES - 1)]
    step = max(1, -(-len(finishes) // _OWN_BOUNDS))
    own = [*finishes[::step], *(at for at in _switches(view, horizon) if at > first_ms), horizon]
    grid = [bound for bound in grid if all(abs(bound - each) > 0.08 * each for each in own) or bound == grid[0]]
    return (0.0, *sorted({*grid, *own}))
