"""What a job still has to pay: a Markov decision process over time, slack, market state and age, solved backward.

State: (time left, slack, location, whether spot there is up or down and for how long, what is held). Slack is what
could be idled away before on-demand must start: time left − work left − one restart; work and restart never appear
apart from it. Time and slack advance in steps of `step_h`; ages lie on a short grid that widens with age, and an
age between two points is shared between them. A restart is one jump of its whole length; a loss cuts it in half
on average. Money is in hours of the reference on-demand price.

Other pools are seen through their long-run habits: at a loss, whether one of them is up, and which is best; while
down or held, that one of them comes up. `choose.py` puts what is known of them now in front of these values.
Only the recursion and the reading of its tables live here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._market.elsewhere import Elsewhere
from orbit_core.sched._market.prior import Curve
from orbit_core.sched._market.problem import Problem

Array = NDArray[np.floating]

_FEW_POOLS_AGES_H = (0.0, 0.1, 0.25, 0.6, 1.5, 4.0, 10.0, 24.0)
_MANY_POOLS_AGES_H = (0.0, 0.2, 0.7, 2.0, 6.0, 18.0)
_PROVEN = 2  # the age point at which a pool that came up elsewhere counts as worth a change
_FAR = np.float32(1e6)  # instead of infinity, so that shares of it stay numbers


class Values:
    """Tables [time, pool, age, slack] of the cost still to be paid, by what is held and how spot is there."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.ages_h = np.array(_FEW_POOLS_AGES_H if len(problem.pools) <= 3 else _MANY_POOLS_AGES_H)
        times, slacks, pools = problem.time_steps + 1, problem.slack_steps + 1, len(problem.pools)
        shape = (times, pools, self.ages_h.size, slacks)
        self.spot = np.zeros(shape, np.float32)
        self.idle_up = np.zeros(shape, np.float32)
        self.owned_up = np.zeros(shape, np.float32)
        self.idle_down = np.zeros(shape, np.float32)
        self.owned_down = np.zeros(shape, np.float32)
        self.lost = np.zeros((times, pools, 1, slacks), np.float32)  # spot was lost just now
        self.shares = [problem.prior.share_up(pool.habit_up, pool.habit_down) for pool in problem.pools]
        _Recursion(self).run()

    def at(self, table: Array, time_h: float, slack_h: float, pool: int, age_h: float) -> float:
        """One value, interpolated in work, slack and age; beyond the tables, their edge."""
        corners = self._corners(time_h, slack_h)
        if corners is None:
            return 0.0
        age, age_share = age_point(self.ages_h, age_h)
        young = old = 0.0
        for time, slack, weight in corners:
            ages = table[time, pool, age : age + 2, slack].tolist()
            young += weight * ages[0]
            old += weight * ages[-1]
        return young + (old - young) * age_share

    def at_all(
        self, table: Array, time_h: float, slack_h: float, ages: tuple[NDArray[np.intp], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """The values of all pools at once, each at its own age: `ages` as `age_points` gives them."""
        corners = self._corners(time_h, slack_h)
        point = np.zeros(table.shape[1:3])
        for time, slack, weight in corners or ():
            point += weight * table[time, :, :, slack]
        if table.shape[2] == 1:  # of the same value at any age
            return point[:, 0]
        pools = np.arange(len(point))
        below, share = ages
        low = point[pools, below]
        return low + (point[pools, below + 1] - low) * share

    def age_points(self, ages_h: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The places of many ages on the grid."""
        below = np.clip(self.ages_h.searchsorted(ages_h, side="right") - 1, 0, len(self.ages_h) - 2)
        share = (ages_h - self.ages_h[below]) / (self.ages_h[below + 1] - self.ages_h[below])
        return below, np.clip(share, 0.0, 1.0)

    def _corners(self, time_h: float, slack_h: float) -> list[tuple[int, int, float]] | None:
        """Table entries around a state and their weights; None when no work is left.

        Neighbours in slack are taken at equal work, not at equal time: work is what most of the cost hangs on.
        """
        problem = self.problem
        if time_h - slack_h - problem.restart_h <= 1e-9:
            return None
        slack, slack_share = _between(slack_h / problem.step_h, problem.slack_steps)
        last = problem.time_steps
        time = min(max((time_h - slack_h) / problem.step_h + slack, 0.0), float(last))
        whole = int(time)
        share = time - whole
        near, far = 1.0 - slack_share, slack_share
        return [
            (whole, slack, near * (1.0 - share)),
            (min(whole + 1, last), slack, near * share),
            (min(whole + 1, last), min(slack + 1, problem.slack_steps), far * (1.0 - share)),
            (min(whole + 2, last), min(slack + 1, problem.slack_steps), far * share),
        ]


def _between(position: float, last: int) -> tuple[int, float]:
    position = min(max(position, 0.0), float(last))
    return int(position), position - int(position)


def age_point(ages_h: NDArray[np.float64], age_h: float) -> tuple[int, float]:
    """Where an age lies on the grid: the point below, and the share of the point above."""
    below = min(max(int(ages_h.searchsorted(age_h, side="right")) - 1, 0), len(ages_h) - 2)
    share = float((age_h - ages_h[below]) / (ages_h[below + 1] - ages_h[below]))
    return below, min(1.0, max(0.0, share))


class _Recursion:
    """Backward in time, all slacks, ages and pools at once."""

    def __init__(self, values: Values) -> None:
        problem = values.problem
        pools = problem.pools
        self._v = values
        self._problem = problem
        self._slack_h = np.arange(problem.slack_steps + 1, dtype=np.float32) * np.float32(problem.step_h)
        self._spot_price = _column([pool.spot for pool in pools])
        self._owned_price = _column([pool.on_demand for pool in pools])
        self._lost = self._ends(problem.prior.up, [pool.habit_up for pool in pools])
        self._back = self._ends(problem.prior.down, [pool.habit_down for pool in pools])
        self._older = Aging(values.ages_h, problem.step_h)
        self._restart = _Jump(values, problem.restart_h, [0.0] * len(pools))
        self._elsewhere: Elsewhere | None = None
        if len(pools) > 1:
            self._entry = _Jump(
                values, problem.restart_h + max(pool.move_h for pool in pools), [pool.move for pool in pools]
            )
            self._elsewhere = Elsewhere(problem, values.ages_h, _PROVEN)
            self._entries = np.zeros_like(values.spot[0])

    def _ends(self, curve: Curve, habits: list[float]) -> Array:
        """[pool, age, 1]: the odds that the state ends within a step."""
        step_h = self._problem.step_h
        ages = [float(age) for age in self._v.ages_h]
        odds = [[curve.ends(age, step_h, habit) for age in ages] for habit in habits]
        return np.array(odds, np.float32)[:, :, None]

    def run(self) -> None:
        for time in range(1, self._problem.time_steps + 1):
            self._step(time)

    def _step(self, time: int) -> None:
        v, step_h = self._v, np.float32(self._problem.step_h)
        work_h = np.float32(time * self._problem.step_h - self._problem.restart_h) - self._slack_h
        paid_h = np.clip(work_h, np.float32(0), step_h)  # the last step is paid as far as it is worked
        open_ = work_h > 0
        idle_up, owned_up = v.idle_up[time - 1], v.owned_up[time - 1]
        idle_down, owned_down = v.idle_down[time - 1], v.owned_down[time - 1]
        lost = v.lost[time - 1]

        run = self._mix(self._lost, v.spot[time - 1], lost) + self._spot_price * paid_h
        own_up = self._mix(self._lost, owned_up, owned_down[:, :1]) + self._owned_price * paid_h
        own_down = self._mix(self._back, owned_down, owned_up[:, :1]) + self._owned_price * paid_h
        wait_up = _later(self._mix(self._lost, idle_up, lost))
        wait_down = _later(self._mix(self._back, idle_down, idle_up[:, :1]))

        # Held states come first: a start that takes less than a step lands in them.
        v.spot[time], v.owned_up[time], v.owned_down[time] = run * open_, own_up * open_, own_down * open_
        start = self._restart.to_spot(time)
        idle = np.minimum(np.minimum(wait_up, start), self._restart.to_owned(v.owned_up, time, self._owned_price))
        down = np.minimum(wait_down, self._restart.to_owned(v.owned_down, time, self._owned_price))
        own_up = np.minimum(own_up, start)
        if self._elsewhere is not None:
            self._entries = self._entry.to_spot(time)
            down = self._elsewhere.fresh(down, self._entries)
            own_down = self._elsewhere.fresh(own_down, self._entries)
            run = self._elsewhere.proven(run, self._entries)
        v.idle_up[time] = idle * open_
        v.idle_down[time] = down * open_
        v.owned_up[time] = np.minimum(own_up, idle) * open_
        v.owned_down[time] = np.minimum(own_down, down) * open_
        v.spot[time] = np.minimum(run, idle) * open_
        stranded = v.idle_down[time][:, :1]
        v.lost[time] = stranded if self._elsewhere is None else self._elsewhere.after_loss(stranded, self._entries)

    def _mix(self, odds: Array, stays: Array, ends: Array) -> Array:
        older = self._older(stays)
        return older + odds * (ends - older)


def _column(numbers: list[float]) -> Array:
    return np.array(numbers, np.float32)[:, None, None]


def _later(values: Array) -> Array:
    """A step of slack is gone; with none left there is no waiting."""
    return _slid(values, 1, _FAR)


def _slid(values: Array, steps: int, fill: Array | np.float32) -> Array:
    """`values` at `steps` less slack; `fill` where that is below zero."""
    if steps == 0:
        return values
    moved = np.empty_like(values)
    width = values.shape[-1]
    cut = min(steps, width)
    moved[..., cut:] = values[..., : width - cut]
    moved[..., :cut] = fill[..., :cut] if isinstance(fill, np.ndarray) else fill
    return moved


class Aging:
    """Values [pool, age, slack] of whoever is `by_h` older than each age point."""

    def __init__(self, ages_h: NDArray[np.float64], by_h: float) -> None:
        places = [age_point(ages_h, float(age) + by_h) for age in ages_h]
        self._below = np.array([place for place, _ in places], np.intp)
        self._share = np.array([share for _, share in places], np.float32)[:, None]

    def __call__(self, values: Array) -> Array:
        low = values[:, self._below]
        return low + (values[:, self._below + 1] - low) * self._share


class _Jump:
    """A start: time and slack both shrink by the restart, work stays, and the machine is paid meanwhile."""

    def __init__(self, values: Values, length_h: float, charge: list[float]) -> None:
        problem = values.problem
        self._v = values
        self._step_h, self._restart_h = problem.step_h, problem.restart_h
        self._steps = length_h / problem.step_h
        self._length_h = np.float32(length_h)
        self._spot_paid = _column([pool.spot * length_h for pool in problem.pools])
        self._charge = _column(charge)
        survives = [
            [1.0 - problem.prior.up.ends(float(age), length_h, pool.habit_up) for age in values.ages_h]
            for pool in problem.pools
        ]
        self._survives = np.array(survives, np.float32)[:, :, None]
        self._older = Aging(values.ages_h, length_h)

    def to_spot(self, time: int) -> Array:
        """[pool, age, slack] of starting spot now; cut short, it has cost half its time."""
        landed = self._older(self._diagonal(self._v.spot, time, self._steps, _FAR)) + self._spot_paid
        lost = self._diagonal(self._v.lost, time, max(1.0, self._steps / 2), _FAR) + self._spot_paid / 2
        return lost + self._survives * (landed - lost) + self._charge

    def to_owned(self, table: Array, time: int, price: Array) -> Array:
        """The same for on-demand, which may use up more slack than there is, and then runs to the end."""
        slack_h = np.arange(table.shape[-1], dtype=np.float32) * np.float32(self._step_h)
        work_h = np.maximum(np.float32(time * self._step_h - self._restart_h) - slack_h, np.float32(0))
        return self._diagonal(table, time, self._steps, price * work_h) + price * self._length_h

    def _diagonal(self, table: Array, time: int, steps: float, fill: Array | np.float32) -> Array:
        """`table` after so many steps of both time and slack; `fill` where no slack would be left."""
        whole = int(steps)
        near = _slid(table[max(time - whole, 0)], whole, fill)
        share = np.float32(steps - whole)
        if share == 0:
            return near
        return near + (_slid(table[max(time - whole - 1, 0)], whole + 1, fill) - near) * share
