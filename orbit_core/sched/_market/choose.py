"""Which of the things that can be done in this tick leaves least to pay: values, with what is known now in front.

Each way to go on is followed for one step of the tables with what is known of every pool at this moment (its age,
its price, whether it is up), and valued from there by the tables. Deadlines are kept by `safety.py`, which is asked
first; nothing here may weaken it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._market.habits import MarketMemory
from orbit_core.sched._market.plan import Plan, reference_usd, room
from orbit_core.sched._market.safety import safe
from orbit_core.sched._market.values import Array, Values
from orbit_core.sched._market.view import Choice, MarketView

_HOUR_S = 3600.0
_NEVER = math.inf
_TOO_DEAR = 0.98  # of on-demand: spot at this price or above is as good as absent


@dataclass(frozen=True, slots=True)
class Belief:
    """What is held true of one pool now. `up`: the odds that spot can be had, 0 or 1 where that is known."""

    up: float
    known: bool
    age_h: float
    price: float
    seen_h: float  # hours since its state was last known; infinite: never


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to do, and what it leaves to pay."""

    choice: Choice
    cost: float


class Chooser:
    """The options of one view. Money is in the plan's unit, times in hours."""

    def __init__(self, view: MarketView, memory: MarketMemory, plan: Plan, values: Values) -> None:
        self._view, self._plan, self._values = view, plan, values
        self._unit = reference_usd(view)
        self._names = plan.names
        self._terms = plan.problem.pools
        self._prior = plan.problem.prior
        self._here = self._names.index(view.holding.pool) if view.holding.pool in self._names else 0
        self._anchored = view.holding.pool is not None
        self._time_h, self._slack_h = room(view)
        self._restart_h = view.restart_s / _HOUR_S
        step_h = plan.problem.step_h
        self._step_h = step_h if self._slack_h >= step_h else view.tick_s / _HOUR_S
        self._pools = [self._belief(index, memory) for index in range(len(self._names))]
        self._many = len(self._names) > 1
        self._prices = np.array([terms.spot for terms in self._terms])
        self._charges = np.array([pool.move_usd for pool in view.pools]) / self._unit

    def _belief(self, index: int, memory: MarketMemory) -> Belief:
        pool = self._view.pools[index]
        seen = memory.pools[pool.name]
        price = pool.spot_usd_per_hour / self._unit
        terms = self._terms[index]
        if pool.available is not None:
            return Belief(float(pool.available), True, seen.age_h, price, 0.0)
        share = self._values.shares[index]
        if seen.up is None:
            return Belief(share, False, self._prior.up.unknown_age_h, price, math.inf)
        gap_h = max(0.0, self._view.now_s - seen.seen_s) / _HOUR_S
        mixed = 1.0 - math.exp(-gap_h / 2.0)  # how far it has gone back to its long-run share
        if seen.up:
            stays = 1.0 - self._prior.up.ends(seen.age_h, gap_h, terms.habit_up)
            return Belief(stays + (1.0 - stays) * share * mixed, False, seen.age_h + gap_h, price, gap_h)
        came = self._prior.down.ends(seen.age_h, gap_h, terms.habit_down)
        return Belief(came * (1.0 - (1.0 - share) * mixed), False, gap_h / 2, price, gap_h)

    def best(self) -> Option:
        """The cheapest way to go on. What is held wins ties."""
        return min(self.options(), key=lambda option: option.cost)

    def options(self) -> list[Option]:
        """Every way to go on with what is known, what is held first."""
        held = self._view.holding.kind
        found: list[Option] = []
        here = self._names[self._here]
        if held == "spot":
            found.append(Option(Choice("spot", here), self._keep_spot()))
        elif held == "on-demand":
            found.append(Option(Choice("on-demand", here), self._keep_on_demand()))
        found.append(Option(Choice("none"), self._wait()))
        entries = self._entries(self._time_h, self._slack_h, [belief.age_h for belief in self._pools])
        for index, belief in enumerate(self._pools):
            on_demand = self._view.pools[index].on_demand_usd_per_hour / self._unit
            if not (held == "spot" and index == self._here) and belief.known and belief.up:
                if belief.price < _TOO_DEAR * on_demand:
                    extra = (belief.price - self._terms[index].spot) * self._step_h
                    found.append(Option(Choice("spot", self._names[index]), float(entries[index]) + extra))
            if not (held == "on-demand" and index == self._here):
                found.append(Option(Choice("on-demand", self._names[index]), self._start_on_demand(index)))
        return found

    def ask(self, best: Option, asked: Sequence[str] = ()) -> Choice | None:
        """The pool that is worth asking before `best` is done, if any.

        Asked every so often, a pool is found up half an interval late on average; the interval at which that and
        the price of asking balance is where odds × loss by delay × time since last known ÷ 2 reaches the price.
        """
        worth: tuple[float, int] | None = None
        entries: NDArray[np.float64] | None = None
        for index, belief in enumerate(self._pools):
            pool = self._view.pools[index]
            if belief.known or pool.name in asked or not safe(self._view, Choice("spot", pool.name)):
                continue
            if belief.price >= _TOO_DEAR * pool.on_demand_usd_per_hour / self._unit:
                continue
            if entries is None:
                entries = self._entries(self._time_h, self._slack_h, [each.age_h for each in self._pools])
                later = self._entries_later(best, [each.age_h for each in self._pools])
            gain = (best.cost - float(entries[index])) * belief.up
            price = pool.ask_usd / self._unit
            delay = max(0.0, float(later[index]) - float(entries[index])) / self._step_h
            overdue = belief.up * delay * min(belief.seen_h, 24.0) / 2
            if gain > price and overdue >= price and (worth is None or gain - price > worth[0]):
                worth = (gain - price, index)
        return None if worth is None else Choice("ask", self._names[worth[1]])

    def _entries_later(self, best: Option, ages_h: Sequence[float]) -> NDArray[np.float64]:
        """What entering each pool costs a step from now, the step itself included."""
        step_h = self._step_h
        if best.choice.kind == "none":
            return self._entries(self._time_h - step_h, self._slack_h - step_h, ages_h)
        index = self._names.index(best.choice.pool) if best.choice.pool else self._here
        pool = self._view.pools[index]
        owned = best.choice.kind == "on-demand"
        price = (pool.on_demand_usd_per_hour if owned else pool.spot_usd_per_hour) / self._unit
        return self._entries(self._time_h - step_h, self._slack_h, ages_h) + price * step_h

    # What is held, or nothing, for one step.

    def _keep_spot(self) -> float:
        rest_h = self._view.restart_left_s / _HOUR_S
        step_h, here = self._step_h, self._pools[self._here]
        time_h, slack_h = self._time_h - rest_h, self._slack_h - rest_h
        v = self._values
        gone = self._prior.up.ends(here.age_h, step_h, self._terms[self._here].habit_up)
        stays = v.at(v.spot, time_h - step_h, slack_h, self._here, here.age_h + step_h)
        lost = v.at(v.idle_down, time_h - step_h, slack_h, self._here, 0.0)
        cost = here.price * (self._worked_h(step_h) + rest_h)
        return cost + self._with_others(time_h - step_h, slack_h, step_h, ((1.0 - gone, stays), (gone, lost)))

    def _keep_on_demand(self) -> float:
        rest_h = self._view.restart_left_s / _HOUR_S
        price = self._view.pools[self._here].on_demand_usd_per_hour / self._unit
        if self._slack_h - rest_h < 0.0:
            return price * (self._view.work_left_s / _HOUR_S + rest_h)
        v, step_h = self._values, self._step_h
        branches = self._branches(
            v.owned_up, v.owned_down, self._time_h - rest_h - step_h, self._slack_h - rest_h, step_h
        )
        later = self._with_others(self._time_h - rest_h - step_h, self._slack_h - rest_h, step_h, branches)
        return price * (self._worked_h(step_h) + rest_h) + later

    def _wait(self) -> float:
        step_h = self._step_h
        if self._slack_h < step_h:
            return _NEVER
        v, time_h, slack_h = self._values, self._time_h - step_h, self._slack_h - step_h
        branches = self._branches(v.idle_up, v.idle_down, time_h, slack_h, step_h)
        return self._with_others(time_h, slack_h, step_h, branches)

    def _start_on_demand(self, index: int) -> float:
        pool = self._view.pools[index]
        price = pool.on_demand_usd_per_hour / self._unit
        moves = self._anchored and index != self._here
        length_h = self._restart_h + (pool.move_s / _HOUR_S if moves else 0.0)
        charge = pool.move_usd / self._unit if moves else 0.0
        time_h, slack_h = self._time_h - length_h, self._slack_h - length_h
        if slack_h < 0.0:
            return charge + price * (self._view.work_left_s / _HOUR_S + length_h)
        v = self._values
        if index != self._here:
            belief = self._pools[index]
            up = v.at(v.owned_up, time_h, slack_h, index, belief.age_h)
            down = v.at(v.owned_down, time_h, slack_h, index, belief.age_h)
            return charge + price * length_h + belief.up * up + (1.0 - belief.up) * down
        branches = self._branches(v.owned_up, v.owned_down, time_h, slack_h, length_h)
        return price * length_h + self._with_others(time_h, slack_h, length_h, branches)

    def _worked_h(self, step_h: float) -> float:
        return min(step_h, self._view.work_left_s / _HOUR_S)

    def _branches(
        self, up: Array, down: Array, time_h: float, slack_h: float, after_h: float
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """What the present pool's own state does within `after_h`: odds and value of up, and of down."""
        here, terms, v = self._pools[self._here], self._terms[self._here], self._values
        if here.up >= 0.5:
            ends = self._prior.up.ends(here.age_h, after_h, terms.habit_up)
            stays = v.at(up, time_h, slack_h, self._here, here.age_h + after_h)
            return (1.0 - ends, stays), (ends, v.at(down, time_h, slack_h, self._here, 0.0))
        ends = self._prior.down.ends(here.age_h, after_h, terms.habit_down)
        stays = v.at(down, time_h, slack_h, self._here, here.age_h + after_h)
        return (ends, v.at(up, time_h, slack_h, self._here, 0.0)), (1.0 - ends, stays)

    # The other pools.

    def _with_others(
        self, time_h: float, slack_h: float, after_h: float, branches: tuple[tuple[float, float], ...]
    ) -> float:
        """The mean over `branches` (odds, value), when any other pool that is up then may be entered instead."""
        if not self._many:
            return math.fsum(odds * value for odds, value in branches)
        odds_up, ages_h = self._after(after_h)
        entries = self._entries(time_h, slack_h, ages_h)
        entries[self._here] = _NEVER
        order = np.argsort(entries, kind="stable").tolist()
        total = 0.0
        for share, value in branches:
            mean, none_yet = 0.0, 1.0
            for index in order:
                entry = float(entries[index])
                if entry >= value or none_yet < 1e-3:
                    break
                mean += none_yet * odds_up[index] * entry
                none_yet *= 1.0 - odds_up[index]
            total += share * (mean + none_yet * value)
        return total

    def _after(self, after_h: float) -> tuple[list[float], list[float]]:
        """The odds that each pool is up `after_h` from now, and its age then if it is."""
        odds: list[float] = []
        ages_h: list[float] = []
        for belief, terms in zip(self._pools, self._terms, strict=True):
            if belief.up >= 0.5 or not belief.known:
                ends = self._prior.up.ends(belief.age_h, after_h, terms.habit_up)
                odds.append(belief.up * (1.0 - ends))
                ages_h.append(belief.age_h + after_h)
            else:
                odds.append(self._prior.down.ends(belief.age_h, after_h, terms.habit_down))
                ages_h.append(0.0)
        return odds, ages_h

    def _entries(self, time_h: float, slack_h: float, ages_h: Sequence[float]) -> NDArray[np.float64]:
        """What is left to pay after starting spot in each pool, were it up at these ages."""
        away_h = max(pool.move_s for pool in self._view.pools) / _HOUR_S if self._many and self._anchored else 0.0
        entries = self._started(time_h, slack_h, ages_h, self._restart_h + away_h)
        if away_h > 0.0:
            entries[self._here] = self._started(time_h, slack_h, ages_h, self._restart_h)[self._here]
        if self._anchored:
            entries += self._charges
            entries[self._here] -= self._charges[self._here]
        return entries

    def _started(self, time_h: float, slack_h: float, ages_h: Sequence[float], length_h: float) -> NDArray[np.float64]:
        if slack_h < length_h:
            return np.full(len(ages_h), _NEVER)
        v, ends = self._values, self._prior.up.ends
        gone = np.array([ends(age, length_h, terms.habit_up) for age, terms in zip(ages_h, self._terms, strict=True)])
        landed = v.at_all(
            v.spot, time_h - length_h, slack_h - length_h, v.age_points([age + length_h for age in ages_h])
        )
        lost = v.at_all(v.lost, time_h - length_h / 2, slack_h - length_h / 2, v.age_points(ages_h))
        return (1 - gone) * (landed + self._prices * length_h) + gone * (lost + self._prices * length_h / 2)
