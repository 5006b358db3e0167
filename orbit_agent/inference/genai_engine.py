"""Text generation by `onnxruntime_genai.Engine`: paged attention on CUDA, and any architecture that `batching` lacks.

With a model exported for paged attention the engine batches continuously; other models run in static batches, where a
batch drains before the next begins. One thread owns the engine. Its tokenizer is not used: see `text`.
"""

from __future__ import annotations

import importlib
import json
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from orbit_agent.inference.api import Finish, GenerateRequest, GenerateResult
from orbit_agent.inference.backend import BackendInfo, LoadSettings, Outcome, Request, wrong_task
from orbit_agent.inference.errors import (
    InferenceError,
    InvalidGenerationError,
    NoRoomError,
    UnsupportedModelError,
)
from orbit_agent.inference.folder import DecoderFolder
from orbit_agent.inference.generation import check_request
from orbit_agent.inference.guidance import check_grammar, check_schema, quoting
from orbit_agent.inference.providers import CPU, CUDA
from orbit_agent.inference.text import StopScanner, TextCodec

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: its wheels send telemetry otherwise
genai: Any = importlib.import_module("onnxruntime_genai")  # compiled, without a word on its types

#: onnxruntime-genai refuses larger static batches.
_STATIC_BATCH_MAX: Final = 32
_EVENTS: Final = 256

_GENAI_PROVIDERS: Final = {CUDA: "cuda"}


@dataclass(slots=True, eq=False)
class _Turn:
    """One request: before it is in the engine, and there."""

    request: GenerateRequest
    prompt: Sequence[int]
    truncated: bool
    scanner: StopScanner | None
    grammar: str | None
    output: list[int] = field(default_factory=list)
    handle: Any = None
    turn_id: int = 0
    finish: Finish | None = None


