"""What is asked of a model server and what it answers: plain data, without onnxruntime.

Workers, satellites and the batch API import this module alone; importing it must stay cheap. The server itself
is `orbit_agent.inference.server.ModelServer`, its errors are in `orbit_agent.inference.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "cancelled"]
Overflow = Literal["error", "truncate"]
Task = Literal["generate", "embed", "classify", "rerank"]
Warmth = Literal["cold", "cached", "warm"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn. A temperature of 0 is greedy; `top_k` 0 and `top_p` 1 leave every token in.

    With a `seed` the same request gives the same answer on the same machine, whatever shares its batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as the model's chat template wants it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One text to be made.

    Exactly one of `messages` (through the model's chat template; special tokens in their text are neutralised)
    and `prompt` (raw, special tokens are meant) is set. `max_new_tokens` counts output tokens. `json_schema`
    holds the output to a JSON Schema while decoding, properties in the schema's order. `verbatim` names texts among
    those properties that must be runs of words of what the user says (`orbit_core.spec.verbatim`). `stop` ends the
    output before the first of these strings. `context_overflow` says what happens to a prompt that leaves no room for
    `max_new_tokens`: an error, or the loss of its middle (the first fifth and the end are kept).
    """

    id: str
    model: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    max_new_tokens: int = 256
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: Mapping[str, Any] | None = None
    verbatim: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    context_overflow: Overflow = "error"

    def quotable(self) -> str:
        """What answers may quote: what the user says."""
        asked = [message.content for message in self.messages or () if message.role == "user"]
        return "\n\n".join([*asked, self.prompt or ""])


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """The text, why it ended, and what it cost in tokens.

    `finish` is "length" where the token limit cut the text (a guided text may then be invalid JSON).
    `truncated` says that the prompt was cut to fit the context.
    """

    text: str
    finish: Finish
    input_tokens: int
    output_tokens: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to be turned into vectors. A text over the model's context is an error, or cut at its end."""

    id: str
    model: str
    texts: tuple[str, ...]
    normalize: bool = True
    context_overflow: Overflow = "truncate"


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """One vector of the model's width for each text, in order; of length 1 where `normalize` was asked."""

    vectors: tuple[tuple[float, ...], ...]
    input_tokens: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Texts to be classified (`pairs` without a second part) or pairs of query and document to be ranked."""

    id: str
    model: str
    pairs: tuple[tuple[str, str | None], ...]
    context_overflow: Overflow = "truncate"


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """One row of scores for each pair, in order.

    A classifier gives probabilities in the order of `labels`; a reranker one raw score, higher is better.
    """

    scores: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]
    input_tokens: int
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model as an agent advertises it.

    `hash` is the manifest's; `provider` the one that was really chosen ("" while nothing is loaded);
    `memory_bytes` what its process holds resident. `state`: "cold" must be fetched, "cached" lies verified on
    disk, "warm" is loaded.
    """

    name: str
    hash: str
    provider: str
    memory_bytes: int
    state: Warmth
    task: Task = "generate"


class Inference(Protocol):
    """What a satellite is handed: the part of `ModelServer` that work is done with."""

    async def generate(self, request: GenerateRequest) -> GenerateResult: ...

    async def embed(self, request: EmbedRequest) -> EmbedResult: ...

    async def score(self, request: ScoreRequest) -> ScoreResult: ...
