"""The least that work could have cost for whoever knows everything beforehand: a linear program with hindsight.

Work is a fluid that may be cut and moved at will, every duration is known, an hour costs the lowest price of its
slice; only capacity, the windows of the work and which agents can run it bind. No policy can be cheaper within the
same deadlines, and none can quite reach it. Who the agents and what the work were is told by whoever asks
(`past_work` for runs that have ended, the fleet benchmark for its scenarios).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from orbit_core.limits import MIB
from orbit_core.sched._plan.pools import can_hold, need_room
from orbit_core.sched._plan.program import Program
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.price import dominant_share
from orbit_core.sched.workflow import StepPlan, Workflow

#: Boundaries between slices of time; with more of them windows are widened to those that are kept.
_BOUNDS_MOST = 60
#: Columns of a program that is still solved in about a second; beyond it capacity is left out.
_COLUMNS_MOST = 40_000
_LATE = 1e3
_SLACK_MS = 1e-6
_MS_PER_HOUR = 3_600_000
_DIMENSIONS = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """Agents that are alike. `stretches`: (from, to, US dollars an hour) for each time that one of them was there."""

    facts: AgentFacts
    stretches: tuple[tuple[float, float, float], ...]

    @property
    def least_usd(self) -> float:
        """The lowest price of an hour at any time."""
        return min((usd for _, _, usd in self.stretches), default=0.0)

    def within(self, start_ms: float, end_ms: float) -> tuple[float, float]:
        """Agent-milliseconds that were there between the two times, and the lowest price among them."""
        there, least = 0.0, float("inf")
        for begin, end, usd in self.stretches:
            overlap = min(end, end_ms) - max(begin, start_ms)
            if overlap > 0:
                there += overlap
                least = min(least, usd)
        return there, least


@dataclass(frozen=True, slots=True)
class Job:
    """All of one step of one run. `takes_ms`: by number of the offer, what it takes there, one after another.

    `opens_ms` to `closes_ms`: when it could run.
    """

    run: str
    step: StepPlan
    takes_ms: Mapping[int, float]
    opens_ms: float
    closes_ms: float


@dataclass(frozen=True, slots=True)
class Least:
    """US dollars by job, in their order; runs that could not be in time even so; whether capacity was looked at.

    What could not be in time counts at the lowest price there was. Where several ways are as cheap as each other in
    all, it is one of them that tells what each job costs.
    """

    cost_usd: tuple[float, ...]
    late_runs: tuple[str, ...]
    with_capacity: bool

    @property
    def total_usd(self) -> float:
        return sum(self.cost_usd)


def least(jobs: Sequence[Job], offers: Sequence[Offer]) -> Least:
    """The least that all of it could have cost together."""
    bounds = _bounds(jobs, offers)
    groups = _alike(jobs, bounds)
    slices = [[offer.within(start, end) for start, end in pairwise(bounds)] for offer in offers]
    rooms = [
        _Room(number, at, there, usd)
        for number, each in enumerate(slices)
        for at, (there, usd) in enumerate(each)
        if there > 0
    ]
    work = _Work(jobs, offers, bounds, groups, rooms)
    with_capacity = work.columns() <= _COLUMNS_MOST
    shares = work.solve() if with_capacity else work.cheapest()
    costs = [0.0] * len(jobs)
    late: dict[str, None] = {}
    for group, (cost_usd, late_share) in zip(groups.values(), shares, strict=True):
        whole = sum(_first(jobs[number]) for number in group)
        for number in group:
            costs[number] = cost_usd * _first(jobs[number]) / whole
            if late_share > 1e-4:
                late[jobs[number].run] = None
    return Least(tuple(costs), tuple(late), with_capacity)


@dataclass(frozen=True, slots=True)
class _Room:
    """One offer in one slice."""

    offer: int
    at: int
    there_ms: float
    usd_per_hour: float


def _first(job: Job) -> float:
    return next(iter(job.takes_ms.values()))


def _bounds(jobs: Sequence[Job], offers: Sequence[Offer]) -> list[float]:
    """Boundaries of time: of prices and of who was there first, of windows as far as there is room."""
    opens = min((job.opens_ms for job in jobs), default=0.0)
    closes = max((job.closes_ms for job in jobs), default=0.0)
    changes = {float(at) for offer in offers for begin, end, _ in offer.stretches for at in (begin, end)}
    windows = {at for job in jobs for at in (job.opens_ms, job.closes_ms)}
    kept = {opens, closes, *_thinned([at for at in changes if opens < at < closes], 2 * _BOUNDS_MOST // 3)}
    kept.update(_thinned([at for at in windows if at not in kept], max(0, _BOUNDS_MOST - len(kept))))
    return sorted(kept)


def _thinned(marks: Sequence[float], most: int) -> list[float]:
    ordered = sorted(marks)
    return ordered if len(ordered) <= most else [ordered[at * len(ordered) // most] for at in range(most)]


_Key = tuple[int, int, StepPlan, tuple[tuple[int, float], ...]]


def _alike(jobs: Sequence[Job], bounds: Sequence[float]) -> dict[_Key, list[int]]:
    """Jobs of one step and one window, which is widened to whole slices; one column can speak for all of them."""
    found: dict[_Key, list[int]] = {}
    for number, job in enumerate(jobs):
        if not job.takes_ms:
            raise ValueError(f"{job.step.identifier} of {job.run} could not run anywhere")
        opens = max(at for at, bound in enumerate(bounds) if bound <= job.opens_ms + _SLACK_MS)
        closes = min(at for at, bound in enumerate(bounds) if bound >= job.closes_ms - _SLACK_MS)
        first = _first(job)
        ratios = tuple((offer, round(takes / first, 9)) for offer, takes in job.takes_ms.items())
        found.setdefault((opens, closes, job.step, ratios), []).append(number)
    return found


@dataclass(slots=True)
class _Work:
    jobs: Sequence[Job]
    offers: Sequence[Offer]
    bounds: Sequence[float]
    groups: Mapping[_Key, list[int]]
    rooms: Sequence[_Room]

    def columns(self) -> int:
        return sum(1 for key in self.groups for _ in self._where(key))

    def _where(self, key: _Key) -> Iterator[_Room]:
        """Rooms that the jobs of that key may use."""
        opens, closes, _, ratios = key
        usable = dict.fromkeys(offer for offer, _ in ratios)
        return (room for room in self.rooms if room.offer in usable and opens <= room.at < closes)

    def _hours(self, key: _Key, numbers: Sequence[int]) -> dict[int, float]:
        """Agent-hours that all of it takes, as what is paid for, by offer."""
        whole = sum(_first(self.jobs[number]) for number in numbers)
        return {
            offer: whole * ratio * dominant_share(self.offers[offer].facts, key[2].request) / _MS_PER_HOUR
            for offer, ratio in key[3]
        }

    def _anywhere(self, hours: Mapping[int, float]) -> float:
        return min(amount * self.offers[offer].least_usd for offer, amount in hours.items())

    def cheapest(self) -> list[tuple[float, float]]:
        """As if there were room for everybody: (US dollars, the share that is late) of each group."""
        found: list[tuple[float, float]] = []
        for key, numbers in self.groups.items():
            hours = self._hours(key, numbers)
            usd = min((hours[room.offer] * room.usd_per_hour for room in self._where(key)), default=None)
            found.append((self._anywhere(hours), 1.0) if usd is None else (usd, 0.0))
        return found

    def solve(self) -> list[tuple[float, float]]:
        """As `cheapest`, within the capacity that there was."""
        program = Program()
        rows = [[program.row(upper=have * room.there_ms) for have in _each(self.offers[room.offer].facts)]
                for room in self.rooms]  # fmt: skip
        row_of = {(room.offer, room.at): row for room, row in zip(self.rooms, rows, strict=True)}
        columns: list[tuple[dict[int, float], int]] = []
        for key, numbers in self.groups.items():
            hours, need = self._hours(key, numbers), need_room(key[2].request)[:_DIMENSIONS]
            whole_ms = sum(_first(self.jobs[number]) for number in numbers)
            ratio = dict(key[3])
            whole = program.row(lower=1.0, upper=1.0)
            costs: dict[int, float] = {}
            for room in self._where(key):
                takes_ms = whole_ms * ratio[room.offer]
                entries = [(whole, 1.0)]
                entries += [
                    (row, want * takes_ms)
                    for row, want in zip(row_of[room.offer, room.at], need, strict=True)
                    if want > 0
                ]
                cost = hours[room.offer] * room.usd_per_hour
                costs[program.column(cost, entries)] = cost
            late = program.column(_LATE, [(whole, 1.0)])
            costs[late] = self._anywhere(hours)
            columns.append((costs, late))
        solution = program.solve(None)
        if solution is None:
            return self.cheapest()
        return [
            (sum(float(solution[column]) * cost for column, cost in costs.items()), float(solution[late]))
            for costs, late in columns
        ]


def _each(facts: AgentFacts) -> tuple[float, float, float]:
    return (float(facts.cpu_milli), facts.memory_bytes / MIB, 1000.0 * len(facts.gpus))


def can_run(offers: Sequence[Offer], step: StepPlan) -> list[int]:
    """The offers whose agents could run the step."""
    return [number for number, offer in enumerate(offers) if can_hold(offer.facts, step)]


def windows(flow: Workflow, shortest_ms: Mapping[int, float]) -> dict[int, tuple[float, float]]:
    """By step: how long after the start of a run it can begin at the earliest, and has to have ended before its end.

    `shortest_ms`: the quickest attempt at each step that ran, on the fastest agents.
    """
    before: dict[int, float] = {}
    for step in sorted(flow.steps, key=lambda each: flow.depth[each.index]):
        before[step.index] = max((before[n] + shortest_ms.get(n, 0.0) for n in step.needs), default=0.0)
    found: dict[int, tuple[float, float]] = {}
    for step in flow.steps:
        after = [shortest_ms.get(other.index, 0.0) for other in flow.steps if step.index in flow.ancestors[other.index]]
        found[step.index] = (before[step.index], min(after, default=0.0))
    return found
