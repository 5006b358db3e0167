"""Fragmentation gradient descent as published: Weng et al., "Beware of Fragmentation", USENIX ATC '23.

The fragmentation of a node is the GPU thousandths that a random task cannot use there: all that are free where the
task does not fit (not enough GPUs, CPU, or another model; tasks without GPUs can use none), else those on GPUs
with too little left for it. A task goes where fragmentation grows least. As in the simulator that the authors
published (hkust-adsl/kubernetes-scheduler-simulator): tasks are the most frequent kinds that cover 95 % of all, the
growth goes through a sigmoid and is rounded to 0 to 100, and the first node of a fixed order wins ties.

Kinds that differ only in CPU are looked up together, and only nodes that changed are scored again: the answers are
those of the plain double loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bench.packing.cluster import Cluster, Ints
from orbit_core.sched.packing import Placement, Request

Floats = NDArray[np.float64]

#: Share of the tasks that the kinds considered cover.
_COVERED = 0.95


def typical_tasks(expected: Mapping[Request, float]) -> dict[Request, float]:
    """The most frequent kinds that together cover 95 % of the tasks, with their frequencies."""
    kept: dict[Request, float] = {}
    covered = 0.0
    total = sum(expected.values())
    for task, frequency in sorted(expected.items(), key=lambda entry: -entry[1]):
        if covered >= _COVERED:
            break
        kept[task] = frequency / total
        covered += frequency / total
    return kept


class FgdPolicy:
    """Fragmentation gradient descent, with what it has scored kept for every kind of task."""

    def __init__(self, cluster: Cluster, expected: Mapping[Request, float]) -> None:
        self._cluster = cluster
        typical = typical_tasks(expected)
        self._total = sum(typical.values())
        with_gpus = {task: frequency for task, frequency in typical.items() if task.gpus}
        self._groups = sorted({(task.milli_per_gpu, task.gpus) for task in with_gpus})
        self._cpu_steps = np.unique([task.cpu_milli for task in with_gpus])
        models = sorted(set(cluster.models.tolist()))
        #: (models x CPU steps + 1 x groups): how likely a task of this group comes that may run on this model and
        #: needs no more CPU than this step.
        self._likely = np.zeros((len(models), len(self._cpu_steps) + 1, len(self._groups)))
        for task, frequency in with_gpus.items():
            step = int(np.searchsorted(self._cpu_steps, task.cpu_milli)) + 1
            group = self._groups.index((task.milli_per_gpu, task.gpus))
            for index, model in enumerate(models):
                if not task.gpu_models or model in task.gpu_models:
                    self._likely[index, step:, group] += frequency
        self._model_of = np.array([models.index(model) for model in cluster.models.tolist()])
        self._kept: dict[Request, tuple[int, Ints, Ints]] = {}

    def fragmentation(self, nodes: Ints, cpu: Ints, gpu: Ints) -> Floats:
        """(options): expected thousandths that the next task could not use, for nodes with that much free."""
        free = gpu.clip(min=0)
        total = free.sum(axis=1)
        step = np.searchsorted(self._cpu_steps, cpu, side="right")
        likely = self._likely[self._model_of[nodes], step]
        usable = np.zeros(len(nodes))
        for column, (milli, gpus) in enumerate(self._groups):
            fits = free >= milli
            enough = fits.sum(axis=1) >= gpus
            usable += likely[:, column] * enough * (free * fits).sum(axis=1)
        return self._total * total - usable

    def place(self, task: Request) -> Placement | None:
        cluster = self._cluster
        if task not in self._kept:
            empty = np.full(len(cluster.nodes), -1)
            self._kept[task] = (-1, empty, empty.copy())
        seen, scores, gpus = self._kept[task]
        self._score(task, np.flatnonzero(cluster.changed > seen), scores, gpus)
        self._kept[task] = (cluster.placements, scores, gpus)
        node = int(scores.argmax())
        return cluster.placement(task, node, int(gpus[node])) if scores[node] >= 0 else None

    def _score(self, task: Request, stale: Ints, scores: Ints, gpus: Ints) -> None:
        """Scores 0 to 100 for the nodes that have changed, -1 where the task does not fit; highest is best."""
        scores[stale] = -1
        fitting = np.intersect1d(stale, self._cluster.fitting(task), assume_unique=True)
        if not len(fitting):
            return
        nodes, options = self._cluster.options(task, fitting)
        before = self.fragmentation(fitting, self._cluster.cpu[fitting], self._cluster.gpu[fitting])
        cpu, gpu = self._cluster.after(task, nodes, options)
        shrinks = before[np.searchsorted(fitting, nodes)] - self.fragmentation(nodes, cpu, gpu)
        score = np.rint(100 / (1 + np.exp(-shrinks / 1000))).astype(np.int64)
        # The best GPU of each node, the first among equals: options are in order of nodes, then of GPUs.
        order = np.lexsort((np.arange(len(nodes)), -score, nodes))
        first = order[np.searchsorted(nodes[order], fitting)]
        scores[fitting], gpus[fitting] = score[first], options[first]
