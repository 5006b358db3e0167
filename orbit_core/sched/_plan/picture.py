"""What a plan is made from and what it says, as data: pools of like agents, classes of like work, slices of time.

Times are milliseconds from the moment of the plan. An amount of room is a vector: thousandths of CPUs, MiB of
memory, thousandths of GPUs, attempts. Nothing here decides or looks at a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: CPU thousandths, memory MiB, GPU thousandths, attempts.
Room = tuple[float, float, float, float]
DIMENSIONS = 4

Objective = Literal["cost", "time", "availability"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Agents that are alike: their room in all, and what takes some of it for how much longer."""

    agents: tuple[str, ...]
    room: Room
    each: Room  # of one agent
    busy: tuple[tuple[float, Room], ...] = ()
    spot: bool = False
    age_ms: float = 0.0  # on average

    def slots(self, need: Room) -> int:
        """How many such attempts fit at once when the pool is empty."""
        fits = min((int(have / want + 1e-9) for have, want in zip(self.each, need, strict=True) if want > 0), default=1)
        return fits * len(self.agents)

    def rounds(self, need: Room, duration_ms: float, within_ms: float, *, surely: bool) -> float:
        """How many attempts of that length can end in time, one after the other in each slot.

        `surely`: only whole ones. Otherwise as many as start on average before the last moment: a slot is not free at
        the time that is expected of it but about then, so that half of those fit that would just fit, or just not.
        """
        slots = self.slots(need)
        blocked = 0.0
        found = 0.0
        for left_ms, taken in (*self.busy, (0.0, need)):
            if left_ms:
                share = max((have / want for have, want in zip(taken, need, strict=True) if want > 0), default=1.0)
                share = min(share, slots - blocked)
                blocked += share
            else:
                share = slots - blocked
            lengths = (within_ms - left_ms) / duration_ms
            if surely:
                found += share * max(0, int(lengths + 1e-9))
            else:
                found += share * max(lengths - 0.5, 1.0 if lengths >= 1.0 and not left_ms else 0.0)
        return found


@dataclass(frozen=True, slots=True)
class Option:
    """One class on one pool: how long an attempt takes its room (with the margin), and what it costs.

    `cost_usd`: if it starts now; `costs_usd`: by the slice that it starts in, where the price changes with time.
    `reserve_ms`: by how much earlier than the class's `finish_ms` it has to be over there, as planned: what slow
    attempts take longer, and the time to do it again where nothing goes away.
    """

    duration_ms: float
    cost_usd: float
    reserve_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    costs_usd: tuple[float, ...] = ()

    def cost_at(self, at: int) -> float:
        """US dollars for an attempt that starts in that slice."""
        return self.costs_usd[at] if self.costs_usd else self.cost_usd

    @property
    def least_usd(self) -> float:
        """US dollars at the best time."""
        return min(self.costs_usd, default=self.cost_usd)


