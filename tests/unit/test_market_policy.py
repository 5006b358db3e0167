"""The parts of the market policy one by one: what it learns, what it values, what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.market.baselines import Greedy, UniformProgress
from bench.market.game import Job, Market, Zone, play
from bench.market.markets import MANY_ZONES, ONE_ZONE, TICK_S, recorded
from orbit_core.errors import InvalidRequestError, PreconditionError
from orbit_core.sched._market import safety
from orbit_core.sched._market.habits import MarketMemory
from orbit_core.sched._market.plan import Plan, refreshed
from orbit_core.sched._market.prior import SHIPPED
from orbit_core.sched._market.problem import PoolTerms, Problem
from orbit_core.sched._market.values import Values
from orbit_core.sched.market import Choice, Holding, MarketPolicy, MarketView, Pool

HOUR_S = 3600.0


def view(**changes: object) -> MarketView:
    """A job of two hours with one hour of slack in one pool that is up."""
    base = MarketView(
        now_s=0.0,
        started_s=0.0,
        deadline_s=3 * HOUR_S,
        work_s=2 * HOUR_S,
        work_left_s=2 * HOUR_S,
        tick_s=300.0,
        restart_s=180.0,
        restart_left_s=0.0,
        pools=(Pool("a", True, 1.0, 3.0),),
        holding=Holding("none"),
    )
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


# The prior.


def test_odds_fall_with_age_and_grow_with_habit() -> None:
    curve = SHIPPED.up
    odds = [curve.ends(age_h, 0.25, 1.0) for age_h in (0.0, 0.5, 2.0, 12.0)]
    assert odds == sorted(odds, reverse=True)
    assert curve.ends(1.0, 0.25, 2.0) > curve.ends(1.0, 0.25, 1.0)


def test_survival_and_odds_are_the_same_curve() -> None:
    ages = np.array([1.0, 3.0])
    alive = SHIPPED.down.survival(ages, 1.3)
    assert alive[1] / alive[0] == pytest.approx(1 - SHIPPED.down.ends(1.0, 2.0, 1.3))
    each = SHIPPED.down.ends_each(ages, 0.5, np.array([1.0, 2.0]))
    assert each.tolist() == pytest.approx([SHIPPED.down.ends(1.0, 0.5, 1.0), SHIPPED.down.ends(3.0, 0.5, 2.0)])


def test_a_curve_of_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        replace(SHIPPED.up, decay=1.0)


# What is learnt.


def seen(states: str, *, pools: int = 1, prices: list[float] | None = None) -> MarketMemory:
    memory = MarketMemory()
    for tick, state in enumerate(states):
        price = prices[tick] if prices else 1.0
        row = tuple(Pool(f"pool-{index}", state == "1", price, 3.0) for index in range(pools))
        memory.see(row, tick * 600.0, SHIPPED)
    return memory


def test_a_pool_that_flaps_gets_worse_habits_than_one_that_stays() -> None:
    flaps = seen("1110" * 30).habit("pool-0", SHIPPED)
    stays = seen("1" * 120).habit("pool-0", SHIPPED)
    assert flaps.up > 1.2 > 0.9 > stays.up


def test_ages_start_anew_at_a_change_and_unknown_ones_are_old() -> None:
    assert seen("1").pools["pool-0"].age_h == SHIPPED.up.unknown_age_h
    assert seen("0001").pools["pool-0"].age_h == pytest.approx(300 / HOUR_S)
    assert seen("000111").pools["pool-0"].age_h == pytest.approx(1500 / HOUR_S)


def test_seeing_one_moment_twice_is_seeing_it_once() -> None:
    once, twice = seen("1101"), seen("1101")
    twice.see((Pool("pool-0", True, 1.0, 3.0),), 3 * 600.0, SHIPPED)
    assert twice == once


def test_others_teach_about_a_pool_that_was_hardly_seen() -> None:
    memory = seen("10" * 40, pools=3)
    memory.see((Pool("new", True, 1.0, 3.0),), 80 * 600.0, SHIPPED)
    assert memory.habit("new", SHIPPED).up > 1.5


def test_a_spike_counts_as_down_and_a_lasting_price_becomes_usual() -> None:
    spiked = seen("1" * 12, prices=[1.0] * 6 + [2.0] * 6).pools["pool-0"]
    assert spiked.up is False
    assert spiked.price < 1.2
    lasting = seen("1" * 400, prices=[1.0] * 6 + [2.0] * 394).pools["pool-0"]
    assert lasting.up is True
    assert lasting.price > 1.6
    assert seen("1" * 12, prices=[2.0] * 6 + [1.0] * 6).pools["pool-0"].price == 1.0


def weibull_market(shape: float, *, pools: int = 6, ticks: int = 1_200) -> MarketMemory:
    """What is remembered of pools whose runs are Weibull of mean 40 minutes (shape 1: memoryless)."""
    random = np.random.default_rng(3)
    scale = 40 / 3 / math.gamma(1 + 1 / shape)
    ups: list[list[bool]] = []
    for _ in range(pools):
        states: list[bool] = []
        while len(states) < ticks:
            states += [len(states) == 0 or not states[-1]] * max(1, round(scale * random.weibull(shape)))
        ups.append(states[:ticks])
    memory = MarketMemory()
    for tick in range(ticks):
        row = tuple(Pool(f"pool-{index}", up[tick], 1.0, 3.0) for index, up in enumerate(ups))
        memory.see(row, tick * 180.0, SHIPPED)
    memory.settle(SHIPPED)
    return memory


def test_the_shape_of_a_market_is_learnt() -> None:
    memoryless = weibull_market(1.0).shaped(SHIPPED)
    assert memoryless.up.decay == memoryless.down.decay == 0.0
    heavy = weibull_market(0.35).shaped(SHIPPED)
    assert heavy.up.decay == SHIPPED.up.decay
    assert seen("1101").shaped(SHIPPED) == SHIPPED  # until there is evidence


def test_a_pool_found_up_after_long_is_not_taken_to_have_stayed_up() -> None:
    """It flaps while it is watched; ten hours later it is up: it came and went meanwhile, and is young."""
    memory = seen("1110" * 40)
    before = memory.habit("pool-0", SHIPPED).up
    memory.see((Pool("pool-0", True, 1.0, 3.0),), 160 * 600.0 + 10 * HOUR_S, SHIPPED)
    assert memory.pools["pool-0"].age_h < 2.0
    assert memory.habit("pool-0", SHIPPED).up == pytest.approx(before, rel=0.05)


def test_shapes_expect_alike_at_first() -> None:
    for shapes in SHIPPED.shapes():
        assert [shape.expected(0.0, 1.0) for shape in shapes] == pytest.approx([shapes[0].expected(0.0, 1.0)] * 3)


def test_pools_that_fail_together_are_found_out() -> None:
    together = seen("1111100000" * 12, pools=4)
    assert together.crunch(SHIPPED) > 0.4 > SHIPPED.crunch
    assert together.relief(SHIPPED) < SHIPPED.relief + 0.2


# The values.


def solve(*, spot: float = 0.4, habit_up: float = 1.0, pools: int = 1, move: float = 0.0) -> Values:
    terms = PoolTerms(spot, 1.0, habit_up, 1.0, move, 0.0, 0.5, 0.3)
    return Values(Problem(SHIPPED, (terms,) * pools, 0.05, 0.25, 60, 32, 0.1, 1.0))


def test_slack_is_never_worth_less_than_nothing() -> None:
    """At equal work, more slack costs no more: in every state, along the whole grid."""
    for values in (solve(), solve(pools=3, move=0.2)):
        for table in (values.spot, values.idle_up, values.idle_down, values.owned_up, values.owned_down):
            for time in range(1, 59):
                less, more = table[time, :, :, :-1], table[time + 1, :, :, 1:]
                assert (more <= less + 1e-3).all()


def test_values_lie_between_all_spot_and_all_on_demand() -> None:
    values = solve()
    work_h = 10.0
    left = values.at(values.idle_down, work_h + 0.05 + 2.0, 2.0, 0, 0.5)
    assert 0.4 * work_h < left < work_h + 0.1


def test_worse_habits_and_dearer_spot_cost_more() -> None:
    def cost(values: Values) -> float:
        return values.at(values.spot, 12.0, 1.5, 0, 0.3)

    assert cost(solve(habit_up=2.0)) > cost(solve())
    assert cost(solve(spot=0.6)) > cost(solve())


def test_other_pools_are_worth_having_and_moves_take_from_it() -> None:
    def cost(values: Values) -> float:
        return values.at(values.idle_down, 12.0, 1.5, 0, 0.3)

    assert cost(solve(pools=3)) < cost(solve(pools=3, move=0.5)) < cost(solve()) + 1e-6


def test_no_work_is_worth_nothing() -> None:
    values = solve()
    assert values.at(values.idle_down, 3.0, 2.95, 0, 0.1) == 0.0


# Plans.


def plan_for(memory: MarketMemory, at: MarketView, old: Plan | None = None) -> Plan:
    return refreshed(old, at, memory, SHIPPED)


def test_a_plan_is_kept_until_beliefs_have_moved() -> None:
    memory = MarketMemory()
    first = view()
    memory.see(first.pools, 0.0, SHIPPED)
    plan = plan_for(memory, first)
    later = replace(first, now_s=2 * HOUR_S, deadline_s=5 * HOUR_S)
    assert plan_for(memory, later, plan) is plan
    dearer = replace(later, pools=(replace(first.pools[0], on_demand_usd_per_hour=4.0),))
    assert plan_for(memory, dearer, plan) is not plan


def test_another_set_of_pools_is_another_plan_at_once() -> None:
    memory = MarketMemory()
    first = view()
    both = replace(first, pools=(*first.pools, Pool("b", True, 1.0, 3.0)))
    memory.see(both.pools, 0.0, SHIPPED)
    plan = plan_for(memory, first)
    assert plan_for(memory, both, plan).names == ("a", "b")


# Safety.


def test_the_last_moment_is_exact() -> None:
    # 7,200 s of work and 180 s of restart are 24.6 ticks of 300 s: 25. With 26 ticks left one may be idled away.
    assert safety.can_wait(view(deadline_s=26 * 300.0), None)
    assert not safety.can_wait(view(deadline_s=25 * 300.0), None)
    assert not safety.can_wait(view(deadline_s=25.99 * 300.0), None)


def test_work_of_this_tick_counts_when_spot_is_kept() -> None:
    # 24.6 ticks; a tick of spot leaves 23.6, and 24 ticks to do them in.
    tight = view(deadline_s=25 * 300.0, holding=Holding("spot", "a"))
    assert safety.can_wait(tight, 0.0)
    assert not safety.can_wait(tight, 180.0)


def test_forced_choices() -> None:
    tight = view(deadline_s=25 * 300.0)
    assert safety.forced(tight) == Choice("on-demand", "a")
    assert safety.forced(view()) is None
    hopeless = view(deadline_s=24 * 300.0, holding=Holding("spot", "a"))
    assert safety.forced(hopeless) == Choice("spot", "a")  # only what runs can still make it
    assert safety.forced(replace(hopeless, holding=Holding("none", "a"))) == Choice("on-demand", "a")


def test_a_move_must_fit_as_well() -> None:
    far = Pool("b", True, 0.1, 3.0, move_s=1_500.0)
    at = view(deadline_s=25 * 300.0, pools=(view().pools[0], far), holding=Holding("spot", "a"))
    assert safety.safe(at, Choice("spot", "a"))
    assert not safety.safe(at, Choice("spot", "b"))


# The policy.


def test_it_takes_cheap_spot_and_leaves_dear_spot_alone() -> None:
    assert MarketPolicy().decide(view()) == Choice("spot", "a")
    dear = view(pools=(Pool("a", True, 3.1, 3.0),))
    assert MarketPolicy().decide(dear).kind != "spot"


def test_it_does_not_sit_in_a_spike_above_on_demand() -> None:
    """Four hours at 5.0 where on-demand is at 3.0: 20.0 to whoever stays, 12.0 and two restarts to whoever leaves."""
    ticks = 400
    prices = np.full(ticks, 1.0)
    prices[110:184] = 5.0
    market = Market(TICK_S, (Zone("a", np.ones(ticks, np.bool_), prices, 3.0),))
    outcome = play(MarketPolicy(), market, Job(20 * HOUR_S, 21 * HOUR_S, 720.0))
    assert not outcome.missed
    assert outcome.cost_usd < 16.0 + 12.0 + 4.0


def test_it_takes_the_cheaper_of_two_like_pools() -> None:
    pools = (Pool("a", True, 1.5, 3.0), Pool("b", True, 1.0, 3.0))
    assert MarketPolicy().decide(view(pools=pools)) == Choice("spot", "b")


def test_it_does_not_move_for_less_than_the_move_costs() -> None:
    pools = (Pool("a", True, 1.02, 3.0), Pool("b", True, 1.0, 3.0, move_usd=5.0))
    assert MarketPolicy().decide(view(pools=pools, holding=Holding("spot", "a"))) == Choice("spot", "a")


def test_it_asks_what_is_cheap_to_ask_and_worth_knowing() -> None:
    pools = (Pool("a", None, 1.0, 3.0, ask_usd=0.001),)
    policy = MarketPolicy()
    assert policy.decide(view(pools=pools)) == Choice("ask", "a")
    # Still unknown in the same tick: it does not insist.
    assert policy.decide(view(pools=pools)).kind != "ask"
    dear = (Pool("a", None, 1.0, 3.0, ask_usd=50.0),)
    assert MarketPolicy().decide(view(pools=dear)).kind != "ask"


def test_on_demand_is_bought_where_it_is_cheaper() -> None:
    pools = (Pool("a", False, 1.0, 9.0), Pool("b", False, 1.0, 3.0))
    late = view(pools=pools, deadline_s=2.2 * HOUR_S)
    assert MarketPolicy().decide(late) == Choice("on-demand", "b")


def test_a_job_that_is_done_needs_nothing() -> None:
    assert MarketPolicy().decide(view(work_left_s=0.0)) == Choice("none")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="needs a pool"):
        MarketPolicy().decide(view(pools=()))
    with pytest.raises(InvalidRequestError, match="needs a tick"):
        MarketPolicy().decide(view(tick_s=0.0))
    with pytest.raises(InvalidRequestError, match="MarketPrior"):
        MarketPolicy(prior=3)


@pytest.mark.parametrize("damage", [b"", b"\xff", b"\x01", b"\x02", b"\x02\x02\x00\x05\x00ab"])
def test_foreign_state_is_refused(damage: bytes) -> None:
    with pytest.raises(PreconditionError):
        MarketPolicy().restore(damage)


def test_state_is_compact() -> None:
    policy = MarketPolicy()
    job = Job(6 * HOUR_S, 10 * HOUR_S, 180.0)
    play(policy, MANY_ZONES[2].make(0, job.ticks(TICK_S)), job)
    assert len(policy.state()) < 4_500  # thirteen pools


def test_an_untouched_market_costs_what_it_must() -> None:
    ticks = 100
    zone = Zone("a", np.ones(ticks, np.bool_), np.full(ticks, 1.0), 3.0)
    job = Job(50 * 300.0, ticks * 300.0, 180.0)
    outcome = play(MarketPolicy(), Market(300.0, (zone,)), job)
    assert outcome.cost_usd == pytest.approx(math.ceil(50.6) * 300 / HOUR_S)
    assert outcome.on_demand_ticks == 0


def test_it_costs_less_than_the_baselines_in_long_lived_markets() -> None:
    job = Job(24 * HOUR_S, 33 * HOUR_S, 720.0)
    costs = {make: 0.0 for make in (Greedy, UniformProgress, MarketPolicy)}
    for seed in range(4):
        market = ONE_ZONE[0].make(seed, job.ticks(TICK_S))
        for make in costs:
            outcome = play(make(), market, job)
            assert not outcome.missed
            costs[make] += outcome.cost_usd
    assert costs[MarketPolicy] < min(costs[Greedy], costs[UniformProgress])


@pytest.mark.shared
def test_it_costs_less_than_the_baselines_in_recorded_zones() -> None:
    """Reads `../shared/markets`; skipped where that is absent."""
    if not recorded():
        pytest.skip("no recordings beside the repository")
    job = Job(24 * HOUR_S, 35 * HOUR_S, 720.0)
    costs = {make: 0.0 for make in (Greedy, UniformProgress, MarketPolicy)}
    for zone in recorded():
        for start in (600, 5_000):
            window = Market(TICK_S, (zone,)).window(start, job.ticks(TICK_S))
            for make in costs:
                costs[make] += play(make(), window, job).cost_usd
    assert costs[MarketPolicy] < min(costs[Greedy], costs[UniformProgress])
