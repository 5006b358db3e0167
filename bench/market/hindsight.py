"""What perfect knowledge of the future would have cost: forward dynamic programming over a trace.

State: (tick, time wasted so far, what is held and where). Time that is held without restart is progress, so
progress = elapsed − wasted, and only waste needs a dimension: an idle tick wastes a tick, a start wastes
`restart_s` (plus `move_s` on a change of pool). A restart is booked when it begins. Whoever knows the future
never begins one that will be cut short, so booking it whole loses nothing, and the result is exact when
`tick_s`, `restart_s` and `move_s` share the unit of the waste grid. The unit is their greatest common divisor in
whole seconds, widened to at most `_MAX_UNITS` of slack; where it does not divide a waste, that waste is rounded
down, so the result stays a lower bound on every policy's cost.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.market.game import Job, Market

_MAX_UNITS = 16_384


def hindsight_usd(market: Market, job: Job) -> float:
    """The least that `job` can cost in `market`; infinite when it cannot be done. Asks are never needed."""
    return _Table(market, job).solve()


class _Table:
    """Cheapest cost to each (waste, holding), advanced tick by tick.

    Row z of `idle`, `spot` and `owned` is location z; with free moves and one on-demand price all locations are
    as good as one, and `idle` and `owned` keep a single row.
    """

    def __init__(self, market: Market, job: Job) -> None:
        self._market, self._job = market, job
        tick_s = market.tick_s
        self._ticks = job.ticks(tick_s)
        slack_s = self._ticks * tick_s - job.work_s
        parts = [round(part) for part in (tick_s, job.restart_s, job.move_s) if part > 0]
        unit = float(math.gcd(*parts)) if all(part >= 1 for part in parts) else tick_s / 16
        while slack_s / unit > _MAX_UNITS:
            unit *= 2
        self._unit_s = unit
        self._width = int(slack_s / unit + 1e-9) + 1 if slack_s >= 0 else 0
        self._idle_units = int(tick_s / unit + 1e-9)
        self._start_units = int(job.restart_s / unit + 1e-9)
        self._move_units = int((job.restart_s + job.move_s) / unit + 1e-9)
        prices = {zone.on_demand_usd_per_hour for zone in market.zones}
        self._free = job.move_usd == 0 and job.move_s == 0 and len(prices) == 1
        self._on_demand = np.array([zone.on_demand_usd_per_hour for zone in market.zones]) * tick_s / 3600
        self._spot = np.array([z.spot_usd_per_hour[: self._ticks] for z in market.zones]) * tick_s / 3600
        self._up = np.array([zone.available[: self._ticks] for zone in market.zones])

    def solve(self) -> float:
        if self._width == 0:
            return math.inf
        places = 1 if self._free else len(self._market.zones)
        shape = (places, self._width)
        idle, owned = np.full(shape, np.inf), np.full(shape, np.inf)
        spot = np.full((len(self._market.zones), self._width), np.inf)
        fresh = np.full(self._width, np.inf)  # not started yet: the first start moves nothing
        fresh[0] = 0.0
        best = math.inf
        for tick in range(self._ticks + 1):
            best = min(best, self._finished(tick, owned, spot))
            if tick == self._ticks:
                break
            idle, owned, spot = self._advance(tick, idle, owned, spot, fresh)
            fresh = _shift(fresh, self._idle_units)
        return best

    def _finished(self, tick: int, owned: NDArray[np.float64], spot: NDArray[np.float64]) -> float:
        last = math.floor((tick * self._market.tick_s - self._job.work_s) / self._unit_s + 1e-9)
        if last < 0:
            return math.inf
        return float(min(owned[:, : last + 1].min(), spot[:, : last + 1].min()))

    def _advance(
        self,
        tick: int,
        idle: NDArray[np.float64],
        owned: NDArray[np.float64],
        spot: NDArray[np.float64],
        fresh: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        price, up = self._spot[:, tick], self._up[:, tick]
        here_spot = spot.min(axis=0, keepdims=True) if self._free else spot
        here = np.minimum(np.minimum(idle, owned), here_spot)  # cheapest way to be at each location
        anywhere = here.min(axis=0)
        entry = _shift(np.minimum(here, fresh), self._start_units)
        if not self._free:
            moved = _shift(anywhere + self._job.move_usd, self._move_units)
            entry = np.minimum(entry, moved)
        next_spot = np.full_like(spot, np.inf)
        next_spot[up] = np.minimum(spot[up], entry if self._free else entry[up]) + price[up, None]
        rate = self._on_demand[:1] if self._free else self._on_demand
        next_owned = np.minimum(owned, entry) + rate[:, None]
        return _shift(here, self._idle_units), next_owned, next_spot


def _shift(values: NDArray[np.float64], units: int) -> NDArray[np.float64]:
    """Move along the waste axis; what would waste more than the slack is dropped."""
    if units == 0:
        return values
    moved = np.full_like(values, np.inf)
    if units < values.shape[-1]:
        moved[..., units:] = values[..., :-units]
    return moved
