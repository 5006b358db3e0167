"""The rules of a market tick, checked by hand: ticks of 100 s, 36 USD per hour is 1 USD a tick."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from bench.market.game import Job, Market, Outcome, Zone, feasible, play
from bench.market.hindsight import hindsight_usd
from orbit_core.sched.market import Choice, MarketView

ON_DEMAND = 108.0  # 3 USD a tick


def market(*ups: str, prices: Iterable[float] = (36.0, 36.0)) -> Market:
    return Market(
        100.0,
        tuple(
            Zone(name, np.array([char == "1" for char in up]), np.full(len(up), price), ON_DEMAND)
            for name, up, price in zip("ab", ups, prices, strict=False)
        ),
    )


class Script:
    """Plays these choices in order, the last one for ever, and keeps what it was shown."""

    def __init__(self, *choices: Choice) -> None:
        self._choices = list(choices)
        self.views: list[MarketView] = []

    def decide(self, view: MarketView) -> Choice:
        self.views.append(view)
        return self._choices.pop(0) if len(self._choices) > 1 else self._choices[0]


SPOT, OWN, NONE = Choice("spot"), Choice("on-demand"), Choice("none")


def test_whole_ticks_are_paid_and_work_ends_inside_one() -> None:
    outcome = play(Script(OWN), market("0000"), Job(work_s=130, deadline_s=400, restart_s=50))
    assert outcome.finished_s == 180.0  # 50 restart, 130 work
    assert outcome.cost_usd == pytest.approx(6.0)  # two ticks at 3
    assert (outcome.starts, outcome.on_demand_ticks) == (1, 2)


def test_a_restart_longer_than_a_tick_goes_on_in_the_next() -> None:
    outcome = play(Script(OWN), market("00000"), Job(work_s=10, deadline_s=500, restart_s=230))
    assert outcome.finished_s == 240.0


def test_lost_spot_ends_its_restart_and_a_new_start_begins_a_whole_one() -> None:
    script = Script(SPOT, SPOT, SPOT)
    play(script, market("101111"), Job(work_s=50, deadline_s=600, restart_s=150))
    assert [view.restart_left_s for view in script.views] == [0.0, 0.0, 0.0, 50.0]
    assert [view.holding.kind for view in script.views] == ["none", "none", "none", "spot"]
    assert script.views[1].holding.pool == "a"  # the location is kept when spot is lost


def test_a_change_of_market_replaces_what_was_left_of_a_restart() -> None:
    script = Script(SPOT, OWN)
    outcome = play(script, market("111111"), Job(work_s=50, deadline_s=600, restart_s=150))
    assert script.views[1].restart_left_s == 50.0
    assert script.views[2].restart_left_s == 50.0  # 150 anew, less one tick
    assert outcome.cost_usd == pytest.approx(1.0 + 2 * 3.0)


def test_refused_spot_keeps_what_is_held_and_costs_nothing_more() -> None:
    outcome = play(Script(OWN, SPOT, OWN), market("000000"), Job(work_s=250, deadline_s=600, restart_s=0))
    assert outcome.refused == 1
    assert (outcome.starts, outcome.on_demand_ticks, outcome.finished_s) == (1, 3, 250.0)


def test_unknown_spot_is_refused_until_it_is_asked() -> None:
    job = Job(work_s=50, deadline_s=300, restart_s=0, ask_usd=0.25, hidden=True)
    blind = play(Script(SPOT), market("111"), job)
    assert (blind.refused, blind.missed, blind.cost_usd) == (3, True, 0.0)
    script = Script(Choice("ask", "a"), SPOT)
    asked = play(script, market("111"), job)
    assert [view.pools[0].available for view in script.views] == [None, True]
    assert script.views[0].now_s == script.views[1].now_s
    assert asked.cost_usd == pytest.approx(0.25 + 1.0)


def test_a_move_costs_money_and_time_but_the_first_start_does_not() -> None:
    job = Job(work_s=100, deadline_s=600, restart_s=10, move_usd=0.5, move_s=30)
    script = Script(Choice("spot", "b"), Choice("spot", "a"))
    outcome = play(script, market("111111", "111111"), job)
    assert [pool.move_usd for pool in script.views[0].pools] == [0.0, 0.0]
    assert [pool.move_usd for pool in script.views[1].pools] == [0.5, 0.0]
    assert outcome.moves == 1
    # Tick 1: 90 of work in b. Tick 2: 40 s restart and move in a, then the last 10.
    assert outcome.finished_s == 150.0
    assert outcome.cost_usd == pytest.approx(2.5)


def test_on_demand_can_be_had_elsewhere_by_name() -> None:
    script = Script(Choice("on-demand", "b"))
    play(script, market("11", "11"), Job(work_s=150, deadline_s=200, restart_s=0))
    assert script.views[1].holding.pool == "b"


def test_work_left_at_the_deadline_is_a_miss() -> None:
    outcome = play(Script(NONE, OWN), market("0000"), Job(work_s=250, deadline_s=399, restart_s=0))
    assert outcome.missed  # three whole ticks, one of them idle
    assert outcome.cost_usd == pytest.approx(6.0)


def test_feasible_counts_whole_ticks() -> None:
    assert feasible(Job(work_s=290, deadline_s=399, restart_s=10), 100.0)
    assert not feasible(Job(work_s=291, deadline_s=399, restart_s=10), 100.0)


@pytest.mark.parametrize(
    ("up", "work_s", "deadline_s", "restart_s", "usd"),
    [
        ("1111", 200, 400, 0, 2.0),
        ("0011", 200, 400, 0, 2.0),  # it waits for spot
        ("0011", 200, 400, 50, 5.0),  # on-demand for 50 in the first tick, then both spot ticks
        ("000", 200, 300, 50, 9.0),
        ("10111", 250, 500, 50, 3.0),  # the first tick would be paid for nothing
        ("11011", 300, 500, 50, 4.0),  # 50, 100, lost, 50, 100
        ("000", 350, 300, 0, float("inf")),
    ],
)
def test_hindsight_by_hand(up: str, work_s: float, deadline_s: float, restart_s: float, usd: float) -> None:
    assert hindsight_usd(market(up), Job(work_s, deadline_s, restart_s)) == pytest.approx(usd)


def test_hindsight_pays_for_a_move_only_where_it_is_worth_it() -> None:
    two = market("1100000000", "0011111111", prices=(36.0, 36.0))
    assert hindsight_usd(two, Job(400, 1000, 0, move_usd=0.3)) == pytest.approx(4.0)  # begins in b: nothing to move
    far = market("1111000000", "0000111100", prices=(36.0, 36.0))
    assert hindsight_usd(far, Job(600, 1000, 0, move_usd=0.3)) == pytest.approx(6.3)
    assert hindsight_usd(far, Job(600, 1000, 0, move_usd=9.0)) == pytest.approx(4.0 + 2 * 3.0)


def test_nothing_that_is_played_beats_hindsight() -> None:
    random = np.random.default_rng(5)
    for _ in range(40):
        ups = ["".join(random.choice(["0", "1"], 14)) for _ in range(2)]
        here = market(*ups, prices=(36.0, 54.0))
        job = Job(500, 1400, float(random.choice([0, 20, 130])), move_usd=0.4, move_s=float(random.choice([0, 40])))
        least = hindsight_usd(here, job)
        for _ in range(20):
            outcome = play(_Random(random), here, job)
            assert outcome.missed or outcome.cost_usd >= least - 1e-9


class _Random:
    """Chooses at random: what it ends with bounds the least cost from above."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def decide(self, view: MarketView) -> Choice:
        kind = self._random.choice(["none", "spot", "spot", "on-demand", "on-demand"])
        return Choice(kind, str(self._random.choice(["a", "b"])))


def test_an_outcome_knows_whether_it_missed() -> None:
    base = dict(cost_usd=1.0, spot_ticks=1, on_demand_ticks=0, starts=1, moves=0, asks=0, refused=0)
    assert Outcome(finished_s=None, **base).missed  # pyright: ignore[reportArgumentType]
    assert not Outcome(finished_s=3.0, **base).missed  # pyright: ignore[reportArgumentType]