class GenaiEngineBackend:
    """Generates text for many requests at once."""

    def __init__(self, folder: DecoderFolder, settings: LoadSettings) -> None:
        self._codec = TextCodec(folder.path)
        self._context_length = folder.context_length
        self._eos_ids = frozenset(folder.eos_ids)
        self._seeds = folder.paged  # static batches share one stream of random numbers
        self._keys: dict[_Turn, int] = {}
        self._waiting: deque[_Turn] = deque()
        self._running: dict[Any, _Turn] = {}
        try:
            self._model = genai.Model(_config(folder, settings))
            self._engine = genai.Engine(self._model)
        except Exception as error:
            raise _load_error(folder, error) from error
        self._events = self._engine.create_event_buffer(_EVENTS)
        slots = self._engine.get_capabilities().configured_max_batch_size
        self.info = BackendInfo(
            engine="genai-engine",
            task="generate",
            provider=CUDA if self._model.device_type == "CUDA" else CPU,
            context_length=folder.context_length,
            slots=slots,
        )

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._keys)

    def prepare(self, request: Request) -> _Turn:
        """Checks and tokenises; thread-safe."""
        if not isinstance(request, GenerateRequest):
            raise wrong_task(request, "generate")
        check_request(request)
        if request.sampling.seed is not None and request.sampling.temperature > 0 and not self._seeds:
            raise InvalidGenerationError(
                f"{request.model} runs in static batches, which know no seed", remedy="leave the seed out"
            )
        grammar = None
        if request.json_schema is not None and request.verbatim:
            grammar = quoting(request.json_schema, request.verbatim, request.quotable())
            check_grammar(grammar)
        elif request.json_schema is not None:
            check_schema(request.json_schema)
        prompt, truncated = self._codec.encode_request(request, self._context_length)
        scanner = StopScanner(self._codec.tokenizer, request.stop) if request.stop else None
        return _Turn(request, prompt, truncated, scanner, grammar)

    def admit(self, key: int, prepared: _Turn) -> None:
        """Queues a prepared request."""
        self._keys[prepared] = key
        self._waiting.append(prepared)

    def cancel(self, key: int) -> None:
        """Drops a request."""
        for turn in [turn for turn, held in self._keys.items() if held == key]:
            self._drop(turn)

    def step(self) -> list[tuple[int, Outcome]]:
        """Hands waiting requests to the engine and runs it once."""
        ended: list[tuple[int, Outcome]] = []
        while self._waiting:
            turn = self._waiting.popleft()
            try:
                self._begin(turn)
            except Exception as error:
                ended.append((self._keys.pop(turn), InvalidGenerationError(f"the engine refuses it: {error}")))
        if self._running:
            for event in self._engine.run(self._events):
                ended += self._take(event)
        return ended

    def _begin(self, turn: _Turn) -> None:
        request = turn.request
        options = genai.RequestOptions()
        options.set_max_session_tokens(len(turn.prompt) + request.max_new_tokens)
        handle = self._engine.create_request(options=options)
        turn_options = genai.TurnOptions(handle)
        sampling = request.sampling
        turn_options.set_do_sample(sampling.temperature > 0)
        if sampling.temperature > 0:
            turn_options.set_temperature(sampling.temperature)
            turn_options.set_top_p(sampling.top_p)
            turn_options.set_top_k(sampling.top_k)
            if sampling.seed is not None:
                turn_options.set_seed(sampling.seed)
        if turn.grammar is not None:
            turn_options.set_guidance("lark_grammar", turn.grammar)
        elif request.json_schema is not None:
            compact = {"x-guidance": {"whitespace_flexible": False}, **request.json_schema}
            turn_options.set_guidance("json_schema", json.dumps(compact))
        try:
            turn.turn_id = handle.begin_turn(np.array(turn.prompt, np.int32), turn_options)
        except BaseException:
            handle.close()
            raise
        turn.handle = handle
        self._running[handle] = turn

    def _take(self, event: Any) -> list[tuple[int, Outcome]]:
        turn = self._running.get(event.request)
        if turn is None:
            return []  # dropped, and the engine had one more to say
        flags = event.flags.value
        if flags & genai.EngineEventFlags.FAILED.value:
            key = self._keys[turn]
            self._drop(turn)
            return [(key, _run_error(event))]
        if flags & genai.EngineEventFlags.TOKEN.value and event.token not in self._eos_ids:
            turn.output.append(event.token)
            if turn.scanner is not None and turn.scanner.feed(event.token):
                turn.finish = "stop"
        if flags & genai.EngineEventFlags.TURN_FINISHED.value and turn.finish is None:
            turn.finish = "stop" if event.finish_reason == genai.FinishReason.EOS else "length"
        if turn.finish is None:
            return []
        key = self._keys[turn]
        self._drop(turn)
        return [(key, self._result(turn, turn.finish))]

    def _result(self, turn: _Turn, finish: Finish) -> GenerateResult:
        scanner = turn.scanner
        return GenerateResult(
            text=scanner.text if scanner is not None and scanner.stopped else self._codec.decode(turn.output),
            finish=finish,
            input_tokens=len(turn.prompt),
            output_tokens=len(turn.output),
            truncated=turn.truncated,
        )

    def _drop(self, turn: _Turn) -> None:
        del self._keys[turn]
        if turn.handle is None:
            self._waiting.remove(turn)
            return
        del self._running[turn.handle]
        turn.handle.cancel_turn(turn.turn_id)
        turn.handle.close()


def _config(folder: DecoderFolder, settings: LoadSettings) -> Any:
    config = genai.Config(str(folder.path))
    config.clear_providers()
    if settings.provider in _GENAI_PROVIDERS:
        config.append_provider(_GENAI_PROVIDERS[settings.provider])
    elif settings.provider != CPU:
        raise UnsupportedModelError(f"onnxruntime-genai does not run on {settings.provider}")
    batching = (
        {"dynamic_batching": {"max_batch_size": settings.max_slots}}
        if folder.paged
        else {"static_batching": {"max_batch_size": min(settings.max_slots, _STATIC_BATCH_MAX)}}
    )
    session = {"intra_op_num_threads": settings.threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}, "engine": batching}))
    return config


def _load_error(folder: DecoderFolder, error: Exception) -> InferenceError:
    if isinstance(error, InferenceError):
        return error
    if _is_out_of_memory(error):
        return NoRoomError(f"{folder.path.name} does not fit the device's memory: {error}")
    return UnsupportedModelError(f"onnxruntime-genai cannot load {folder.path.name}: {error}")


def _run_error(event: Any) -> InferenceError:
    code = event.error_code
    if code in (genai.EngineErrorCode.EXECUTION_CAPACITY_EXCEEDED, genai.EngineErrorCode.REQUEST_UNSERVICEABLE):
        return NoRoomError(f"the engine has no room for the request ({code.name})")
    return InferenceError(f"the engine could not run the request ({code.name})")


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "failed to allocate" in text or "bad allocation" in text
