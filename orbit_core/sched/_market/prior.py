"""What is known of spot markets before a pool has been seen: how the odds of a change fall with age.

How long a pool has been up (or down) says most about how long it stays so. The rate at which the state ends,
`age_h` hours after it began, is

    rate(age_h) = habit × rate_per_hour × (age_h + offset_h) ** −decay          (per hour)

with `habit` a multiplier of the pool, learnt while it is watched (`_market/habits.py`). `python -m bench.market.fit`
fits the constants to recordings, with each recording left out in turn; nothing here names a zone, a machine or a
price. Markets unlike the recordings differ in shape too: `MarketPrior.shapes` are the ways in which the odds may fall
with age, the fitted one foremost, and which of them a market has is learnt. Learning and deciding belong elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HORIZON_H = 240.0  # beyond this age no run is followed
FINE_AGES_H = np.concatenate([np.arange(0.0, 4.0, 0.05), np.geomspace(4.0, HORIZON_H, 120)])


@dataclass(frozen=True, slots=True)
class Curve:
    """The odds that one state (up, or down) ends, by its age, for a pool of habit 1.

    `unknown_age_h` is the age that a state found at first sight behaves as if it had. `pool_weight` and
    `market_weight` say, in imagined events, how firmly a pool's habit is held near the other pools', and theirs
    near 1.
    """

    rate_per_hour: float
    decay: float
    offset_h: float
    unknown_age_h: float
    pool_weight: float
    market_weight: float

    def __post_init__(self) -> None:
        if not (self.rate_per_hour > 0 and 0 <= self.decay < 1 and self.offset_h > 0):
            raise ValueError("a curve needs a positive rate and offset, and a decay from 0 to below 1")
        if not (self.unknown_age_h >= 0 and self.pool_weight > 0 and self.market_weight > 0):
            raise ValueError("a curve needs positive weights and an unknown age that is not negative")

    def expected(self, from_h: float, until_h: float) -> float:
        """Events expected between two ages at habit 1: the integral of the rate."""
        power = 1.0 - self.decay
        scale = self.rate_per_hour / power
        return scale * ((until_h + self.offset_h) ** power - (from_h + self.offset_h) ** power)

    def ends(self, age_h: float, within_h: float, habit: float) -> float:
        """The probability that a state of this age ends within so many hours."""
        return 1.0 - math.exp(-habit * self.expected(age_h, age_h + within_h))

    def ends_each(
        self, ages_h: NDArray[np.float64], within_h: float, habits: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """`ends` for many pools at once."""
        power = 1.0 - self.decay
        from_h = ages_h + self.offset_h
        expected = (self.rate_per_hour / power) * ((from_h + within_h) ** power - from_h**power)
        return 1.0 - np.exp(-habits * expected)

    def survival(self, ages_h: NDArray[np.float64], habit: float) -> NDArray[np.float64]:
        """The probability of reaching each age, from age 0."""
        power = 1.0 - self.decay
        scale = habit * self.rate_per_hour / power
        return np.exp(-scale * ((ages_h + self.offset_h) ** power - self.offset_h**power))

    def of_decay(self, decay: float) -> Curve:
        """The curve of another decay that expects as many ends in a first hour."""
        other = replace(self, decay=decay)
        return replace(other, rate_per_hour=self.rate_per_hour * self.expected(0.0, 1.0) / other.expected(0.0, 1.0))

    def mean_h(self, habit: float) -> float:
        """How long the state lasts on average; no run is followed beyond `HORIZON_H`."""
        # A tenth of a percent apart is the same habit: what was learnt a moment ago moves it by less.
        return _mean_h(self, round(math.log(habit), 3))


@lru_cache(maxsize=4_096)
def _mean_h(curve: Curve, log_habit: float) -> float:
    return float(np.trapezoid(curve.survival(FINE_AGES_H, math.exp(log_habit)), FINE_AGES_H))


@dataclass(frozen=True, slots=True)
class MarketPrior:
    """Both curves, the shapes that they may have instead, and how far pools fail together.

    `decays`: the other shapes, each held to be e^`shape_doubt` times less likely than the curve itself. What was
    seen loses weight by e each `memory_h`. `crunch`: the odds that a loss takes all pools at once; `relief`: how
    fast anything comes back then, relative to independent pools; both held by so many imagined events.
    """

    up: Curve
    down: Curve
    decays: tuple[float, ...] = (0.0, 0.4)
    shape_doubt: float = 2.0
    memory_h: float = 240.0
    crunch: float = 0.15
    relief: float = 0.7
    crunch_weight: float = 4.0

    def shapes(self) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
        """The curves that up may follow, and those that down may; the first of each is the prior's own."""
        return _shapes(self)

    def shaped(self, up: int, down: int) -> MarketPrior:
        """This prior with these of its shapes."""
        if up == 0 and down == 0:
            return self
        ups, downs = self.shapes()
        return _shaped(self, ups[up], downs[down])

    def share_up(self, habit_up: float, habit_down: float) -> float:
        """The share of the time that a pool of these habits is up, in the long run."""
        up_h, down_h = self.up.mean_h(habit_up), self.down.mean_h(habit_down)
        return up_h / (up_h + down_h)


@lru_cache(maxsize=16)
def _shapes(prior: MarketPrior) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    up, down = ((curve, *(curve.of_decay(decay) for decay in prior.decays)) for curve in (prior.up, prior.down))
    return up, down


@lru_cache(maxsize=64)
def _shaped(prior: MarketPrior, up: Curve, down: Curve) -> MarketPrior:
    return replace(prior, up=up, down=down)


#: Fitted to four V100 zones over 22 days. The weights are below what that data alone would give (`down` 18): other
#: hardware is expected to differ more between pools than those four zones did.
SHIPPED = MarketPrior(
    up=Curve(
        rate_per_hour=0.73,
        decay=0.72,
        offset_h=0.25,
        unknown_age_h=8.0,
        pool_weight=3.0,
        market_weight=3.0,
    ),
    down=Curve(
        rate_per_hour=0.57,
        decay=0.68,
        offset_h=0.145,
        unknown_age_h=4.0,
        pool_weight=5.0,
        market_weight=3.0,
    ),
)
