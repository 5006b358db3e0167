"""The fleet simulator plays a whole scenario with the live step, planner and placer, and the bound holds."""

from __future__ import annotations

from pathlib import Path

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
