"""What a plan lets start, in pictures that are small enough to see why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_core.sched._plan import greedy, linear
from orbit_core.sched._plan.picture import Option, Picture, Pool, WorkClass
from orbit_core.sched.plan import Plan, make_plan, solve

CPU = (1000.0, 256.0, 0.0, 1.0)


def pool(name: str, slots: int, *busy_ms: float) -> Pool:
    room = (1000.0 * slots, 1024.0 * slots, 0.0, float(slots))
    return Pool((name,), room, room, tuple((left, CPU) for left in busy_ms))


def work(name: str, amount: int, finish_ms: float, options: dict[int, Option], **more: object) -> WorkClass:
    ready = more.pop("ready", amount)
    return WorkClass(name, CPU, float(amount), ready, 0.0, finish_ms, options, **more)  # type: ignore[arg-type]


def planned(pools: tuple[Pool, ...], *classes: WorkClass) -> Plan:
    bounds = (0.0, 2_000.0, 10_000.0, 30_000.0, 50_000.0, 60_000.0, 120_000.0, 600_000.0)
    picture = Picture(pools, classes, bounds, {}, {"own": 0, "cloud": 1})
    return make_plan(picture, 0, solve(picture, None))


CHEAP, DEAR = Option(20_000.0, 0.01), Option(20_000.0, 0.10)


def test_patient_work_leaves_room_to_hurried_work_that_is_about_to_come() -> None:
    parent = work("list", 1, 100_000.0, {0: Option(1_000.0, 0.001), 1: Option(1_000.0, 0.01)})
    hurried = work("hurried", 4, 60_000.0, {0: CHEAP, 1: DEAR}, ready=0, after=((0, 4.0),))
    patient = work("patient", 20, 600_000.0, {0: CHEAP, 1: DEAR})
    plan = planned((pool("own", 2), pool("cloud", 8)), parent, hurried, patient)
    assert 0 in plan.open_pools(0), "what brings the hurried work forth starts at once"
    first = {number: plan.turns.get((number, 0), 99) for number in (1, 2)}
    assert first[1] < first[2]
    assert 0 not in plan.open_pools(2)


def test_patient_work_takes_all_cheap_room_that_nobody_else_wants() -> None:
    plan = planned((pool("own", 2), pool("cloud", 8)), work("patient", 20, 600_000.0, {0: CHEAP, 1: DEAR}))
    assert list(plan.open_pools(0)) == [0]
    for _ in range(20):
        assert plan.spend(0, "own") is False, "waiting for the next plan would save nothing"


def test_dear_room_is_taken_for_no_more_than_cheap_room_cannot_do() -> None:
    plan = planned((pool("own", 2), pool("cloud", 8)), work("rush", 6, 50_000.0, {0: CHEAP, 1: DEAR}))
    bought = sum(start.amount for start in plan.schedule.starts if start.pool == 1)
    assert 1.5 <= bought <= 2.5
    assert not plan.schedule.late


def test_what_cannot_be_in_time_may_start_anywhere_and_is_counted_down() -> None:
    only_cloud_is_dear = {0: CHEAP, 1: DEAR}
    plan = planned((pool("own", 1), pool("cloud", 1)), work("late", 10, 21_000.0, only_cloud_is_dear))
    assert plan.overdue[0] >= 7
    assert set(plan.open_pools(0)) == {0, 1}
    while plan.overdue[0] > 0:
        plan.spend(0, "cloud")
    assert 1 not in plan.open_pools(0)


def test_doubt_alone_is_no_forecast_of_being_late() -> None:
    cautious = {0: Option(20_000.0, 0.01, reserve_ms=15_000.0)}
    plan = planned((pool("own", 2),), work("tight", 4, 60_000.0, cautious, runs=("run-1",)))
    assert plan.schedule.late
    assert plan.late_runs == ()
    plan = planned((pool("own", 2),), work("hopeless", 9, 60_000.0, cautious, runs=("run-1",)))
    assert plan.late_runs == ("run-1",)


def test_at_its_cap_the_solver_gives_the_best_it_has_and_greedy_stands_where_it_has_none() -> None:
    """Greedy lets the first deadline have the cheap room, though the second, for which all else is dearer, wants it."""
    classes = tuple(
        work(f"w{number}", 6, 60_000.0 * (1 + number), {0: CHEAP, 1: Option(20_000.0, 0.10 * (1 + 3 * number))})
        for number in range(4)
    )
    bounds = (0.0, 20_000.0, 60_000.0, 120_000.0, 180_000.0, 240_000.0)
    picture = Picture((pool("own", 1), pool("cloud", 8)), classes, bounds)
    quick = greedy.schedule(picture, following=True)
    assert linear.schedule(picture, 0.0) is None, "nothing is found in no time"
    assert solve(picture, 0.0).cost_usd(picture) <= quick.cost_usd(picture)
    costs: list[float] = []
    for most in (0, 2, 4, 100):
        found = linear.schedule(picture, None, quick, iterations_most=most)
        assert found is not None
        assert not found.late
        costs.append(found.cost_usd(picture))
    assert costs[0] == pytest.approx(quick.cost_usd(picture)), "it begins with the greedy plan"
    assert costs[0] > costs[1] > costs[-1], "and two steps make it better, before the best is found"
    unlimited = linear.schedule(picture, None)
    assert unlimited is not None
    assert costs[-1] == pytest.approx(unlimited.cost_usd(picture), rel=0.01)


def test_no_deadline_rests_on_spot_that_could_go_as_long_as_others_can_keep_it() -> None:
    """Of 85 attempts three slots that last could do all in time. After half of it they could do forty more.

    Spot, which is cheaper, has done thirty by then. So fifteen have to be done where it is dear, and not in the end.
    """
    bounds = (0.0, 2_000.0, 100_000.0, 300_000.0, 600_000.0)
    pools = (pool("own", 3), replace(pool("spot", 2), spot=True))

    def early(pools: tuple[Pool, ...], amount: int) -> float:
        """Started on the dear slots in the first half, by the plan."""
        patient = work("work", amount, 600_000.0, {0: DEAR, 1: CHEAP})
        schedule = solve(Picture(pools, (patient,), bounds), None)
        assert not schedule.late
        return sum(each.amount for each in schedule.starts if each.pool == 0 and each.at <= 2)

    assert early(pools, 20) == 0
    assert 14 <= early(pools, 85) <= 20
    assert early((pools[0], pool("sure", 2)), 85) == 0, "were it sure to stay, what is dear would come last"
