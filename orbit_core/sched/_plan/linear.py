"""The plan as a linear program: least cost, within capacity and deadlines, over classes × pools × slices.

A column is how many attempts of a class start on a pool in a slice. An attempt that is shorter than the slice takes
its work from that slice; a longer one starts at the slice's begin and takes room in those that it reaches. Rows hold
each pool's room in each slice, each class's amount (what does not fit is late, at a price that nothing else has),
whole attempts one after another, that nothing starts before what brings it forth has ended, and that no deadline
rests on spot (`guard`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._plan.guard import Guard
from orbit_core.sched._plan.picture import DIMENSIONS, Option, Picture, Schedule, Start, WorkClass
from orbit_core.sched._plan.program import Program

#: What being late costs, in times of the dearest attempt there is.
_LATE = 100.0
#: How much of a cost the wish to start early (on the cheapest room) or late (on dear room) may outweigh.
_TASTE = 0.005
_TINY = 1e-6


def schedule(
    picture: Picture, time_limit_s: float | None, start: Schedule | None = None, *, iterations_most: int | None = None
) -> Schedule | None:
    """The cheapest plan; at a limit the cheapest that was found; None where the solver found none in its time.

    `start`: a plan to begin with. Where it holds what this one has to hold, it is never worse than that.
    """
    program = Program()
    dearest = (
        max(option.cost_usd, *option.costs_usd, 0.0) for work in picture.classes for option in work.options.values()
    )
    scale = max(dearest, default=0.0) or 1.0
    room = _room_rows(picture, program)
    columns: dict[int, Start] = {}
    late: dict[int, int] = {}
    brought = _follow_rows(picture, program)
    guard = Guard(picture, program)
    for index, work in enumerate(picture.classes):
        amount = program.row(lower=work.amount, upper=work.amount)
        for pool, option in work.options.items():
            rounds = picture.rounds(work, pool)
            if rounds < _TINY:
                continue
            whole = program.row(upper=rounds) if rounds < work.amount else None
            for at in picture.slices:
                if not picture.allows(work, option, at):
                    continue
                entries = [(amount, 1.0), *brought(index, option, at), *guard.entries(index, pool, at)]
                if whole is not None:
                    entries.append((whole, 1.0))
                for later, ms in picture.occupancy(work, option, at):
                    entries += [
                        (row, work.need[dimension] * ms / unit)
                        for dimension, row, unit in room[pool, later]
                        if work.need[dimension] > 0
                    ]
                cost = _cost(picture, work, option, at, scale)
                columns[program.column(cost, entries)] = Start(index, pool, at, 0.0)
        entries = [(amount, 1.0), *brought(index, None, 0)]
        late[index] = program.column(_LATE * (1 + work.priority / 100), entries)
    begin = _values(start, columns, late, guard, len(program.costs)) if start is not None else None
    solution = program.solve(time_limit_s, begin, iterations_most=iterations_most)
    if solution is None:
        return None
    starts = tuple(
        Start(start.work, start.pool, start.at, float(solution[column]))
        for column, start in columns.items()
        if solution[column] > _TINY
    )
    return Schedule(starts, {i: float(solution[c]) for i, c in late.items() if solution[c] > 1e-4}, "linear")


def _room_rows(picture: Picture, program: Program) -> dict[tuple[int, int], list[tuple[int, int, float]]]:
    """For each pool and slice: (dimension, row, what the row counts in), the row holding the share that is free."""
    found: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
    for number, pool in enumerate(picture.pools):
        for at in picture.slices:
            units = [pool.room[dimension] * picture.length_ms(at) for dimension in range(DIMENSIONS)]
            found[number, at] = [
                (dimension, program.row(upper=picture.free(number, at, dimension) / unit), unit)
                for dimension, unit in enumerate(units)
                if unit > 0
            ]
    return found


def _values(
    start: Schedule, columns: Mapping[int, Start], late: Mapping[int, int], guard: Guard, count: int
) -> NDArray[np.float64]:
    """The columns that say the same as another plan."""
    column_of = {(each.work, each.pool, each.at): column for column, each in columns.items()}
    found = np.zeros(count)
    filled: defaultdict[int, float] = defaultdict(float)
    for each in start.starts:
        column = column_of.get((each.work, each.pool, each.at))
        if column is not None:
            found[column] += each.amount
            for row, share in guard.entries(each.work, each.pool, each.at):
                filled[row] += each.amount * share
    for column, unsafe in guard.slack(filled).items():
        found[column] = unsafe
    for work, amount in start.late.items():
        found[late[work]] = amount
    return found


def _cost(picture: Picture, work: WorkClass, option: Option, at: int, scale: float) -> float:
    when = picture.bounds_ms[at] / picture.bounds_ms[-1]
    cost = option.cost_at(at) / scale
    if work.objective != "cost":
        ended = (picture.bounds_ms[at] + option.duration_ms) / picture.bounds_ms[-1]
        return 10.0 * ended + cost
    if not work.is_dear(option.cost_at(at)):
        urgency = min(20.0, picture.bounds_ms[-1] / max(1.0, work.finish_ms))
        return cost + _TASTE * when * urgency * max(cost, 0.01)
    return cost * (1 - _TASTE * when)


def _follow_rows(picture: Picture, program: Program):
    """Rows that let no more start, up to each slice, than what has ended before it has brought forth.

    What of the class is there already is free of it: only what exceeds it waits.
    """
    rows: dict[tuple[int, int, int], int] = {}  # (child, parent, slice)
    children: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for child, work in enumerate(picture.classes):
        for parent, ratio in work.after:
            children[parent].append((child, ratio))
            coming = ratio * picture.classes[parent].amount
            for at in picture.slices:
                rows[(child, parent, at)] = program.row(upper=max(0.0, work.amount - coming))

    def entries(index: int, option: Option | None, at: int) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        if option is not None:
            for parent, _ in picture.classes[index].after:
                found += [(rows[(index, parent, later)], 1.0) for later in picture.slices if later >= at]
        for child, ratio in children[index]:
            # What is late brings forth late work, which no row may forbid.
            opened = picture.slices if option is None else picture.open_after(option, at)
            found += [(rows[(child, index, later)], -ratio) for later in opened]
        return found

    return entries
