"""The contract between a satellite and whatever runs it.

A satellite is one small class: a typed config, a typed input, declarations (resources, timeout, secrets,
determinism, outside effects) and `async def run`. It is idempotent and stateless: an invocation may be run more
than once, and only one of its results counts. It knows nothing of agents, coordinators or etcd; everything that it
may touch of the world comes in through `Context`.

Only the contract lives here: no satellite, no registry, nothing that runs one.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

#: What satellites return and take: JSON-like mappings. A file inside one is a `FileRef.to_json()`.
JsonObject = dict[str, Any]


class SatelliteConfig(BaseModel):
    """Base of config models: keys in kebab-case as in the file, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


class SatelliteInput(BaseModel):
    """Base of input models: keys in kebab-case, keys that the model does not know are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


ConfigT = TypeVar("ConfigT", bound=BaseModel)
InputT = TypeVar("InputT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A Python module without which a satellite cannot run, and what brings it: `orbit-mesh[ocr]`."""

    module: str
    install: str


class SatelliteError(Exception):
    """This attempt failed; another may succeed. `code` is short and stable (`http-503`, `s3-throttled`)."""

    def __init__(self, message: str, *, code: str = "error") -> None:
        super().__init__(message)
        self.code = code


class PermanentError(SatelliteError):
    """This input cannot be processed: trying again is of no use, and no retry is spent on it."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one invocation needs. `gpu` is a number of GPUs: a fraction of one, or whole ones."""

    cpu: float = 0.5
    memory_bytes: int = 256 * 1024 * 1024
    gpu: float = 0.0
    gpu_memory_bytes: int = 0
    accelerator: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What one attempt used beyond time; summed up into the run's totals."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file in the blob store, as it travels inside an object."""

    sha256: str
    size: int
    name: str
    media_type: str = "application/octet-stream"

    KEY: ClassVar[str] = "$file"

    def to_json(self) -> JsonObject:
        return {
            self.KEY: {
                "sha256": self.sha256,
                "size": self.size,
                "name": self.name,
                "media-type": self.media_type,
            }
        }

    @classmethod
    def from_json(cls, value: object) -> FileRef | None:
        """The reference that `value` holds, or None if it is something else."""
        if not isinstance(value, dict) or set(value) != {cls.KEY}:
            return None
        body = value[cls.KEY]
        try:
            return cls(body["sha256"], int(body["size"]), body["name"], body["media-type"])
        except (KeyError, TypeError, ValueError):
            return None


class Files(Protocol):
    """Files that travel between steps through the blob store."""

    async def put(
        self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream"
    ) -> FileRef: ...

    async def path(self, ref: FileRef) -> Path:
        """A local, read-only copy of the file; it goes with the scratch directory."""
        ...


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """One question to a language model. `json_schema` holds the answer to a schema while decoding.

    `verbatim`: texts among its properties that are taken word for word from what the user says.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    max_new_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    verbatim: Sequence[str] = ()
    stop: Sequence[str] = ()
    context_overflow: Literal["error", "truncate"] = "error"


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer. `finish`: `stop` or `length` (the token limit cut it off)."""

    text: str
    finish: Literal["stop", "length"]
    input_tokens: int
    output_tokens: int


#: What becomes of text that is too long for the model: an error, or the loss of its end.
Overflow = Literal["error", "truncate"]


class Embedded(tuple[Sequence[float], ...]):
    """The vectors, one for each text in order: a plain sequence of them that also knows what they took.

    `input_tokens`: of all texts. `truncated`: some text was cut to fit the model.
    """

    input_tokens: int
    truncated: bool

    def __new__(cls, vectors: Iterable[Sequence[float]], *, input_tokens: int, truncated: bool = False) -> Embedded:
        made = super().__new__(cls, vectors)
        made.input_tokens = input_tokens
        made.truncated = truncated
        return made


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of scores for each pair, in order.

    A classifier gives a probability for each of `labels`; a reranker one number, higher is better, of no fixed scale.
    """

    scores: Sequence[Sequence[float]]
    labels: Sequence[str]
    input_tokens: int
    truncated: bool = False


class Models(Protocol):
    """The models of the agent that this invocation runs on. Each call may share a batch with those of others."""

    async def generate(self, call: GenerateCall) -> Generated: ...

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        """Vectors of length 1, or with `normalize` off as the model gives them."""
        ...

    async def score(
        self,
        model: str,
        pairs: Sequence[tuple[str, str | None]],
        *,
        context_overflow: Overflow = "truncate",
    ) -> Scored:
        """For a classifier the text and None, for a reranker a query and a document."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a satellite may know and touch beside its config and input."""

    run_id: str
    cluster: str
    step: str
    #: The invocation's id: the same at each attempt. Outside effects carry it as their `Idempotency-Key`.
    invocation_id: str
    attempt: int
    #: The secrets that this step names, and no others.
    secrets: Mapping[str, str]
    #: A directory of this attempt's own; removed when it ends.
    scratch: Path
    #: When this attempt is stopped, in milliseconds since the epoch.
    deadline_ms: int
    files: Files
    models: Models
    log: logging.Logger
    #: True where outgoing requests may go to loopback and private addresses (the mesh's setting).
    allow_private_addresses: bool = False
    #: Add to it as tokens are used, so that failed attempts are counted too.
    usage: list[Usage] = field(default_factory=list)


class Satellite(ABC, Generic[ConfigT, InputT]):
    """Base class of every satellite. Subclasses declare the class variables and write `run`.

    `run` returns a list of objects, or is an async generator that yields them; each object becomes one invocation
    of each next step. It raises `PermanentError` for input that no retry can help, `SatelliteError` (or anything
    else) for what may pass.
    """

    #: `satellite/<project>/<name>`, and other names under which it is known.
    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = ""
    Config: ClassVar[type[BaseModel]]
    Input: ClassVar[type[BaseModel]]
    resources: ClassVar[Resources] = Resources()
    timeout_s: ClassVar[float] = 300.0
    #: Secrets that the step must name for this satellite to work.
    required_secrets: ClassVar[tuple[str, ...]] = ()
    #: Modules that it imports when it runs and that not every installation has: without them no agent offers it.
    requires: ClassVar[tuple[Requirement, ...]] = ()
    #: The same config and input always give the same objects: a lost result may be made again.
    deterministic: ClassVar[bool] = False
    #: What one attempt changes outside of Orbit.
    effects: ClassVar[Literal["none", "outside"]] = "none"
    #: What typically decides how long one takes: `input-bytes`, `pages`, `tokens`, or nothing.
    covariate: ClassVar[str | None] = None
    #: A first guess of the seconds one invocation takes, until there are measurements.
    typical_s: ClassVar[float] = 1.0

    @classmethod
    def model_of(cls, config: BaseModel) -> str | None:
        """The model that an invocation with this config loads, so that placement can look for a warm one."""
        return None

    @abstractmethod
    def run(self, config: ConfigT, input: InputT, context: Context) -> Any:
        """Coroutine giving a list of objects, or an async generator of objects."""


#: What `Satellite.run` gives, for runners that drive it.
Objects = list[JsonObject] | AsyncIterator[JsonObject]
