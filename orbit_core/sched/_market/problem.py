"""What the values of a job depend on, and nothing else: equal problems have equal values. Only records live here."""

from __future__ import annotations

from dataclasses import dataclass

from orbit_core.sched._market.prior import MarketPrior


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """One pool as the recursion sees it: prices in reference hours, habits, what a move to it costs.

    `share_up`: how likely it is up at some moment in which another pool is lost. `back_per_h`: how fast it comes up
    while nothing else is.
    """

    spot: float
    on_demand: float
    habit_up: float
    habit_down: float
    move: float
    move_h: float
    share_up: float
    back_per_h: float


@dataclass(frozen=True, slots=True)
class Problem:
    """What the values depend on. `time_steps` and `slack_steps` bound the states that can occur."""

    prior: MarketPrior
    pools: tuple[PoolTerms, ...]
    restart_h: float
    step_h: float
    time_steps: int
    slack_steps: int
    crunch: float
    relief: float
