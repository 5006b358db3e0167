"""The cluster of a game, kept apart from Orbit's packer: it offers the baselines their choices and referees all.

Written for this game only (nothing ends, no GPU memory), and on purpose not from the packer's own parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched.packing import Node, Placement, Request

Ints = NDArray[np.int64]


class Cluster:
    """Free CPU, memory and GPU thousandths (`gpu`: nodes x GPUs, -1 where a node has no such GPU)."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.cpu: Ints = np.array([node.cpu_milli for node in nodes])
        self.memory: Ints = np.array([node.memory_mib for node in nodes])
        self.gpu: Ints = np.full((len(nodes), max(node.gpus for node in nodes)), -1)
        for index, node in enumerate(nodes):
            self.gpu[index, : node.gpus] = 1000
        self.models = np.array([node.gpu_model or "" for node in nodes])
        self.capacity_milli = 1000 * sum(node.gpus for node in nodes)
        self.allocated_milli = 0
        self.index_of = {node.id: index for index, node in enumerate(nodes)}
        #: For each node, the number of the placement that changed it last.
        self.changed: Ints = np.zeros(len(nodes), np.int64)
        self.placements = 0

    def fitting(self, task: Request) -> Ints:
        """The nodes that can hold the task, ascending."""
        fits = (self.cpu >= task.cpu_milli) & (self.memory >= task.memory_mib)
        if task.gpus:
            fits &= (self.gpu >= task.milli_per_gpu).sum(axis=1) >= task.gpus
        if task.gpu_models:
            fits &= np.isin(self.models, sorted(task.gpu_models))
        return np.flatnonzero(fits)

    def options(self, task: Request, nodes: Ints) -> tuple[Ints, Ints]:
        """(options), twice: nodes and the GPU a fraction would take, node by node; -1 for all other tasks."""
        if 0 < task.milli_per_gpu < 1000:
            rows, gpus = np.nonzero(self.gpu[nodes] >= task.milli_per_gpu)
            return nodes[rows], gpus
        return nodes, np.full(len(nodes), -1)

    def after(self, task: Request, nodes: Ints, gpus: Ints) -> tuple[Ints, Ints]:
        """(options) CPU and (options x GPUs) thousandths that would be free after each of these options."""
        gpu = self.gpu[nodes]
        if 0 < task.milli_per_gpu < 1000:
            gpu[np.arange(len(nodes)), gpus] -= task.milli_per_gpu
        elif task.gpus:
            whole = gpu == 1000
            gpu[whole & (np.cumsum(whole, axis=1) <= task.gpus)] = 0
        return self.cpu[nodes] - task.cpu_milli, gpu

    def placement(self, task: Request, node: int, gpu: int) -> Placement:
        """The placement that an option stands for."""
        if gpu >= 0:
            return Placement(self.nodes[node].id, (gpu,))
        whole = np.flatnonzero(self.gpu[node] == 1000)[: task.gpus]
        return Placement(self.nodes[node].id, tuple(whole.tolist()))

    def settle(self, task: Request, placement: Placement | None) -> None:
        """Referees one answer and keeps it; RuntimeError where it breaks the rules of the game."""
        if placement is None:
            if len(self.fitting(task)):
                raise RuntimeError(f"refused {task}, which some node could hold")
            return
        node, gpus = self.index_of[placement.node_id], list(placement.gpu_indices)
        self.cpu[node] -= task.cpu_milli
        self.memory[node] -= task.memory_mib
        self.gpu[node, gpus] -= task.milli_per_gpu
        in_bounds = self.cpu[node] >= 0 and self.memory[node] >= 0 and bool((self.gpu[node, gpus] >= 0).all())
        is_allowed = not task.gpu_models or self.nodes[node].gpu_model in task.gpu_models
        if not (in_bounds and is_allowed and len(set(gpus)) == task.gpus):
            raise RuntimeError(f"{task} cannot be placed at {placement}")
        self.allocated_milli += task.total_gpu_milli
        self.placements += 1
        self.changed[node] = self.placements
