"""The room that is left: one row per node in arrays, so that a question about all nodes is a few array operations.

Rows are called slots; a slot outlives its node and is given to a later one. Only what fits, is taken and is given
back lives here; which node is best does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._packing.model import WHOLE_GPU_MILLI, Node, Placement, Request

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Free memory of a GPU whose memory is not known: no claim exhausts it.
_UNKNOWN_MEMORY_MIB: Final = 1 << 50
#: Free CPU of a slot without a node: no request fits there, not even one that asks for nothing.
_NO_NODE: Final = -1


class Room:
    """Free CPU, memory and GPUs of every node, and what is held on each.

    Arrays have one row per slot: `cpu`, `memory` (free, int64), `gpu` and `gpu_memory` (slots x GPUs, free
    thousandths and MiB; a GPU that a node lacks has 0 of both), `gpus` (how many a node has).
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.slot_of: dict[str, int] = {}
        self.nodes: list[Node | None] = []
        self._vacant: list[int] = []
        self._models: dict[str, list[int]] = {}
        self._held: list[dict[tuple[Request, Placement], int]] = []
        self._allocate(max(len(nodes), 1), max((node.gpus for node in nodes), default=1))
        for node in nodes:
            self.add(node)

    def _allocate(self, slots: int, gpus: int) -> None:
        self.cpu: Ints = np.full(slots, _NO_NODE, np.int64)
        self.memory: Ints = np.zeros(slots, np.int64)
        self.gpus: Ints = np.zeros(slots, np.int64)
        self.gpu: Ints = np.zeros((slots, max(gpus, 1)), np.int64)
        self.gpu_memory: Ints = np.zeros((slots, max(gpus, 1)), np.int64)

    @property
    def slots(self) -> int:
        """How many rows the arrays have, vacant ones included."""
        return len(self.cpu)

    def _grow(self, slots: int, gpus: int) -> None:
        cpu, memory, counts, gpu, gpu_memory = self.cpu, self.memory, self.gpus, self.gpu, self.gpu_memory
        used, width = gpu.shape
        self._allocate(max(slots, used), max(gpus, width))
        self.cpu[:used], self.memory[:used], self.gpus[:used] = cpu, memory, counts
        self.gpu[:used, :width], self.gpu_memory[:used, :width] = gpu, gpu_memory

    def add(self, node: Node) -> int:
        """Gives an empty node a slot. Raises ValueError where the id is known."""
        if node.id in self.slot_of:
            raise ValueError(f"node {node.id!r} is there already")
        if self._vacant:
            slot = self._vacant.pop()
        else:
            slot = len(self.nodes)
            self.nodes.append(None)
            self._held.append({})
        if slot >= self.slots or node.gpus > self.gpu.shape[1]:
            self._grow(max(self.slots, 2 * slot), node.gpus)
        self.nodes[slot] = node
        self.slot_of[node.id] = slot
        self.cpu[slot], self.memory[slot], self.gpus[slot] = node.cpu_milli, node.memory_mib, node.gpus
        self.gpu[slot] = 0
        self.gpu[slot, : node.gpus] = WHOLE_GPU_MILLI
        self.gpu_memory[slot] = 0
        self.gpu_memory[slot, : node.gpus] = node.gpu_memory_mib or _UNKNOWN_MEMORY_MIB
        if node.gpu_model is not None:
            self._models.setdefault(node.gpu_model, []).append(slot)
        return slot

    def remove(self, node_id: str) -> int:
        """Takes a node away with all that it holds, and returns the slot it had."""
        slot = self._slot(node_id)
        node = self.nodes[slot]
        assert node is not None
        del self.slot_of[node_id]
        self.nodes[slot] = None
        self._held[slot] = {}
        self.cpu[slot] = _NO_NODE
        self.memory[slot] = self.gpus[slot] = 0
        self.gpu[slot] = self.gpu_memory[slot] = 0
        if node.gpu_model is not None:
            self._models[node.gpu_model].remove(slot)
        self._vacant.append(slot)
        return slot

    def _slot(self, node_id: str) -> int:
        try:
            return self.slot_of[node_id]
        except KeyError:
            raise ValueError(f"node {node_id!r} is not known here: it was never added, or has been removed") from None

    def gpus_of_models(self) -> dict[str | None, int]:
        """How many GPUs there are of each model, of nodes that have any."""
        counts: dict[str | None, int] = {}
        for node in self.nodes:
            if node is not None and node.gpus:
                counts[node.gpu_model] = counts.get(node.gpu_model, 0) + node.gpus
        return counts

    def usable(self, request: Request, slots: Ints | slice = slice(None)) -> Bools:
        """(slots x GPUs): the GPUs on which the request's share of one GPU fits."""
        usable = self.gpu[slots] >= max(request.milli_per_gpu, 1)
        if request.gpu_memory_mib:
            usable &= self.gpu_memory[slots] >= request.gpu_memory_mib
        return usable

    def of_models(self, models: Iterable[str]) -> Bools:
        """(all slots): those whose node has GPUs of one of these models."""
        mask = np.zeros(self.slots, np.bool_)
        for model in sorted(models):
            mask[self._models.get(model, [])] = True
        return mask

    def fits(self, request: Request, slots: Ints | slice = slice(None)) -> Bools:
        """(slots): the nodes that can hold the request now."""
        fits = (self.cpu[slots] >= request.cpu_milli) & (self.memory[slots] >= request.memory_mib)
        if request.gpu_models:
            fits &= self.of_models(request.gpu_models)[slots]
        if request.gpus:
            fits &= self.usable(request, slots).sum(axis=1) >= request.gpus
        return fits

    def take(self, request: Request, placement: Placement) -> int:
        """Takes the room and returns the slot; ValueError where it does not fit, and then nothing is changed."""
        slot = self._slot(placement.node_id)
        self._check(request, placement, slot)
        indices = list(placement.gpu_indices)
        self.cpu[slot] -= request.cpu_milli
        self.memory[slot] -= request.memory_mib
        if indices:
            self.gpu[slot, indices] -= request.milli_per_gpu
            self.gpu_memory[slot, indices] -= request.gpu_memory_mib
        held = self._held[slot]
        held[request, placement] = held.get((request, placement), 0) + 1
        return slot

    def _check(self, request: Request, placement: Placement, slot: int) -> None:
        indices = placement.gpu_indices
        if len(indices) != request.gpus or any(a >= b for a, b in pairwise(indices)):
            raise ValueError(f"{request} needs {request.gpus} GPUs, ascending, not {indices}")
        if indices and not (indices[0] >= 0 and indices[-1] < self.gpus[slot]):
            raise ValueError(f"node {placement.node_id!r} has {self.gpus[slot]} GPUs, not all of {indices}")
        node = self.nodes[slot]
        assert node is not None
        if request.gpu_models and node.gpu_model not in request.gpu_models:
            raise ValueError(f"node {node.id!r} has {node.gpu_model} GPUs, {request} is bound to other models")
        if request.cpu_milli > self.cpu[slot] or request.memory_mib > self.memory[slot]:
            raise ValueError(
                f"{request} does not fit on node {node.id!r}: "
                f"{self.cpu[slot]} milli-CPUs and {self.memory[slot]} MiB are free"
            )
        if indices and not self.usable(request, np.array([slot]))[0, list(indices)].all():
            raise ValueError(f"{request} does not fit on GPUs {indices} of node {node.id!r}")

    def give_back(self, request: Request, placement: Placement) -> int:
        """Frees what `take` took and returns the slot; ValueError where just this is not held there."""
        slot = self._slot(placement.node_id)
        held = self._held[slot]
        count = held.get((request, placement), 0)
        if not count:
            raise ValueError(f"{request} is not held at {placement}: it was never placed there, or is released")
        if count == 1:
            del held[request, placement]
        else:
            held[request, placement] = count - 1
        indices = list(placement.gpu_indices)
        self.cpu[slot] += request.cpu_milli
        self.memory[slot] += request.memory_mib
        if indices:
            self.gpu[slot, indices] += request.milli_per_gpu
            self.gpu_memory[slot, indices] += request.gpu_memory_mib
        return slot
