"""`python -m bench.market.fit [--windows N]`: fits the prior that ships, and tries it elsewhere.

For each state (up, down) the constants of `Curve` are those of greatest marginal likelihood over the recordings, the
habit of each zone and each eight days being a gamma variable of mean 1 that is integrated out (its weight is fitted
too). A run is taken to have ended half a sampling of the recorder (three ticks) before it was seen to. The age that a
state of unknown age behaves as is fitted to what follows random moments. Then each zone is left out in turn: the
constants are fitted to the others, and the zone is played with them and with what ships.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.market.game import Job, Market, Zone, play
from bench.market.hindsight import hindsight_usd
from bench.market.markets import TICK_S, recorded
from bench.market.table import spread
from orbit_core.sched._market.prior import SHIPPED
from orbit_core.sched.market import Curve, MarketPolicy, MarketPrior

_TICK_H = TICK_S / 3600.0
_BLOCK_H = 192.0  # over which a zone's habit is taken to stay the same
_LATE_TICKS = 1.5  # between a change and its being seen, on average

#: Stretches of one state in one block: from age, until age, and whether it ended.
Stretches = list[tuple[float, float, bool]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.market.fit", description=__doc__)
    parser.add_argument("--windows", type=int, default=4, help="windows of each zone that are played (4)")
    options = parser.parse_args(arguments)
    zones = recorded()
    if not zones:
        print("there are no recordings to fit to", file=sys.stderr)
        return 1
    _show("all zones", _fit(zones))
    ratios: dict[str, list[float]] = {"left out": [], "shipped": []}
    for left_out in zones:
        prior = _fit([zone for zone in zones if zone is not left_out])
        _show(f"without {left_out.name}", prior)
        for name, each in (("left out", prior), ("shipped", SHIPPED)):
            ratios[name].append(_worth(left_out, each, options.windows))
        print(f"  played in {left_out.name}: {ratios['left out'][-1]:.4f}, with what ships {ratios['shipped'][-1]:.4f}")
    print(f"mean: left out {np.mean(ratios['left out']):.4f}, with what ships {np.mean(ratios['shipped']):.4f}")
    return 0


def _show(name: str, prior: MarketPrior) -> None:
    for state, curve in (("up", prior.up), ("down", prior.down)):
        print(
            f"{name:22} {state:4} rate {curve.rate_per_hour:.3f}/h decay {curve.decay:.2f} "
            f"offset {curve.offset_h:.3f} h unknown age {curve.unknown_age_h:.0f} h weight {curve.pool_weight:.1f}"
        )


def _worth(zone: Zone, prior: MarketPrior, windows: int) -> float:
    """Mean cost over hindsight of playing a zone alone with this prior."""
    ratios: list[float] = []
    market = Market(TICK_S, (zone,))
    for deadline_h in (52, 70):
        for restart_s in (180.0, 720.0):
            job = Job(48 * 3600.0, deadline_h * 3600.0, restart_s)
            for window in spread(market, job, windows):
                outcome = play(MarketPolicy(prior=prior), window, job)
                ratios.append(outcome.cost_usd / hindsight_usd(window, job))
    return float(np.mean(ratios))


def _fit(zones: Sequence[Zone]) -> MarketPrior:
    """The prior of greatest likelihood; what is not fitted, and the caps on the weights, are the shipped ones."""
    return replace(SHIPPED, up=_curve(zones, True, SHIPPED.up), down=_curve(zones, False, SHIPPED.down))


def _curve(zones: Sequence[Zone], state: bool, shipped: Curve) -> Curve:
    groups = [group for zone in zones for group in _stretches(zone, state)]

    def loss(point: NDArray[np.float64]) -> float:
        curve = _at(point, shipped)
        return math.inf if curve is None else -_likelihood(groups, curve)

    best = _at(_descend(loss, np.array([0.0, 0.7, -1.8, 1.0])), shipped)
    assert best is not None
    ages = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
    age_h = max(ages, key=lambda age: _seen_by_chance(zones, state, replace(best, unknown_age_h=age)))
    return replace(best, unknown_age_h=age_h, pool_weight=min(best.pool_weight, shipped.pool_weight))


def _at(point: NDArray[np.float64], shipped: Curve) -> Curve | None:
    """The curve at a point of (log rate, decay, log offset, log weight); None outside of what makes sense."""
    decay, offset_h, weight = float(point[1]), math.exp(point[2]), math.exp(min(point[3], 8.0))
    if not (0.0 <= decay < 0.98 and 0.02 <= offset_h <= 3.0 and weight < 300.0):
        return None
    return replace(shipped, rate_per_hour=math.exp(point[0]), decay=decay, offset_h=offset_h, pool_weight=weight)


def _runs(zone: Zone) -> list[tuple[bool, int, int]]:
    edges = np.flatnonzero(np.diff(zone.available.astype(np.int8))) + 1
    bounds = [0, *edges.tolist(), len(zone.available)]
    return [(bool(zone.available[a]), a, b) for a, b in pairwise(bounds)]


def _stretches(zone: Zone, state: bool) -> list[Stretches]:
    """The runs of a state, cut into blocks; the first run, whose age nobody knows, is left out."""
    blocks: dict[int, Stretches] = {}
    for is_up, start, end in _runs(zone)[1:]:
        if is_up != state:
            continue
        ended = end < len(zone.available)
        length_h = (end - start - (_LATE_TICKS if ended else 0)) * _TICK_H
        age_h = 0.0
        while age_h < length_h:
            block = int((start * _TICK_H + age_h) // _BLOCK_H)
            until_h = min(length_h, (block + 1) * _BLOCK_H - start * _TICK_H)
            blocks.setdefault(block, []).append((age_h, until_h, ended and until_h == length_h))
            age_h = until_h
    return list(blocks.values())


def _likelihood(groups: Sequence[Stretches], curve: Curve) -> float:
    """Logarithm, with each group's habit integrated out."""
    weight, total = curve.pool_weight, 0.0
    for group in groups:
        expected = math.fsum(curve.expected(start, end) for start, end, _ in group)
        ends = [end for _, end, ended in group if ended]
        total += math.fsum(math.log(curve.rate_per_hour) - curve.decay * math.log(end + curve.offset_h) for end in ends)
        count = len(ends)
        total += weight * math.log(weight) + math.lgamma(weight + count) - math.lgamma(weight)
        total -= (weight + count) * math.log(weight + expected)
    return total


