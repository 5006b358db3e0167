"""Runs a Llama-type decoder graph on the CPU over key-value slots that outlive each run.

Each sequence owns one slot of arrays [slots, heads, length, size], bound as past and present at once, so a run
writes in place. The graph's attention is GroupQueryAttention, which on CPU takes
(1) several sequences with their first tokens, padded on the right; (2) one sequence with more tokens;
(3) several sequences with one token each. Which of them is run when is decided in `batching`, never here.
"""

from __future__ import annotations

import math
import mmap
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from orbit_agent.inference.errors import NoRoomError, UnsupportedModelError
from orbit_agent.inference.folder import DecoderFolder
from orbit_agent.inference.onnx_graph import LOGIT_ROWS, OnnxGraph, Tensor

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_FIRST_LENGTH: Final = 256  # tokens for each slot at first; doubled when a sequence needs more
_MIN_BUDGET_TOKENS: Final = 256
_CAN_FORGET: Final = hasattr(mmap, "MADV_NOHUGEPAGE")  # Linux
_MASK_STEP: Final = 64  # the mask's width goes up in steps, so that its buffer is seldom made anew
_BINDINGS: Final = 128
_KEPT: Final = 16
_KEPT_ROWS: Final = 64  # of logits, in all feeds that are kept: a row has a number for each word of the vocabulary


def why_not_batched(folder: DecoderFolder) -> str | None:
    """Why this graph cannot be run here, or None: it can."""
    if folder.paged or not (folder.layers and folder.key_value_heads and folder.head_size):
        return "a key-value cache of another kind"
    try:
        graph = OnnxGraph(folder.graph)
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(f"{folder.graph.name} of {folder.path.name} cannot be read: {error}") from error
    inputs = graph.inputs()
    known = {folder.input_ids, folder.attention_mask, folder.position_ids}
    past = {
        names % layer for names in (folder.past_key_names, folder.past_value_names) for layer in range(folder.layers)
    }
    if strange := sorted(set(inputs) - known - past):
        return f"inputs {', '.join(strange[:4])}"
    if missing := sorted((past | {folder.input_ids, folder.attention_mask}) - set(inputs)):
        return f"no input {missing[0]}"
    if graph.count("GroupQueryAttention") != folder.layers:
        return "attention other than GroupQueryAttention"
    if not folder.shares_buffer:
        return "past and present do not share a buffer"
    if any(inputs[name].dtype not in ("float32", "float16") for name in past):
        return "key-value type"
    return None


class Slots:
    """The key-value cache. The system commits memory as slots are written to, which `budget_tokens` bounds."""

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
        return others + max(self.high_water[slot], tokens) <= self.budget_tokens

    def reserve(self, slot: int, tokens: int) -> bool:
        """Makes room for `tokens` in `slot`; true where the arrays are new and old bindings void."""
        self.high_water[slot] = max(self.high_water[slot], tokens)
        if tokens <= self.length:
            return False
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
        for _, _, array in self.arrays:
            array[target, :, :tokens] = array[source, :, :tokens]

    def move(self, source: int, target: int, tokens: int, reserved: int) -> bool:
        """Moves a sequence with what is reserved for it; false where the old slot had to be forgotten."""
        self.copy(source, target, tokens)
        self.high_water[target] = max(self.high_water[target], reserved)
        if sum(self.high_water) <= self.budget_tokens:
            return True
        self.forget(source)
        return False

    def forget(self, slot: int) -> None:
        """Gives the memory of a slot back to the system."""
        for memory in self._pages:
            size = len(memory) // self.slots
            memory.madvise(mmap.MADV_DONTNEED, slot * size, size)
        self.high_water[slot] = 0


class _Shape(NamedTuple):
    """A run of so many sequences from `slot` on, `tokens` of each, under a mask of `width` columns."""

    slot: int
    sequences: int
    tokens: int
    width: int


