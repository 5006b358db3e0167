"""When the values are worked out again, and for what: the part of a policy's memory that changes rarely.

A plan is the problem that the values were last solved for. It is kept until what is believed has moved away from
it, so that solving stays rare, and it is journaled, so that a restored policy solves the very same problem.
Reading the values belongs to `choose.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from orbit_core.sched._market.habits import Habit, MarketMemory, PoolMemory
from orbit_core.sched._market.prior import MarketPrior
from orbit_core.sched._market.problem import PoolTerms, Problem
from orbit_core.sched._market.safety import ticks_left
from orbit_core.sched._market.values import Values
from orbit_core.sched._market.view import MarketView

_HOUR_S = 3600.0
_HABIT_GRID = 0.2  # habits are rounded to powers of e^0.2: an error of 10 % in a rate costs nothing measurable
_PRICE_GRID = 0.02
_HABIT_DRIFT = 0.3  # how far beliefs may move, in logarithms, before the values are worked out again
_PRICE_DRIFT = 0.05
_BACK_GRID, _BACK_DRIFT = 0.3, 0.6
_SOON_H = 1.0
_PATIENCE_H = (1.0, 4.0)  # no more often than this with one pool, with several: something always moves a little
_TABLE_CELLS = 300_000  # (time, slack) cells × pools
_CELLS = (12_000, 90_000)  # cells for many pools, and for one


@dataclass(frozen=True, slots=True)
class Plan:
    """A problem, the pools it is about in its order, and when it was made. `usd`: one unit of its money."""

    problem: Problem
    names: tuple[str, ...]
    made_s: float
    usd: float


def refreshed(plan: Plan | None, view: MarketView, memory: MarketMemory, prior: MarketPrior) -> Plan:
    """`plan`, or a new one where it no longer fits what is seen and believed."""
    if plan is not None and _covers(plan, view):
        patience_h = _PATIENCE_H[len(view.pools) > 1]
        if view.now_s - plan.made_s < patience_h * _HOUR_S:
            return plan
        memory.settle(prior)
        terms = _terms(view, memory, prior)
        same = memory.shaped(prior) == plan.problem.prior
        if same and not any(_moved(old, new) for old, new in zip(plan.problem.pools, terms, strict=True)):
            return plan
    memory.settle(prior)
    terms = _terms(view, memory, prior)
    time_h, slack_h = room(view)
    # Rounded up, so that jobs of like size share tables.
    time_h, slack_h = math.ceil(max(time_h, 1.0) / 4) * 4.0, math.ceil(max(slack_h, 0.5) / 2) * 2.0
    step_h = _step_h(time_h, slack_h, len(view.pools), view.tick_s / _HOUR_S)
    if plan is not None and len(view.pools) > 1:
        step_h = max(step_h, min(plan.problem.step_h, slack_h / 8))  # later solves are cheaper, never finer
    problem = Problem(
        prior=memory.shaped(prior),
        pools=tuple(_rounded(term) for term in terms),
        restart_h=view.restart_s / _HOUR_S,
        step_h=step_h,
        time_steps=math.ceil(time_h / step_h),
        slack_steps=math.ceil(slack_h / step_h),
        crunch=round(memory.crunch(prior), 1) if len(terms) > 1 else 0.0,
        relief=_on_grid(memory.relief(prior), _HABIT_GRID) if len(terms) > 1 else 1.0,
    )
    names = tuple(pool.name for pool in view.pools)
    return Plan(problem, names, view.now_s, reference_usd(view))


def room(view: MarketView) -> tuple[float, float]:
    """Hours left in whole ticks, and how many of them could be idled away before on-demand must start."""
    time_h = ticks_left(view) * view.tick_s / _HOUR_S
    return time_h, time_h - (view.work_left_s + view.restart_s) / _HOUR_S


def reference_usd(view: MarketView) -> float:
    """The unit of money: an hour of the cheapest on-demand machine."""
    return max(min(pool.on_demand_usd_per_hour for pool in view.pools), 1e-9)


@lru_cache(maxsize=6)
def solved(problem: Problem) -> Values:
    """The values of a problem. The last few are kept: jobs side by side often share them."""
    return Values(problem)


def _terms(view: MarketView, memory: MarketMemory, prior: MarketPrior) -> list[PoolTerms]:
    unit = reference_usd(view)
    moves = [pool for pool in view.pools if pool.name != view.holding.pool]
    typical_move = sum(pool.move_usd for pool in moves) / len(moves) if moves else 0.0
    typical_move_s = sum(pool.move_s for pool in moves) / len(moves) if moves else 0.0
    terms: list[PoolTerms] = []
    for pool in view.pools:
        habit = memory.habit(pool.name, prior)
        share_up, back_per_h = 0.0, 1.0  # a pool by itself is nobody's elsewhere
        if len(view.pools) > 1:
            share_up, back_per_h = _prospects(memory.pools[pool.name], habit, memory.shaped(prior))
        here = pool.name == view.holding.pool
        # Nobody says what a move back to the present pool would cost: as much as the others, then.
        terms.append(
            PoolTerms(
                spot=memory.pools[pool.name].price / unit,
                on_demand=pool.on_demand_usd_per_hour / unit,
                habit_up=habit.up,
                habit_down=habit.down,
                move=(typical_move if here else pool.move_usd) / unit,
                move_h=(typical_move_s if here else pool.move_s) / _HOUR_S,
                share_up=share_up,
                back_per_h=back_per_h,
            )
        )
    return terms


def _prospects(seen: PoolMemory, habit: Habit, prior: MarketPrior) -> tuple[float, float]:
    """How likely the pool is up when it is needed, and how fast it comes up: between the long run and now."""
    share, back_per_h = prior.share_up(habit.up, habit.down), 1.0 / prior.down.mean_h(habit.down)
    if seen.up is None:
        return share, back_per_h
    if not seen.up:
        # One that has been down for long will not soon be back, whatever the long run says.
        soon_h = seen.age_h + _SOON_H
        back_per_h = min(back_per_h, habit.down * prior.down.expected(soon_h, soon_h + 1.0))
    return (share + float(seen.up)) / 2, back_per_h


def _rounded(term: PoolTerms) -> PoolTerms:
    return PoolTerms(
        spot=_on_grid(term.spot, _PRICE_GRID),
        on_demand=_on_grid(term.on_demand, _PRICE_GRID),
        habit_up=_on_grid(term.habit_up, _HABIT_GRID),
        habit_down=_on_grid(term.habit_down, _HABIT_GRID),
        move=term.move,
        move_h=term.move_h,
        share_up=round(term.share_up, 2),
        back_per_h=_on_grid(term.back_per_h, _BACK_GRID),
    )


def _on_grid(number: float, grid: float) -> float:
    return math.exp(round(math.log(max(number, 1e-6)) / grid) * grid)


def _covers(plan: Plan, view: MarketView) -> bool:
    """Whether the plan is about these pools, this restart and states that can still occur."""
    problem = plan.problem
    if plan.names != tuple(pool.name for pool in view.pools):
        return False
    time_h, slack_h = room(view)
    return (
        problem.restart_h == view.restart_s / _HOUR_S
        and time_h <= problem.time_steps * problem.step_h + 1e-6
        and slack_h <= problem.slack_steps * problem.step_h + 1e-6
    )


def _moved(old: PoolTerms, new: PoolTerms) -> bool:
    return (
        _apart(old.habit_up, new.habit_up) > _HABIT_DRIFT
        or _apart(old.habit_down, new.habit_down) > _HABIT_DRIFT
        or _apart(old.back_per_h, new.back_per_h) > _BACK_DRIFT
        or _apart(old.spot, new.spot) > _PRICE_DRIFT
        or _apart(old.on_demand, new.on_demand) > _PRICE_DRIFT
        or abs(old.move - new.move) > 0.1 * max(old.move, new.move)
        or abs(old.move_h - new.move_h) > 0.1 * max(old.move_h, new.move_h)
    )


def _apart(one: float, other: float) -> float:
    return abs(math.log(max(one, 1e-6) / max(other, 1e-6)))


def _step_h(time_h: float, slack_h: float, pools: int, tick_h: float) -> float:
    """The shortest step, in whole ticks, that keeps the tables small."""
    cells = min(max(_TABLE_CELLS // pools, _CELLS[0]), _CELLS[1])
    return max(1, math.ceil(math.sqrt(time_h * slack_h / cells) / tick_h)) * tick_h
