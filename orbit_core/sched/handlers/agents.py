"""Agents: they attach with what they hold, change, go away, and are lost with what they ran."""

from __future__ import annotations

from orbit_core.limits import POISON_AGENT_LOSSES
from orbit_core.plants import planted
from orbit_core.sched.commands import AckResult, Command, Dispatch, RunChanged, StopAttempt
from orbit_core.sched.events import AgentAttached, AgentChanged, AgentDetached, AgentDraining, AgentLost, TermBegan
from orbit_core.sched.handlers.ends import fail
from orbit_core.sched.handlers.under_way import charge, count_life, current, release
from orbit_core.sched.history import note_gone, note_there
from orbit_core.sched.model import AgentStatus, AttemptKey, Failure, Status, Usage
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.transitions import move


def term_began(state: MeshState, event: TermBegan) -> list[Command]:
    """What agents run is waited for anew: by the new leader's clock it may have begun an hour ago, or tomorrow."""
    for agent in state.agents.values():
        if agent.facts.id not in state.history.agents:  # from a snapshot of a time when nobody kept it
            note_there(state.history, agent.facts, state.now_ms)
        if agent.status is AgentStatus.ATTACHED:
            agent.status = AgentStatus.DETACHED
        for assigned in agent.assigned.values():
            found = state.invocation(assigned.run_id, assigned.invocation_id)
            if found is not None and not planted("guards-not-renewed"):
                found[1].awaited_from_ms = state.now_ms
                state.set_guard(*found)
    return []


def agent_attached(state: MeshState, event: AgentAttached) -> list[Command]:
    agent_id = event.agent.id
    known = state.agents.get(agent_id)
    status = AgentStatus.DRAINING if event.draining else AgentStatus.ATTACHED
    held = {(key.run_id, key.invocation_id, key.attempt) for key in event.held}
    commands: list[Command] = []
    note_there(state.history, event.agent, state.now_ms)
    if known is None:
        state.agents[agent_id] = Agent(event.agent, status, attached_ms=state.now_ms, counted_ms=state.now_ms)
    else:
        same_session = known.facts.session == event.agent.session
        alone = len(known.assigned) == 1
        if not same_session:
            count_life(state, known, lost=True)
            known.attached_ms = state.now_ms
        known.facts, known.status = event.agent, status
        for assigned in list(known.assigned.values()):
            if (assigned.run_id, assigned.invocation_id, assigned.attempt) in held:
                continue
            key = AttemptKey(assigned.run_id, assigned.invocation_id, assigned.attempt)
            if same_session:
                if planted("no-resend"):
                    continue
                commands.append(Dispatch(agent_id, key))  # the assignment was lost on its way
            else:
                commands += _lose(state, agent_id, key, announced=False, alone=alone)
    for key in event.held:
        found = state.invocation(key.run_id, key.invocation_id)
        if found is None or found[1].ended:
            commands += [StopAttempt(agent_id, key, "not needed"), AckResult(agent_id, key)]
        elif found[1].agent != agent_id or found[1].attempt != key.attempt:
            # Another attempt is under way. A result that the agent has already is still welcome.
            commands.append(StopAttempt(agent_id, key, "given up for lost"))
    return commands


def agent_changed(state: MeshState, event: AgentChanged) -> list[Command]:
    agent = state.agents.get(event.agent.id)
    if agent is not None and agent.facts.session == event.agent.session:
        agent.facts = event.agent
        note_there(state.history, event.agent, state.now_ms)
    return []


def agent_detached(state: MeshState, event: AgentDetached) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is not None and agent.facts.session == event.session and agent.status is AgentStatus.ATTACHED:
        agent.status = AgentStatus.DETACHED
    return []


def agent_draining(state: MeshState, event: AgentDraining) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is not None:
        agent.status = AgentStatus.DRAINING
    return []


def agent_lost(state: MeshState, event: AgentLost) -> list[Command]:
    agent = state.agents.get(event.agent_id)
    if agent is None or agent.facts.session != event.session:
        return []
    commands: list[Command] = []
    count_life(state, agent, lost=True)
    alone = len(agent.assigned) == 1
    for assigned in list(agent.assigned.values()):
        if planted("no-requeue-on-loss"):
            break
        key = AttemptKey(assigned.run_id, assigned.invocation_id, assigned.attempt)
        commands += _lose(state, event.agent_id, key, announced=event.announced, alone=alone)
    del state.agents[event.agent_id]
    note_gone(state.history, agent.facts, state.now_ms, (each.facts for each in state.agents.values()))
    return commands


def _lose(state: MeshState, agent_id: str, key: AttemptKey, *, announced: bool, alone: bool) -> list[Command]:
    """The attempt ended with its agent: back to the queue, unless this input has ended too many agents.

    It is only ever blamed for one that it was `alone` on: a neighbour may have done the others.
    """
    run, invocation = current(state, key, agent_id)
    if run is None or invocation is None:
        return []
    counts = invocation.status is Status.RUNNING and not announced
    if planted("announced-loss-counted"):
        counts = True
    if planted("poison-uncounted"):
        counts = False
    usage = Usage(duration_ms=state.now_ms - (invocation.started_ms or state.now_ms))
    charge(state, run, invocation, usage)
    release(state, invocation)
    run.attempts_lost += 1
    if counts:
        invocation.losses += 1
    if counts and invocation.losses >= POISON_AGENT_LOSSES and alone:
        message = f"{invocation.losses} agents ended unannounced while they ran this invocation, the last one alone"
        return fail(state, run, invocation, Failure("poisoned", message, retryable=False))
    move(state, run, invocation, Status.READY, f"lost with agent {agent_id}")
    return [RunChanged(run.id)]
