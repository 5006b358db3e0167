"""What the agent hands to a worker process and what it gets back.

Plain values and callback types only: nothing here starts a process or knows how one is talked to.

Codes of an `Outcome` that failed, beside those that satellites choose themselves:

| code | retryable | meaning |
| --- | --- | --- |
| `timeout` | yes | the attempt took longer than `timeout_s`; its process was killed |
| `memory-limit` | no | it used more than `memory_bytes`. The same input would again: the limit must be raised. |
|                |    | Yes where its process had served attempts before, whose leavings count too                |
| `worker-exited` | yes | the process exited or was killed by a signal, for a reason of its own |
| `worker-start-failed` | yes | no process could be started on this agent |
| `exception` | yes | the satellite raised something other than a `SatelliteError` |
| `unknown-satellite` | yes | not installed on this agent; another may have it |
| `invalid-config`, `invalid-input` | no | config or input does not fit the model; the message names the fields |
| `missing-secret` | no | the step does not name a secret that the satellite needs |
| `invalid-result` | no | the satellite gave something other than JSON objects of a permitted size |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from satellites.contract import JsonObject

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one invocation. `config` and `input` are resolved, secrets filled in."""

    run_id: str
    cluster: str
    step: str
    invocation_id: str
    attempt: int
    satellite: str
    config: Mapping[str, Any] = field(repr=False)
    input: Mapping[str, Any] = field(repr=False)
    #: The secrets that the step names: what the satellite finds in `context.secrets`.
    secrets: Mapping[str, str] = field(repr=False)
    timeout_s: float
    memory_bytes: int
    cpu: float
    allow_private_addresses: bool
    #: Only calls with the same key ever share a process (project and cluster).
    pool_key: str
    #: Values beside `secrets` that must not show up in logs, errors or results: secrets filled into `config`.
    sensitive_values: tuple[str, ...] = field(default=(), repr=False)

    def hidden_values(self) -> tuple[str, ...]:
        """Everything that must be redacted from whatever this attempt says."""
        return (*self.secrets.values(), *self.sensitive_values)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. Its objects have gone to `on_object` before; `code` and `message` are empty in success."""

    status: Literal["succeeded", "failed"]
    code: str
    message: str
    retryable: bool
    duration_ms: int
    peak_memory_bytes: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line that an attempt said. `source`: a logger's name, or `stdout` or `stderr`."""

    time_ms: int
    level: LogLevel
    source: str
    message: str


OnObject = Callable[[JsonObject], Awaitable[None]]
OnLog = Callable[[Call, LogRecord], None]
Redact = Callable[[str], str]