@dataclass(frozen=True, slots=True)
class WorkClass:
    """Work of one step with about the same deadline.

    `amount` counts attempts still to start, those included that are expected and not there yet; `ready` those that
    could start now. `finish_ms`: when all of it has to have ended so that what follows can. `after`: classes whose
    ends bring it forth, with how many of this class each of their ends makes. `scout`: nobody knows yet how much work
    its ends bring forth, and none of it is under way: one has to go ahead, since no plan can be right before.
    """

    name: str
    need: Room
    amount: float
    ready: int
    release_ms: float
    finish_ms: float
    options: Mapping[int, Option]
    objective: Objective = "cost"
    priority: int = 50
    after: tuple[tuple[int, float], ...] = ()
    runs: tuple[str, ...] = ()
    scout: bool = False
    #: What an attempt costs where, and when, it is cheapest.
    least_usd: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        least = min((option.least_usd for option in self.options.values()), default=0.0)
        object.__setattr__(self, "least_usd", least)

    def is_dear(self, cost_usd: float) -> bool:
        """Whether it can be had for less elsewhere, or at another time."""
        return cost_usd > self.least_usd * NEARLY

    @property
    def latest_start_ms(self) -> float:
        """The last moment at which an attempt can start somewhere and end in time."""
        ends = [self.finish_ms - option.reserve_ms - option.duration_ms for option in self.options.values()]
        return max(ends, default=0.0)


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that a plan rests on. `class_of` finds the class of a run's step; `pool_of` that of an agent.

    `awaited`: pools on which some work may wait for a price that is usual and not promised.
    """

    pools: tuple[Pool, ...]
    classes: tuple[WorkClass, ...]
    bounds_ms: tuple[float, ...]
    class_of: Mapping[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    pool_of: Mapping[str, int] = field(default_factory=dict[str, int])
    awaited: Mapping[int, None] = field(default_factory=dict[int, None])

    @property
    def slices(self) -> range:
        return range(len(self.bounds_ms) - 1)

    def length_ms(self, at: int) -> float:
        return self.bounds_ms[at + 1] - self.bounds_ms[at]

    def allows(self, work: WorkClass, option: Option, at: int) -> bool:
        """Whether attempts may start in that slice and end in time: at its begin if longer than it, else within."""
        start, end = self.bounds_ms[at], self.bounds_ms[at + 1]
        if start + _SLACK_MS < work.release_ms:
            return False
        return (end if option.duration_ms < end - start else start + option.duration_ms) <= (
            work.finish_ms - option.reserve_ms + _SLACK_MS
        )

    def occupancy(self, work: WorkClass, option: Option, at: int) -> list[tuple[int, float]]:
        """Slices that an attempt started in slice `at` takes room in, with the milliseconds in each.

        The cheapest room never idles, so attempts shorter than a slice fill it like a fluid. Dear room is taken as
        late as may be: there only whole rounds of attempts count.
        """
        start = self.bounds_ms[at]
        length = self.length_ms(at)
        if option.duration_ms < length:
            whole = length / int(length / option.duration_ms)
            return [(at, whole if work.is_dear(option.cost_at(at)) else option.duration_ms)]
        end = start + option.duration_ms
        found: list[tuple[int, float]] = []
        for later in range(at, len(self.bounds_ms) - 1):
            overlap = min(end, self.bounds_ms[later + 1]) - self.bounds_ms[later]
            if overlap <= 0:
                break
            found.append((later, overlap))
        return found

    def open_after(self, option: Option, at: int) -> list[int]:
        """Slices from which on that can start what an attempt started in slice `at` brings forth.

        Work spread over a slice lets what follows begin within it; half of it is over at its middle.
        """
        lasts_ms, length_ms = option.duration_ms, self.length_ms(at)
        ended_ms = self.bounds_ms[at] + (min(lasts_ms, length_ms / 2) if lasts_ms < length_ms else lasts_ms)
        return [later for later in self.slices if self.bounds_ms[later] + _SLACK_MS >= ended_ms]

    def rounds(self, work: WorkClass, pool: int) -> float:
        """How many of the class can end in time on that pool, were it for this class alone."""
        option = work.options[pool]
        within_ms = work.finish_ms - option.reserve_ms
        return self.pools[pool].rounds(work.need, option.duration_ms, within_ms, surely=work.is_dear(option.least_usd))

    def free(self, pool: int, at: int, dimension: int) -> float:
        """Room × milliseconds that the pool has left in that slice."""
        start, end = self.bounds_ms[at], self.bounds_ms[at + 1]
        taken = sum(room[dimension] * (min(left, end) - start) for left, room in self.pools[pool].busy if left > start)
        return max(0.0, self.pools[pool].room[dimension] * (end - start) - taken)


#: Costs within this ratio count as equal.
NEARLY = 1.01
#: Rounding in sums of milliseconds.
_SLACK_MS = 1e-6


@dataclass(frozen=True, slots=True)
class Start:
    """So many attempts of a class on a pool, from slice `at` on."""

    work: int
    pool: int
    at: int
    amount: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a way to plan found: starts, and how much of each class cannot end in time."""

    starts: tuple[Start, ...]
    late: Mapping[int, float]
    method: Literal["linear", "greedy"]

    def cost_usd(self, picture: Picture) -> float:
        """US dollars for all that is planned; what is late counts at the dearest pool that it may run on."""
        classes = picture.classes
        planned = sum(each.amount * classes[each.work].options[each.pool].cost_at(each.at) for each in self.starts)
        return planned + sum(
            amount * max((option.cost_usd for option in classes[work].options.values()), default=0.0)
            for work, amount in self.late.items()
        )
