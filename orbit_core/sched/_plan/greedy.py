"""The plan without a solver: the most pressing class first, cheapest room first, dear room as late as it may be.

The fallback where the solver ran out of its time, and the quick way where nothing is to be gained by one.
"""

from __future__ import annotations

from orbit_core.sched._plan.picture import DIMENSIONS, Picture, Schedule, Start, WorkClass


def schedule(picture: Picture) -> Schedule:
    """A plan that holds every capacity and every deadline, except of what it says to be late."""
    free = {
        (pool, at): [picture.free(pool, at, dimension) for dimension in range(DIMENSIONS)]
        for pool in range(len(picture.pools))
        for at in picture.slices
    }
    starts: list[Start] = []
    late: dict[int, float] = {}
    order = sorted(range(len(picture.classes)), key=lambda at: (picture.classes[at].finish_ms, at))
    for index in order:
        left = _fill(picture, index, free, starts)
        if left > 1e-6:
            late[index] = left
    return Schedule(tuple(starts), late, "greedy")


def _fill(picture: Picture, index: int, free: dict[tuple[int, int], list[float]], starts: list[Start]) -> float:
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
        amount = min([left, most[pool], *(_room_for(work, free[(pool, later)], ms) for later, ms in taken)])
        if amount <= 1e-9:
            continue
        for later, ms in taken:
            for dimension in range(DIMENSIONS):
                free[(pool, later)][dimension] -= amount * work.need[dimension] * ms
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
