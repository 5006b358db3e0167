"""The production cluster and its tasks, the mixes made of them, and the game that is played. No policies here.

The data is `../shared/packing` beside the repository (nodes.csv, tasks-default.csv; see its README for source and
rules). The other mixes are the default one resampled, in the shapes that the FGD paper (USENIX ATC '23) tries:
more multi-GPU tasks, more fractions of GPUs, tasks bound to GPU models, fewer and more tasks without GPUs.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orbit_core.sched.packing import Node, Request

DATA = Path(__file__).resolve().parents[3] / "shared" / "packing"

#: GPU thousandths asked for by all tasks of a game, over what the cluster has.
ARRIVING = 1.3

#: Every mix, by name; the number is per cent, of what is said in `mix`.
MIXES = (
    "default",
    *(f"multi-gpu-{share}" for share in (20, 30, 40, 50)),
    *(f"gpu-share-{share}" for share in (40, 60, 80, 100)),
    *(f"gpu-spec-{share}" for share in (10, 20, 25, 33)),
    *(f"cpu-only-{share}" for share in (37, 50, 200, 250)),
)


@dataclass(frozen=True, slots=True)
class Game:
    """One seed of one mix: nodes and tasks in their orders, and what history tells of the mix."""

    nodes: tuple[Node, ...]
    tasks: tuple[Request, ...]
    expected: dict[Request, float]


def load_nodes(folder: Path = DATA) -> list[Node]:
    """The nodes in the order of the file."""
    with (folder / "nodes.csv").open(newline="") as file:
        return [
            Node(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"] or None)
            for row in csv.DictReader(file)
        ]


def load_tasks(folder: Path = DATA) -> list[Request]:
    """The tasks of the default mix in order of submission."""
    with (folder / "tasks-default.csv").open(newline="") as file:
        return [
            Request(
                cpu_milli=int(row["cpu_milli"]),
                memory_mib=int(row["memory_mib"]),
                gpus=int(row["num_gpu"]),
                gpu_milli=int(row["gpu_milli"]) if row["num_gpu"] == "1" else 0,
                gpu_models=frozenset(filter(None, row["gpu_spec"].split("|"))),
            )
            for row in csv.DictReader(file)
        ]


def mix(name: str, tasks: Sequence[Request], nodes: Sequence[Node], seed: int = 0) -> list[Request]:
    """The rows of a mix: always the same for a name and a seed.

    - `multi-gpu-N`: N % of the GPU thousandths are asked for by tasks of several GPUs;
    - `gpu-share-N`: N % are asked for by tasks that want a fraction of a GPU (100: no others);
    - `gpu-spec-N`: N % of the GPU tasks are bound to one or two GPU models;
    - `cpu-only-N`: tasks without GPUs are N % as many as in the default mix.
    """
    if name == "default":
        return list(tasks)
    kind, _, number = name.rpartition("-")
    share = int(number) / 100
    rng = random.Random(f"{name}/{seed}")
    if kind == "multi-gpu":
        return _with_share(tasks, [task.gpus > 1 for task in tasks], share, rng)
    if kind == "gpu-share":
        return _with_share(tasks, [0 < task.milli_per_gpu < 1000 for task in tasks], share, rng)
    if kind == "gpu-spec":
        return [_bound(task, nodes, rng) if task.gpus and rng.random() < share else task for task in tasks]
    if kind == "cpu-only":
        rows = [task for task in tasks if task.gpus]
        without = [task for task in tasks if not task.gpus]
        return rows + rng.choices(without, k=round(share * len(without)))
    raise ValueError(f"no such mix: {name}")


def _with_share(tasks: Sequence[Request], chosen: Sequence[bool], share: float, rng: random.Random) -> list[Request]:
    """Rows drawn so that those `chosen` ask for `share` of the GPU thousandths; tasks without GPUs stay as they are."""
    rows = [task for task in tasks if not task.gpus]
    demand = sum(task.total_gpu_milli for task in tasks)
    for wanted, part in ((True, share), (False, 1 - share)):
        pool = [task for task, is_chosen in zip(tasks, chosen, strict=True) if task.gpus and is_chosen == wanted]
        left = part * demand
        while left > 0:
            row = rng.choice(pool)
            rows.append(row)
            left -= row.total_gpu_milli
    return rows


def _bound(task: Request, nodes: Sequence[Node], rng: random.Random) -> Request:
    """The task bound to one or two models, drawn by their GPUs among those with a node that could hold it."""
    gpus: Counter[str] = Counter()
    for node in nodes:
        if (
            node.gpu_model
            and node.gpus >= task.gpus
            and node.cpu_milli >= task.cpu_milli
            and node.memory_mib >= task.memory_mib
        ):
            gpus[node.gpu_model] += node.gpus
    models = rng.choices(list(gpus), list(gpus.values()), k=rng.choice((1, 2)))
    return Request(task.cpu_milli, task.memory_mib, task.gpus, task.gpu_milli, task.gpu_memory_mib, frozenset(models))


def game(rows: Sequence[Request], nodes: Sequence[Node], seed: int) -> Game:
    """One game: all rows, and rows drawn again until `ARRIVING` is reached; tasks and nodes shuffled."""
    rng = random.Random(seed)
    wanted = ARRIVING * sum(1000 * node.gpus for node in nodes)
    tasks = list(rows)
    asked = sum(task.total_gpu_milli for task in tasks)
    while asked < wanted:
        task = rng.choice(rows)
        tasks.append(task)
        asked += task.total_gpu_milli
    rng.shuffle(tasks)
    order = list(nodes)
    rng.shuffle(order)
    counts = Counter(rows)
    return Game(tuple(order), tuple(tasks), {request: count / len(rows) for request, count in counts.items()})
