"""The nouns that events, commands and state are made of: plain, frozen, comparable. No behaviour beyond properties."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Where an invocation stands."""

    WAITING = "waiting"  # for a delay or a backoff to pass
    READY = "ready"
    ASSIGNED = "assigned"  # given to an agent, not known to have started
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


#: An invocation in one of these never changes again.
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED)


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially-succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Sla(StrEnum):
    """What became of a run's deadline."""

    PENDING = "pending"
    MET = "met"
    MISSED = "missed"


class AgentStatus(StrEnum):
    """Where an agent stands, as the coordinator sees it."""

    ATTACHED = "attached"
    DETACHED = "detached"  # its stream is broken; what it runs is waited for
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt, and perhaps its invocation, failed."""

    code: str
    message: str
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt used."""

    duration_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """`count` objects of one blob, one JSON document a line, from line `first`."""

    sha256: str
    size_bytes: int
    count: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Outputs:
    """What an invocation returned: all objects inline as JSON texts, or all in pages, in order."""

    inline: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()

    @property
    def count(self) -> int:
        return len(self.inline) + sum(page.count for page in self.pages)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A result of an earlier run. `lineage` names the same work in every run of one spec and payload.

    `files`: what its objects refer to, as `Invocation.files`.
    """

    lineage: str
    outputs: Outputs
    skipped: bool = False
    files: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """One object: its JSON text, or line `index` of a page's blob."""

    json: str | None = None
    page: Page | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that a result needs beside its pages: a file inside one of its objects."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """One attempt of one invocation."""

    run_id: str
    invocation_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of an agent."""

    model: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What an agent says of itself that scheduling needs. `price_kind`: owned, on-demand or spot.

    `tariff`: the price by minute of the day, as `tariff.Tariff` has it; `price_usd_per_hour` is that of now.
    `cached_models` need no fetch there, warm ones among them; `barred_models` are kept to agents with other labels.
    """

    id: str
    session: str
    address: str
    cpu_milli: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    price_usd_per_hour: float = 0.0
    price_kind: str = "owned"
    labels: tuple[tuple[str, str], ...] = ()
    satellites: tuple[str, ...] = ()
    warm_models: tuple[str, ...] = ()
    cached_models: tuple[str, ...] = ()
    barred_models: tuple[str, ...] = ()
    tariff: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """What started a run. `text` is what `cluster.trigger` reads."""

    kind: str
    time_ms: int
    text: str
