"""The policies that Orbit's is measured against. They share its words and its last-moment rule, and nothing else.

Sources: Uniform Progress, Wu et al., "Can't Be Late", NSDI 2024; the utility of SkyNomad, arXiv 2601.06520. In many
zones each of them enters the cheapest pool that is up. Where availability is hidden they ask as they need it.
"""

from __future__ import annotations

import math

from orbit_core.sched._market import safety
from orbit_core.sched._market.habits import MarketMemory
from orbit_core.sched._market.prior import SHIPPED
from orbit_core.sched.market import Choice, MarketView, Pool

_PROBE_S = 1_800.0  # between two rounds of asking, for whoever asks without need
_HOUR_S = 3600.0


def _spot(view: MarketView, *, ask: bool = True) -> Choice | None:
    """What is held stays; else the cheapest pool that is up, asking those that are unknown and cheaper."""
    if view.holding.kind == "spot":
        return Choice("spot", view.holding.pool)
    usable = [pool for pool in view.pools if pool.spot_usd_per_hour < pool.on_demand_usd_per_hour]
    for pool in sorted(usable, key=lambda pool: pool.spot_usd_per_hour):
        if pool.available is None and ask:
            return Choice("ask", pool.name)
        if pool.available:
            choice = Choice("spot", pool.name)
            if safety.safe(view, choice):
                return choice
    return None


class OnDemandOnly:
    """On-demand from the first tick."""

    def decide(self, view: MarketView) -> Choice:
        return Choice("on-demand")


class Greedy:
    """Spot when there is any, nothing otherwise, on-demand at the last moment and then to the end."""

    def decide(self, view: MarketView) -> Choice:
        if view.holding.kind == "on-demand":
            return Choice("on-demand")
        return safety.forced(view) or _spot(view) or Choice("none")


class UniformProgress:
    """Progress in proportion to time: on-demand when behind and idle, until two restarts ahead."""

    def decide(self, view: MarketView) -> Choice:
        forced = safety.forced(view)
        if forced is not None:
            return forced
        # Rule 2 of the paper, "taking risks": spot whenever it is there.
        spot = _spot(view)
        if spot is not None:
            return spot
        pace = view.work_s / (view.deadline_s - view.started_s)
        done_s = view.work_s - view.work_left_s
        ahead_s = 2 * view.restart_s if view.holding.kind == "on-demand" else 0.0
        if done_s < pace * (view.now_s - view.started_s + ahead_s):
            return Choice("on-demand")
        return Choice("none") if safety.can_wait(view, None) else Choice("on-demand")


class SkyNomadLike:
    """U = V·η − C − E/L of each pool, with the odds and habits that Orbit's policy uses, and the greatest U wins.

    L: expected life of spot there at its age; η = (L − d)⁺/L; C the price; E the cost of moving; V the price of
    progress: on-demand price × pace still needed ÷ pace so far. On-demand has L = time left; nothing has U = 0.
    """

    def __init__(self) -> None:
        self._memory = MarketMemory()
        self._probed_s = -math.inf

    def decide(self, view: MarketView) -> Choice:
        self._memory.see(view.pools, view.now_s, SHIPPED)
        self._memory.settle(SHIPPED)
        forced = safety.forced(view)
        if forced is not None:
            return forced
        question = self._probe(view)
        if question is not None:
            return question
        value = self._progress_usd(view)
        best, most = Choice("none"), 0.0
        for pool in view.pools:
            for choice, utility in self._utilities(view, pool, value):
                if utility > most and safety.safe(view, choice):
                    best, most = choice, utility
        return best if safety.safe(view, best) else Choice("on-demand")

    def _probe(self, view: MarketView) -> Choice | None:
        stranded = view.holding.kind != "spot"
        if view.now_s - self._probed_s < _PROBE_S * (1 if stranded else 4):
            return None
        for pool in view.pools:
            if pool.available is None:
                return Choice("ask", pool.name)
        self._probed_s = view.now_s
        return None

    def _progress_usd(self, view: MarketView) -> float:
        on_demand = min(pool.on_demand_usd_per_hour for pool in view.pools)
        left_s = max(view.deadline_s - view.now_s, view.tick_s)
        elapsed_s = view.now_s - view.started_s
        uniform = view.work_s / (view.deadline_s - view.started_s)
        # Being ahead never makes progress worthless: without this floor it idles away spot that it holds.
        needed = max(view.work_left_s / left_s, uniform)
        # The start counts as two hours of uniform progress, so that the ratio does not swing.
        so_far = (view.work_s - view.work_left_s + uniform * 7_200.0) / (elapsed_s + 7_200.0)
        return on_demand * needed / max(so_far, 1e-3)

    def _utilities(self, view: MarketView, pool: Pool, value: float) -> list[tuple[Choice, float]]:
        left_h = max(view.work_left_s / _HOUR_S, 0.1)
        moves = view.holding.pool not in (None, pool.name)
        found: list[tuple[Choice, float]] = []
        for kind, price in (("spot", pool.spot_usd_per_hour), ("on-demand", pool.on_demand_usd_per_hour)):
            if kind == "spot" and not pool.available:
                continue
            life_h = self._life_h(pool.name, left_h) if kind == "spot" else left_h
            held = view.holding.kind == kind and view.holding.pool == pool.name
            restart_h = 0.0 if held else (view.restart_s + (pool.move_s if moves else 0.0)) / _HOUR_S
            useful = max(0.0, life_h - restart_h) / life_h
            moving = pool.move_usd if moves else 0.0
            choice = Choice("spot" if kind == "spot" else "on-demand", pool.name)
            found.append((choice, value * useful - price - moving / life_h))
        return found

    def _life_h(self, name: str, most_h: float) -> float:
        """Expected life at the present age, as far as the work left goes: the integral of survival."""
        habit = self._memory.habit(name, SHIPPED).up
        age_h = self._memory.pools[name].age_h
        up = self._memory.shaped(SHIPPED).up
        steps, width_h = 24, most_h / 24
        alive = (1.0 - up.ends(age_h, (step + 0.5) * width_h, habit) for step in range(steps))
        return max(width_h * math.fsum(alive), 0.05)
