"""Plans, for any picture: no room is given twice, nothing is lost, and more time is never dearer."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from orbit_core.sched._plan import greedy, linear
from orbit_core.sched._plan.observe import Demand
from orbit_core.sched._plan.picture import Option, Picture, Pool, Schedule, WorkClass
from orbit_core.sched.model import AgentStatus
from orbit_core.sched.quote import Quote, ask, never_dearer
from orbit_core.sched.state import Agent, MeshState
from tests.property.sched_worlds import agent, chain

BOUNDS = (0.0, 2_000.0, 10_000.0, 60_000.0, 300_000.0)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    pools = []
    for number in range(draw(st.integers(1, 3))):
        agents = draw(st.integers(1, 4))
        each = (4000.0, 8192.0, 0.0, 100.0)
        busy = tuple((float(left), (1000.0, 512.0, 0.0, 1.0)) for left in draw(st.lists(st.integers(1, 90_000))))[:4]
        whole = (agents * each[0], agents * each[1], 0.0, agents * each[3])
        pools.append(Pool(tuple(f"a{number}-{n}" for n in range(agents)), whole, each, busy))
    classes = []
    for number in range(draw(st.integers(1, 4))):
        options = {
            pool: Option(float(draw(st.integers(100, 100_000))), draw(st.floats(0.0, 1.0)))
            for pool in range(len(pools))
        }
        need = (float(draw(st.sampled_from([250, 1000, 4000]))), 512.0, 0.0, 1.0)
        amount = float(draw(st.integers(1, 60)))
        finish = draw(st.sampled_from(BOUNDS[1:]))
        classes.append(WorkClass(f"c{number}", need, amount, int(amount), 0.0, finish, options))
    return Picture(tuple(pools), tuple(classes), BOUNDS)


def check(picture: Picture, schedule: Schedule) -> None:
    taken: defaultdict[tuple[int, int, int], float] = defaultdict(float)
    started: defaultdict[int, float] = defaultdict(float)
    for each in schedule.starts:
        work = picture.classes[each.work]
        option = work.options[each.pool]
        assert picture.allows(work, option, each.at)
        started[each.work] += each.amount
        for later, ms in picture.occupancy(work, option, each.at):
            for dimension in range(4):
                taken[(each.pool, later, dimension)] += each.amount * work.need[dimension] * ms
    for (pool, at, dimension), amount in taken.items():
        free = picture.free(pool, at, dimension)
        assert amount <= free + 1e-4 * picture.pools[pool].room[dimension] * picture.length_ms(at) + 1e-3
    for number, work in enumerate(picture.classes):
        assert abs(started[number] + schedule.late.get(number, 0.0) - work.amount) < 1e-2


@given(pictures())
@settings(max_examples=60)
def test_no_plan_gives_room_twice_or_loses_work(picture: Picture) -> None:
    check(picture, greedy.schedule(picture))
    solved = linear.schedule(picture, None)
    assert solved is not None
    check(picture, solved)


@st.composite
def flows(draw: st.DrawFn) -> Picture:
    """Pictures in which each class may be brought forth by the one before it."""
    picture = draw(pictures())
    classes = list(picture.classes)
    for number in range(1, len(classes)):
        if draw(st.booleans()):
            ratio = draw(st.sampled_from([0.5, 1.0, 3.0]))
            finish = max(classes[number].finish_ms, classes[number - 1].finish_ms)
            classes[number] = dataclasses.replace(classes[number], finish_ms=finish, after=((number - 1, ratio),))
    return dataclasses.replace(picture, classes=tuple(classes))


def regret(picture: Picture, schedule: Schedule) -> float:
    """What a plan costs, where being late costs far more than anything else."""
    dearest = max((option.cost_usd for work in picture.classes for option in work.options.values()), default=0.0) or 1.0
    paid = sum(
        each.amount * picture.classes[each.work].options[each.pool].cost_usd / dearest for each in schedule.starts
    )
    return paid + 150 * sum(schedule.late.values())


@given(flows(), st.sampled_from([0, 1, 3, 10]))
@settings(max_examples=80, deadline=None)
def test_a_solver_that_is_stopped_early_tells_the_best_it_has_found(picture: Picture, iterations: int) -> None:
    quick = greedy.schedule(picture, following=True)
    check(picture, quick)
    stopped = linear.schedule(picture, None, quick, iterations_most=iterations)
    assert stopped is not None, "the greedy plan holds all that the program has to hold"
    check(picture, stopped)
    best = linear.schedule(picture, None, quick)
    assert best is not None
    taste = 0.02 * sum(work.amount for work in picture.classes) + 1e-3
    assert regret(picture, best) <= regret(picture, stopped) + taste
    assert regret(picture, stopped) <= regret(picture, quick) + taste


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), min_size=1, max_size=10))
def test_a_longer_sla_is_never_dearer(found: list[tuple[bool, float]]) -> None:
    asked = [Quote(1000 * (at + 1), feasible, cost, 1, 1) for at, (feasible, cost) in enumerate(found)]
    kept = never_dearer(asked)
    assert [each.sla_ms for each in kept] == [each.sla_ms for each in asked]
    least = float("inf")
    for each in kept:
        assert each.cost_usd <= least
        least = each.cost_usd if each.feasible else least


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.4, 2.0])), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(10, 3_600), st.integers(1, 30)), max_size=4),
    st.integers(1, 40),
    st.integers(5, 7_200),
)
@settings(max_examples=25, deadline=None)
def test_what_a_run_would_cost_never_rises_with_its_sla(
    agents: list[tuple[int, float]], others: list[tuple[int, int]], objects: int, sla_s: int
) -> None:
    state = MeshState()
    for number, (cpus, price) in enumerate(agents):
        facts = agent(f"a{number}", cpus=cpus, price=price)
        state.agents[facts.id] = Agent(facts, AgentStatus.ATTACHED)
    flow = dataclasses.replace(chain(3), sla_ms=1_000 * sla_s)
    asked = ask(state, flow, 1_000_000, {"s0": objects})
    busy = []
    for left_s, amount in others:
        demand = Demand("other", flow, 1_000_000 + 1_000 * left_s)
        demand.open[0] = float(amount)
        demand.ready[0] = amount
        busy.append(demand)
    found = dataclasses.replace(asked, others=tuple(busy)).answer()
    table = sorted({each.sla_ms: each for each in (found.quote, *found.others)}.values(), key=lambda each: each.sla_ms)
    kept = [each for each in table if each.feasible]
    costs = [each.cost_usd for each in kept]
    assert costs == sorted(costs, reverse=True)
    assert all(each.p50_finish_ms <= each.p95_finish_ms for each in table)
    if found.shortest_sla_ms is not None:
        assert all(each.feasible for each in table if each.sla_ms >= found.shortest_sla_ms)
