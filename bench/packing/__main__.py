"""`python -m bench.packing [--json]`: GPU thousandths allocated, per cent of all, by policy and mix.

Each game is refereed: a refusal of what some node could hold, or a placement that does not fit, ends the run.
Without options: seven mixes of seventeen, one game of each, under two minutes on one core; `--mixes all` four.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from bench.packing.cluster import Cluster
from bench.packing.fgd import FgdPolicy
from bench.packing.policies import (
    BestFitPolicy,
    DotProductPolicy,
    GpuPackingPolicy,
    OrbitPolicy,
    Policy,
    RandomPolicy,
)
from bench.packing.trace import DATA, MIXES, Game, game, load_nodes, load_tasks, mix
from orbit_core.sched._packing.guide import Piece, piece_prices
from orbit_core.sched.packing import Packer

DEFAULT_MIXES = (
    "default",
    "multi-gpu-50",
    "gpu-share-60",
    "gpu-share-100",
    "gpu-spec-33",
    "cpu-only-50",
    "cpu-only-250",
)

#: By name: makes the policy for a game, given its cluster and the seed.
POLICIES: dict[str, Callable[[Game, Cluster, int], Policy]] = {
    "random": lambda _, cluster, seed: RandomPolicy(cluster, seed),
    "dot product": lambda _, cluster, __: DotProductPolicy(cluster),
    "GPU packing": lambda _, cluster, __: GpuPackingPolicy(cluster),
    "best fit": lambda _, cluster, __: BestFitPolicy(cluster),
    "FGD": lambda played, cluster, _: FgdPolicy(cluster, played.expected),
    "Orbit, mix unknown": lambda played, _, __: OrbitPolicy(Packer(played.nodes)),
    "Orbit": lambda played, _, __: OrbitPolicy(Packer(played.nodes, played.expected)),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one mix: what was allocated for each seed, and the mean time of a game."""

    mix: str
    policy: str
    allocated_percent: tuple[float, ...]
    seconds: float

    @property
    def mean_percent(self) -> float:
        return fmean(self.allocated_percent)


def play(played: Game, policy_name: str, seed: int) -> tuple[float, float]:
    """Per cent of the GPU thousandths allocated at the end, and the seconds that the policy took."""
    cluster = Cluster(played.nodes)
    start = time.perf_counter()
    policy = POLICIES[policy_name](played, cluster, seed)
    seconds = time.perf_counter() - start
    for task in played.tasks:
        start = time.perf_counter()
        placement = policy.place(task)
        seconds += time.perf_counter() - start
        cluster.settle(task, placement)
    return 100 * cluster.allocated_milli / cluster.capacity_milli, seconds


def run(mixes: Sequence[str], policies: Sequence[str], seeds: Sequence[int]) -> list[Result]:
    """All policies on all mixes, each policy on the same games."""
    nodes, tasks = load_nodes(), load_tasks()
    results: list[Result] = []
    for name in mixes:
        rows = mix(name, tasks, nodes)
        games = [game(rows, nodes, seed) for seed in seeds]
        for policy in policies:
            ended = [play(played, policy, seed) for played, seed in zip(games, seeds, strict=True)]
            results.append(
                Result(name, policy, tuple(percent for percent, _ in ended), fmean(spent for _, spent in ended))
            )
            print(f"{name}: {policy} {results[-1].mean_percent:.2f}", file=sys.stderr)
    return results


def gains(results: Sequence[Result], over: str = "FGD", of: str = "Orbit") -> dict[str, float]:
    """Points by which one policy beats another, by mix; empty where either was not played."""
    mean = {(result.mix, result.policy): result.mean_percent for result in results}
    return {
        name: mean[name, of] - mean[name, over]
        for name in dict.fromkeys(result.mix for result in results)
        if (name, of) in mean and (name, over) in mean
    }


def in_proportion(mixes: Iterable[str]) -> dict[str, float]:
    """Per cent that a linear program fills, by mix, when it packs all kinds of task in proportion and minds GPUs alone.

    No bound, since more tasks come than fit; but who refuses nothing that fits can do little about what is refused.
    """
    nodes, tasks = load_nodes(), load_tasks()
    gpus: Counter[str | None] = Counter()
    for node in nodes:
        gpus[node.gpu_model] += node.gpus
    found: dict[str, float] = {}
    for name in mixes:
        demand: Counter[Piece] = Counter()
        for task in mix(name, tasks, nodes):
            if task.gpus:
                demand[Piece(task.milli_per_gpu, tuple(sorted(task.gpu_models)))] += task.gpus
        found[name] = 100 * piece_prices(demand, gpus).filled
    return found


def table(results: Sequence[Result], filled: Mapping[str, float]) -> str:
    """A Markdown table: one line for each mix, one column for each policy, the mean time of a game last.

    `filled`: as `in_proportion` gives it.
    """
    policies = list(dict.fromkeys(result.policy for result in results))
    cells = {(result.mix, result.policy): f"{result.mean_percent:.2f}" for result in results}
    gain = gains(results)
    head = [*policies, "in proportion", "gain over FGD"]
    lines = ["| mix | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for name in dict.fromkeys(result.mix for result in results):
        row = [*(cells[name, policy] for policy in policies), f"{filled[name]:.2f}"]
        lines.append(f"| {name} | " + " | ".join([*row, f"{gain[name]:+.2f}" if name in gain else ""]) + " |")
    seconds = [fmean(result.seconds for result in results if result.policy == policy) for policy in policies]
    lines.append("| seconds a game | " + " | ".join([*(f"{each:.1f}" for each in seconds), "", ""]) + " |")
    if gain:
        lines.append(f"\ngain over FGD: mean {fmean(gain.values()):+.2f}, least {min(gain.values()):+.2f} points")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.packing", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--mixes", nargs="+", choices=[*MIXES, "all"], default=list(DEFAULT_MIXES))
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--seeds", type=int, default=1, help="games of each mix (default 1)")
    parser.add_argument("--first-seed", type=int, default=100, help="seeds count up from this (default 100)")
    options = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"no data: {DATA} is not there", file=sys.stderr)
        return 2
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    mixes = MIXES if "all" in options.mixes else options.mixes
    results = run(mixes, options.policies, seeds)
    filled = in_proportion(mixes)
    if options.json:
        told = {"results": [asdict(each) for each in results], "in_proportion": filled, "gain_over_fgd": gains(results)}
        print(json.dumps(told, indent=2))
    else:
        print(table(results, filled))
    return 0


if __name__ == "__main__":
    sys.exit(main())
