"""Capacity that is bought for a run: chosen, started, refused, joined, lost. What to choose is `sched.capacity`."""

from __future__ import annotations

from orbit_core.sched.commands import Command
from orbit_core.sched.events import CapacityChanged, CapacityChosen, CapacityReleased
from orbit_core.sched.state import Lane, Machine, MeshState


def capacity_chosen(state: MeshState, event: CapacityChosen) -> list[Command]:
    run = state.runs.get(event.run_id)
    if run is None or run.ended:
        return []
    lane = run.bought.setdefault(event.lane, Lane(began_ms=state.now_ms, work_ms=event.work_ms))
    lane.memory = event.memory
    if event.kind == "none":
        lane.held = lane.coming = None
    elif event.name:
        lane.decisions += 1
        lane.coming = Machine(event.name, event.kind, event.pool, state.now_ms)
    return []


def capacity_changed(state: MeshState, event: CapacityChanged) -> list[Command]:
    """Of a machine that is neither held nor coming any more nothing is remembered."""
    run = state.runs.get(event.run_id)
    lane = run.bought.get(event.lane) if run is not None and not run.ended else None
    if lane is None:
        return []
    coming, held = lane.coming, lane.held
    if coming is not None and coming.name == event.name:
        lane.coming = None
        if event.what == "started":
            coming.since_ms = state.now_ms
            lane.held, lane.pool = coming, coming.pool
    elif held is not None and held.name == event.name:
        if event.what == "joined":
            held.joined = True
        elif event.what == "lost":
            lane.held = None
    return []


def capacity_released(state: MeshState, event: CapacityReleased) -> list[Command]:
    return []
