"""What the other pools are worth to whoever is in one: the long-run view of them inside the recursion of `values.py`.

Each other pool is up a known share of the time, for ages spread as in the long run, and comes up at a known rate;
pools are taken to be independent, but for `crunch`, the odds that a loss takes them all, and `relief`, how much
slower they come back then. What is known of them *now* is not used here: that is `choose.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._market.prior import FINE_AGES_H, HORIZON_H
from orbit_core.sched._market.problem import Problem

Array = NDArray[np.floating]


class Elsewhere:
    """Arrivals and stationary shares of all pools, applied to [pool, age, slack] values of being in one.

    `proven`: the index of the age at which a pool that came up elsewhere counts as worth leaving something for.
    """

    def __init__(self, problem: Problem, ages_h: NDArray[np.float64], proven: int) -> None:
        prior, pools, step_h = problem.prior, problem.pools, problem.step_h
        self._crunch = np.float32(problem.crunch)
        self._proven_age = proven
        self._pools = range(len(pools))
        self._share = np.array([pool.share_up for pool in pools], np.float32)
        self._fresh_odds = np.array(
            [1.0 - math.exp(-problem.relief * step_h * pool.back_per_h) for pool in pools], np.float32
        )
        self._age_odds = np.zeros((len(pools), len(ages_h), 1), np.float32)
        self._proven_odds = np.zeros(len(pools), np.float32)
        for index, pool in enumerate(pools):
            cycle_h = prior.up.mean_h(pool.habit_up) + prior.down.mean_h(pool.habit_down)
            self._age_odds[index, :, 0] = _spread(prior.up.survival(FINE_AGES_H, pool.habit_up), ages_h)
            reaches = float(prior.up.survival(ages_h[proven : proven + 1], pool.habit_up)[0])
            self._proven_odds[index] = 1.0 - math.exp(-step_h / cycle_h * reaches)

    def after_loss(self, stranded: Array, entry: Array) -> Array:
        """Spot was just lost: the best other pool that is up, or `stranded` [pool, 1, slack]."""
        mean_entry = (entry * self._age_odds).sum(axis=1)
        order = np.argsort(mean_entry[:, mean_entry.shape[1] // 2], kind="stable")
        value = np.zeros_like(stranded)
        none_yet = np.ones((len(self._pools), 1, 1), np.float32)
        for pool in order:
            odds = none_yet * self._share[pool]
            odds[pool] = 0.0
            value += odds * np.minimum(mean_entry[pool], stranded)
            none_yet -= odds
        alone = value + none_yet * stranded
        return alone + self._crunch * (stranded - alone)

    def fresh(self, values: Array, entry: Array) -> Array:
        """Nothing is up: another pool may come up within a step."""
        return self._arrive(values, entry[:, 0], self._fresh_odds)

    def proven(self, values: Array, entry: Array) -> Array:
        """Something is up or held: another pool may have come up, and stayed long enough to be worth a change."""
        return self._arrive(values, entry[:, self._proven_age], self._proven_odds)

    def _arrive(self, values: Array, entries: Array, odds: Array) -> Array:
        better = values.copy()
        gain = np.empty_like(values)
        for pool in self._pools:
            np.subtract(entries[pool], values, out=gain)
            np.minimum(gain, 0.0, out=gain)
            gain *= odds[pool]
            gain[pool] = 0.0
            better += gain
        return better


def _spread(alive: NDArray[np.float64], ages_h: NDArray[np.float64]) -> NDArray[np.float64]:
    """How the ages of a running state are spread over the age points in the long run."""
    edges = np.concatenate([[0.0], (ages_h[1:] + ages_h[:-1]) / 2, [HORIZON_H]])
    steps = np.diff(FINE_AGES_H) * (alive[1:] + alive[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.diff(np.interp(edges, FINE_AGES_H, below))
    return weights / weights.sum()
