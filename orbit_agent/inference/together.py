"""Several tokens of each of several sequences in one run: they lie in one cache, and each token sees its own.

GroupQueryAttention on the CPU takes several new tokens of a single sequence only. So what the first slots hold is
copied here, one behind the other, as if it were one sequence; new tokens go behind all of it, and a bias hides from
each what belongs to others (the tree attention of SpecInfer, Miao et al. 2024, with a tree for each sequence). What is
kept of new tokens goes back to the slots, which always hold everything: what lies here may be dropped at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from orbit_agent.inference.slots import Slots

#: More sequences at once have enough to do for each weight that is read; attention's cost grows with their square.
MOST_SEQUENCES: Final = 8
_MOST_POSITIONS: Final = 2048
_GROWTH: Final = 256  # positions that are added at a time
_MOST_DEAD: Final = 64  # positions of wrong guesses, after which it is cheaper to copy anew than to look past them


class Together:
    """The shared cache. `place` new tokens, run them with `bias`, `keep` what was right."""

    def __init__(self, slots: Slots, context_length: int) -> None:
        self._slots = slots
        self._most = min(context_length, _MOST_POSITIONS)
        self.arrays: list[tuple[str, str, npt.NDArray[Any]]] = []
        self._hidden = np.empty((MOST_SEQUENCES, 0), np.float32)
        self._pasts: list[int] = []
        self._filled = 0
        self._new: list[int] = []
        self._changes = -1

    @property
    def positions(self) -> int:
        """How many there is memory for."""
        return self.arrays[0][2].shape[2] if self.arrays else 0

    def place(self, pasts: Sequence[int], new: Sequence[int]) -> int | None:
        """Finds room for `new` tokens of the sequences in slots 0, 1, …, which hold `pasts`.

        How many positions lie before them; None where there is no room. `arrays` may be others than before.
        """
        held, tokens = sum(pasts), sum(new)
        current = self._changes == self._slots.changes and self._pasts == list(pasts)
        tidy = self._filled + tokens <= self.positions and self._filled <= held + _MOST_DEAD
        if not (current and tidy):
            if not self._grow(held + tokens):
                return None
            self._gather(pasts)
        self._new = list(new)
        return self._filled

    def bias(self, into: npt.NDArray[np.float32]) -> None:
        """Writes what hides from each new token what it must not see. `into`: [new tokens, columns]."""
        into.fill(-np.inf)
        row = 0
        for hidden, count in zip(self._hidden, self._new, strict=False):
            into[row : row + count, : self._filled] = hidden[: self._filled]
            # Later ones of its own sequence are hidden by attention itself, which looks at nothing that follows.
            into[row : row + count, self._filled + row : self._filled + row + count] = 0.0
            row += count

    def keep(self, counts: Sequence[int]) -> None:
        """Keeps the first so many new tokens of each sequence: from now on they are part of it, in its slot too."""
        place = self._filled
        for slot, (count, new) in enumerate(zip(counts, self._new, strict=True)):
            past = self._pasts[slot]
            for (_, _, array), (_, _, held) in zip(self.arrays, self._slots.arrays, strict=True):
                held[slot, :, past : past + count] = array[0, :, place : place + count]
            self._hidden[slot, place : place + count] = 0.0
            self._pasts[slot] += count
            place += new
        self._filled = place

    def drop(self) -> None:
        """Gives the memory back."""
        self.arrays, self._changes = [], -1
        self._slots.lend(0)

    def _grow(self, positions: int) -> bool:
        if positions > self._most:
            return False
        wanted = min(self._most, -(-positions // _GROWTH) * _GROWTH + _GROWTH)
        if wanted <= self.positions:
            return True
        if not self._slots.lend(wanted):
            return False
        try:
            self.arrays = [
                (past, present, np.zeros((1, array.shape[1], wanted, array.shape[3]), array.dtype))
                for past, present, array in self._slots.arrays
            ]
        except MemoryError:
            self.drop()
            return False
        return True

    def _gather(self, pasts: Sequence[int]) -> None:
        self._hidden = np.full((MOST_SEQUENCES, self.positions), -np.inf, np.float32)
        self._filled = 0
        for slot, past in enumerate(pasts):
            place = slice(self._filled, self._filled + past)
            for (_, _, array), (_, _, held) in zip(self.arrays, self._slots.arrays, strict=True):
                array[0, :, place] = held[slot, :, :past]
            self._hidden[slot, place] = 0.0
            self._filled += past
        self._pasts = list(pasts)
        self._changes = self._slots.changes
