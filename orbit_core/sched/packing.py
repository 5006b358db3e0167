"""The packer: which node, and which GPUs of it, a request takes, so that what is left stays useful.

A request goes where the worth of the room that is left falls least. The worth of a node's room comes from the mix of
requests that is expected or has been seen (`_packing.potential`), so GPUs are cut into pieces that others complete,
and CPU is kept where GPUs will need it. What fits somewhere is never refused.

Pure and deterministic: the same calls give the same placements in every process. This module is the surface;
how it works is in `_packing`. What a placement costs in money, and when work should run, do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orbit_core.sched._packing.demand import Demand
from orbit_core.sched._packing.model import WHOLE_GPU_MILLI, Node, Placement, Request
from orbit_core.sched._packing.potential import Potential
from orbit_core.sched._packing.room import Room
from orbit_core.sched._packing.scores import Losses, Scores

__all__ = ["Node", "Packer", "Placement", "Request"]


class Packer:
    """Nodes with what runs on them, and the choice of where the next request goes.

    `expected`: how often each kind of request is thought to come, as relative frequencies; None: not known, and
    learnt from what is placed. ValueError for a node id given twice and for a frequency that cannot be one.
    """

    def __init__(self, nodes: Sequence[Node], expected: Mapping[Request, float] | None = None) -> None:
        self._room = Room(nodes)
        self._demand = Demand(expected)
        # Both are made when they are first needed, and again when what they rest on has changed.
        self._potential: Potential | None = None
        self._scores: Scores | None = None

    def place(self, request: Request, *, cost: Mapping[str, float] | None = None) -> Placement | None:
        """Takes the room for one request and says where, or None where no node can hold it.

        With `cost` (a price, a loading time; any unit), only the nodes it lists count, the lowest cost first;
        what the choice leaves behind decides among equal costs. Ids that are not known here are passed over;
        a cost that is not a number is a ValueError.
        """
        losses = self._current_scores().of(request)
        slot = self._least(losses.loss) if cost is None else self._cheapest(losses.loss, cost)
        if slot is None:
            return None
        node = self._room.nodes[slot]
        assert node is not None
        placement = Placement(node.id, self._gpus(request, slot, losses))
        self.occupy(request, placement)
        return placement

    def _current_scores(self) -> Scores:
        if self._potential is None:
            gpus = self._room.gpus_of_models()
            self._potential = Potential(self._demand.frequencies(), gpus, self._room.gpu.shape[1])
        if self._scores is None:
            self._scores = Scores(self._room, self._potential)
        return self._scores

    @staticmethod
    def _least(loss: NDArray[np.float64]) -> int | None:
        slot = int(loss.argmin())
        return slot if np.isfinite(loss[slot]) else None

    def _cheapest(self, loss: NDArray[np.float64], cost: Mapping[str, float]) -> int | None:
        slot_of = self._room.slot_of
        slots = np.fromiter((slot_of.get(node_id, -1) for node_id in cost), np.int64, len(cost))
        costs = np.fromiter(cost.values(), np.float64, len(cost))
        if np.isnan(costs).any():
            raise ValueError("a cost is not a number")
        fits = slots >= 0
        fits[fits] = np.isfinite(loss[slots[fits]])
        if not fits.any():
            return None
        cheapest = np.sort(slots[fits][costs[fits] == costs[fits].min()])
        return int(cheapest[loss[cheapest].argmin()])

    def _gpus(self, request: Request, slot: int, losses: Losses) -> tuple[int, ...]:
        if request.gpus == 0:
            return ()
        if request.milli_per_gpu < WHOLE_GPU_MILLI:
            return (int(losses.gpu[slot]),)
        unused = np.flatnonzero(self._room.gpu[slot] == WHOLE_GPU_MILLI)
        return tuple(unused[: request.gpus].tolist())

    def occupy(self, request: Request, placement: Placement) -> None:
        """Takes the room of a placement made elsewhere (recovery). ValueError where it does not fit."""
        slot = self._room.take(request, placement)
        if self._demand.saw(request):
            self._potential = self._scores = None
        elif self._scores is not None:
            self._scores.touch(slot)

    def release(self, request: Request, placement: Placement) -> None:
        """Gives back what `place` or `occupy` took. ValueError where just this is not held."""
        slot = self._room.give_back(request, placement)
        if self._scores is not None:
            self._scores.touch(slot)

    def add_node(self, node: Node) -> None:
        """Adds an empty node. ValueError where its id is there already."""
        self._room.add(node)
        self._scores = None
        if self._potential is not None and not self._potential.covers(node):
            self._potential = None

    def remove_node(self, node_id: str) -> None:
        """Takes a node away with all that it holds; nothing on it can be released any more. ValueError if unknown."""
        self._room.remove(node_id)
        self._scores = None
