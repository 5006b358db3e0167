"""The key-value cache of a decoder on the CPU: one slot for each sequence, in arrays that outlive each run."""

from __future__ import annotations

import math
import mmap
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from orbit_agent.inference.errors import NoRoomError
from orbit_agent.inference.folder import DecoderFolder

_FIRST_LENGTH: Final = 256  # tokens for each slot at first; doubled when a sequence needs more
_MIN_BUDGET_TOKENS: Final = 256
_CAN_FORGET: Final = hasattr(mmap, "MADV_NOHUGEPAGE")  # Linux


class Slots:
    """The key-value cache. The system commits memory as slots are written to, which `budget_tokens` bounds.

    `changes` counts what may have put other tokens into a slot than were there.
    """

    def __init__(self, folder: DecoderFolder, dtype: str, slots: int, budget_bytes: int) -> None:
        self._folder = folder
        self._dtype = np.dtype(dtype)
        self.slots = slots
        self.bytes_per_token = folder.key_value_bytes_per_token(self._dtype.itemsize)
        self.budget_tokens = budget_bytes // self.bytes_per_token
        if self.budget_tokens < min(_MIN_BUDGET_TOKENS, folder.context_length):
            raise NoRoomError(
                f"the memory given to {folder.path.name} leaves a key-value cache of {self.budget_tokens} tokens",
                remedy="give the model server more memory, or use a smaller model",
            )
        self.length = min(_FIRST_LENGTH, folder.context_length)
        self.high_water = [0] * slots
        self.lent = 0
        self.changes = 0
        self.arrays: list[tuple[str, str, npt.NDArray[Any]]] = []
        self._pages: list[mmap.mmap] = []
        self._allocate()

    def _allocate(self) -> None:
        folder = self._folder
        shape = (self.slots, folder.key_value_heads, self.length, folder.head_size)
        names = (
            (folder.past_key_names, folder.present_key_names),
            (folder.past_value_names, folder.present_value_names),
        )
        try:
            self._pages = []
            self.arrays = [
                (past % layer, present % layer, self._zeros(shape))
                for layer in range(folder.layers)
                for past, present in names
            ]
        except (MemoryError, OSError) as error:
            raise NoRoomError(f"no memory for a key-value cache of {self.slots} x {self.length} tokens") from error

    def _zeros(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        size = math.prod(shape) * self._dtype.itemsize
        if self.slots * self.length <= self.budget_tokens or size // self.slots % mmap.PAGESIZE or not _CAN_FORGET:
            return np.zeros(shape, self._dtype)  # in huge pages: slots are committed almost whole, and may be
        memory = mmap.mmap(-1, size)
        memory.madvise(mmap.MADV_NOHUGEPAGE)  # so that a slot takes what was written to it
        self._pages.append(memory)
        return np.frombuffer(memory, self._dtype).reshape(shape)

    def fits(self, slot: int, tokens: int) -> bool:
        """Whether `slot` may hold `tokens` within the budget, beside what was ever written to the others."""
        others = sum(self.high_water) - self.high_water[slot]
        return others + self.lent + max(self.high_water[slot], tokens) <= self.budget_tokens

    def lend(self, tokens: int) -> bool:
        """Sets aside the memory of so many tokens, in all, for use outside the slots; false where it is in use."""
        if tokens > self.lent and sum(self.high_water) + tokens > self.budget_tokens:
            return False
        self.lent = tokens
        return True

    def reserve(self, slot: int, tokens: int) -> bool:
        """Makes room for `tokens` in `slot`; true where the arrays are new and old bindings void."""
        self.high_water[slot] = max(self.high_water[slot], tokens)
        if tokens <= self.length:
            return False
        self.changes += 1
        held = self.arrays
        old = self.length
        while self.length < tokens:
            self.length *= 2
        self.length = min(self.length, self._folder.context_length)
        self._allocate()
        for (_, _, new), (_, _, array) in zip(self.arrays, held, strict=True):
            for index, water in enumerate(self.high_water):
                if water:
                    new[index, :, : min(water, old)] = array[index, :, : min(water, old)]
        return True

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copies the first `tokens` of one slot into another, which has room for them."""
        self.changes += 1
        for _, _, array in self.arrays:
            array[target, :, :tokens] = array[source, :, :tokens]

    def move(self, source: int, target: int, tokens: int, reserved: int) -> bool:
        """Moves a sequence with what is reserved for it; false where the old slot had to be forgotten."""
        self.copy(source, target, tokens)
        self.high_water[target] = max(self.high_water[target], reserved)
        if sum(self.high_water) + self.lent <= self.budget_tokens:
            return True
        self.forget(source)
        return False

    def forget(self, slot: int) -> None:
        """Gives the memory of a slot back to the system."""
        self.changes += 1
        for memory in self._pages:
            size = len(memory) // self.slots
            memory.madvise(mmap.MADV_DONTNEED, slot * size, size)
        self.high_water[slot] = 0
