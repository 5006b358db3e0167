"""Markets that nothing was tuned on: kinds of markets unlike those of `markets.py`, made in other ways.

No number of the policy was chosen by them (that a pool which nobody watches may have come and gone was found by looking
at one, `two-kinds`); `python -m bench.market` plays them in sections of their own, so that what holds for markets at
large can be told from what only holds for those that were worked with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.market.game import Market, Zone
from bench.market.markets import TICK_S, Family

_HOUR_TICKS = 3600.0 / TICK_S
_WARM_TICKS = 2_000


def _lognormal_runs(
    random: np.random.Generator, up_h: float, down_h: float, sigma: float, ticks: int
) -> NDArray[np.bool_]:
    """Alternating runs with these medians; a sigma of 1.3 spans from minutes to days."""
    parts: list[NDArray[np.bool_]] = []
    length, up = 0, bool(random.random() < up_h / (up_h + down_h))
    while length < ticks + _WARM_TICKS:
        run = max(1, round((up_h if up else down_h) * random.lognormal(0.0, sigma) * _HOUR_TICKS))
        parts.append(np.full(run, up))
        length, up = length + run, not up
    return np.concatenate(parts)[_WARM_TICKS : _WARM_TICKS + ticks]


def _drift(random: np.random.Generator, memory_h: float, ticks: int) -> NDArray[np.float64]:
    """A first-order autoregression of unit variance that forgets in so many hours."""
    keep = np.exp(-1.0 / (memory_h * _HOUR_TICKS))
    shocks = random.normal(0.0, np.sqrt(1 - keep**2), ticks + _WARM_TICKS)
    level, levels = random.normal(), np.empty(ticks + _WARM_TICKS)
    for tick, shock in enumerate(shocks):
        level = keep * level + shock
        levels[tick] = level
    return levels[_WARM_TICKS:]


def _flat(price: float, ticks: int) -> NDArray[np.float64]:
    return np.full(ticks, price)


def _demand(zones: int, shared: float, scarce: float, daily: float = 0.0) -> Callable[[int, int], Market]:
    """A zone is up while demand is below what is there: fast, slow and shared parts, and one of the hour of day."""

    def make(seed: int, ticks: int) -> Market:
        random = np.random.default_rng([seed, zones, int(100 * scarce) + 50, 11])
        together = _drift(random, 12.0, ticks)
        hours = np.arange(ticks) / _HOUR_TICKS + random.uniform(0, 24)
        made: list[Zone] = []
        for index in range(zones):
            slow, fast = _drift(random, 20.0, ticks), _drift(random, 0.7, ticks)
            own = np.sqrt(1 - shared**2) * slow + shared * together + 0.35 * fast
            demand = own + daily * np.sin(2 * np.pi * (hours + random.normal(0, 2)) / 24)
            up = demand < random.normal(-scarce, 0.5)
            made.append(Zone(f"zone-{index}", up, _flat(random.uniform(0.8, 1.6), ticks), 3.0))
        return Market(TICK_S, tuple(made))

    return make


def _lognormal(
    zones: int, up_h: float, down_h: float, spread: float, sigma: float, usd: float
) -> Callable[[int, int], Market]:
    def make(seed: int, ticks: int) -> Market:
        random = np.random.default_rng([seed, zones, int(10 * up_h), 13])
        made: list[Zone] = []
        for index in range(zones):
            scales = random.lognormal(0.0, spread, 2)
            up = _lognormal_runs(random, up_h * scales[0], down_h * scales[1], sigma, ticks)
            made.append(Zone(f"zone-{index}", up, _flat(usd * random.uniform(0.3, 0.6), ticks), usd))
        return Market(TICK_S, tuple(made))

    return make


def _two_kinds(seed: int, ticks: int) -> Market:
    """Three zones that are cheap and hardly last, three that are dearer and last."""
    random = np.random.default_rng([seed, 17])
    made: list[Zone] = []
    for index in range(6):
        lasts = index % 2 == 0
        up = _lognormal_runs(random, *((10.0, 4.0, 0.8) if lasts else (0.6, 0.5, 0.6)), ticks)
        made.append(Zone(f"zone-{index}", up, _flat(random.uniform(1.5, 1.9) if lasts else 0.9, ticks), 3.0))
    return Market(TICK_S, tuple(made))


def _capped(seed: int, ticks: int) -> Market:
    """Runs that end at six hours at the latest, by rule: the odds of an end grow with age."""
    random = np.random.default_rng([seed, 19])
    made: list[Zone] = []
    for index in range(5):
        parts: list[NDArray[np.bool_]] = []
        length = 0
        while length < ticks + _WARM_TICKS:
            up = round(min(6.0, random.exponential(9.0)) * _HOUR_TICKS) + 1
            down = round(random.exponential(2.0) * _HOUR_TICKS) + 1
            parts += [np.ones(up, np.bool_), np.zeros(down, np.bool_)]
            length += up + down
        start = int(random.integers(0, _WARM_TICKS))
        up_then = np.concatenate(parts)[start : start + ticks]
        made.append(Zone(f"zone-{index}", up_then, _flat(random.uniform(0.8, 1.4), ticks), 3.0))
    return Market(TICK_S, tuple(made))


#: One zone.
HELD_OUT_ONE = (
    Family("demand", "one zone, up while demand is low", _demand(1, 0.0, 0.0)),
    Family("lognormal", "one zone, median run 1 h, median gap 1 h, some for days", _lognormal(1, 1, 1, 0.5, 1.4, 3.0)),
)

#: Many zones.
HELD_OUT_MANY = (
    Family("eight-demand", "up while demand is low, a third of it shared", _demand(8, 0.55, 0.3)),
    Family("eight-daily", "the same, with a strong hour of day", _demand(8, 0.3, 0.3, daily=1.0)),
    Family("twelve-gpus", "median up 1 h, median down 8 h, some for days", _lognormal(12, 1, 8, 0.7, 1.4, 10.0), 10.0),
    Family("seven-steady", "median up 20 h, median down 5 h", _lognormal(7, 20, 5, 0.5, 1.0, 3.0)),
    Family("two-kinds", "cheap ones that hardly last, dearer ones that do", _two_kinds),
    Family("five-capped", "no run is longer than six hours", _capped),
)
HELD_OUT = (*HELD_OUT_ONE, *HELD_OUT_MANY)
