"""The game of a spot market, one job at a time: the rules of a market tick, and nothing about how to play it.

A tick is: spot that became unavailable is lost; the policy chooses (after as many asks as there are pools, each
answered within the tick); a start or a change of pool or market begins a restart that replaces what was left of
an earlier one; the whole tick is paid; work is done in what the restart leaves of the tick, and may end inside it.
`deadline_s` counts from the job's start, which is a tick of the market.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched.market import Choice, Holding, MarketView, Pool

_CRUMB_S = 1e-6  # what sums of floats may leave of a job that is done


@dataclass(frozen=True, slots=True)
class Zone:
    """A recorded or made-up pool: `available` and `spot_usd_per_hour` hold one entry a tick."""

    name: str
    available: NDArray[np.bool_]
    spot_usd_per_hour: NDArray[np.float64]
    on_demand_usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Market:
    """Zones side by side on one grid of ticks."""

    tick_s: float
    zones: tuple[Zone, ...]

    @property
    def ticks(self) -> int:
        return min(len(zone.available) for zone in self.zones)

    def window(self, start: int, ticks: int) -> Market:
        """The market from tick `start` on, for `ticks` ticks."""
        cut = slice(start, start + ticks)
        return Market(
            self.tick_s,
            tuple(
                replace(zone, available=zone.available[cut], spot_usd_per_hour=zone.spot_usd_per_hour[cut])
                for zone in self.zones
            ),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """What must be done, and what the rules charge. A job starts at the first tick of its market.

    `hidden`: availability is shown only of the present location, and of a pool that has just been asked.
    The first start moves nothing, so it pays neither `move_usd` nor `move_s`.
    """

    work_s: float
    deadline_s: float
    restart_s: float
    move_usd: float = 0.0
    move_s: float = 0.0
    ask_usd: float = 0.0
    hidden: bool = False

    def ticks(self, tick_s: float) -> int:
        """The whole ticks before the deadline."""
        return math.floor(self.deadline_s / tick_s + 1e-9)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job went. `finished_s` is None when work was left at the deadline."""

    cost_usd: float
    finished_s: float | None
    spot_ticks: int
    on_demand_ticks: int
    starts: int
    moves: int
    asks: int
    refused: int

    @property
    def missed(self) -> bool:
        return self.finished_s is None


class Policy(Protocol):
    """Whoever plays: Orbit's policy, or a baseline."""

    def decide(self, view: MarketView) -> Choice: ...


