"""What a model's process runs: one `Backend` over one model folder, driven by one thread.

    prepare   checks and tokenises a request; may run on another thread than the rest
    admit     queues what `prepare` gave, under a key that the caller chose
    cancel    forgets a key, at once or at the next step; no outcome follows
    step      does one piece of work and returns what has ended

A backend holds no sockets and knows no asyncio: `orbit_agent.inference.child` is the loop around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orbit_agent.inference.api import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    GenerateResult,
    ScoreRequest,
    ScoreResult,
    Task,
)
from orbit_agent.inference.errors import InferenceError

Request = GenerateRequest | EmbedRequest | ScoreRequest
Result = GenerateResult | EmbedResult | ScoreResult
Outcome = Result | InferenceError


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is to be loaded. `cache_bytes` is for the key-value cache, beside the weights.

    `lookup`: guess tokens from earlier text where that saves time (`orbit_agent.inference.lookup`).
    """

    provider: str
    threads: int
    cache_bytes: int
    max_slots: int = 64
    prefill_chunk_tokens: int = 256
    lookup: bool = True


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What was really loaded. `engine` names the backend: "batching", "genai-engine" or "encoder"."""

    engine: str
    task: Task
    provider: str
    context_length: int
    slots: int


class Backend(Protocol):
    """One loaded model."""

    @property
    def info(self) -> BackendInfo: ...

    @property
    def busy(self) -> bool: ...

    def prepare(self, request: Request) -> Any: ...

    def admit(self, key: int, prepared: Any) -> None: ...

    def cancel(self, key: int) -> None: ...

    def step(self) -> list[tuple[int, Outcome]]: ...


def wrong_task(request: Request, task: Task) -> InferenceError:
    """The error for a request that this kind of model does not serve."""
    from orbit_agent.inference.errors import InvalidGenerationError

    wanted = {GenerateRequest: "generate text", EmbedRequest: "embed", ScoreRequest: "score"}[type(request)]
    return InvalidGenerationError(f"model {request.model} is there to {task}, it cannot {wanted}")


def open_backend(folder: Path, settings: LoadSettings) -> Backend:
    """Loads the model in `folder`. Raises an `InferenceError` that says why it cannot be."""
    from orbit_agent.inference.folder import EncoderFolder, read_folder
    from orbit_agent.inference.providers import CPU, preload_libraries

    if settings.provider != CPU:
        preload_libraries()
    described = read_folder(folder)
    if isinstance(described, EncoderFolder):
        from orbit_agent.inference.encoder import EncoderBackend

        return EncoderBackend(described, settings)
    from orbit_agent.inference.decoder import why_not_batched

    if settings.provider == CPU and why_not_batched(described) is None:
        from orbit_agent.inference.batching import BatchingBackend

        return BatchingBackend(described, settings)
    from orbit_agent.inference.genai_engine import GenaiEngineBackend

    return GenaiEngineBackend(described, settings)
