"""`python -m bench.fleet [SCENARIO.yml …] [--json]`: cost against the bound, misses, utilisation, decision time.

Without files: every scenario in `bench/fleet/scenarios`. Each policy plays the same work with the same durations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fleet.bound import lower_bound
from bench.fleet.policies import OrbitPolicy, baselines
from bench.fleet.scenario import Scenario, load
from bench.fleet.world import FleetWorld, Outcome

SCENARIOS = Path(__file__).with_name("scenarios")


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one scenario. `over_bound`: cost by the bound's, 1.0 being perfect."""

    scenario: str
    policy: str
    cost_usd: float
    bound_usd: float
    over_bound: float | None
    runs: int
    missed: int
    infeasible: int
    warned: int
    utilisation: float
    decision_ms: float
    decision_max_ms: float


def play(scenario: Scenario) -> list[Row]:
    """Orbit and every baseline on one scenario."""
    speeds = {agent.facts.id: agent.speed for agent in scenario.agents}
    outcomes: list[Outcome] = []
    work_of: dict[str, int] = {}
    for policy in (OrbitPolicy(scenario.plan_every_ms), *baselines(speeds)):
        world = FleetWorld(scenario, policy)
        outcomes.append(world.play())
        work_of = world.work_of
    bound = lower_bound(scenario, outcomes[0], work_of)
    return [
        Row(
            scenario=scenario.name,
            policy=outcome.policy,
            cost_usd=outcome.cost_usd,
            bound_usd=bound.cost_usd,
            over_bound=outcome.cost_usd / bound.cost_usd if bound.cost_usd > 1e-9 else None,
            runs=outcome.runs,
            missed=len(outcome.missed),
            infeasible=bound.late_runs,
            warned=len(outcome.warned),
            utilisation=outcome.utilisation,
            decision_ms=1000 * outcome.decision_s / max(1, outcome.rounds),
            decision_max_ms=1000 * outcome.decision_max_s,
        )
        for outcome in outcomes
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="SCENARIO.yml")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    for file in options.files or sorted(SCENARIOS.glob("*.yml")):
        found = play(load(file))
        rows += found
        if not options.json:
            _show(found)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


def _show(rows: list[Row]) -> None:
    first = rows[0]
    print(f"\n{first.scenario}: {first.runs} runs, bound ${first.bound_usd:.4f}, {first.infeasible} cannot be in time")
    print(f"  {'policy':<22}{'cost':>10}{'by bound':>10}{'missed':>8}{'used':>7}{'ms a round':>12}{'at most':>9}")
    for row in rows:
        ratio = f"{row.over_bound:.3f}" if row.over_bound is not None else "-"
        print(
            f"  {row.policy:<22}{row.cost_usd:>10.4f}{ratio:>10}{row.missed:>8}{row.utilisation:>7.0%}"
            f"{row.decision_ms:>12.2f}{row.decision_max_ms:>9.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
