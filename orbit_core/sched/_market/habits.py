"""What a policy has seen of each pool, and what follows: ages, habits, shapes, how far pools fail together.

A habit is a multiplier on the prior's rates, with a gamma prior whose mean is the habit of the other pools:
(weight + events seen) ÷ (weight ÷ others' habit + events the prior expected). The shape of the rates is the market's:
the one of the prior's shapes under which what was seen of all pools, habits integrated out, is likeliest. A pool
whose price is far above its usual one counts as down: spikes come and go like capacity does. Deciding belongs
elsewhere.
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
_WATCHED_H = 1.0  # a pool not seen for longer may have come and gone meanwhile


@dataclass(slots=True)
class Ends:
    """Ends of one state of one pool, weighted by recency: how many, how many each shape expected, and how likely
    each shape held them when they came (logarithms, at habit 1).
    """

    seen: float = 0.0
    expected: list[float] = field(default_factory=list[float])
    told: list[float] = field(default_factory=list[float])

    def forget(self, keep: float) -> None:
        self.seen *= keep
        self.expected = [keep * each for each in self.expected]
        self.told = [keep * each for each in self.told]

    def lived(self, shapes: Sequence[Curve], age_h: float, for_h: float, odds: float = 1.0) -> None:
        """The state went on for so long from this age, with these odds."""
        if not self.expected:
            self.expected, self.told = [0.0] * len(shapes), [0.0] * len(shapes)
        for index, shape in enumerate(shapes):
            self.expected[index] += odds * shape.expected(age_h, age_h + for_h)

    def ended(self, shapes: Sequence[Curve], age_h: float, within_h: float) -> None:
        """It ended within so long from this age."""
        self.seen += 1.0
        for index, shape in enumerate(shapes):
            self.told[index] += math.log(max(shape.ends(age_h, within_h, 1.0), 1e-9))


@dataclass(frozen=True, slots=True)
class Unwatched:
    """What is believed of a time in which a pool was not seen: the odds that it stayed as it was, if it is so again,
    and how long it is up and down at a time, which bounds what a mere change tells.
    """

    stayed: float = 1.0
    up_h: float = math.inf
    down_h: float = math.inf


_WATCHED = Unwatched()


@dataclass(slots=True)
class PoolMemory:
    """What was seen of one pool; `up` None: nothing yet."""

    up: bool | None = None
    age_h: float = 0.0  # of the present state when last seen
    seen_s: float = 0.0
    up_ends: Ends = field(default_factory=Ends)
    down_ends: Ends = field(default_factory=Ends)
    price: float = 0.0  # usual spot price, 0: never seen
    price_s: float = 0.0

    def see(self, usable: bool, now_s: float, prior: MarketPrior, since: Unwatched = _WATCHED) -> None:
        """Take in that the pool is up or down now."""
        if self.up is None:
            curve = prior.up if usable else prior.down
            self.up, self.age_h, self.seen_s = usable, curve.unknown_age_h, now_s
            return
        gap_h = max(0.0, now_s - self.seen_s) / _HOUR_S
        self.seen_s = max(now_s, self.seen_s)
        keep = math.exp(-gap_h / prior.memory_h)
        self.up_ends.forget(keep)
        self.down_ends.forget(keep)
        ends, shapes = self._present(prior)
        if usable == self.up:
            ends.lived(shapes, self.age_h, gap_h, since.stayed)
            anew_h = min(gap_h, since.up_h if usable else since.down_h) / 2
            self.age_h = since.stayed * (self.age_h + gap_h) + (1.0 - since.stayed) * anew_h
            return
        # It changed somewhere in the gap: in its middle, as far as anyone knows, unless it lasts less at a time.
        up_h, down_h = min(gap_h, since.up_h) / 2, min(gap_h, since.down_h) / 2
        ends.lived(shapes, self.age_h, up_h if self.up else down_h)
        ends.ended(shapes, self.age_h, gap_h)
        self.up, self.age_h = usable, up_h if usable else down_h
        ends, shapes = self._present(prior)
        ends.lived(shapes, 0.0, self.age_h)

    def _present(self, prior: MarketPrior) -> tuple[Ends, tuple[Curve, ...]]:
        ups, downs = prior.shapes()
        return (self.up_ends, ups) if self.up else (self.down_ends, downs)

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
    shape_up: int = 0  # of `MarketPrior.shapes`, as last settled
    shape_down: int = 0

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
                usable = pool.available and not memory.spikes(pool.spot_usd_per_hour)
                memory.see(usable, now_s, prior, self._since(pool.name, now_s, prior))
        if whole:
            self._see_together(pools, ups, hoped, prior)

    def settle(self, prior: MarketPrior) -> None:
        """Take the shapes that are likeliest by now; what is held already is given up for what is e times likelier."""
        everyone = self.pools.values()
        ups, downs = prior.shapes()
        self.shape_up = _likeliest([pool.up_ends for pool in everyone], ups, self.shape_up, prior.shape_doubt)
        self.shape_down = _likeliest([pool.down_ends for pool in everyone], downs, self.shape_down, prior.shape_doubt)

    def shaped(self, prior: MarketPrior) -> MarketPrior:
        """The prior with the shapes of this market."""
        return prior.shaped(self.shape_up, self.shape_down)

    def habit(self, name: str, prior: MarketPrior) -> Habit:
        """What is believed of a pool, from what was seen of it and of the others, at the shapes of this market."""
        mine = self.pools[name]
        others = [memory for other, memory in self.pools.items() if other != name]
        return Habit(
            up=_habit(prior.up, mine.up_ends, [memory.up_ends for memory in others], self.shape_up),
            down=_habit(prior.down, mine.down_ends, [memory.down_ends for memory in others], self.shape_down),
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

    def _since(self, name: str, now_s: float, prior: MarketPrior) -> Unwatched:
        memory = self.pools[name]
        gap_h = (now_s - memory.seen_s) / _HOUR_S
        if memory.up is None or gap_h <= _WATCHED_H:
            return _WATCHED
        shaped, habit = self.shaped(prior), self.habit(name, prior)
        up_h, down_h = shaped.up.mean_h(habit.up), shaped.down.mean_h(habit.down)
        curve, rate, mine_h = (shaped.up, habit.up, up_h) if memory.up else (shaped.down, habit.down, down_h)
        ends = curve.ends(memory.age_h, gap_h, rate)
        back = ends * mine_h / (up_h + down_h)
        return Unwatched((1.0 - ends) / max(1.0 - ends + back, 1e-12), up_h, down_h)

    def _relief_expected(self, pools: Sequence[Pool], now_s: float, prior: MarketPrior) -> float:
        expected, down = 0.0, self.shaped(prior).down
        for pool in pools:
            memory = self.pools[pool.name]
            gap_h = max(0.0, now_s - memory.seen_s) / _HOUR_S
            habit = self.habit(pool.name, prior).down
            expected += habit * down.expected(memory.age_h, memory.age_h + gap_h)
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
                    odds *= 1.0 - self.shaped(prior).share_up(habit.up, habit.down)
            seen.losses += 1.0
            seen.stranded += float(not any(now))
            seen.stranded_expected += odds


def _habit(curve: Curve, mine: Ends, others: Sequence[Ends], shape: int) -> float:
    seen, expected = _sums(others, shape)
    market = (curve.market_weight + seen) / (curve.market_weight + expected)
    mine_expected = mine.expected[shape] if mine.expected else 0.0
    return (curve.pool_weight + mine.seen) / (curve.pool_weight / market + mine_expected)


def _sums(ends: Sequence[Ends], shape: int) -> tuple[float, float]:
    seen = math.fsum(each.seen for each in ends)
    return seen, math.fsum(each.expected[shape] for each in ends if each.expected)


def _likeliest(ends: Sequence[Ends], shapes: Sequence[Curve], held: int, doubt: float) -> int:
    """The shape of greatest marginal likelihood: of each pool's ends given its own gamma-distributed habit."""
    scores: list[float] = []
    for index, curve in enumerate(shapes):
        weight = curve.pool_weight
        seen, expected = _sums(ends, index)
        rate = weight * (curve.market_weight + expected) / (curve.market_weight + seen)
        score = (1.0 if index == held else 0.0) - (doubt if index else 0.0)
        for each in ends:
            if each.expected:
                score += math.lgamma(weight + each.seen) - math.lgamma(weight) + weight * math.log(rate)
                score += each.told[index] - (weight + each.seen) * math.log(rate + each.expected[index])
        scores.append(score)
    return max(range(len(shapes)), key=scores.__getitem__)
