"""The last moment: exactly when a job must be on on-demand. Nothing here weighs cost; nothing else may overrule it.

On-demand, started now, meets the deadline when ceil((work left + restart) / tick) ≤ floor(time left / tick).
A choice is safe when, whatever the market does at the next tick, that still holds there or the job is done.
Both roundings lean by a billionth of a tick, so that sums of floats cannot lose a tick.
"""

from __future__ import annotations

import math

from orbit_core.sched._market.view import Choice, MarketView

_LEAN = 1e-9


def ticks_left(view: MarketView) -> int:
    """Whole ticks before the deadline."""
    return max(0, math.floor((view.deadline_s - view.now_s) / view.tick_s + _LEAN))


def location(view: MarketView) -> str:
    """Where on-demand can be started without a move: the present pool, or the first before any start."""
    return view.holding.pool or view.pools[0].name


def forced(view: MarketView) -> Choice | None:
    """The one choice that is left when nothing may be put off any more, or None while there is a choice.

    A job that cannot be done in time any more (or never could) goes on as fast as it can.
    """
    held = view.holding.kind
    here = location(view)
    if held == "on-demand":
        # Nothing takes it away; whether leaving it is safe is asked of each choice.
        return None if _makes_it(view, view.restart_left_s) else Choice("on-demand", here)
    if held == "spot" and can_wait(view, view.restart_left_s):
        return None
    if can_wait(view, None):
        return None
    if held == "spot" and not _makes_it(view, view.restart_s):
        return Choice("spot", here)  # no restart fits any more: only what runs can still make it
    return Choice("on-demand", here)


def safe(view: MarketView, choice: Choice) -> bool:
    """Whether the deadline is kept after this choice, whatever the market does next."""
    pool = choice.pool or location(view)
    if choice.kind == "none":
        return can_wait(view, None)
    same = choice.kind == view.holding.kind and pool == view.holding.pool
    restart_s = view.restart_left_s if same else view.restart_s + _move_s(view, pool)
    if choice.kind == "on-demand":
        return same or _makes_it(view, restart_s) or pool == location(view)
    return can_wait(view, restart_s)


def can_wait(view: MarketView, restart_left_s: float | None) -> bool:
    """Whether on-demand, started at the next tick, still meets the deadline.

    `restart_left_s`: of the machine that is held during this tick; None when none is held.
    """
    left_s = view.work_left_s
    if restart_left_s is not None:
        left_s -= max(0.0, view.tick_s - restart_left_s)
        if left_s < -_LEAN * view.tick_s:
            return ticks_left(view) >= 1
    return _ticks_needed(left_s + view.restart_s, view.tick_s) <= ticks_left(view) - 1


def _makes_it(view: MarketView, restart_s: float) -> bool:
    """Whether a machine that is never lost, with so much of its restart ahead, ends the work in time."""
    return _ticks_needed(view.work_left_s + restart_s, view.tick_s) <= ticks_left(view)


def _move_s(view: MarketView, pool: str) -> float:
    if pool == location(view):
        return 0.0
    return next(each.move_s for each in view.pools if each.name == pool)


def _ticks_needed(work_s: float, tick_s: float) -> int:
    """Whole ticks that hold `work_s` of work and restart."""
    return math.ceil(work_s / tick_s + _LEAN)
