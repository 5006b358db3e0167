"""Runs that have ended, as `hindsight` wants them: their work, and the agents and prices that there were for it.

What work took is known where it ran. Elsewhere it is taken to have been as much quicker or slower as the estimates
of now have it, or as quick where they know nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orbit_core.sched.estimate import Estimates, estimate, hardware_kind
from orbit_core.sched.hindsight import Job, Least, Offer, can_run, least, windows
from orbit_core.sched.history import ABSENT, History, Past, stretches
from orbit_core.sched.state import MeshState, WorkDone
from orbit_core.sched.workflow import StepPlan, Workflow

#: Kinds of agent that are told apart, as far as leaving small differences of price aside makes it so few.
_OFFERS_MOST = 24


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What hindsight has to know of a run. `work`: as `Run.work`."""

    id: str
    workflow: Workflow
    created_ms: int
    deadline_ms: int
    work: Mapping[str, WorkDone]


@dataclass(frozen=True, slots=True)
class LookBack:
    """The question what runs could have cost. Independent of the state; `answer` from any thread."""

    jobs: tuple[Job, ...]
    offers: tuple[Offer, ...]

    @property
    def runs(self) -> Mapping[str, None]:
        """Those that an answer is about."""
        return dict.fromkeys(job.run for job in self.jobs)

    def answer(self) -> Least:
        return least(self.jobs, self.offers)


def look_back(state: MeshState, runs: Iterable[EndedRun], now_ms: int) -> LookBack:
    """The question about those runs of which all is known that counts.

    Left out is a run that began before the history does, one that did no work, and one with a step that none of the
    agents that are remembered could run.
    """
    history = state.history
    offers = _offers(history, now_ms)
    speeds = _Speeds(state.estimates, offers)
    jobs: list[Job] = []
    for run in runs:
        if history.since_ms and run.created_ms >= history.since_ms:
            jobs += _jobs(run, offers, speeds, now_ms)
    return LookBack(tuple(jobs), tuple(offers))


def _offers(history: History, now_ms: int) -> list[Offer]:
    """Agents by kind and price. Where there are many, prices that are nearly the same count as one."""
    pasts = [past for past in history.agents.values() if past.prices]
    groups: dict[object, list[Past]] = {}
    for like in (_alike, _nearly_alike, _of_one_kind):
        groups = {}
        for past in pasts:
            groups.setdefault(like(past), []).append(past)
        if len(groups) <= _OFFERS_MOST:
            break
    return [
        Offer(
            history.kinds[members[0].kind],
            tuple(
                (float(begin), float(end), usd)
                for past in members
                for begin, end, usd in stretches(past.prices, history.since_ms, now_ms)
            ),
        )
        for members in groups.values()
    ]


def _alike(past: Past) -> object:
    return (past.kind, tuple(dict.fromkeys(usd for _, usd in past.prices)))


def _nearly_alike(past: Past) -> object:
    prices = [usd for _, usd in past.prices if usd != ABSENT]
    mean = math.fsum(prices) / len(prices)
    return (past.kind, round(math.log(mean, 1.1)) if mean > 0 else None)


def _of_one_kind(past: Past) -> object:
    return past.kind


class _Speeds:
    """How much longer a step takes on the agents of an offer than on some kind of hardware."""

    def __init__(self, estimates: Estimates, offers: Sequence[Offer]) -> None:
        self._estimates = estimates
        self._offers = offers
        self._known: dict[tuple[StepPlan, str], float | None] = {}

    def ratio(self, step: StepPlan, hardware: str, offer: int) -> float:
        here, there = self._mean(step, hardware), self._mean(step, hardware_kind(self._offers[offer].facts, step))
        return there / here if here and there else 1.0

    def _mean(self, step: StepPlan, hardware: str) -> float | None:
        key = (step, hardware)
        if key not in self._known:
            found = estimate(self._estimates, step, hardware)
            self._known[key] = found.mean_ms if found.samples else None
        return self._known[key]


def _jobs(run: EndedRun, offers: Sequence[Offer], speeds: _Speeds, now_ms: int) -> list[Job]:
    """Nothing where a step of the run could run nowhere."""
    takes: dict[int, dict[int, float]] = {}
    shortest: dict[int, float] = {}
    for key, done in run.work.items():
        index, hardware = int(key.partition("|")[0]), key.partition("|")[2]
        step = run.workflow.steps[index]
        able = can_run(offers, step)
        if not able:
            return []
        times = takes.setdefault(index, dict.fromkeys(able, 0.0))
        for offer in able:
            ratio = speeds.ratio(step, hardware, offer)
            times[offer] += done.total_ms * ratio
            shortest[index] = min(shortest.get(index, math.inf), done.shortest_ms * ratio)
    around = windows(run.workflow, shortest)
    ends_ms = float(min(run.deadline_ms, now_ms))  # what comes after now nobody knows yet
    return [
        Job(run.id, run.workflow.steps[index], times, run.created_ms + around[index][0], ends_ms - around[index][1])
        for index, times in sorted(takes.items())
    ]
