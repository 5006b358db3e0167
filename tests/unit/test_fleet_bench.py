"""The fleet simulator plays a whole scenario with the live step, planner and placer, and the bound holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.fleet.bound import lower_bound
from bench.fleet.policies import OrbitPolicy, Policy, baselines
from bench.fleet.scenario import Scenario, load
from bench.fleet.world import FleetWorld

SCENARIO = """
name: small-night
agents:
  - {name: office, cpus: 4, tariff: [[0, 0.30], [3600, 0.03]]}
  - {name: cloud, count: 2, cpus: 4, price: 0.40, kind: on-demand}
work:
  - name: nightly
    sla-s: 7200
    at-s: [0]
    steps:
      - {name: list, takes-s: 5, objects: 30}
      - {name: work, takes-s: 120, sigma: 0.2}
  - name: urgent
    sla-s: 900
    at-s: [600]
    steps:
      - {name: work, takes-s: 120, sigma: 0.2}
"""


def played(scenario: Scenario, policy: Policy) -> tuple[float, int]:
    """Cost by the bound, and deadlines missed."""
    world = FleetWorld(scenario, policy, check_every=20)
    outcome = world.play()
    return outcome.cost_usd / lower_bound(scenario, outcome, world.work_of).cost_usd, len(outcome.missed)


def test_orbit_waits_for_the_cheap_hour_misses_nothing_and_beats_who_never_waits(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text(SCENARIO)
    scenario = load(path)
    cost, missed = played(scenario, OrbitPolicy(scenario.plan_every_ms))
    assert missed == 0
    assert 1 - 1e-9 <= cost < 1.1
    speeds = {agent.facts.id: agent.speed for agent in scenario.agents}
    for policy in baselines(speeds):
        assert played(scenario, policy)[0] > 2 * cost, policy.name


SPOT_NIGHTS = """
name: small-spot-nights
plan-every-s: 120
end-s: 345600
agents:
  - {name: office, cpus: 2, price: 0.20}
  - name: spot
    count: 2
    cpus: 4
    kind: spot
    daily-prices: [[0, 0.05], [21600, 0.30], [72000, 0.05]]
    losses: [LOSSES]
work:
  - name: daily
    sla-s: 36000
    at-s: [302400]
    steps:
      - {name: list, takes-s: 5, objects: OBJECTS}
      - {name: work, takes-s: 240, sigma: 0.3}
"""


def spot_nights(tmp_path: Path, objects: int, gone_at_s: int | None = None) -> Scenario:
    losses = "" if gone_at_s is None else ", ".join(f"{{number: {n}, at-s: {gone_at_s}}}" for n in range(2))
    path = tmp_path / "small.yml"
    path.write_text(SPOT_NIGHTS.replace("LOSSES", losses).replace("OBJECTS", str(objects)))
    return load(path)


def test_a_usual_night_price_is_waited_for(tmp_path: Path) -> None:
    """Spot is cheap from eight in the evening on, every day; the deadline is ten, an hour of the office would do."""
    scenario = spot_nights(tmp_path, 30)
    cost, missed = played(scenario, OrbitPolicy(scenario.plan_every_ms))
    assert missed == 0
    assert cost < 1.15
    speeds = {agent.facts.id: agent.speed for agent in scenario.agents}
    assert min(played(scenario, policy)[0] for policy in baselines(speeds)) > 2 * cost


def test_no_more_waits_for_a_usual_price_than_could_be_done_without_it(tmp_path: Path) -> None:
    """Of twelve hours of a core's work the office could do four in the two hours that the evening leaves."""
    scenario = spot_nights(tmp_path, 180)
    outcome = FleetWorld(scenario, OrbitPolicy(scenario.plan_every_ms)).play()
    assert not outcome.missed
    (run,) = outcome.ended.values()
    evening_ms = run.deadline_ms - 2 * 3_600_000
    before = sum(1 for each in run.invocations.values() if each.ended_ms < evening_ms)
    assert 180 - before <= 60
    assert before < 170, "and some did wait"


@pytest.mark.parametrize("gone_at_s", [310_000, 331_100, 331_300, 332_000, 333_000])
@pytest.mark.parametrize("objects", [30, 180])
def test_spot_may_go_at_any_moment_of_waiting_for_it_without_harm(tmp_path: Path, objects: int, gone_at_s: int) -> None:
    scenario = spot_nights(tmp_path, objects, gone_at_s)
    assert played(scenario, OrbitPolicy(scenario.plan_every_ms))[1] == 0


SLOW_SPOT = """
name: slow-spot
plan-every-s: 60
agents:
  - {name: office, cpus: 4, price: 0.60}
  - {name: spot, cpus: 2, kind: spot, price: 0.05, losses: [{number: 0, at-s: GONE}]}
work:
  - name: batch
    sla-s: 9000
    at-s: [0]
    steps:
      - {name: list, takes-s: 5, objects: OBJECTS}
      - {name: work, takes-s: 240, sigma: 0.3}
"""


@pytest.mark.parametrize("objects", [90, 130])
@pytest.mark.parametrize("gone_at_s", [1_800, 3_600, 4_800, 5_800, 8_000])
def test_what_the_office_could_do_in_time_is_in_time_whenever_spot_goes(
    tmp_path: Path, objects: int, gone_at_s: int
) -> None:
    path = tmp_path / "slow.yml"
    path.write_text(SLOW_SPOT.replace("GONE", str(gone_at_s)).replace("OBJECTS", str(objects)))
    scenario = load(path)
    assert played(scenario, OrbitPolicy(scenario.plan_every_ms))[1] == 0
