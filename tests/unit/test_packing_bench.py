"""The packing benchmark: mixes are what they say, games are refereed, and Orbit wins on a part of the cluster."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.packing.__main__ import in_proportion, main, play, run, table
from bench.packing.cluster import Cluster
from bench.packing.fgd import FgdPolicy, typical_tasks
from bench.packing.trace import DATA, Game, game, load_nodes, load_tasks, mix
from orbit_core.sched.packing import Node, Placement, Request

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded cluster is not beside the repository")


def share(rows: list[Request], chosen: list[bool]) -> float:
    asked = sum(row.total_gpu_milli for row in rows)
    return sum(row.total_gpu_milli for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen) / asked


def small_game(mix_name: str) -> Game:
    """A game on every sixth node: the mix of the whole cluster, in a sixth of the time."""
    nodes, tasks = load_nodes(), load_tasks()
    played = game(mix(mix_name, tasks, nodes), nodes, seed=11)
    kept = played.nodes[::6]
    wanted = 1.3 * 1000 * sum(node.gpus for node in kept)
    asked, arriving = 0, 0
    while asked < wanted:
        asked += played.tasks[arriving].total_gpu_milli
        arriving += 1
    return dataclasses.replace(played, nodes=kept, tasks=played.tasks[:arriving])


@needs_data
@pytest.mark.shared
def test_mixes_are_what_their_names_say():
    nodes, tasks = load_nodes(), load_tasks()
    assert mix("default", tasks, nodes) == tasks
    rows = mix("multi-gpu-50", tasks, nodes)
    assert share(rows, [row.gpus > 1 for row in rows]) == pytest.approx(0.5, abs=0.01)
    assert all(row.gpus == 0 or row.gpu_milli < 1_000 for row in mix("gpu-share-100", tasks, nodes))
    with_gpus = [row for row in mix("gpu-spec-33", tasks, nodes) if row.gpus]
    assert sum(bool(row.gpu_models) for row in with_gpus) / len(with_gpus) == pytest.approx(0.33, abs=0.02)
    without = [sum(not row.gpus for row in mix(name, tasks, nodes)) for name in ("default", "cpu-only-250")]
    assert without[1] == round(2.5 * without[0])
    assert mix("gpu-spec-33", tasks, nodes) == mix("gpu-spec-33", tasks, nodes)


@needs_data
@pytest.mark.shared
@pytest.mark.parametrize("mix_name", ["default", "gpu-share-100", "gpu-spec-33", "cpu-only-250"])
def test_orbit_allocates_more_than_fgd(mix_name: str):
    played = small_game(mix_name)
    allocated = {policy: play(played, policy, 11)[0] for policy in ("random", "FGD", "Orbit")}
    assert allocated["random"] < allocated["FGD"] < allocated["Orbit"] <= 100


@needs_data
@pytest.mark.shared
def test_every_policy_plays_by_the_rules_and_has_its_column(monkeypatch: pytest.MonkeyPatch):
    few = load_nodes()[::60]
    monkeypatch.setattr("bench.packing.__main__.load_nodes", lambda: few)
    monkeypatch.setattr("bench.packing.__main__.load_tasks", lambda: load_tasks()[::40])
    policies = ["random", "dot product", "GPU packing", "best fit", "FGD", "Orbit, mix unknown", "Orbit"]
    results = run(["default"], policies, [1])
    assert all(0 < result.mean_percent <= 100 for result in results)
    filled = in_proportion(["default"])
    assert 50 < filled["default"] <= 100
    head, _, line, *_ = table(results, filled).splitlines()
    assert head.count("|") == line.count("|") == len(policies) + 4


def test_a_mix_that_is_not_known_is_an_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--mixes", "no-such-mix"])
    assert "no-such-mix" in capsys.readouterr().err


# The referee.


def test_the_referee_refuses_a_refusal_and_a_placement_that_does_not_fit():
    task = Request(1_000, 1_000, gpus=1, gpu_milli=600)
    cluster = Cluster([Node("a", 1_500, 9_000, 1, "T4")])
    with pytest.raises(RuntimeError, match="refused"):
        cluster.settle(task, None)
    cluster.settle(task, Placement("a", (0,)))
    assert cluster.allocated_milli == 600
    cluster.settle(task, None)
    with pytest.raises(RuntimeError, match="cannot be placed"):
        cluster.settle(task, Placement("a", (0,)))


# FGD as published.


def test_typical_tasks_cover_95_percent():
    kinds = {Request(cpu, 0): frequency for cpu, frequency in ((1, 60.0), (2, 34.0), (3, 4.0), (4, 2.0))}
    assert [task.cpu_milli for task in typical_tasks(kinds)] == [1, 2, 3]


def test_fragmentation_is_what_the_next_task_cannot_use():
    half, whole, cpu_only = (
        Request(4_000, 0, gpus=1, gpu_milli=500),
        Request(9_000, 0, gpus=1),
        Request(1_000, 0),
    )
    cluster = Cluster([Node("a", 8_000, 0, 2, "T4")])
    cluster.gpu[0] = [1_000, 300]
    policy = FgdPolicy(cluster, {half: 5, whole: 3, cpu_only: 2})
    here = [0]
    frag = policy.fragmentation(np.array(here), cluster.cpu[here], cluster.gpu[here])
    # Half the time 300 are of no use; the whole one lacks CPU, and the last needs no GPU: all 1300 are lost to both.
    assert frag[0] == pytest.approx(0.5 * 300 + 0.3 * 1_300 + 0.2 * 1_300)
