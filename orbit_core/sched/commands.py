"""Everything that `step` can ask the world to do, as data. No command leaves before its event is durable."""

from __future__ import annotations

from dataclasses import dataclass

from orbit_core.sched.model import AttemptKey


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send the attempt to the agent; the shell builds the assignment from state and spec."""

    agent_id: str
    key: AttemptKey


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """The attempt's result is no longer wanted."""

    agent_id: str
    key: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True)
class AckResult:
    """The result is durable, or will never be needed: the agent may forget it."""

    agent_id: str
    key: AttemptKey


@dataclass(frozen=True, slots=True)
class CollectLogs:
    """Every lineage has ended: hand over the log records that are left, as a final `LogsBatched`."""

    run_id: str


@dataclass(frozen=True, slots=True)
class ArchiveRun:
    """The run has ended: write its record elsewhere, then say `RunArchived`."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunChanged:
    """Whoever watches this run may look again."""

    run_id: str


Command = Dispatch | StopAttempt | AckResult | CollectLogs | ArchiveRun | RunChanged
