"""`step(state, event, now_ms) -> commands`: the only thing that changes a run.

No I/O, no clock, no random number that was not handed in. The live coordinator, recovery and the tests drive this
same function; what the shell owes it is in `docs/adr/0002-journal.md`: persist the event, then act on the commands.

Stale words (of an attempt that has been given up, of a run that is gone) are answered, never refused: an agent that
says something twice, or late, must be able to forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orbit_core.sched.commands import Command
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentDetached,
    AgentDraining,
    AgentLost,
    AttemptFailed,
    AttemptReturned,
    AttemptSkipped,
    AttemptStarted,
    AttemptSucceeded,
    CapacityChanged,
    CapacityChosen,
    CapacityReleased,
    ClusterDeleted,
    ClusterEnabled,
    ClusterSubmitted,
    Event,
    InputsLost,
    LogsBatched,
    Placed,
    ResultsTakenOver,
    RunArchived,
    RunBroken,
    RunCancelled,
    RunCreated,
    RunForecast,
    RunPaused,
    RunResumed,
    TermBegan,
    TimePassed,
)
from orbit_core.sched.handlers import agents, attempts, blobs, capacity, runs, timers
from orbit_core.sched.state import MeshState


def step(state: MeshState, event: Event, now_ms: int) -> list[Command]:
    """Applies one event at `now_ms` (milliseconds since the epoch; never runs backward) and says what must be done.

    Raises `InvalidTransitionError`, or whatever a bug raises; the shell then sends `RunBroken` for that run.
    """
    state.now_ms = max(state.now_ms, now_ms)
    handler: Callable[[MeshState, Any], list[Command]] = _HANDLERS[type(event)]
    return handler(state, event)


def run_of(event: Event) -> str | None:
    """The run that an event belongs to, if it belongs to one."""
    if isinstance(event, AttemptStarted | AttemptSucceeded | AttemptSkipped | AttemptFailed | AttemptReturned):
        return event.key.run_id
    if isinstance(event, InputsLost):
        return event.key.run_id
    if isinstance(event, RunCreated | RunCancelled | RunPaused | RunResumed | RunForecast | RunBroken):
        return event.run_id
    if isinstance(event, RunArchived | LogsBatched | ResultsTakenOver | CapacityChosen | CapacityChanged):
        return event.run_id
    return None


_HANDLERS: dict[type, Callable[[MeshState, Any], list[Command]]] = {
    ClusterSubmitted: runs.cluster_submitted,
    ClusterEnabled: runs.cluster_enabled,
    ClusterDeleted: runs.cluster_deleted,
    RunCreated: runs.run_created,
    ResultsTakenOver: runs.results_taken_over,
    RunCancelled: runs.run_cancelled,
    RunPaused: runs.run_paused,
    RunResumed: runs.run_resumed,
    RunForecast: runs.run_forecast,
    RunBroken: runs.run_broken,
    RunArchived: runs.run_archived,
    TermBegan: agents.term_began,
    LogsBatched: runs.logs_batched,
    AgentAttached: agents.agent_attached,
    AgentChanged: agents.agent_changed,
    AgentDetached: agents.agent_detached,
    AgentDraining: agents.agent_draining,
    AgentLost: agents.agent_lost,
    Placed: attempts.placed,
    AttemptStarted: attempts.attempt_started,
    AttemptSucceeded: attempts.attempt_succeeded,
    AttemptSkipped: attempts.attempt_skipped,
    AttemptFailed: attempts.attempt_failed,
    AttemptReturned: attempts.attempt_returned,
    InputsLost: blobs.inputs_lost,
    CapacityChosen: capacity.capacity_chosen,
    CapacityChanged: capacity.capacity_changed,
    CapacityReleased: capacity.capacity_released,
    TimePassed: timers.time_passed,
}
