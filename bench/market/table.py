"""What is played against what: the lines of the benchmark's table, and how one of them is worked out.

A line is a market, a deadline, a restart and the price of moving; its figures are each policy's cost over what
perfect knowledge of the future would have cost, averaged over windows. Printing is `__main__`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.market.baselines import Greedy, OnDemandOnly, SkyNomadLike, UniformProgress
from bench.market.game import Job, Market, Policy, play
from bench.market.held_out import HELD_OUT_MANY, HELD_OUT_ONE
from bench.market.hindsight import hindsight_usd
from bench.market.markets import MANY_ZONES, ONE_ZONE, TICK_S, Family, recorded
from orbit_core.sched.market import MarketPolicy

_HOUR_S = 3600.0
_WORK_S = 48 * _HOUR_S
_RESTARTS_S = (180.0, 720.0)

POLICIES: dict[str, Callable[[], Policy]] = {
    "on-demand": OnDemandOnly,
    "greedy": Greedy,
    "uniform": UniformProgress,
    "skynomad": SkyNomadLike,
    "orbit": MarketPolicy,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: `windows` gives the markets that are played."""

    section: str
    market: str
    job: Job
    windows: Callable[[], Iterator[Market]]
    policies: tuple[str, ...]


@dataclass(slots=True)
class Result:
    """The figures of a line: mean cost over hindsight and jobs missed, by policy."""

    line: Line
    ratio: dict[str, float] = field(default_factory=dict[str, float])
    missed: dict[str, int] = field(default_factory=dict[str, int])
    hindsight_usd: float = 0.0
    windows: int = 0
    orbit_ms_per_tick: float = 0.0


def measure(line: Line) -> Result:
    """Play every policy of a line in each of its windows."""
    result = Result(line)
    ratios: dict[str, list[float]] = {name: [] for name in line.policies}
    least: list[float] = []
    spent_s, ticks = 0.0, 0
    for market in line.windows():
        best = hindsight_usd(market, line.job)
        least.append(best)
        for name in line.policies:
            began = time.process_time()
            outcome = play(POLICIES[name](), market, line.job)
            if name == "orbit":
                spent_s += time.process_time() - began
                ticks += round((outcome.finished_s or line.job.deadline_s) / market.tick_s)
            ratios[name].append(outcome.cost_usd / best)
            result.missed[name] = result.missed.get(name, 0) + outcome.missed
    result.ratio = {name: float(np.mean(values)) for name, values in ratios.items()}
    result.hindsight_usd, result.windows = float(np.mean(least)), len(least)
    result.orbit_ms_per_tick = 1e3 * spent_s / max(ticks, 1)
    return result


def lines(windows: int, seeds: int) -> Iterator[Line]:
    """The whole table, in order. Recordings that are absent are left out."""
    yield from _recorded(windows)
    yield from _one_zone("one zone, made up", ONE_ZONE, seeds)
    families = [family for family in MANY_ZONES if recorded() or not family.needs_recordings]
    yield from _many_free("many zones, moves free", families, seeds)
    yield from _many_paid("many zones, moves paid", families, seeds)
    yield from _one_zone("held out: one zone", HELD_OUT_ONE, seeds)
    yield from _many_free("held out: many zones, moves free", HELD_OUT_MANY, seeds)
    yield from _many_paid("held out: many zones, moves paid", HELD_OUT_MANY, seeds)


def _one_zone(section: str, families: Sequence[Family], seeds: int) -> Iterator[Line]:
    for family in families:
        for deadline_h in (52, 70):
            for restart_s in _RESTARTS_S:
                yield _made(section, family, Job(_WORK_S, deadline_h * _HOUR_S, restart_s), seeds)


def _many_free(section: str, families: Sequence[Family], seeds: int) -> Iterator[Line]:
    for family in families:
        for job in (Job(_WORK_S, 60 * _HOUR_S, 180.0), Job(_WORK_S, 72 * _HOUR_S, 720.0)):
            yield _made(section, family, job, seeds)


def _many_paid(section: str, families: Sequence[Family], seeds: int) -> Iterator[Line]:
    for family in families:
        move_usd = 0.25 * family.on_demand_usd
        for job in (
            Job(_WORK_S, 72 * _HOUR_S, 720.0, move_usd=move_usd),
            Job(_WORK_S, 72 * _HOUR_S, 180.0, move_usd=move_usd, ask_usd=0.02, hidden=True),
        ):
            yield _made(section, family, job, seeds)


def _recorded(windows: int) -> Iterator[Line]:
    for zone in recorded():
        for deadline_h in (52, 70, 92):
            for restart_s in _RESTARTS_S:
                job = Job(_WORK_S, deadline_h * _HOUR_S, restart_s)
                market = Market(TICK_S, (zone,))
                yield Line(
                    "one zone, recorded",
                    zone.name,
                    job,
                    lambda market=market, job=job: spread(market, job, windows),
                    ("on-demand", "greedy", "uniform", "orbit"),
                )


def spread(market: Market, job: Job, windows: int) -> Iterator[Market]:
    """So many windows of a recording, evenly spread over it."""
    ticks = job.ticks(market.tick_s)
    for start in np.linspace(0, market.ticks - ticks, windows).astype(int):
        yield market.window(int(start), ticks)


def _made(section: str, family: Family, job: Job, seeds: int) -> Line:
    return Line(
        section,
        family.name,
        job,
        lambda: (family.make(seed, job.ticks(TICK_S)) for seed in range(seeds)),
        tuple(POLICIES),
    )
