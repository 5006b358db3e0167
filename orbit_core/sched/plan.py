"""The planner: how much of each kind of work may start on each kind of agent now, and what waits for cheaper room.

Asked about once a second, and when the picture has changed. It decides over classes of work and pools of agents, by
a linear program (`_plan.linear`) that begins with what a greedy way (`_plan.greedy`) has found; by that alone where
there is nothing to be gained by one, or where the program finds nothing in its time. What it says steers the placer
only: decisions reach the journal as placements, and replay never asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from orbit_core.sched._plan import greedy, linear
from orbit_core.sched._plan.observe import Demand, demand_of, demands, look, observe
from orbit_core.sched._plan.picture import NEARLY, Picture, Pool, Schedule, WorkClass
from orbit_core.sched.state import MeshState

__all__ = ["NEARLY", "PLAN_EVERY_MS", "Demand", "Picture", "Plan", "Planner", "Pool", "WorkClass", "demand_of", "solve"]

#: A plan is made at least this often while work waits.
PLAN_EVERY_MS = 1_000
#: What the solver may take, in seconds; then the best that it has found stands.
TIME_LIMIT_S = 0.2
#: A run is said to be late when so many plans in a row say so; in time again after as many that do not.
_SURE_AFTER = 3


@dataclass(slots=True)
class Plan:
    """One plan, for the placer, which counts it down.

    `quotas`: starts left on (class, pool) before the next plan is due. `overdue`: how many of a class cannot be in
    time, or must not wait: they may start on any pool that is not too slow. `turns`: the slice in which the class has
    its first start on the pool. `first`: the first of all, by pool.
    """

    made_ms: int
    picture: Picture
    schedule: Schedule
    quotas: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    overdue: dict[int, int] = field(default_factory=dict[int, int])
    turns: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    first: dict[int, int] = field(default_factory=dict[int, int])
    late_runs: tuple[str, ...] = ()

    def class_of(self, run_id: str, step: int) -> int | None:
        """The class that was ready work when the plan was made; None: new since then."""
        found = self.picture.class_of.get((run_id, step))
        return found if found is not None and self.picture.classes[found].ready else None

    def awaits(self, agent_id: str) -> bool:
        """Whether an hour of that agent may be worth waiting for, so that only a plan can say what starts there now."""
        return self.picture.pool_of.get(agent_id) in self.picture.awaited

    def pressing(self, number: int, now_ms: int) -> bool:
        """Whether all of the class has to start now, wherever there is room."""
        work = self.picture.classes[number]
        if not work.options or work.objective == "time":
            return True
        return self.made_ms + work.latest_start_ms <= now_ms + self.picture.bounds_ms[1]

    def quick_pools(self, number: int, now_ms: int) -> dict[int, None]:
        """Pools on which the class would still be in time; all of its pools where it would be on none."""
        work = self.picture.classes[number]
        left_ms = self.made_ms + work.finish_ms - now_ms
        quick = dict.fromkeys(pool for pool, option in work.options.items() if option.duration_ms <= left_ms)
        return quick or dict.fromkeys(work.options)

    def open_pools(self, number: int) -> dict[int, None]:
        """Pools on which the class may start now. What cannot be in time may start on any that is not too slow."""
        options = self.picture.classes[number].options
        if self.overdue.get(number, 0) > 0:
            return self.quick_pools(number, self.made_ms)
        quotas = [pool for pool in options if self.quotas.get((number, pool), 0) > 0]
        return dict.fromkeys([*quotas, *self.at_once(number)])

    def spend(self, number: int, agent_id: str) -> bool:
        """One of the class has started on that agent; whether `open_pools` has changed by it."""
        pool = self.picture.pool_of[agent_id]
        key = (number, pool)
        overdue, quota = self.overdue.get(number, 0), self.quotas.get(key, 0)
        is_scout = self.picture.classes[number].scout and overdue == 1  # wherever it went: one is on its way
        at_once = pool in self.at_once(number)
        if overdue and (is_scout or (quota <= 0 and not at_once)):
            self.overdue[number] = overdue - 1
        self.quotas[key] = quota - 1
        return self.overdue.get(number, 0) < overdue == 1 or (quota == 1 and not at_once)

    def at_once(self, number: int) -> tuple[int, ...]:
        """Pools on which the class may start beyond its quota: those where waiting can save nothing.

        It is cheapest there, it can be in time there, and the plan has no other work start there before it.
        """
        work = self.picture.classes[number]
        most = work.least_usd * NEARLY
        return tuple(
            pool
            for pool, option in work.options.items()
            if option.cost_usd <= most
            and option.duration_ms <= work.finish_ms - option.reserve_ms + 1.0
            and self.turns.get((number, pool), _NEVER) <= self.first.get(pool, _NEVER)
        )


#: Later than any slice.
_NEVER = 1 << 30


class Planner:
    """Makes plans for a state that goes on; remembers only how sure it is of what is late.

    `every_ms`: how often it is asked; what has to start before it is asked again starts now.
    """

    def __init__(self, *, every_ms: float = PLAN_EVERY_MS, time_limit_s: float | None = TIME_LIMIT_S) -> None:
        self._first_slice_ms = 2.0 * every_ms
        self._time_limit_s = time_limit_s
        self._doubts: dict[str, int] = {}

    def plan(self, state: MeshState, now_ms: int, attempts: Mapping[str, int] | None = None) -> Plan:
        """The plan from `now_ms` on. `attempts`: how many more each agent takes at once now; None: any number."""
        picture = observe(look(state, now_ms, attempts, expectant=True), demands(state), self._first_slice_ms)
        return make_plan(picture, now_ms, solve(picture, self._time_limit_s))

    def forecasts(self, state: MeshState, plan: Plan) -> list[tuple[str, bool]]:
        """Runs of which this plan makes it sure that they will be late, or will not any more."""
        late = dict.fromkeys(plan.late_runs)
        changed: list[tuple[str, bool]] = []
        doubts: dict[str, int] = {}
        for run in state.runs.values():
            if run.ended or (run.id in late) == run.expected_late:
                continue
            doubts[run.id] = self._doubts.get(run.id, 0) + 1
            if doubts[run.id] >= _SURE_AFTER:
                changed.append((run.id, run.id in late))
                del doubts[run.id]
        self._doubts = doubts
        return changed


def solve(picture: Picture, time_limit_s: float | None) -> Schedule:
    """The best that the solver finds in its time, from the greedy plan on; where it finds none, that one stands.

    Where all room costs the same there is nothing to weigh: greedy alone.
    """
    if not any(_has_choice(work) for work in picture.classes):
        return greedy.schedule(picture)
    quick = greedy.schedule(picture, following=True)
    return linear.schedule(picture, time_limit_s, quick) or quick


def _has_choice(work: WorkClass) -> bool:
    costs = [cost for option in work.options.values() for cost in (option.cost_usd, *option.costs_usd)]
    return len(costs) > 1 and max(costs) > min(costs) * NEARLY


def make_plan(picture: Picture, now_ms: int, schedule: Schedule) -> Plan:
    """What the schedule says of now, in whole attempts."""
    quotas: dict[tuple[int, int], float] = {}
    turns: dict[tuple[int, int], int] = {}
    first: dict[int, int] = {}
    for each in schedule.starts:
        key = (each.work, each.pool)
        if each.at == 0:
            quotas[key] = quotas.get(key, 0.0) + each.amount
        turns[key] = min(each.at, turns.get(key, _NEVER))
        first[each.pool] = min(each.at, first.get(each.pool, _NEVER))
    parents = {parent for work in picture.classes for parent, _ in work.after}
    # Pieces are rounded: what is left over comes up again in the next plan. Of what brings forth other work the
    # smallest piece counts, since none of that can begin before the whole has ended.
    whole = {key: int(amount + (0.999 if key[0] in parents else 0.5)) for key, amount in quotas.items()}
    overdue = {number: math.ceil(amount - 0.5) for number, amount in schedule.late.items()}
    for number, work in enumerate(picture.classes):
        if work.scout and work.ready:
            overdue[number] = max(1, overdue.get(number, 0))
    late = tuple(_late_runs(picture, _surely_late(picture, schedule)))
    return Plan(now_ms, picture, schedule, whole, overdue, turns, first, late)


def _surely_late(picture: Picture, schedule: Schedule) -> Mapping[int, float]:
    """What is late also where nothing is kept free for the slowest attempts: doubt makes haste, but is no forecast."""
    if not schedule.late:
        return {}
    classes = [
        replace(work, options={pool: replace(option, reserve_ms=0.0) for pool, option in work.options.items()})
        for work in picture.classes
    ]
    late = greedy.schedule(replace(picture, classes=tuple(classes))).late
    return {number: min(amount, late[number]) for number, amount in schedule.late.items() if number in late}


def _late_runs(picture: Picture, late: Mapping[int, float]) -> Iterable[str]:
    """The runs whose work does not fit: those with the last deadlines of each class, as many as it takes."""
    found: dict[str, None] = {}
    for number, amount in late.items():
        work = picture.classes[number]
        share = amount / work.amount
        many = min(len(work.runs), int(share * len(work.runs) + 0.999)) if share > 0.02 else 0
        found.update(dict.fromkeys(work.runs[len(work.runs) - many :]))
    return found
