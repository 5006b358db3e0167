"""What a run would cost and when it would end, with the mesh as it is: the planner asked about work that is not there.

The same picture, the same plan and the same estimates as for real work. Only what is asked is made up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orbit_core.sched._plan.observe import Demand, Scene, demands, look, observe
from orbit_core.sched._plan.picture import Picture, Schedule
from orbit_core.sched.estimate import copied, learn_fan_out
from orbit_core.sched.plan import TIME_LIMIT_S, solve
from orbit_core.sched.state import MeshState
from orbit_core.sched.workflow import Workflow

_NAME = "quote"
_DAY_MS = 24 * 3_600_000
#: SLAs of the table, in milliseconds: those beyond the shortest that can be kept.
_TABLE_MS = (60_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000, 12 * 3_600_000, _DAY_MS)
#: How closely the shortest SLA is looked for.
_CLOSE = 1.05
_ENOUGH = 1e-3


@dataclass(frozen=True, slots=True)
class Quote:
    """A run with one SLA. Finish times are milliseconds from its start."""

    sla_ms: int
    feasible: bool
    cost_usd: float
    p50_finish_ms: int
    p95_finish_ms: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """The SLA that was asked for, and others, shortest first. `shortest_sla_ms`: None if none up to a day is kept."""

    quote: Quote
    others: tuple[Quote, ...]
    shortest_sla_ms: int | None


def quotes(state: MeshState, workflow: Workflow, now_ms: int, objects: Mapping[str, int] | None = None) -> Quotes:
    """What one run of the workflow would come to if it began now; `objects` as `ask` takes it."""
    return ask(state, workflow, now_ms, objects).answer()


def ask(state: MeshState, workflow: Workflow, now_ms: int, objects: Mapping[str, int] | None = None) -> Question:
    """The question, with a copy of what its answer needs: the state may go on while it is being answered.

    `objects`: how many each invocation of a step will return, by step, where that is known and not to be estimated.
    """
    # A name of its own: what is known of this run's objects is not known of others.
    own = dataclasses.replace(workflow, identifier=f"{workflow.identifier} (quoted)")
    others = demands(state)
    flows = [workflow, *(each.workflow for each in others)]
    satellites = [step.satellite for flow in flows for step in flow.steps]
    known = copied(state.estimates, satellites, [flow.identifier for flow in flows])
    for step in workflow.steps:
        before = known.fan_outs.get(f"{workflow.identifier}|{step.identifier}")
        if objects and step.identifier in objects:
            learn_fan_out(known, own.identifier, step, objects[step.identifier])
        elif before is not None:
            known.fan_outs[f"{own.identifier}|{step.identifier}"] = before
    scene = look(state, now_ms)
    scene = dataclasses.replace(scene, durations=scene.durations.on(known))
    return Question(own, scene, tuple(others))


def never_dearer(found: Sequence[Quote]) -> list[Quote]:
    """The plan for a shorter SLA is always a candidate for a longer one. `found`: by rising SLA."""
    best: Quote | None = None
    kept: list[Quote] = []
    for each in found:
        if best is not None and (best.cost_usd < each.cost_usd or not each.feasible):
            each = dataclasses.replace(best, sla_ms=each.sla_ms)
        if each.feasible:
            best = each
        kept.append(each)
    return kept


@dataclass(frozen=True, slots=True)
class Question:
    """What a run of `workflow` would be in that scene, beside the others' work. Answers from any thread."""

    workflow: Workflow
    scene: Scene
    others: tuple[Demand, ...]

    def answer(self) -> Quotes:
        """Some tens of plans, of up to `TIME_LIMIT_S` each."""
        asker = _Asker(self)
        shortest = asker.shortest()
        slas = {self.workflow.sla_ms, *([shortest] if shortest else [])}
        slas.update(sla for sla in _TABLE_MS if shortest and sla > shortest)
        found = never_dearer([asker.quote(sla) for sla in sorted(slas)])
        own = next(each for each in found if each.sla_ms == self.workflow.sla_ms)
        return Quotes(own, tuple(each for each in found if shortest and each.sla_ms >= shortest), shortest)


class _Asker:
    def __init__(self, question: Question) -> None:
        self._question = question
        self._before_usd = _cost_usd(observe(question.scene, question.others))

    def quote(self, sla_ms: int) -> Quote:
        picture = self._picture(sla_ms)
        schedule = solve(picture, TIME_LIMIT_S)
        own = _own(picture)
        feasible = bool(own) and all(schedule.late.get(number, 0.0) < _ENOUGH for number in own)
        own_usd = sum(
            each.amount * picture.classes[each.work].options[each.pool].cost_at(each.at)
            for each in schedule.starts
            if each.work in own
        )
        # What it costs others, who have to move to dearer room, is its price too.
        cost = max(own_usd, schedule.cost_usd(picture) - self._before_usd)
        p50, p95 = _finish_ms(picture, schedule, own)
        return Quote(sla_ms, feasible, cost, round(p50), round(max(p50, p95)))

    def shortest(self) -> int | None:
        """The shortest SLA that can be kept, found by halving."""
        low, high = 1_000.0, float(_DAY_MS)
        if not self.quote(_DAY_MS).feasible:
            return None
        while high / low > _CLOSE:
            middle = (low * high) ** 0.5
            if self.quote(round(middle)).feasible:
                high = middle
            else:
                low = middle
        return round(high)

    def _picture(self, sla_ms: int) -> Picture:
        workflow, scene = self._question.workflow, self._question.scene
        asked = Demand(_NAME, workflow, scene.now_ms + sla_ms)
        for root in workflow.roots:
            asked.open[root] = 1.0
            asked.ready[root] = 1
        return observe(scene, [*self._question.others, asked])


def _cost_usd(picture: Picture) -> float:
    return solve(picture, TIME_LIMIT_S).cost_usd(picture) if picture.classes else 0.0


def _own(picture: Picture) -> dict[int, None]:
    """The classes of the run that is asked about, in the order of its steps."""
    steps = sorted(step for name, step in picture.class_of if name == _NAME)
    return dict.fromkeys(picture.class_of[(_NAME, step)] for step in steps)


def _finish_ms(picture: Picture, schedule: Schedule, own: dict[int, None]) -> tuple[float, float]:
    """When the last of it ends: in the middle, and with the spread of the slowest steps on the way."""
    middle: dict[int, float] = {}
    spread: dict[int, float] = {}
    for number in own:
        work = picture.classes[number]
        begin = max((middle.get(parent, 0.0) for parent, _ in work.after), default=0.0)
        slack = max((spread.get(parent, 0.0) for parent, _ in work.after), default=0.0)
        last = begin
        by_pool: dict[int, float] = {}
        for each in schedule.starts:
            if each.work == number:
                by_pool[each.pool] = by_pool.get(each.pool, 0.0) + each.amount
                last = max(last, picture.bounds_ms[each.at] + work.options[each.pool].p50_ms)
        for pool, amount in by_pool.items():
            option, slots = work.options[pool], max(1, picture.pools[pool].slots(work.need))
            rounds = max(1.0, amount / slots)
            last = max(last, begin + rounds * option.p50_ms)
        middle[number] = last
        widest = max((work.options[p].p95_ms - work.options[p].p50_ms for p in by_pool), default=0.0)
        spread[number] = (slack**2 + widest**2) ** 0.5
    last_middle = max(middle.values(), default=0.0)
    return last_middle, max((middle[number] + spread[number] for number in own), default=0.0)
