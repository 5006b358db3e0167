"""Encoders: embeddings, classifiers, rerankers. Texts of many requests are batched by length into each run.

Plain onnxruntime and `tokenizers`. A request's texts may be spread over several runs, and a run may hold texts of many
requests; padding is kept low by running texts of like length together. The text that has waited longest is in
every run, so none starves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding, Tokenizer

from orbit_agent.inference.api import EmbedRequest, EmbedResult, Overflow, ScoreRequest, ScoreResult
from orbit_agent.inference.backend import BackendInfo, LoadSettings, Outcome, Request, wrong_task
from orbit_agent.inference.errors import PromptTooLongError, UnsupportedModelError
from orbit_agent.inference.folder import EncoderFolder, Pooling
from orbit_agent.inference.providers import CPU

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_RUN_MAX_TOKENS: Final = 8192  # padding included
_RUN_MAX_TEXTS: Final = 64
_WINDOW: Final = 512  # texts that are looked at to find some of like length
_KNOWN_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


@dataclass(slots=True, eq=False)
class _Job:
    """One request; `rows` fills up with what the model says of each text."""

    request: EmbedRequest | ScoreRequest
    encodings: Sequence[Encoding]
    truncated: bool
    rows: list[Floats | None] = field(default_factory=list)
    missing: int = 0


@dataclass(slots=True, eq=False)
class _Item:
    job: _Job
    place: int
    encoding: Encoding


class EncoderBackend:
    """One encoder."""

    def __init__(self, folder: EncoderFolder, settings: LoadSettings) -> None:
        self._folder = folder
        try:
            self._tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        except Exception as error:
            raise UnsupportedModelError(f"tokenizer.json of {folder.path.name} cannot be read: {error}") from error
        self._tokenizer.no_padding()
        # The tokenizer cuts, not we: it keeps the special tokens at the ends. What it cut is in `overflowing`.
        self._tokenizer.enable_truncation(folder.context_length)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder.graph), options, providers=list(dict.fromkeys((settings.provider, CPU)))
            )
        except Exception as error:
            raise UnsupportedModelError(f"onnxruntime cannot load {folder.path.name}: {error}") from error
        self._inputs = {node.name for node in self._session.get_inputs()}
        if strange := sorted(self._inputs - _KNOWN_INPUTS):
            raise UnsupportedModelError(f"{folder.path.name} has inputs that are not known: {', '.join(strange)}")
        outputs = [node.name for node in self._session.get_outputs()]
        self._output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]
        self._keys: dict[_Job, int] = {}
        self._empty: list[_Job] = []
        self._items: deque[_Item] = deque()
        self.info = BackendInfo(
            engine="encoder",
            task=folder.task,
            provider=self._session.get_providers()[0],
            context_length=folder.context_length,
            slots=_RUN_MAX_TEXTS,
        )

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._keys)

    def prepare(self, request: Request) -> _Job:
        """Checks and tokenises; thread-safe."""
        match request:
            case EmbedRequest() if self._folder.task == "embed":
                texts: Sequence[Any] = list(request.texts)
            case ScoreRequest() if self._folder.task in ("classify", "rerank"):
                texts = [first if second is None else (first, second) for first, second in request.pairs]
            case _:
                raise wrong_task(request, self._folder.task)
        encodings = self._tokenizer.encode_batch(texts)
        truncated = self._was_cut(encodings, request.context_overflow)
        return _Job(request, encodings, truncated, [None] * len(encodings), len(encodings))

    def admit(self, key: int, prepared: _Job) -> None:
        """Queues a prepared request."""
        self._keys[prepared] = key
        if not prepared.encodings:
            self._empty.append(prepared)
        self._items += [_Item(prepared, place, encoding) for place, encoding in enumerate(prepared.encodings)]

    def cancel(self, key: int) -> None:
        """Drops a request; a run that holds it already has ended by now."""
        gone = {job for job, held in self._keys.items() if held == key}
        for job in gone:
            del self._keys[job]
        self._empty = [job for job in self._empty if job not in gone]
        self._items = deque(item for item in self._items if item.job not in gone)

    def step(self) -> list[tuple[int, Outcome]]:
        """Runs one batch of texts."""
        done, self._empty = self._empty, []
        if self._items:
            batch = self._next_batch()
            for item, row in zip(batch, self._run([item.encoding for item in batch]), strict=True):
                item.job.rows[item.place] = row
                item.job.missing -= 1
                if item.job.missing == 0:
                    done.append(item.job)
        return [(self._keys.pop(job), self._result(job)) for job in done]

    def _was_cut(self, encodings: Sequence[Encoding], overflow: Overflow) -> bool:
        cut = any(encoding.overflowing for encoding in encodings)
        if cut and overflow == "error":
            raise PromptTooLongError(
                f"a text has more than the {self._folder.context_length} tokens of the model's context",
                remedy='split it, or set context_overflow to "truncate"',
            )
        return cut

    def _next_batch(self) -> list[_Item]:
        """The text that has waited longest and those nearest to it in length, as many as one run may hold."""
        window = [self._items.popleft() for _ in range(min(_WINDOW, len(self._items)))]
        oldest = len(window[0].encoding)
        batch: list[_Item] = []
        width = 0
        for item in sorted(window, key=lambda item: abs(len(item.encoding) - oldest)):  # stable: the oldest is first
            width = max(width, len(item.encoding))
            if len(batch) == _RUN_MAX_TEXTS or (batch and width * (len(batch) + 1) > _RUN_MAX_TOKENS):
                break
            batch.append(item)
        taken = set(batch)
        self._items.extendleft(item for item in reversed(window) if item not in taken)
        return batch

    def _run(self, encodings: Sequence[Encoding]) -> Floats:
        shape = (len(encodings), max(1, *map(len, encodings)))
        ids = np.full(shape, self._folder.pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        types = np.zeros(shape, np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = encoding.attention_mask
            types[row, : len(encoding)] = encoding.type_ids
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feed = {name: array for name, array in known.items() if name in self._inputs}
        output = np.asarray(self._session.run([self._output], feed)[0], dtype=np.float32)
        return pool(output, mask, self._folder.pooling) if output.ndim == 3 else output

    def _result(self, job: _Job) -> EmbedResult | ScoreResult:
        rows = [row for row in job.rows if row is not None]
        tokens = sum(sum(encoding.attention_mask) for encoding in job.encodings)
        if isinstance(job.request, EmbedRequest):
            if job.request.normalize:
                rows = [row / max(float(np.linalg.norm(row)), 1e-12) for row in rows]
            return EmbedResult(tuple(tuple(row.tolist()) for row in rows), tokens, job.truncated)
        scores = [scale(row, self._folder).tolist() for row in rows]
        return ScoreResult(tuple(map(tuple, scores)), self._folder.labels, tokens, job.truncated)


def pool(states: Floats, mask: Ints, pooling: Pooling) -> Floats:
    """One vector for each text from [texts, tokens, width]; padding does not count."""
    weights = mask[:, :, None].astype(np.float32)
    match pooling:
        case "cls":
            return states[:, 0]
        case "last":
            return states[np.arange(len(states)), np.maximum(mask.sum(axis=1) - 1, 0)]
        case "max":
            return np.where(weights > 0, states, -np.inf).max(axis=1)
        case "mean":
            return (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)


def scale(logits: Floats, folder: EncoderFolder) -> Floats:
    """A reranker's score as it is; a classifier's probabilities, each for itself where labels exclude nothing."""
    if folder.task == "rerank":
        return logits
    if folder.multi_label:
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()
