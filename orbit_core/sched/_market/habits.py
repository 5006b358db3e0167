"""What a policy has seen of each pool, and what follows: ages, habits, how far pools fail together.

A habit is a multiplier on the prior's rates, with a gamma prior whose mean is the habit of the other pools:
(weight + events seen) ÷ (weight ÷ others' habit + events the prior expected). A pool whose price is far above its
usual one counts as down: spikes come and go like capacity does. Deciding belongs elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from orbit_core.sched._market.prior import Curve, MarketPrior
from orbit_core.sched._market.view import Pool

_HOUR_S = 3600.0
_SPIKE = 1.25  # of the usual price: above it, a price is taken for a spike
_PRICE_MEMORY_H = 8.0  # how long a price must stay to become usual
_SPIKE_MEMORY_H = 16.0


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

    def see(self, usable: bool, now_s: float, prior: MarketPrior) -> None:
        """Take in that the pool is up or down now."""
        if self.up is None:
            curve = prior.up if usable else prior.down
            self.up, self.age_h, self.seen_s = usable, curve.unknown_age_h, now_s
            return
        gap_h = max(0.0, now_s - self.seen_s) / _HOUR_S
        self.seen_s = max(now_s, self.seen_s)
        self._forget(math.exp(-gap_h / prior.memory_h))
        if usable == self.up:
            self._expect(self.age_h, gap_h, prior)
            self.age_h += gap_h
            return
        # It changed somewhere in the gap: in its middle, as far as anyone knows.
        self._expect(self.age_h, gap_h / 2, prior)
        if self.up:
            self.ended_up += 1.0
        else:
            self.ended_down += 1.0
        self.up, self.age_h = usable, gap_h / 2
        self._expect(0.0, gap_h / 2, prior)

    def see_price(self, usd_per_hour: float, now_s: float) -> None:
        """Take in a price. A fall is believed at once, a rise slowly, a spike more slowly still."""
        gap_h = max(0.0, now_s - self.price_s) / _HOUR_S
        self.price_s = now_s
        if self.price <= 0.0 or usd_per_hour * _SPIKE < self.price:
            self.price = usd_per_hour
            return
        memory_h = _SPIKE_MEMORY_H if self.spikes(usd_per_hour) else _PRICE_MEMORY_H
        self.price += (usd_per_hour - self.price) * (1.0 - math.exp(-gap_h / memory_h))

    def spikes(self, usd_per_hour: float) -> bool:
        """Whether a price is far above the usual one."""
        return usd_per_hour > _SPIKE * self.price

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
class Together:
    """How far pools fail and recover together, seen where all of them are known.

    Losses: how many, after how many of them nothing was up, and how many of those independence would have given.
    Spells with nothing up: how many ended, and how many ends independence would have given.
    """

    losses: float = 0.0
    stranded: float = 0.0
    stranded_expected: float = 0.0
    relieved: float = 0.0
    relieved_expected: float = 0.0


@dataclass(slots=True)
class MarketMemory:
    """The memory of all pools of one job, in the order in which they were first seen."""

    pools: dict[str, PoolMemory] = field(default_factory=dict[str, PoolMemory])
    together: Together = field(default_factory=Together)

    def see(self, pools: Sequence[Pool], now_s: float, prior: MarketPrior) -> None:
        """Take in one view. Seeing the same moment again, with more known, is fine."""
        before = [self.pools.get(pool.name) for pool in pools]
        ups = [memory is not None and memory.up is True for memory in before]
        whole = len(pools) > 1 and all(
            memory is not None and memory.up is not None and pool.available is not None and now_s > memory.seen_s
            for memory, pool in zip(before, pools, strict=True)
        )
        hoped = self._relief_expected(pools, now_s, prior) if whole and not any(ups) else 0.0
        for pool in pools:
            memory = self.pools.setdefault(pool.name, PoolMemory())
            memory.see_price(pool.spot_usd_per_hour, now_s)
            if pool.available is not None:
                memory.see(pool.available and not memory.spikes(pool.spot_usd_per_hour), now_s, prior)
        if whole:
            self._see_together(pools, ups, hoped, prior)

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

    def crunch(self, prior: MarketPrior) -> float:
        """The odds that a loss leaves nothing up, beyond what independent pools would give."""
        seen = self.together
        beyond = prior.crunch_weight * prior.crunch + seen.stranded - seen.stranded_expected
        return min(0.9, max(0.0, beyond / (prior.crunch_weight + seen.losses)))

    def relief(self, prior: MarketPrior) -> float:
        """How fast anything comes back when nothing is up, relative to independent pools."""
        seen, weight = self.together, prior.crunch_weight
        return (weight + seen.relieved) / (weight / prior.relief + seen.relieved_expected)

    def _relief_expected(self, pools: Sequence[Pool], now_s: float, prior: MarketPrior) -> float:
        expected = 0.0
        for pool in pools:
            memory = self.pools[pool.name]
            gap_h = max(0.0, now_s - memory.seen_s) / _HOUR_S
            habit = self.habit(pool.name, prior).down
            expected += habit * prior.down.expected(memory.age_h, memory.age_h + gap_h)
        return expected

    def _see_together(self, pools: Sequence[Pool], ups: list[bool], hoped: float, prior: MarketPrior) -> None:
        now = [self.pools[pool.name].up is True for pool in pools]
        seen = self.together
        if not any(ups):
            seen.relieved_expected += hoped
            seen.relieved += float(any(now))
        elif any(was and not is_ for was, is_ in zip(ups, now, strict=True)):
            first_lost = next(index for index, was in enumerate(ups) if was and not now[index])
            odds = 1.0
            for index, pool in enumerate(pools):
                if index != first_lost:
                    habit = self.habit(pool.name, prior)
                    odds *= 1.0 - prior.share_up(habit.up, habit.down)
            seen.losses += 1.0
            seen.stranded += float(not any(now))
            seen.stranded_expected += odds


def _habit(curve: Curve, ended: float, expected: float, others_ended: float, others_expected: float) -> float:
    market = (curve.market_weight + others_ended) / (curve.market_weight + others_expected)
    return (curve.pool_weight + ended) / (curve.pool_weight / market + expected)
