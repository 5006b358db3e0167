"""What a policy has seen of each pool, and what follows: ages, habits, the odds that an unseen pool is up.

A habit is a multiplier on the prior's rates, with a gamma prior whose mean is the habit of the other pools:
(weight + events seen) ÷ (weight ÷ others' habit + events the prior expected). Deciding belongs elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from orbit_core.sched._market.prior import Curve, MarketPrior
from orbit_core.sched._market.view import Pool

_HOUR_S = 3600.0
_PRICE_MEMORY_H = 8.0  # how long a price must stay off its usual level to become usual


@dataclass(slots=True)
class PoolMemory:
    """What was seen of one pool; `up` None: nothing yet. Sums are weighted by recency."""

    up: bool | None = None
    age_h: float = 0.0  # of the present state when last seen
    seen_s: float = 0.0
    ended_up: float = 0.0  # times that up ended, and what the prior expected; the same of down
    expected_up: float = 0.0
    ended_down: float = 0.0
    expected_down: float = 0.0
    price: float = 0.0  # usual spot price, 0: never seen
    price_s: float = 0.0

    def see(self, available: bool, now_s: float, prior: MarketPrior) -> None:
        """Take in that the pool is up or down now."""
        if self.up is None:
            curve = prior.up if available else prior.down
            self.up, self.age_h, self.seen_s = available, curve.unknown_age_h, now_s
            return
        gap_h = max(0.0, now_s - self.seen_s) / _HOUR_S
        self.seen_s = max(now_s, self.seen_s)
        self._forget(math.exp(-gap_h / prior.memory_h))
        if available == self.up:
            self._expect(self.age_h, gap_h, prior)
            self.age_h += gap_h
            return
        # It changed somewhere in the gap: in its middle, as far as anyone knows.
        self._expect(self.age_h, gap_h / 2, prior)
        if self.up:
            self.ended_up += 1.0
        else:
            self.ended_down += 1.0
        self.up, self.age_h = available, gap_h / 2
        self._expect(0.0, gap_h / 2, prior)

    def see_price(self, usd_per_hour: float, now_s: float) -> None:
        """Take in a price: the usual one follows it slowly."""
        if self.price <= 0.0:
            self.price = usd_per_hour
        else:
            gap_h = max(0.0, now_s - self.price_s) / _HOUR_S
            self.price += (usd_per_hour - self.price) * (1.0 - math.exp(-gap_h / _PRICE_MEMORY_H))
        self.price_s = now_s

    def _forget(self, keep: float) -> None:
        self.ended_up *= keep
        self.expected_up *= keep
        self.ended_down *= keep
        self.expected_down *= keep

    def _expect(self, age_h: float, for_h: float, prior: MarketPrior) -> None:
        if self.up:
            self.expected_up += prior.up.expected(age_h, age_h + for_h)
        else:
            self.expected_down += prior.down.expected(age_h, age_h + for_h)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a pool differs from the prior: multipliers on the rates at which up and down end."""

    up: float = 1.0
    down: float = 1.0


@dataclass(slots=True)
class MarketMemory:
    """The memory of all pools of one job, in the order in which they were first seen."""

    pools: dict[str, PoolMemory] = field(default_factory=dict[str, PoolMemory])

    def see(self, pools: Iterable[Pool], now_s: float, prior: MarketPrior) -> None:
        for pool in pools:
            memory = self.pools.setdefault(pool.name, PoolMemory())
            memory.see_price(pool.spot_usd_per_hour, now_s)
            if pool.available is not None:
                memory.see(pool.available, now_s, prior)

    def habit(self, name: str, prior: MarketPrior) -> Habit:
        """What is believed of a pool, from what was seen of it and of the others."""
        mine = self.pools[name]
        others = [memory for other, memory in self.pools.items() if other != name]
        return Habit(
            up=_habit(
                prior.up,
                mine.ended_up,
                mine.expected_up,
                math.fsum(memory.ended_up for memory in others),
                math.fsum(memory.expected_up for memory in others),
            ),
            down=_habit(
                prior.down,
                mine.ended_down,
                mine.expected_down,
                math.fsum(memory.ended_down for memory in others),
                math.fsum(memory.expected_down for memory in others),
            ),
        )


def _habit(curve: Curve, ended: float, expected: float, others_ended: float, others_expected: float) -> float:
    market = (curve.market_weight + others_ended) / (curve.market_weight + others_expected)
    return (curve.pool_weight + ended) / (curve.pool_weight / market + expected)
