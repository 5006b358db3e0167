"""What a market policy sees and answers: the words shared by the policy, its benchmark and the coordinator.

Times are seconds on one clock of the caller's, money is US dollars. Only these records live here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Pool:
    """One place where capacity of the wanted kind is sold, spot and on-demand.

    `available`: whether a spot machine can be had now; None when that is not known.
    Prices are those of now, or as last seen. `ask_usd` is the price of filling `available`;
    `move_usd` and `move_s` are what a change to this pool costs from the present location.
    """

    name: str
    available: bool | None
    spot_usd_per_hour: float
    on_demand_usd_per_hour: float
    ask_usd: float = 0.0
    move_usd: float = 0.0
    move_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held. `pool` is the present location: kept when spot is lost, None before any start."""

    kind: Literal["none", "spot", "on-demand"]
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class MarketView:
    """All that a policy may know at one tick. `work_left_s` excludes `restart_left_s`."""

    now_s: float
    started_s: float
    deadline_s: float
    work_s: float
    work_left_s: float
    tick_s: float
    restart_s: float
    restart_left_s: float
    pools: tuple[Pool, ...]
    holding: Holding


@dataclass(frozen=True, slots=True)
class Choice:
    """What to hold during this tick, or which pool to ask. `pool` None: the present location."""

    kind: Literal["none", "spot", "on-demand", "ask"]
    pool: str | None = None
