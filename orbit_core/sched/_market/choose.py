"""Which of the things that can be done in this tick leaves least to pay: values, with what is known now in front.

Each way to go on is followed for one step of the tables with what is known of every pool at this moment (its age,
its price, whether it is up), and valued from there by the tables. Deadlines are kept by `safety.py`, which is asked
first; nothing here may weaken it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._market.habits import MarketMemory, PoolMemory
from orbit_core.sched._market.plan import Plan, reference_usd, room
from orbit_core.sched._market.safety import safe
from orbit_core.sched._market.values import Array, Values
from orbit_core.sched._market.view import Choice, MarketView, Pool

Vector = NDArray[np.float64]

_HOUR_S = 3600.0
_NEVER = math.inf
_TOO_DEAR = 0.98  # of on-demand: spot at this price or above is as good as absent
_MIXING_H = 2.0  # how soon a pool that is not watched is as likely up as in the long run
_DOUBT = 0.2  # on-demand hours an hour: what slack is worth beyond what the values say (see `_doubt`)
_BARGAIN = 0.75  # of on-demand: spot at less than this is worth taking rather than waiting for better
_SPIKE_MOST_H, _SPIKE_PARTS = 4.0, 8  # how far ahead a spike is followed, and in how many parts
_OVERDUE_H = 24.0  # a pool not asked for longer is no more overdue


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to do, and what it leaves to pay."""

    choice: Choice
    cost: float


@dataclass(frozen=True, slots=True)
class _Belief:
    """What is held true of one pool now: the odds that it is up, and the age of that state."""

    up: float
    age_h: float
    known: bool
    seen_h: float  # hours since it was known; infinite: never


