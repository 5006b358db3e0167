"""Which runs an event may change, said before `step` changes them.

For whoever keeps a picture of the state as of one moment (a snapshot that is being encoded): it looks at a run once
more before the run moves on. `tests/property/test_sched_touch.py` holds that nothing changes unannounced.
"""

from __future__ import annotations

from collections.abc import Iterator

from orbit_core.sched.events import AgentAttached, AgentLost, Event, Placed, TermBegan, TimePassed
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.step import run_of


def touched_runs(state: MeshState, event: Event, now_ms: int) -> list[str]:
    """The runs that `step(state, event, now_ms)` may change, each once; of those that it makes, nothing is said."""
    return list(dict.fromkeys(_touched(state, event, now_ms)))


def _touched(state: MeshState, event: Event, now_ms: int) -> Iterator[str]:
    named = run_of(event)
    if named is not None:
        yield named
    elif isinstance(event, Placed):
        yield from (placement.run_id for placement in event.placements)
    elif isinstance(event, TimePassed):
        yield from (timer[2] for timer in state.timers_due_by(max(state.now_ms, now_ms)))
    elif isinstance(event, TermBegan):
        for agent in state.agents.values():
            yield from _given(agent)
    elif isinstance(event, AgentAttached | AgentLost):
        agent_id = event.agent.id if isinstance(event, AgentAttached) else event.agent_id
        yield from _given(state.agents.get(agent_id))


def _given(agent: Agent | None) -> Iterator[str]:
    if agent is not None:
        yield from (assigned.run_id for assigned in agent.assigned.values())
