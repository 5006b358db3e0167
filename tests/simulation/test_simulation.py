"""The dose of the simulation in the suite: some seeds, one seed twice, some planted bugs, one shrunken story."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orbit_core.plants import CATALOG, plant, planted
from tests.simulation.__main__ import main, shrink
from tests.simulation.faults import Fault
from tests.simulation.planted import hunt
from tests.simulation.world import simulate

#: Found within a few seeds each, and breaking the journal, the leader, recovery, scheduling and agents.
QUICK_PLANTS = ("effect-before-persist", "snapshot-off-by-one", "gather-fires-early", "credit-leak", "outbox-skipped")


@pytest.mark.parametrize("first", [1_000, 1_008, 1_016])
def test_nothing_is_lost_doubled_or_stuck(first: int) -> None:
    for seed in range(first, first + 8):
        outcome = simulate(seed)
        assert outcome.violations == (), f"python -m tests.simulation --seeds {seed}:{seed + 1}"


def test_one_seed_gives_one_history_in_every_process() -> None:
    program = "from tests.simulation.world import simulate; print(simulate(7).fingerprint)"
    prints = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        prints.add(done.stdout.strip())
    assert prints == {simulate(7).fingerprint}


def test_different_seeds_give_different_histories() -> None:
    assert simulate(1).fingerprint != simulate(2).fingerprint


@pytest.mark.parametrize("name", QUICK_PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    assert hunt(name, seeds=20).seeds is not None
    assert not planted(name), "a plant is switched off when its hunt is over"


def test_a_plant_has_to_be_in_the_catalog() -> None:
    with pytest.raises(ValueError, match="no plant is called"), plant("no-such-bug"):
        pass
    assert len(CATALOG) >= 15


def test_a_failing_seed_is_told_as_a_short_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:20", "--plant", "no-requeue-on-loss"]) == 1
    told = capsys.readouterr().out
    assert "how it came about:" in told and "VIOLATION" in told
    assert "again: python -m tests.simulation --seeds" in told and "--plant no-requeue-on-loss" in told


def test_shrinking_leaves_only_faults_that_are_needed() -> None:
    harmless = [Fault(3.0 + each, "compact") for each in range(3)]
    graves = [Fault(6.0, "bury-agent", "a1"), Fault(9.0, "bury-agent", "a2")]
    with plant("no-requeue-on-loss"):
        outcome = next(each for each in (simulate(seed, [*harmless, *graves]) for seed in range(20)) if each.violations)
        small = shrink(outcome)
    assert small.violations and len(small.faults) < 5
    assert not any(fault.kind == "compact" for fault in small.faults)
