"""Whatever the market does, a job that is feasible at its start is done in time, and nothing refused is tried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.market.game import Game, Job, Market, Zone, feasible, play
from orbit_core.sched.market import Choice, MarketPolicy, MarketView

TICK_S = 195.0
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def jobs(draw: st.DrawFn, *, tick_s: float = TICK_S) -> Job:
    """Feasible jobs, half of them with hardly any slack. Restarts are no multiples of a tick."""
    restart_s = draw(st.sampled_from([0.0, 1.0, 180.0, 194.9, 195.0, 200.3, 720.0, 1_000.0]))
    work_s = draw(st.floats(1.0, 40.0)) * tick_s
    slack_s = draw(st.one_of(st.floats(0.0, 3.0), st.floats(0.0, 40.0))) * tick_s
    job = Job(
        work_s=work_s,
        deadline_s=work_s + restart_s + slack_s + draw(st.sampled_from([0.0, tick_s])),
        restart_s=restart_s,
        move_usd=draw(st.sampled_from([0.0, 0.75])),
        move_s=draw(st.sampled_from([0.0, 100.0, 400.0])),
        ask_usd=draw(st.sampled_from([0.0, 0.01, 1.0])),
        hidden=draw(st.booleans()),
    )
    assume(feasible(job, tick_s))
    return job


@st.composite
def markets(draw: st.DrawFn, ticks: int) -> Market:
    """One to three zones of runs of any length; prices may pass on-demand."""
    zones: list[Zone] = []
    for index in range(draw(st.integers(1, 3))):
        runs = draw(st.lists(st.integers(1, 12), min_size=1, max_size=30))
        up = np.resize(np.repeat(np.arange(len(runs)) % 2 == draw(st.integers(0, 1)), runs), ticks)
        steps = draw(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=4))
        prices = np.resize(np.repeat(np.array(steps), 9), ticks)
        zones.append(Zone(f"zone-{index}", up, prices, draw(st.sampled_from([3.06, 2.9, 12.0]))))
    return Market(TICK_S, tuple(zones))


@SLOW
@given(st.data())
def test_no_deadline_is_missed(data: st.DataObject) -> None:
    job = data.draw(jobs())
    market = data.draw(markets(job.ticks(TICK_S)))
    outcome = play(MarketPolicy(), market, job)
    assert not outcome.missed
    assert outcome.refused == 0


class Spiteful:
    """Takes spot away as soon as the policy could not afford it, and gives it back when it is of no more use."""

    def __init__(self, policy: MarketPolicy, patience_ticks: float) -> None:
        self._policy, self._patience_ticks = policy, patience_ticks

    def up(self, view: MarketView) -> bool:
        left_s = view.deadline_s - view.now_s - view.work_left_s - view.restart_s
        return view.holding.kind == "on-demand" or left_s > self._patience_ticks * view.tick_s


@SLOW
@given(jobs(), st.floats(0.0, 4.0))
def test_spot_that_vanishes_when_slack_runs_out(job: Job, patience_ticks: float) -> None:
    job = replace(job, hidden=False)
    zone = Zone("a", np.ones(job.ticks(TICK_S), np.bool_), np.full(job.ticks(TICK_S), 1.0), 3.06)
    market = Market(TICK_S, (zone,))
    game, policy = Game(market, job), MarketPolicy()
    spiteful = Spiteful(policy, patience_ticks)
    tick = 0
    while not game.over:
        zone.available[tick] = spiteful.up(game.view())
        game.step(policy)
        tick += 1
    assert not game.outcome().missed


@SLOW
@given(st.data())
def test_a_restored_policy_makes_the_same_choices(data: st.DataObject) -> None:
    job = data.draw(jobs())
    market = data.draw(markets(job.ticks(TICK_S)))
    at = data.draw(st.integers(0, job.ticks(TICK_S)))

    class Twin:
        """Two policies side by side; from tick `at` on the second is rebuilt from the first at each call."""

        def __init__(self) -> None:
            self.policy = MarketPolicy()

        def decide(self, view: MarketView) -> Choice:
            if view.now_s >= at * TICK_S:
                other = MarketPolicy()
                other.restore(self.policy.state())
                assert other.state() == self.policy.state()
                choice = other.decide(view)
                assert choice == self.policy.decide(view)
                assert other.state() == self.policy.state()
                return choice
            return self.policy.decide(view)

    play(Twin(), market, job)


@SLOW
@given(st.data())
def test_an_infeasible_job_is_still_worked_on(data: st.DataObject) -> None:
    """It is late whatever is done; it must not be idled away."""
    job = data.draw(jobs())
    late = replace(job, deadline_s=job.work_s * 0.8, hidden=False)
    assume(late.ticks(TICK_S) >= 2)
    market = data.draw(markets(late.ticks(TICK_S)))
    outcome = play(MarketPolicy(), market, late)
    assert outcome.missed
    assert outcome.spot_ticks + outcome.on_demand_ticks == late.ticks(TICK_S)
