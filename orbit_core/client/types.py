"""What the client gives back: frozen dataclasses, apart from the wire's messages.

States are words (`"partially-succeeded"`), times are milliseconds since the epoch (None where there is none yet),
objects are decoded JSON. `to_json` of any of these is what `orbit … --json` prints: names here are a public schema,
so fields are added and never renamed. How they are read from messages is in `_convert`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

#: A JSON value as `json.loads` gives it.
Json = Any

Severity = Literal["warning", "error"]
RunState = Literal["running", "paused", "succeeded", "partially-succeeded", "failed", "cancelled", "unknown"]
SlaState = Literal["pending", "met", "missed", "unknown"]
InvocationState = Literal[
    "waiting", "ready", "assigned", "running", "succeeded", "failed", "skipped", "cancelled", "unknown"
]
AgentState = Literal["attached", "detached", "draining", "lost", "unknown"]
PriceKind = Literal["owned", "on-demand", "spot", "unknown"]

#: States that a run never leaves.
ENDED: Final[frozenset[RunState]] = frozenset({"succeeded", "partially-succeeded", "failed", "cancelled"})


def to_json(value: Any) -> Json:
    """Any dataclass of this module, or a list of them, as plain JSON values, keys as the fields are named.

    What is a JSON value already stays as it is.
    """
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in cast("Sequence[Any]", value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of a cluster file; `text` is all of it in one line. Lines and columns count from 1."""

    severity: Severity
    code: str
    file: str
    line: int
    column: int
    path: str
    message: str
    found: str
    expected: str
    suggestion: str
    text: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` found in `file`. `identifier` is empty where the file is not valid."""

    file: str
    identifier: str
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not any(each.severity == "error" for each in self.diagnostics)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A submitted cluster. `document` (YAML, without secret values) is there only when one cluster is asked for."""

    identifier: str
    title: str
    spec_hash: str
    sla_ms: int
    enabled: bool
    submitted_ms: int
    triggers: tuple[str, ...]
    next_run_ms: int | None
    steps: tuple[str, ...]
    document: str


@dataclass(frozen=True, slots=True)
class ClusterVersion:
    """One content that a cluster had. `submitted_ms`: when it last became the current one."""

    spec_hash: str
    submitted_ms: int
    current: bool


@dataclass(frozen=True, slots=True)
class Submission:
    """A stored cluster, the warnings about its file, and whether it differs from what was there."""

    cluster: Cluster
    diagnostics: tuple[Diagnostic, ...]
    changed: bool


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Invocations of one step by state. `expected` grows as the invocations before it end."""

    step: str
    section: str
    satellite: str
    expected: int
    waiting: int
    ready: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.skipped + self.cancelled


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    cluster: str
    spec_hash: str
    state: RunState
    sla: SlaState
    created_ms: int
    deadline_ms: int
    ended_ms: int | None
    trigger: str
    cost_usd: float
    usage: Usage
    lineages_succeeded: int
    lineages_failed: int
    steps: tuple[StepProgress, ...]
    attempts: int
    attempts_lost: int
    reason: str
    retry_of: str
    #: No way is seen to end it in time with the agents that are there.
    expected_late: bool = False
    #: Invocations whose results were taken over from `retry_of`.
    reused: int = 0
    #: The most that it may cost before it is paused; 0: no limit.
    budget_usd: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, and what to ask for the next ones with; empty: there are no more."""

    runs: tuple[Run, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One object that a lineage ended with (`value`), or the error that it ended with (`failure`)."""

    invocation_id: str
    step: str
    section: str
    index: int
    value: Json
    failure: Failure | None
    agent_id: str
    usage: Usage
    cost_usd: float
    attempts: int
    lineage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that an object refers to, as `{"$file": {…}}`; its bytes come by `OrbitClient.file`."""

    sha256: str
    size_bytes: int
    name: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Download:
    """What `OrbitClient.download` wrote. `failures` is there only where lineages failed."""

    objects: Path
    objects_count: int
    failures: Path | None
    failures_count: int
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Invocation:
    """`outputs` counts its objects; `values` holds them where they are small enough to travel along."""

    invocation_id: str
    run_id: str
    step: str
    section: str
    state: InvocationState
    attempt: int
    retries: int
    parent_id: str
    index: int
    agent_id: str
    not_before_ms: int | None
    started_ms: int | None
    ended_ms: int | None
    failure: Failure | None
    usage: Usage
    cost_usd: float
    outputs: int
    values: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class LogRecord:
    time_ms: int
    level: str
    message: str
    run_id: str
    invocation_id: str
    step: str
    agent_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Gpu:
    model: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Hardware:
    cpu_milli: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: tuple[Gpu, ...]
    cpu_model: str
    architecture: str
    os: str
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningInvocation:
    invocation_id: str
    run_id: str
    step: str
    attempt: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class Agent:
    agent_id: str
    state: AgentState
    address: str
    hardware: Hardware
    labels: dict[str, str]
    price_usd_per_hour: float
    price_kind: PriceKind
    satellites: tuple[str, ...]
    warm_models: tuple[str, ...]
    cached_models: tuple[str, ...]
    version: str
    started_ms: int
    used_cpu_milli: int
    used_memory_bytes: int
    running: tuple[RunningInvocation, ...]
    last_seen_ms: int
    cpu_load: float


@dataclass(frozen=True, slots=True)
class Mesh:
    """Who leads. `coordinator_id` is the one that answered."""

    coordinator_id: str
    leader_id: str
    leader_address: str
    epoch: int
    version: str
    runs_live: int
    journal_sequence: int
    blob_copies: int
    #: Where the coordinator that answered takes webhooks; empty: nowhere.
    http_address: str = ""
    #: Where the mesh keeps its blobs for good, as in s3://bucket/prefix; empty: on `blob_copies` of its machines.
    blob_home: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A name in the vault; its value never comes out."""

    cluster: str
    name: str
    version: int