class Game:
    """The state of one job in one market; `step` plays one tick."""

    def __init__(self, market: Market, job: Job) -> None:
        self._market = market
        self._job = job
        self._index = {zone.name: at for at, zone in enumerate(market.zones)}
        self._held = Holding("none", None)
        self._restart_left_s = 0.0
        self._work_left_s = job.work_s
        self._tick = 0
        self._cost_usd = 0.0
        self._finished_s: float | None = None
        self._spot_ticks = self._on_demand_ticks = self._starts = self._moves = self._asks = self._refused = 0

    @property
    def over(self) -> bool:
        return self._finished_s is not None or self._tick >= self._job.ticks(self._market.tick_s)

    def step(self, policy: Policy) -> None:
        """One tick: losses, asks, the choice, the bill, the work."""
        asked: set[str] = set()
        choice = policy.decide(self.view(asked))
        while choice.kind == "ask":
            pool = choice.pool or self._here()
            if pool in asked:
                raise ValueError(f"pool {pool} was asked twice in one tick")
            asked.add(pool)
            self._asks += 1
            self._cost_usd += self._job.ask_usd
            choice = policy.decide(self.view(asked))
        self._apply(choice, asked)
        self._run()
        self._tick += 1

    def outcome(self) -> Outcome:
        return Outcome(
            cost_usd=self._cost_usd,
            finished_s=self._finished_s,
            spot_ticks=self._spot_ticks,
            on_demand_ticks=self._on_demand_ticks,
            starts=self._starts,
            moves=self._moves,
            asks=self._asks,
            refused=self._refused,
        )

    def _here(self) -> str:
        return self._held.pool or self._market.zones[0].name

    def _lose_spot(self) -> None:
        held = self._held
        if held.kind == "spot" and not self._zone(self._here()).available[self._tick]:
            self._held = Holding("none", held.pool)
            self._restart_left_s = 0.0

    def _zone(self, name: str) -> Zone:
        return self._market.zones[self._index[name]]

    def _known(self, name: str, asked: Collection[str]) -> bool:
        return not self._job.hidden or name == self._held.pool or name in asked

    def view(self, asked: Collection[str] = ()) -> MarketView:
        """What the policy is shown in this tick, once it has asked these pools."""
        self._lose_spot()
        moved = self._held.pool is not None
        pools = tuple(
            Pool(
                name=zone.name,
                available=bool(zone.available[self._tick]) if self._known(zone.name, asked) else None,
                spot_usd_per_hour=float(zone.spot_usd_per_hour[self._tick]),
                on_demand_usd_per_hour=zone.on_demand_usd_per_hour,
                ask_usd=self._job.ask_usd,
                move_usd=self._job.move_usd if moved and zone.name != self._held.pool else 0.0,
                move_s=self._job.move_s if moved and zone.name != self._held.pool else 0.0,
            )
            for zone in self._market.zones
        )
        return MarketView(
            now_s=self._tick * self._market.tick_s,
            started_s=0.0,
            deadline_s=self._job.deadline_s,
            work_s=self._job.work_s,
            work_left_s=self._work_left_s,
            tick_s=self._market.tick_s,
            restart_s=self._job.restart_s,
            restart_left_s=self._restart_left_s,
            pools=pools,
            holding=self._held,
        )

    def _apply(self, choice: Choice, asked: set[str]) -> None:
        if choice.kind == "none":
            self._held = Holding("none", self._held.pool)
            self._restart_left_s = 0.0
            return
        assert choice.kind in ("spot", "on-demand")
        pool = choice.pool or self._here()
        wanted = Holding(choice.kind, pool)
        if wanted == self._held:
            return
        if choice.kind == "spot" and not (self._known(pool, asked) and self._zone(pool).available[self._tick]):
            self._refused += 1
            return
        self._starts += 1
        self._restart_left_s = self._job.restart_s
        if self._held.pool is not None and self._held.pool != pool:
            self._moves += 1
            self._restart_left_s += self._job.move_s
            self._cost_usd += self._job.move_usd
        self._held = wanted

    def _run(self) -> None:
        if self._held.kind == "none":
            return
        tick_s = self._market.tick_s
        zone = self._zone(self._here())
        if self._held.kind == "spot":
            price = float(zone.spot_usd_per_hour[self._tick])
            self._spot_ticks += 1
        else:
            price = zone.on_demand_usd_per_hour
            self._on_demand_ticks += 1
        self._cost_usd += price * tick_s / 3600.0
        restarting_s = min(self._restart_left_s, tick_s)
        working_s = tick_s - restarting_s
        if self._work_left_s <= working_s + _CRUMB_S:
            self._finished_s = self._tick * tick_s + restarting_s + self._work_left_s
            self._work_left_s = 0.0
            return
        self._restart_left_s -= restarting_s
        self._work_left_s -= working_s


def play(policy: Policy, market: Market, job: Job, *, watch: Callable[[Game], None] | None = None) -> Outcome:
    """Play one job to its end or its deadline. The market must last as long as the deadline.

    `watch` is called after each tick, for tests that look inside.
    """
    if market.ticks < job.ticks(market.tick_s):
        raise ValueError("the market ends before the deadline of the job")
    game = Game(market, job)
    while not game.over:
        game.step(policy)
        if watch is not None:
            watch(game)
    return game.outcome()


def feasible(job: Job, tick_s: float) -> bool:
    """Whether on-demand alone, started at once, meets the deadline."""
    return math.ceil((job.work_s + job.restart_s) / tick_s) <= job.ticks(tick_s)
