"""What may be waited for that nobody has promised, in pictures that are small enough to see why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_core.sched._plan.picture import Option, Picture, Pool, WorkClass
from orbit_core.sched._plan.usual import only_while_safe
from orbit_core.sched.plan import make_plan, solve

MINUTE_MS = 60_000.0
CPU = (1000.0, 256.0, 0.0, 1.0)
#: The price of spot usually falls after an hour.
BOUNDS = (0.0, 2_000.0, 60 * MINUTE_MS, 120 * MINUTE_MS, 180 * MINUTE_MS)
OWN, SPOT = 0, 1
USUAL = {SPOT: ((0, 0.3), (60, 0.1))}


def picture(amount: int, *, slots: int = 2, own_usd: float = 0.2, finish_ms: float = BOUNDS[-1]) -> Picture:
    """Attempts of ten minutes: 0.2 on the own agent, 0.3 on spot now and 0.1 there from the second hour on."""
    room = (1000.0 * slots, 1024.0 * slots, 0.0, float(slots))
    pools = (Pool(("own",), room, room), Pool(("spot",), room, room, spot=True))
    options = {
        OWN: Option(10 * MINUTE_MS, own_usd, 2 * MINUTE_MS),
        SPOT: Option(10 * MINUTE_MS, 0.3, 12 * MINUTE_MS, costs_usd=(0.3, 0.3, 0.1, 0.1)),
    }
    work = WorkClass("work", CPU, float(amount), amount, 0.0, finish_ms, options, runs=("run-1",))
    return Picture(pools, (work,), BOUNDS, {("run-1", 0): 0}, {"own": OWN, "spot": SPOT})


def spot_usd(found: Picture) -> tuple[float, ...]:
    return found.classes[0].options[SPOT].costs_usd


def test_what_could_be_done_after_all_when_spot_is_gone_then_waits() -> None:
    found = only_while_safe(picture(8), USUAL)
    assert spot_usd(found) == (0.3, 0.3, 0.1, 0.3), "the third hour would be too late to do all of it without spot"
    assert list(found.awaited) == [SPOT]
    plan = make_plan(found, 0, solve(found, None))
    assert {start.at for start in plan.schedule.starts} == {2}
    assert plan.open_pools(0) == {}
    assert plan.awaits("spot")
    assert not plan.awaits("own")


@pytest.mark.parametrize(
    "hopeless",
    [
        picture(40),  # more than the own agent could do at all
        picture(20),  # more than it could do after an hour of waiting
        picture(2, finish_ms=80 * MINUTE_MS),  # no time to do it again
        replace(picture(2), pools=tuple(replace(pool, spot=True) for pool in picture(2).pools)),  # nothing lasts
    ],
)
def test_without_enough_that_lasts_the_price_of_now_counts(hopeless: Picture) -> None:
    found = only_while_safe(hopeless, USUAL)
    assert min(spot_usd(found)) == 0.3
    assert not found.awaited


def test_a_rise_that_is_usual_counts_too() -> None:
    base = picture(8)
    work = base.classes[0]
    options = {OWN: work.options[OWN], SPOT: replace(work.options[SPOT], cost_usd=0.1, costs_usd=(0.1, 0.1, 0.3, 0.3))}
    found = only_while_safe(replace(base, classes=(replace(work, options=options),)), USUAL)
    assert spot_usd(found) == (0.1, 0.1, 0.3, 0.3)
    assert not found.awaited


def test_work_that_must_not_wait_keeps_others_from_nothing_that_there_is_room_for() -> None:
    urgent = replace(picture(2).classes[0], name="urgent", finish_ms=30 * MINUTE_MS, runs=("run-2",))
    both = replace(picture(4), classes=(picture(4).classes[0], urgent))
    found = only_while_safe(both, USUAL)
    assert spot_usd(found)[2] == 0.1
    assert min(found.classes[1].options[SPOT].costs_usd) == 0.3
