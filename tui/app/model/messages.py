"""What the feed tells the model: one small frozen dataclass for each thing that can be learnt. No behaviour here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orbit_core.client import Agent, Invocation, LogRecord, Mesh, Run


@dataclass(frozen=True, slots=True)
class Answered:
    """The mesh answered, and this is who leads."""

    mesh: Mesh


@dataclass(frozen=True, slots=True)
class Silent:
    """The mesh has not answered since `since_ms`; `reason` in words."""

    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class AgentsListed:
    agents: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class RunsListed:
    """The newest runs, the newest first."""

    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class RunChanged:
    run: Run


@dataclass(frozen=True, slots=True)
class GraphRead:
    """For each step of the main block, the steps that it needs. Empty where the file is not what the run ran."""

    needs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FailuresListed:
    """The first failed invocations of a run; `more` where there are others."""

    failures: tuple[Invocation, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class LogsSeen:
    records: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class LogsRefused:
    """The logs cannot be had, or no further; `reason` in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunRefused:
    """The run's page cannot be shown, or no longer be kept up to date; `reason` in words."""

    reason: str


MeshMessage = Answered | Silent | AgentsListed | RunsListed | RunChanged
PageMessage = RunChanged | GraphRead | FailuresListed | LogsSeen | LogsRefused | RunRefused