class Chooser:
    """The options of one view. Money is in the plan's unit, times in hours."""

    def __init__(self, view: MarketView, memory: MarketMemory, plan: Plan, values: Values) -> None:
        self._view, self._values = view, values
        self._unit = reference_usd(view)
        self._names = plan.names
        self._prior = plan.problem.prior
        self._relief = plan.problem.relief
        terms = plan.problem.pools
        self._habits_up = np.array([each.habit_up for each in terms])
        self._habits_down = np.array([each.habit_down for each in terms])
        self._usual = np.array([each.spot for each in terms])
        self._many = len(terms) > 1
        self._anchored = view.holding.pool is not None
        self._here = self._names.index(view.holding.pool) if view.holding.pool is not None else 0
        self._charges = np.array([pool.move_usd / self._unit for pool in view.pools])
        self._charges[self._here] = 0.0
        self._moves_h = max(pool.move_s for pool in view.pools) / _HOUR_S if self._many else 0.0
        self._time_h, self._slack_h = room(view)
        self._restart_h = view.restart_s / _HOUR_S
        step_h = plan.problem.step_h
        self._step_h = step_h if self._slack_h >= step_h else view.tick_s / _HOUR_S
        self._beliefs = [self._belief(index, pool, memory.pools[pool.name]) for index, pool in enumerate(view.pools)]
        self._up = np.array([belief.up for belief in self._beliefs])
        self._ages_h = np.array([belief.age_h for belief in self._beliefs])
        # Believed up, or not known: then what is asked is what it is like if it is up.
        self._as_up = np.array([belief.up >= 0.5 or not belief.known for belief in self._beliefs])
        # Nobody tells when a pool that must be asked comes up: within a step, only what is seen counts.
        self._seen = np.array([belief.known for belief in self._beliefs])
        self._alone = self._many and not bool(self._as_up.any())
        self._now = self._entries(self._time_h, self._slack_h, self._ages_h) if self._many else None

    def _belief(self, index: int, pool: Pool, seen: PoolMemory) -> _Belief:
        if pool.available is not None:
            return _Belief(float(seen.up is True), seen.age_h, True, 0.0)
        share = self._values.shares[index]
        if seen.up is None:
            return _Belief(share, self._prior.up.unknown_age_h, False, math.inf)
        gap_h = max(0.0, self._view.now_s - seen.seen_s) / _HOUR_S
        if seen.spikes(pool.spot_usd_per_hour):
            return _Belief(0.0, gap_h, True, gap_h)
        mixed = 1.0 - math.exp(-gap_h / _MIXING_H)
        if seen.up:
            stays = 1.0 - self._prior.up.ends(seen.age_h, gap_h, float(self._habits_up[index]))
            return _Belief(stays + (1.0 - stays) * share * mixed, seen.age_h + gap_h, False, gap_h)
        came = self._prior.down.ends(seen.age_h, gap_h, float(self._habits_down[index]))
        return _Belief(came * (1.0 - (1.0 - share) * mixed), gap_h / 2, False, gap_h)

    def options(self) -> Iterator[Option]:
        """Every way to go on with what is known, what is held first."""
        here, held = self._names[self._here], self._view.holding.kind
        if held == "spot":
            yield Option(Choice("spot", here), self._keep_spot())
        elif held == "on-demand":
            yield Option(Choice("on-demand", here), self._keep_on_demand())
        yield Option(Choice("none"), self._wait())
        entries = self._now if self._now is not None else self._entries(self._time_h, self._slack_h, self._ages_h)
        for index, pool in enumerate(self._view.pools):
            if (held == "spot" and index == self._here) or not pool.available:
                continue
            if pool.spot_usd_per_hour >= _TOO_DEAR * pool.on_demand_usd_per_hour:
                continue
            cost = self._enter(index, entries) if self._up[index] else self._enter_spike(index)
            yield Option(Choice("spot", pool.name), cost)
        for index in self._on_demand_candidates():
            yield Option(Choice("on-demand", self._names[index]), self._start_on_demand(index))

    def ask(self, best: Option, asked: Sequence[str]) -> Choice | None:
        """The pool that is worth asking before `best` is done, if any, and not one of `asked`.

        Asked every so often, a pool is found up half an interval late on average; the interval at which that and
        the price of asking balance is where odds × loss by delay × time since last known ÷ 2 reaches the price.
        """
        now = self._now
        if now is None:
            now = self._entries(self._time_h, self._slack_h, self._ages_h)
        later: Vector | None = None
        most, question = 0.0, None
        for index, (pool, belief) in enumerate(zip(self._view.pools, self._beliefs, strict=True)):
            choice = Choice("spot", pool.name)
            if belief.known or pool.name in asked or not safe(self._view, choice):
                continue
            if pool.spot_usd_per_hour >= _TOO_DEAR * pool.on_demand_usd_per_hour:
                continue
            price = pool.ask_usd / self._unit
            worth = (best.cost - self._enter(index, now)) * belief.up - price
            if worth <= most:
                continue
            later = self._entries_later(best) if later is None else later
            delay = max(0.0, float(later[index] - now[index])) / self._step_h
            if belief.up * delay * min(belief.seen_h, _OVERDUE_H) / 2 >= price:
                most, question = worth, Choice("ask", pool.name)
        return question

    def _entries_later(self, best: Option) -> Vector:
        """What entering each pool costs a step from now, the step itself included."""
        step_h = self._step_h
        if best.choice.kind == "none":
            return self._entries(self._time_h - step_h, self._slack_h - step_h, self._ages_h)
        pool = self._view.pools[self._names.index(best.choice.pool) if best.choice.pool else self._here]
        on_demand = best.choice.kind == "on-demand"
        price = (pool.on_demand_usd_per_hour if on_demand else pool.spot_usd_per_hour) / self._unit
        return self._entries(self._time_h - step_h, self._slack_h, self._ages_h) + price * step_h

    # What is held, or nothing, for one step.

    def _keep_spot(self) -> float:
        v, step_h, rest_h = self._values, self._step_h, self._view.restart_left_s / _HOUR_S
        time_h, slack_h = self._time_h - rest_h - step_h, self._slack_h - rest_h
        pool = self._view.pools[self._here]
        cost = pool.spot_usd_per_hour / self._unit * (self._worked_h(step_h) + rest_h)
        if self._up[self._here]:
            branches = self._branches(v.spot, v.idle_down, time_h, slack_h, step_h)
        else:  # a spike: as dear capacity is, until the price is back
            branches = self._branches(v.spot, v.owned_down, time_h, slack_h, step_h)
            cost += max(0.0, pool.spot_usd_per_hour - pool.on_demand_usd_per_hour) / self._unit * self._spike_h()
        return cost + self._with_others(time_h, slack_h, step_h, branches)

    def _spike_h(self) -> float:
        """How long the spike is expected to go on after this step.

        Were only this step's price counted, a start on-demand would never seem worth it now, in one step after another.
        """
        most_h = min(_SPIKE_MOST_H, self._view.work_left_s / _HOUR_S)
        middles_h = (np.arange(_SPIKE_PARTS) + 0.5) * most_h / _SPIKE_PARTS
        age_h, habit = float(self._ages_h[self._here]), float(self._habits_down[self._here])
        lasts = [1.0 - self._prior.down.ends(age_h, float(middle_h), habit) for middle_h in middles_h]
        return max(0.0, math.fsum(lasts) * most_h / _SPIKE_PARTS - self._step_h)

    def _keep_on_demand(self) -> float:
        return self._on_demand_after(self._view.restart_left_s / _HOUR_S)

    def _on_demand_after(self, rest_h: float) -> float:
        """On-demand where the job is: so much restart, and a step of work."""
        v, step_h = self._values, self._step_h
        price = self._view.pools[self._here].on_demand_usd_per_hour / self._unit
        if self._slack_h < rest_h:
            return price * (self._view.work_left_s / _HOUR_S + rest_h)
        time_h, slack_h, after_h = self._time_h - rest_h - step_h, self._slack_h - rest_h, rest_h + step_h
        branches = self._branches(v.owned_up, v.owned_down, time_h, slack_h, after_h)
        return price * (self._worked_h(step_h) + rest_h) + self._with_others(time_h, slack_h, after_h, branches)

    def _wait(self) -> float:
        step_h = self._step_h
        if self._slack_h < step_h:
            return _NEVER
        v, time_h, slack_h = self._values, self._time_h - step_h, self._slack_h - step_h
        branches = self._branches(v.idle_up, v.idle_down, time_h, slack_h, step_h)
        return self._with_others(time_h, slack_h, step_h, branches) + self._doubt()

    def _doubt(self) -> float:
        """The charge for idling past a bargain that needs no move, where there are several pools.

        The values take pools to fail by themselves and to last as the habits say; where that is too hopeful, slack
        spent on waiting for a still better pool is missed later. In `bench.market` the charge costs 0.1 to 0.3 %
        in markets like the recorded ones and up to 1.5 % in scarce ones, and saves 13 % where pools fail together.
        """
        for index, pool in enumerate(self._view.pools):
            bargain = pool.spot_usd_per_hour < _BARGAIN * pool.on_demand_usd_per_hour
            if self._many and pool.available and self._up[index] and self._charges[index] == 0.0 and bargain:
                return _DOUBT * self._step_h
        return 0.0

    def _worked_h(self, step_h: float) -> float:
        return min(step_h, self._view.work_left_s / _HOUR_S)

    # Starts.

    def _enter(self, index: int, entries: Vector) -> float:
        """Spot in a pool that is up; today's price is paid for a step, the usual one from then on."""
        price = self._view.pools[index].spot_usd_per_hour / self._unit
        return float(entries[index] + (price - self._usual[index]) * self._step_h)

    def _enter_spike(self, index: int) -> float:
        """Spot at a price far above its usual one: on-demand by another name, for a step."""
        pool = self._view.pools[index]
        less = (pool.on_demand_usd_per_hour - pool.spot_usd_per_hour) / self._unit
        return self._start_on_demand(index) - less * self._step_h

    def _on_demand_candidates(self) -> list[int]:
        """The present pool (its move is free), and the cheapest other one if it is cheaper."""
        pools = self._view.pools
        found = [] if self._view.holding.kind == "on-demand" else [self._here]
        cheapest = min(range(len(pools)), key=lambda index: pools[index].on_demand_usd_per_hour)
        if pools[cheapest].on_demand_usd_per_hour < pools[self._here].on_demand_usd_per_hour:
            found.append(cheapest)
        return found

    def _start_on_demand(self, index: int) -> float:
        if index == self._here:
            return self._on_demand_after(self._restart_h)
        pool, v = self._view.pools[index], self._values
        price = pool.on_demand_usd_per_hour / self._unit
        length_h = self._restart_h + (pool.move_s / _HOUR_S if self._anchored else 0.0)
        charge = float(self._charges[index]) if self._anchored else 0.0
        time_h, slack_h = self._time_h - length_h, self._slack_h - length_h
        if slack_h < 0.0:
            return charge + price * (self._view.work_left_s / _HOUR_S + length_h)
        up, age_h = float(self._up[index]), float(self._ages_h[index])
        if_up = v.at(v.owned_up, time_h, slack_h, index, age_h)
        if_down = v.at(v.owned_down, time_h, slack_h, index, age_h)
        return charge + price * length_h + up * if_up + (1.0 - up) * if_down

    def _branches(
        self, up: Array, down: Array, time_h: float, slack_h: float, after_h: float
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """What the present pool's own state does within `after_h`: odds and value of up, and of down."""
        v, here, age_h = self._values, self._here, float(self._ages_h[self._here])
        if self._up[here] >= 0.5:
            ends = self._prior.up.ends(age_h, after_h, float(self._habits_up[here]))
            stays = v.at(up, time_h, slack_h, here, age_h + after_h)
            return (1.0 - ends, stays), (ends, v.at(down, time_h, slack_h, here, 0.0))
        ends = self._prior.down.ends(age_h, after_h, float(self._habits_down[here]) * self._pace())
        stays = v.at(down, time_h, slack_h, here, age_h + after_h)
        return (ends, v.at(up, time_h, slack_h, here, 0.0)), (1.0 - ends, stays)

    # The other pools.

    def _pace(self) -> float:
        """Where nothing is up, pools come back slower than each by itself would."""
        return self._relief if self._alone else 1.0

    def _with_others(
        self, time_h: float, slack_h: float, after_h: float, branches: tuple[tuple[float, float], ...]
    ) -> float:
        """The mean over `branches` (odds, value), when any other pool that is up then may be entered instead."""
        if not self._many:
            return math.fsum(odds * value for odds, value in branches)
        goes = self._prior.up.ends_each(self._ages_h, after_h, self._habits_up)
        comes = self._prior.down.ends_each(self._ages_h, after_h, self._habits_down * self._pace())
        odds_up = np.where(self._as_up, self._up * (1.0 - goes), comes) * self._seen
        ages_h = np.where(self._as_up, self._ages_h + after_h, 0.0)
        entries = self._entries(time_h, slack_h, ages_h)
        entries[self._here] = _NEVER
        ranked = sorted(zip(entries.tolist(), odds_up.tolist(), strict=True))
        total = 0.0
        for share, value in branches:
            mean, none_yet = 0.0, 1.0
            for entry, odds in ranked:
                if entry >= value or none_yet < 1e-3:
                    break
                mean += none_yet * odds * entry
                none_yet *= 1.0 - odds
            total += share * (mean + none_yet * value)
        return total

    def _entries(self, time_h: float, slack_h: float, ages_h: Vector) -> Vector:
        """What is left to pay after starting spot in each pool, were it up at these ages."""
        if not self._anchored or self._moves_h == 0.0:
            entries = self._started(time_h, slack_h, ages_h, self._restart_h)
        else:
            entries = self._started(time_h, slack_h, ages_h, self._restart_h + self._moves_h)
            entries[self._here] = self._started(time_h, slack_h, ages_h, self._restart_h)[self._here]
        return entries + self._charges if self._anchored else entries

    def _started(self, time_h: float, slack_h: float, ages_h: Vector, length_h: float) -> Vector:
        if slack_h < length_h:
            return np.full(len(ages_h), _NEVER)
        v = self._values
        gone = self._prior.up.ends_each(ages_h, length_h, self._habits_up)
        landed = v.at_all(v.spot, time_h - length_h, slack_h - length_h, v.age_points(ages_h + length_h))
        lost = v.at_all(v.lost, time_h - length_h / 2, slack_h - length_h / 2, v.age_points(ages_h))
        paid = self._usual * length_h
        return (1 - gone) * (landed + paid) + gone * (lost + paid / 2)
