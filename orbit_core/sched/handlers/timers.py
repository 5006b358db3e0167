"""Time: delays and backoffs that are over, deadlines, and agents whose word has been waited for too long."""

from __future__ import annotations

from orbit_core.sched.commands import Command, RunChanged, StopAttempt
from orbit_core.sched.events import TimePassed
from orbit_core.sched.handlers.ends import retry_or_fail
from orbit_core.sched.handlers.under_way import charge, key_of, release
from orbit_core.sched.model import Failure, Sla, Status, Usage
from orbit_core.sched.state import MeshState, Timer
from orbit_core.sched.transitions import move


def time_passed(state: MeshState, event: TimePassed) -> list[Command]:
    commands: list[Command] = []
    for timer in state.due_timers():
        commands += _timer(state, timer, event.draw)
    return commands


def _timer(state: MeshState, timer: Timer, draw: float) -> list[Command]:
    _, kind, run_id, invocation_id, attempt = timer
    run = state.runs.get(run_id)
    if run is None or run.ended:
        return []
    if kind == "deadline":
        run.sla = Sla.MISSED
        return [RunChanged(run.id)]
    invocation = run.invocations[invocation_id]
    if invocation.attempt != attempt:
        return []
    if (
        kind == "wake"
        and invocation.status is Status.WAITING
        and not invocation.awaits
        and invocation.not_before_ms <= state.now_ms
    ):
        move(state, run, invocation, Status.READY, "its delay has passed")
    elif kind == "guard" and invocation.agent is not None and state.guard_ms(run, invocation) <= state.now_ms:
        agent_id, key = invocation.agent, key_of(run, invocation)
        charge(state, run, invocation, Usage(duration_ms=state.now_ms - invocation.assigned_ms))
        release(state, invocation)
        failure = Failure("timeout", f"agent {agent_id} did not say how the attempt ended")
        return [StopAttempt(agent_id, key, "timeout"), *retry_or_fail(state, run, invocation, failure, draw)]
    return []
