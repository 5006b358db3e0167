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
    for pool in _by_preference(work):
        option = work.options[pool]
        most = min(left, picture.rounds(work, pool))
        hurried = work.objective != "cost" or not work.is_dear(option)
        for at in picture.slices if hurried else reversed(picture.slices):
            if most <= 1e-9:
                break
            if not picture.allows(work, option, at):
                continue
            taken = picture.occupancy(work, option, at)
            amount = min([most, *(_room_for(work, free[(pool, later)], ms) for later, ms in taken)])
            if amount <= 1e-9:
                continue
            for later, ms in taken:
                for dimension in range(DIMENSIONS):
                    free[(pool, later)][dimension] -= amount * work.need[dimension] * ms
            starts.append(Start(index, pool, at, amount))
            most -= amount
            left -= amount
    return left


def _by_preference(work: WorkClass) -> list[int]:
    if work.objective == "cost":
        return sorted(work.options, key=lambda pool: (work.options[pool].cost_usd, pool))
    return sorted(work.options, key=lambda pool: (work.options[pool].duration_ms, work.options[pool].cost_usd, pool))


def _room_for(work: WorkClass, free: list[float], ms: float) -> float:
    return min(
        (max(0.0, have) / (want * ms) for have, want in zip(free, work.need, strict=True) if want > 0), default=1e18
    )
