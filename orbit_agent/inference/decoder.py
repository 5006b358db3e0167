"""Runs a Llama-type decoder graph on the CPU over key-value slots that outlive each run.

Each sequence owns one slot of arrays [slots, heads, length, size], bound as past and present at once, so a run
writes in place. The graph's attention is GroupQueryAttention, which on CPU takes
(1) several sequences with their first tokens, padded on the right; (2) one sequence with more tokens;
(3) several sequences with one token each. Several tokens of several sequences are made to look like (2), where
attention can be told what to see (`together`). Which of them is run when is decided in `batching`, never here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from orbit_agent.inference.errors import UnsupportedModelError
from orbit_agent.inference.folder import DecoderFolder
from orbit_agent.inference.onnx_graph import LOGIT_ROWS, SCORE_BIAS, OnnxGraph, Tensor
from orbit_agent.inference.slots import Slots
from orbit_agent.inference.together import MOST_SEQUENCES, Together
from orbit_core.limits import MIB

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_MASK_STEP: Final = 64  # the mask's width goes up in steps, so that its buffer is seldom made anew
_BINDINGS: Final = 128
_KEPT: Final = 16
_KEPT_ROWS: Final = 64  # of logits, in all feeds that are kept: a row has a number for each word of the vocabulary
_TOGETHER: Final = -1
#: Weights that no processor's cache holds: few tokens leave it waiting for them, so that a few more cost little.
_WAITS_FOR_BYTES: Final = 64 * MIB


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


class _Shape(NamedTuple):
    """A run of so many sequences from `slot` on, `tokens` of each, under a mask of `width` columns.

    The slot `_TOGETHER` stands for all sequences that are run together.
    """

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
    bias: Floats | None
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
        self._folder = folder
        self._pruned = graph.prune_head(folder.logits)
        opened = _weights_bytes(folder) >= _WAITS_FOR_BYTES and graph.open_attention(folder.position_ids)
        self._inputs: dict[str, Tensor] = graph.inputs()
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
                graph.serialized() if self._pruned or opened else str(folder.graph),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            raise UnsupportedModelError(f"onnxruntime cannot load {folder.path.name}: {error}") from error
        self._logits_dtype = _numpy_type(
            next(output.type for output in self._session.get_outputs() if output.name == folder.logits)
        )
        cache_dtype = self._inputs[folder.past_key_names % 0].dtype
        self.slots = Slots(folder, cache_dtype, slots, cache_bytes)
        self._together = Together(self.slots, folder.context_length) if opened else None
        self._no_bias = np.zeros(0, np.float32)
        self._bindings: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._columns = np.arange(folder.context_length, dtype=np.int64)
        self._decoding: _Feed | None = None
        self._kept: OrderedDict[tuple[_Shape, int], _Feed] = OrderedDict()

    @property
    def provider(self) -> str:
        """The execution provider that the session really runs on."""
        return self._session.get_providers()[0]

    @property
    def most_together(self) -> int:
        """How many sequences may run several tokens at a time in one run."""
        return 1 if self._together is None else MOST_SEQUENCES

    def first(self, slot: int, prompts: Sequence[Sequence[int]]) -> Floats:
        """The first tokens of sequences in `slot` and those after it; logits of each one's last token."""
        self.slots.changes += 1
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
        self.slots.changes += 1
        held = past + len(tokens)
        shape = _Shape(slot, 1, len(tokens), self._mask_width(held, self.slots.length))
        feed = self._kept_feed(shape, len(wanted))
        feed.positions[0] = self._columns[past:held]
        return self._run_one(feed, held, tokens, wanted)

    def together(self, tokens: Sequence[Sequence[int]], pasts: Sequence[int], wanted: Sequence[int]) -> Floats | None:
        """More tokens of each of the sequences in slots 0, 1, …, which hold `pasts`: up to `most_together`.

        `wanted`: places in all tokens, one sequence's behind the other's. None where there is no room. `keep` says
        afterwards which of them the sequences shall hold.
        """
        assert self._together is not None
        before = self._together.arrays
        past = self._together.place(pasts, list(map(len, tokens)))
        if self._together.arrays is not before:
            self._kept.clear()
        if past is None:
            return None
        everything = [token for each in tokens for token in each]
        held = past + len(everything)
        shape = _Shape(_TOGETHER, 1, len(everything), self._mask_width(held, self._together.positions))
        feed = self._kept_feed(shape, len(wanted))
        feed.positions[0] = np.concatenate(
            [self._columns[start : start + len(each)] for start, each in zip(pasts, tokens, strict=True)]
        )
        assert feed.bias is not None
        self._together.bias(feed.bias)
        return self._run_one(feed, held, everything, wanted)

    def keep(self, counts: Sequence[int]) -> None:
        """Of what was last run `together`, lets each sequence hold its first so many tokens."""
        assert self._together is not None
        self._together.keep(counts)

    def apart(self) -> None:
        """Gives back the memory that running sequences together has taken."""
        if self._together is not None and self._together.positions:
            self._together.drop()
            self._kept.clear()

    def decode(self, tokens: Sequence[int], pasts: Sequence[int], wanted: Sequence[int]) -> Floats:
        """One token for each of the sequences in slots 0, 1, …, which hold `pasts`; logits of those in `wanted`."""
        if len(tokens) == 1:
            return self.extend(0, pasts[0], tokens, wanted)
        self.slots.changes += 1
        width = self._mask_width(max(pasts) + 1, self.slots.length)
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

    def _mask_width(self, tokens: int, most: int) -> int:
        return min(-(-tokens // _MASK_STEP) * _MASK_STEP, most)

    def _kept_feed(self, shape: _Shape, wanted: int) -> _Feed:
        """The feed of an earlier run that was like this one, to be filled anew; else one that is kept.

        Several stay bound at once: a sequence that is alone runs now this many tokens, now that many.
        """
        key = (shape, wanted)
        feed = self._kept.pop(key, None)
        if feed is None:
            feed = self._feed(shape, [(0, 0)] * wanted, self._new_binding(shape.slot, shape.slot + shape.sequences))
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
            bias=np.empty((tokens, shape.width), np.float32) if shape.slot == _TOGETHER else None,
            logits=np.empty((rows, folder.vocabulary), self._logits_dtype),
        )
        inputs = {folder.input_ids: feed.ids, folder.attention_mask: feed.mask, folder.position_ids: feed.positions}
        if self._pruned:
            inputs[LOGIT_ROWS] = places
        for name, array in inputs.items():
            if name in self._inputs:
                binding.bind_input(name, "cpu", 0, np.int64, array.shape, array.ctypes.data)
        if SCORE_BIAS in self._inputs:
            bias = self._zeros(tokens * shape.width) if feed.bias is None else feed.bias
            binding.bind_input(SCORE_BIAS, "cpu", 0, np.float32, (1, 1, tokens, shape.width), bias.ctypes.data)
        logits_shape = (rows, 1, folder.vocabulary) if self._pruned else (count, tokens, folder.vocabulary)
        binding.bind_output(folder.logits, "cpu", 0, self._logits_dtype, logits_shape, feed.logits.ctypes.data)
        return feed

    def _zeros(self, size: int) -> Floats:
        """So many zeros, which all bindings share that hide nothing."""
        if self._no_bias.size < size:
            self.rebind()
            self._no_bias = np.zeros(2 * size, np.float32)
        return self._no_bias

    def _run_one(self, feed: _Feed, held: int, tokens: Sequence[int], wanted: Sequence[int]) -> Floats:
        """Runs one sequence that comes to hold so many tokens."""
        feed.ids[0] = tokens
        feed.places[:, 0, 1] = wanted
        np.less(self._columns[: feed.mask.shape[1]], held, out=feed.mask[0], casting="unsafe")
        return self._run(feed)

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
        arrays = self.slots.arrays
        if lo == _TOGETHER and self._together is not None:
            arrays, lo, hi = self._together.arrays, 0, 1
        for past, present, array in arrays:
            part = array[lo:hi]
            binding.bind_input(past, "cpu", 0, part.dtype, part.shape, part.ctypes.data)
            binding.bind_output(present, "cpu", 0, part.dtype, part.shape, part.ctypes.data)
        return binding


def _weights_bytes(folder: DecoderFolder) -> int:
    """The size of the graph and of the files that are named after it."""
    return sum(file.stat().st_size for file in folder.graph.parent.glob(f"{folder.graph.name}*"))


def _numpy_type(onnx_type: str) -> np.dtype[Any]:
    """The numpy type of `tensor(float)` and `tensor(float16)`."""
    return np.dtype(np.float16 if onnx_type == "tensor(float16)" else np.float32)
