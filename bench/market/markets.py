"""Markets to play in: the recordings beside the repository, and families of made-up ones that are unlike them.

A family is a function of (seed, ticks) that gives the same market each time. Made-up runs are heavy-tailed (a mix
of short and long Weibull runs, at least two ticks), their habits differ between zones, and none of their numbers
is used by the policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.market.game import Market, Zone

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "markets"
TICK_S = 195.0
_WARM_TICKS = 2_000  # cut off, so that a market does not begin with every state new


@lru_cache(maxsize=1)
def recorded() -> tuple[Zone, ...]:
    """The recorded zones, by name; none where the data is absent."""
    return tuple(_load(path) for path in sorted(RECORDED.glob("*.json")))


def _load(path: Path) -> Zone:
    data = json.loads(path.read_text())
    if data["gap_seconds"] != TICK_S:
        raise ValueError(f"{path.name} is sampled each {data['gap_seconds']} s, not {TICK_S:g}")
    available = np.frombuffer(data["spot_available"].encode(), np.uint8) == ord("1")
    prices = np.zeros(len(available))
    for tick, price in data["spot_price_usd_per_hour_changes"]:
        prices[tick:] = price
    return Zone(data["zone"], available, prices, data["on_demand_price_usd_per_hour"])


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of market: what it stands for, and how to make the one of a seed."""

    name: str
    about: str
    make: Callable[[int, int], Market]
    on_demand_usd: float = 3.0
    needs_recordings: bool = False


@dataclass(frozen=True, slots=True)
class Habits:
    """What zones of a made-up family are drawn from: means are medians of a lognormal spread over zones.

    `shape`: of the Weibull runs; below 1 the odds of an end fall with age. `together`: the share of all ticks that
    lies in crunches of the whole market. Prices are shares of on-demand.
    """

    up_h: float
    down_h: float
    spread: float = 0.5
    shape: float = 0.6
    price: tuple[float, float] = (0.25, 0.5)
    on_demand_usd: float = 3.0
    together: float = 0.0
    spikes_per_day: float = 0.0


def _made(zones: int, habits: Habits) -> Callable[[int, int], Market]:
    def make(seed: int, ticks: int) -> Market:
        random = np.random.default_rng([seed, zones, int(habits.up_h * 100)])
        crunch = _runs(random, 8 * (1 - habits.together), 8 * habits.together, 0.8, ticks)
        made: list[Zone] = []
        for index in range(zones):
            up_h, down_h = (mean * random.lognormal(0.0, habits.spread) for mean in (habits.up_h, habits.down_h))
            up = _runs(random, up_h, down_h, habits.shape, ticks)
            if habits.together > 0:
                up &= crunch
            price = random.uniform(*habits.price) * habits.on_demand_usd
            prices = _prices(random, price, habits, ticks)
            made.append(Zone(f"zone-{index}", up, prices, habits.on_demand_usd))
        return Market(TICK_S, tuple(made))

    return make


def _runs(random: np.random.Generator, up_h: float, down_h: float, shape: float, ticks: int) -> NDArray[np.bool_]:
    """Alternating Weibull runs of these mean lengths, the first ones cut off."""
    total = ticks + _WARM_TICKS
    if down_h <= 0:
        return np.ones(ticks, np.bool_)
    scale = 1.0 / _weibull_mean(shape)
    parts: list[NDArray[np.bool_]] = []
    length, up = 0, bool(random.random() < up_h / (up_h + down_h))
    while length < total:
        hours = (up_h if up else down_h) * scale * random.weibull(shape)
        run = max(2, round(hours * 3600 / TICK_S))
        parts.append(np.full(run, up))
        length, up = length + run, not up
    return np.concatenate(parts)[_WARM_TICKS:total]


def _weibull_mean(shape: float) -> float:
    grid = np.linspace(0.0005, 0.9995, 2_000)
    return float(np.mean((-np.log(1 - grid)) ** (1 / shape)))


def _prices(random: np.random.Generator, price: float, habits: Habits, ticks: int) -> NDArray[np.float64]:
    """A slow random walk around the zone's level; spikes of one to six hours reach above on-demand."""
    steps = random.normal(0.0, 0.02, ticks // 400 + 1).cumsum()
    prices = price * np.exp(np.repeat(steps, 400)[:ticks])
    for _ in range(random.poisson(habits.spikes_per_day * ticks * TICK_S / 86_400)):
        start, hours = int(random.integers(0, ticks)), random.uniform(1, 6)
        prices[start : start + int(hours * 3600 / TICK_S)] = habits.on_demand_usd * random.uniform(0.9, 1.8)
    return prices


def _shifted(zones: int) -> Callable[[int, int], Market]:
    """The recordings at random offsets, several copies of each: many zones with the habits of real ones."""

    def make(seed: int, ticks: int) -> Market:
        random = np.random.default_rng([seed, zones])
        base = recorded()
        made: list[Zone] = []
        for index in range(zones):
            zone = base[index % len(base)]
            offset = int(random.integers(0, len(zone.available) - ticks + 1))
            cut = slice(offset, offset + ticks)
            made.append(
                Zone(
                    f"{zone.name}-{index}",
                    zone.available[cut],
                    zone.spot_usd_per_hour[cut] * (1 + 0.03 * (index // len(base))),
                    zone.on_demand_usd_per_hour,
                )
            )
        return Market(TICK_S, tuple(made))

    return make


def side_by_side(seed: int, ticks: int) -> Market:
    """The recorded zones as they were, from one moment on."""
    base = Market(TICK_S, recorded())
    return base.window(int(np.random.default_rng([seed, 7]).integers(0, base.ticks - ticks + 1)), ticks)


#: One zone unlike the recordings.
ONE_ZONE = (
    Family("long-lived", "up 30 h, down 15 h", _made(1, Habits(30, 15))),
    Family("scarce", "up 2 h, down 14 h", _made(1, Habits(2, 14))),
    Family("pricey", "up 8 h, down 6 h, at 65 to 90 % of on-demand", _made(1, Habits(8, 6, price=(0.65, 0.9)))),
    Family("flapping", "up 40 min, down 30 min, lengths almost memoryless", _made(1, Habits(0.65, 0.5, shape=0.9))),
    Family("spiking", "up 24 h, down 4 h, price spikes above on-demand", _made(1, Habits(24, 4, spikes_per_day=1.5))),
)

#: Many zones: what the recordings give, and unlike them.
MANY_ZONES = (
    Family("nine-shifted", "nine copies of the recordings at random offsets", _shifted(9), needs_recordings=True),
    Family("four-recorded", "the four recordings side by side", side_by_side, needs_recordings=True),
    Family(
        "thirteen-scarce",
        "H100-like: up 4 h, down 30 h, on-demand at 12 USD",
        _made(13, Habits(4, 30, spread=0.8, price=(0.3, 0.6), on_demand_usd=12.0)),
        on_demand_usd=12.0,
    ),
    Family("six-long-lived", "up 30 h, down 20 h", _made(6, Habits(30, 20))),
    Family(
        "six-correlated", "up 8 h, down 6 h, and all down a third of the time", _made(6, Habits(8, 6, together=0.33))
    ),
    Family("six-flapping", "up 40 min, down 60 min", _made(6, Habits(0.65, 1.0, shape=0.9))),
    Family(
        "six-spiking", "up 24 h, down 8 h, price spikes above on-demand", _made(6, Habits(24, 8, spikes_per_day=1.5))
    ),
    Family("six-pricey", "up 6 h, down 8 h, at 65 to 90 % of on-demand", _made(6, Habits(6, 8, price=(0.65, 0.9)))),
)
