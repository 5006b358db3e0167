"""Published policies to compare with, each as its paper or its simulator describes it.

Random, best fit, dot product and GPU packing as in the evaluation of "Beware of Fragmentation" (USENIX ATC '23).
Each scores the options that fit; the lowest score wins, the first option among equals.
"""

from __future__ import annotations

import random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.packing.cluster import Cluster, Ints
from orbit_core.sched.packing import Packer, Placement, Request

Scores = NDArray[np.float64]


class Policy(Protocol):
    """Says where a task goes; None where it fits nowhere."""

    def place(self, task: Request) -> Placement | None: ...


class OrbitPolicy:
    """Orbit's packer, which keeps its own books."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer

    def place(self, task: Request) -> Placement | None:
        return self._packer.place(task)


class RandomPolicy:
    """Any node that fits, any GPU of it that fits."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._rng = random.Random(f"random policy/{seed}")

    def place(self, task: Request) -> Placement | None:
        fitting = self._cluster.fitting(task)
        if not len(fitting):
            return None
        node = fitting[self._rng.randrange(len(fitting))]
        nodes, gpus = self._cluster.options(task, np.array([node]))
        return self._cluster.placement(task, int(node), int(gpus[self._rng.randrange(len(nodes))]))


class _ScoringPolicy:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._cpu_max = float(cluster.cpu.max())
        self._gpu_max_milli = 1000.0 * cluster.gpu.shape[1]

    def place(self, task: Request) -> Placement | None:
        nodes, gpus = self._cluster.options(task, self._cluster.fitting(task))
        if not len(nodes):
            return None
        best = int(self._scores(task, nodes, gpus).argmin())
        return self._cluster.placement(task, int(nodes[best]), int(gpus[best]))

    def _scores(self, task: Request, nodes: Ints, gpus: Ints) -> Scores:
        raise NotImplementedError

    def _tightness(self, nodes: Ints, gpus: Ints) -> Scores:
        """What is free on the GPU itself, too small to outweigh anything else."""
        return np.where(gpus >= 0, self._cluster.gpu[nodes, gpus], 0) * 1e-9


class BestFitPolicy(_ScoringPolicy):
    """The node with the least left: CPU and GPU, each over the most that a node has; then the tightest GPU."""

    def _scores(self, task: Request, nodes: Ints, gpus: Ints) -> Scores:
        left_milli = self._cluster.gpu[nodes].clip(min=0).sum(axis=1)
        left = self._cluster.cpu[nodes] / self._cpu_max + left_milli / self._gpu_max_milli
        return left + self._tightness(nodes, gpus)


class DotProductPolicy(_ScoringPolicy):
    """The node whose free CPU and GPU, times what the task asks for, is least; then the tightest GPU."""

    def _scores(self, task: Request, nodes: Ints, gpus: Ints) -> Scores:
        left_milli = self._cluster.gpu[nodes].clip(min=0).sum(axis=1)
        by_cpu = self._cluster.cpu[nodes] / self._cpu_max * (task.cpu_milli / self._cpu_max)
        by_gpu = left_milli / self._gpu_max_milli * (task.total_gpu_milli / self._gpu_max_milli)
        return by_cpu + by_gpu + self._tightness(nodes, gpus)


class GpuPackingPolicy(_ScoringPolicy):
    """Shared GPUs first, then unused GPUs of nodes in use, then unused nodes; the least free among equals."""

    def _scores(self, task: Request, nodes: Ints, gpus: Ints) -> Scores:
        gpu = self._cluster.gpu[nodes]
        is_shared = (gpus >= 0) & (self._cluster.gpu[nodes, gpus] < 1000)
        is_unused_node = ((gpu == 1000) | (gpu < 0)).all(axis=1)
        left_milli = gpu.clip(min=0).sum(axis=1)
        return np.where(is_shared, 0.0, 1.0) + is_unused_node + left_milli * 1e-5 + self._tightness(nodes, gpus)
