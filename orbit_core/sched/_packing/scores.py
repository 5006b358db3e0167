"""What each placement would lose, kept for every kind of request and worked out again only where a node has changed.

A loss is the worth of a node's room before, less after (`potential`), so a request goes where the loss is least.
Which node is taken is decided in `packing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orbit_core.sched._packing.model import WHOLE_GPU_MILLI, Request
from orbit_core.sched._packing.potential import Floats, Ints, Potential
from orbit_core.sched._packing.room import Room

#: Kinds of request whose losses are kept; with more of them the one unused longest is worked out anew.
_KINDS_MAX: Final = 1_024
#: Decimals of a loss that count: below them is only the noise of adding in another order.
_DECIMALS: Final = 6
#: Added to the loss on a node without GPUs, which costs no GPU anything: such a node comes before all others, ...
_WITHOUT_GPUS: Final = -2.0
#: Where CPU is short everywhere, nodes that differ in nothing else are taken by free CPU, the most first: requests
#: without GPUs then end up on many nodes, none of which is left with the CPU for another while its GPUs are free.
_SPREAD: Final = 1e-3
#: Of GPUs that differ in nothing else a fraction takes the one with the least free: it keeps whole ones for requests
#: that nobody expected. Less than the spread above, more than what is rounded away.
_TIGHT: Final = 1e-4


@dataclass(slots=True)
class Losses:
    """For one kind of request: the loss on each slot (inf: it does not fit) and the GPU a fraction would take."""

    loss: Floats
    gpu: Ints
    seen: int


class Scores:
    """Losses of all kinds of request on all slots of a room, under one potential."""

    def __init__(self, room: Room, potential: Potential) -> None:
        self._room = room
        self._potential = potential
        self._kinds: dict[Request, Losses] = {}
        self._clock = 1
        nodes = [node for node in room.nodes if node is not None]
        is_short = potential.is_short_of_cpu(sum(node.cpu_milli for node in nodes), sum(node.gpus for node in nodes))
        self._spread = _SPREAD / max(1, *(node.cpu_milli for node in nodes)) if is_short else 0.0
        self._changed: Ints = np.ones(room.slots, np.int64)
        self._tables: Ints = np.zeros(room.slots, np.int64)
        self._tables[: len(room.nodes)] = potential.tables(node.gpu_model if node else None for node in room.nodes)
        self._of_gpus: Floats = np.zeros((room.slots, potential.grid))
        self._worth: Floats = np.zeros(room.slots)
        self._update(np.arange(room.slots))

    def touch(self, slot: int) -> None:
        """Says that the room of a slot has changed."""
        self._clock += 1
        self._changed[slot] = self._clock
        self._update(np.array([slot]))

    def _update(self, slots: Ints) -> None:
        room, potential = self._room, self._potential
        of_gpus = potential.of_gpus(self._tables[slots], room.gpu[slots])
        self._of_gpus[slots] = of_gpus
        self._worth[slots] = potential.worth(room.cpu[slots], room.memory[slots], of_gpus)

    def of(self, request: Request) -> Losses:
        """The losses of a request, up to date; not to be changed."""
        losses = self._kinds.pop(request, None)
        if losses is None:
            if len(self._kinds) >= _KINDS_MAX:
                del self._kinds[next(iter(self._kinds))]
            losses = Losses(np.full(self._room.slots, np.inf), np.zeros(self._room.slots, np.int64), 0)
        self._kinds[request] = losses
        stale = np.flatnonzero(self._changed > losses.seen)
        if len(stale):
            losses.seen = self._clock
            losses.loss[stale] = np.inf
            fitting = stale[self._room.fits(request, stale)]
            if len(fitting):
                self._work_out(request, fitting, losses)
        return losses

    def _work_out(self, request: Request, slots: Ints, losses: Losses) -> None:
        if request.gpus == 0:
            loss = self._loss(request, slots, self._of_gpus[slots])
            bare = self._room.gpus[slots] == 0
            left = (self._room.cpu[slots] - request.cpu_milli) / np.maximum(self._room.cpu[slots], 1)
            loss = np.where(bare, _WITHOUT_GPUS + left, loss)  # ... the one that is filled best first
        elif request.milli_per_gpu == WHOLE_GPU_MILLI:
            free = (self._room.gpu[slots] == WHOLE_GPU_MILLI).sum(axis=1)
            change = self._potential.change_by_whole(self._tables[slots], free, request.gpus)
            loss = self._loss(request, slots, self._of_gpus[slots] + change)
        else:
            loss, losses.gpu[slots] = self._fraction(request, slots)
        losses.loss[slots] = loss.round(_DECIMALS)

    def _loss(self, request: Request, slots: Ints, of_gpus: Floats) -> Floats:
        room = self._room
        cpu, memory = room.cpu[slots] - request.cpu_milli, room.memory[slots] - request.memory_mib
        loss = self._worth[slots] - self._potential.worth(cpu, memory, of_gpus)
        return loss - cpu * self._spread if self._spread else loss

    def _fraction(self, request: Request, slots: Ints) -> tuple[Floats, Ints]:
        """(slots): the least loss over the GPUs of each, and that GPU. Of GPUs that nobody uses one will do."""
        gpu = self._room.gpu[slots]
        usable = self._room.usable(request, slots)
        unused = gpu == WHOLE_GPU_MILLI
        usable &= ~unused | (np.cumsum(unused, axis=1) == 1)
        rows, gpus = np.nonzero(usable)
        options = slots[rows]
        change = self._potential.change_by_fraction(
            self._tables[options], gpu[rows, gpus], unused.sum(axis=1)[rows], request.milli_per_gpu
        )
        change += self._of_gpus[options]
        loss = np.full(gpu.shape, np.inf)
        loss[rows, gpus] = self._loss(request, options, change) + gpu[rows, gpus] * (_TIGHT / WHOLE_GPU_MILLI)
        loss = loss.round(_DECIMALS)
        best = loss.argmin(axis=1)
        return loss[np.arange(len(slots)), best], best