@dataclass(slots=True)
class _Feed:
    """A binding and the arrays behind it. `wanted`: the (sequence, token) pairs whose logits are to come."""

    wanted: Sequence[tuple[int, int]]
    binding: Any
    ids: Ints
    mask: Ints
    positions: Ints
    places: Ints
    logits: npt.NDArray[Any]


class DecoderSession:
    """One graph and its slots. Positions count from 0; logits that are returned hold until the next run."""

    def __init__(
        self,
        folder: DecoderFolder,
        *,
        threads: int,
        slots: int,
        cache_bytes: int,
        begun: Callable[[], object] = lambda: None,
    ) -> None:
        """`begun` is called when all that is left to wait for is the runtime, which lets other threads go on."""
        graph = OnnxGraph(folder.graph)
        self._inputs: dict[str, Tensor] = graph.inputs()
        self._folder = folder
        pruned = graph.prune_head(folder.logits)
        self._pruned = pruned is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Shapes change with every step: planned memory is half a millisecond slower than the arena.
        options.enable_mem_pattern = False
        # Spinning threads would burn the very CPU time that other work on this machine is paid for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder.graph.parent)
        )
        begun()
        try:
            self._session = onnxruntime.InferenceSession(
                pruned if pruned is not None else str(folder.graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UnsupportedModelError(f"onnxruntime cannot load {folder.path.name}: {error}") from error
        self._logits_dtype = _numpy_type(
            next(output.type for output in self._session.get_outputs() if output.name == folder.logits)
        )
        cache_dtype = self._inputs[folder.past_key_names % 0].dtype
        self.slots = Slots(folder, cache_dtype, slots, cache_bytes)
        self._bindings: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._columns = np.arange(folder.context_length, dtype=np.int64)
        self._decoding: _Feed | None = None
        self._kept: OrderedDict[tuple[_Shape, tuple[tuple[int, int], ...]], _Feed] = OrderedDict()

    @property
    def provider(self) -> str:
        """The execution provider that the session really runs on."""
        return self._session.get_providers()[0]

    def first(self, slot: int, prompts: Sequence[Sequence[int]]) -> Floats:
        """The first tokens of sequences in `slot` and those after it; logits of each one's last token."""
        width = max(map(len, prompts))
        wanted = [(row, len(prompt) - 1) for row, prompt in enumerate(prompts)]
        feed = self._feed(_Shape(slot, len(prompts), width, width), wanted, self._binding(slot, slot + len(prompts)))
        self._decoding = None  # its binding may be this one
        feed.positions[:] = self._columns[:width]
        feed.mask[:] = 1
        feed.ids[:] = 0
        for row, prompt in enumerate(prompts):
            feed.ids[row, : len(prompt)] = prompt
            feed.mask[row, len(prompt) :] = 0
        return self._run(feed)

    def extend(self, slot: int, past: int, tokens: Sequence[int], wanted: Sequence[int]) -> Floats:
        """More tokens of one sequence that holds `past`; logits at the places `wanted` among `tokens`."""
        held = past + len(tokens)
        feed = self._kept_feed(_Shape(slot, 1, len(tokens), self._mask_width(held)), [(0, place) for place in wanted])
        feed.ids[0] = tokens
        feed.positions[0] = self._columns[past:held]
        np.less(self._columns[: feed.mask.shape[1]], held, out=feed.mask[0], casting="unsafe")
        return self._run(feed)

    def decode(self, tokens: Sequence[int], pasts: Sequence[int], wanted: Sequence[int]) -> Floats:
        """One token for each of the sequences in slots 0, 1, …, which hold `pasts`; logits of those in `wanted`."""
        if len(tokens) == 1:
            return self.extend(0, pasts[0], tokens, wanted)
        width = self._mask_width(max(pasts) + 1)
        places = [(row, 0) for row in wanted]
        feed = self._decoding
        if feed is None or (feed.mask.shape, feed.wanted) != ((len(tokens), width), places):
            shape = _Shape(0, len(tokens), 1, width)
            feed = self._decoding = self._feed(shape, places, self._binding(0, len(tokens)))
        feed.ids[:, 0] = tokens
        feed.positions[:, 0] = pasts
        np.less_equal(self._columns[:width], feed.positions, out=feed.mask, casting="unsafe")
        return self._run(feed)

    def rebind(self) -> None:
        """Forgets bindings to key-value arrays that are no longer there."""
        self._bindings.clear()
        self._kept.clear()
        self._decoding = None

    def _mask_width(self, tokens: int) -> int:
        return min(-(-tokens // _MASK_STEP) * _MASK_STEP, self.slots.length)

    def _kept_feed(self, shape: _Shape, wanted: Sequence[tuple[int, int]]) -> _Feed:
        """The feed of an earlier run that was like this one, to be filled anew; else one that is kept.

        Several stay bound at once: a sequence that is alone runs now this many tokens, now that many.
        """
        key = (shape, tuple(wanted))
        feed = self._kept.pop(key, None)
        if feed is None:
            feed = self._feed(shape, wanted, self._new_binding(shape.slot, shape.slot + shape.sequences))
        self._kept[key] = feed
        while len(self._kept) > _KEPT or sum(len(each.logits) for each in self._kept.values()) > _KEPT_ROWS:
            self._kept.popitem(last=False)  # this one at last, where it alone is larger
        return feed

    def _feed(self, shape: _Shape, wanted: Sequence[tuple[int, int]], binding: Any) -> _Feed:
        """Inputs of that shape in `binding`, and room for the logits `wanted`."""
        folder = self._folder
        count, tokens = shape.sequences, shape.tokens
        places = np.array(wanted, np.int64).reshape(-1, 1, 2)
        rows = len(wanted) if self._pruned else count * tokens
        feed = _Feed(
            wanted=wanted,
            binding=binding,
            ids=np.empty((count, tokens), np.int64),
            mask=np.empty((count, shape.width), np.int64),
            positions=np.empty((count, tokens), np.int64),
            places=places,
            logits=np.empty((rows, folder.vocabulary), self._logits_dtype),
        )
        inputs = {folder.input_ids: feed.ids, folder.attention_mask: feed.mask, folder.position_ids: feed.positions}
        if self._pruned:
            inputs[LOGIT_ROWS] = places
        for name, array in inputs.items():
            if name in self._inputs or name == LOGIT_ROWS:
                binding.bind_input(name, "cpu", 0, np.int64, array.shape, array.ctypes.data)
        logits_shape = (rows, 1, folder.vocabulary) if self._pruned else (count, tokens, folder.vocabulary)
        binding.bind_output(folder.logits, "cpu", 0, self._logits_dtype, logits_shape, feed.logits.ctypes.data)
        return feed

    def _run(self, feed: _Feed) -> Floats:
        self._session.run_with_iobinding(feed.binding)
        logits = feed.logits
        if not self._pruned:
            logits = logits[feed.places[:, 0, 0] * feed.ids.shape[1] + feed.places[:, 0, 1]]
        return logits.astype(np.float32, copy=False)

    def _binding(self, lo: int, hi: int) -> Any:
        """A binding of the slots from `lo` up to `hi`; its other inputs change with each run."""
        binding = self._bindings.get((lo, hi))
        if binding is not None:
            self._bindings.move_to_end((lo, hi))
            return binding
        binding = self._bindings[lo, hi] = self._new_binding(lo, hi)
        while len(self._bindings) > _BINDINGS:
            self._bindings.popitem(last=False)
        return binding

    def _new_binding(self, lo: int, hi: int) -> Any:
        binding = self._session.io_binding()
        for past, present, array in self.slots.arrays:
            part = array[lo:hi]
            binding.bind_input(past, "cpu", 0, part.dtype, part.shape, part.ctypes.data)
            binding.bind_output(present, "cpu", 0, part.dtype, part.shape, part.ctypes.data)
        return binding


def _numpy_type(onnx_type: str) -> np.dtype[Any]:
    """The numpy type of `tensor(float)` and `tensor(float16)`."""
    return np.dtype(np.float16 if onnx_type == "tensor(float16)" else np.float32)