def _seen_by_chance(zones: Sequence[Zone], state: bool, curve: Curve) -> float:
    """Likelihood of how long a state went on after moments two hours apart, its habit integrated out."""
    total, age_h = 0.0, curve.unknown_age_h
    for zone in zones:
        for is_up, start, end in _runs(zone)[1:]:
            if is_up != state:
                continue
            ended = end < len(zone.available)
            first = start + (-start) % 37
            group_likelihoods = (
                _likelihood([[(age_h, age_h + (end - moment) * _TICK_H, ended)]], curve)
                for moment in range(first, end, 37)
            )
            total += math.fsum(group_likelihoods)
    return total


def _descend(loss: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nelder and Mead's simplex, with their coefficients."""
    simplex = [start, *(start + 0.25 * row for row in np.eye(len(start)))]
    losses = [loss(point) for point in simplex]
    for _ in range(250):
        order = np.argsort(losses)
        simplex, losses = [simplex[i] for i in order], [losses[i] for i in order]
        centre = np.mean(simplex[:-1], axis=0)
        away = centre - simplex[-1]
        tried = [(loss(point), point) for point in (centre + away, centre + 2 * away, centre - away / 2)]
        value, point = min(tried, key=lambda pair: pair[0])
        if value < losses[-1]:
            simplex[-1], losses[-1] = point, value
            continue
        simplex = [simplex[0], *((simplex[0] + each) / 2 for each in simplex[1:])]
        losses = [loss(point) for point in simplex]
    return simplex[int(np.argmin(losses))]


if __name__ == "__main__":
    sys.exit(main())
