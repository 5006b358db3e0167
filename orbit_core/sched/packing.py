"""The packer: which node, and which GPUs of it, a request takes, so that what is left stays useful.

Pure and deterministic: the same calls give the same placements in every process. This module is the surface;
how it works is in `_packing`. What a placement costs in money, and when work should run, do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orbit_core.sched._packing.model import Node, Placement, Request
from orbit_core.sched._packing.room import Room

__all__ = ["Node", "Packer", "Placement", "Request"]


class Packer:
    """Nodes with what runs on them, and the choice of where the next request goes.

    `expected`: how often each kind of request is thought to come, as relative frequencies; None: not known.
    """

    def __init__(self, nodes: Sequence[Node], expected: Mapping[Request, float] | None = None) -> None:
        self._room = Room(nodes)

    def place(self, request: Request, *, cost: Mapping[str, float] | None = None) -> Placement | None:
        """Takes the room for one request and says where, or None where no node can hold it.

        With `cost` (a price, a loading time; any unit), only the nodes it lists count, the lowest cost first;
        what the choice leaves behind decides among equal costs. Ids that are not known here are passed over.
        """
        slots = np.arange(self._room.slots) if cost is None else self._cheapest(request, cost)
        slots = slots[self._room.fits(request, slots)]
        if not len(slots):
            return None
        slot = int(slots[np.lexsort((self._room.cpu[slots], self._room.gpu[slots].sum(axis=1)))[0]])
        node = self._room.nodes[slot]
        assert node is not None
        placement = Placement(node.id, self._gpus(request, slot))
        self._room.take(request, placement)
        return placement

    def _cheapest(self, request: Request, cost: Mapping[str, float]) -> np.ndarray:
        slot_of = self._room.slot_of
        known = [(slot_of[node_id], price) for node_id, price in cost.items() if node_id in slot_of]
        slots = np.array([slot for slot, _ in known], np.int64)
        prices = np.array([price for _, price in known], np.float64)
        if np.isnan(prices).any():
            raise ValueError("a cost is not a number")
        fits = self._room.fits(request, slots)
        slots, prices = slots[fits], prices[fits]
        return np.sort(slots[prices == prices.min()]) if len(slots) else slots

    def _gpus(self, request: Request, slot: int) -> tuple[int, ...]:
        if not request.gpus:
            return ()
        usable = np.flatnonzero(self._room.usable(request, np.array([slot]))[0])
        tightest = usable[np.argsort(self._room.gpu[slot, usable], kind="stable")[: request.gpus]]
        return tuple(sorted(int(index) for index in tightest))

    def occupy(self, request: Request, placement: Placement) -> None:
        """Takes the room of a placement made elsewhere (recovery). ValueError where it does not fit."""
        self._room.take(request, placement)

    def release(self, request: Request, placement: Placement) -> None:
        """Gives back what `place` or `occupy` took. ValueError where just this is not held."""
        self._room.give_back(request, placement)

    def add_node(self, node: Node) -> None:
        """Adds an empty node. ValueError where its id is there already."""
        self._room.add(node)

    def remove_node(self, node_id: str) -> None:
        """Takes a node away with all that it holds; nothing on it can be released any more. ValueError if unknown."""
        self._room.remove(node_id)
