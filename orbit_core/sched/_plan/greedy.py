"""The plan without a solver: the most pressing class first, cheapest room first, dear room as late as it may be.

What the solver begins with, the fallback where it finds nothing in its time, and the quick way where nothing is to be
gained by one.
"""

from __future__ import annotations

from orbit_core.sched._plan.picture import DIMENSIONS, Picture, Schedule, Start, WorkClass


def schedule(picture: Picture, *, following: bool = False) -> Schedule:
    """A plan that holds every capacity and every deadline, except of what it says to be late.

    `following`: that nothing starts before what brings it forth has ended, it holds too, slice by slice, as the linear
    program does; else only what the picture says of the earliest start.
    """
    free = {
        (pool, at): [picture.free(pool, at, dimension) for dimension in range(DIMENSIONS)]
        for pool in range(len(picture.pools))
        for at in picture.slices
    }
    starts: list[Start] = []
    late: dict[int, float] = {}
    order = sorted(range(len(picture.classes)), key=lambda at: (picture.classes[at].finish_ms, at))
    for index in order:
        ahead = _brought_forth(picture, index, starts, late) if following else []
        left = _fill(picture, index, free, starts, ahead)
        if left > 1e-6:
            late[index] = left
    return Schedule(tuple(starts), late, "greedy")


def _brought_forth(picture: Picture, index: int, starts: list[Start], late: dict[int, float]) -> list[list[float]]:
    """For each class that the work follows, how much of the work could have started by each slice."""
    found: list[list[float]] = []
    for parent, ratio in picture.classes[index].after:
        above = picture.classes[parent]
        there = max(0.0, picture.classes[index].amount - ratio * above.amount)
        by_slice = [there + ratio * late.get(parent, 0.0)] * len(picture.slices)
        for start in starts:
            if start.work == parent:
                for at in picture.open_after(above.options[start.pool], start.at):
                    by_slice[at] += ratio * start.amount
        found.append(by_slice)
    return found


def _fill(
    picture: Picture,
    index: int,
    free: dict[tuple[int, int], list[float]],
    starts: list[Start],
    ahead: list[list[float]],
) -> float:
    work = picture.classes[index]
    left = work.amount
    most = {pool: picture.rounds(work, pool) for pool in work.options}
    for pool, at in _by_preference(picture, work):
        if left <= 1e-9:
            break
        option = work.options[pool]
        if most[pool] <= 1e-9 or not picture.allows(work, option, at):
            continue
        taken = picture.occupancy(work, option, at)
        fits = (_room_for(work, free[(pool, later)], ms) for later, ms in taken)
        amount = min([left, most[pool], *fits, *(min(each[at:]) for each in ahead)])
        if amount <= 1e-9:
            continue
        for later, ms in taken:
            for dimension in range(DIMENSIONS):
                free[(pool, later)][dimension] -= amount * work.need[dimension] * ms
        for each in ahead:
            each[at:] = [brought - amount for brought in each[at:]]
        starts.append(Start(index, pool, at, amount))
        most[pool] -= amount
        left -= amount
    return left


def _by_preference(picture: Picture, work: WorkClass) -> list[tuple[int, int]]:
    """Pools and slices, the best first: the cheapest, as soon as may be; what is dear as late as may be."""

    def preference(where: tuple[int, int]) -> tuple[float, float, int, int]:
        pool, at = where
        option = work.options[pool]
        if work.objective != "cost":
            return (option.duration_ms, option.cost_usd, pool, at)
        cost = option.cost_at(at)
        return (cost, 0.0, pool, -at) if work.is_dear(cost) else (work.least_usd, cost, pool, at)

    return sorted(((pool, at) for pool in work.options for at in picture.slices), key=preference)


def _room_for(work: WorkClass, free: list[float], ms: float) -> float:
    return min(
        (max(0.0, have) / (want * ms) for have, want in zip(free, work.need, strict=True) if want > 0), default=1e18
    )
