"""What must hold of a state after every step, whatever happened. Used by tests and the simulator, not in production.

Each check names what it found; nothing here changes anything.
"""

from __future__ import annotations

from orbit_core.sched.model import AgentStatus, RunStatus, Status
from orbit_core.sched.state import Invocation, MeshState, Run


def violations(state: MeshState) -> list[str]:
    """Every broken invariant, in words; empty when all is well."""
    found: list[str] = []
    for run in state.runs.values():
        found += [f"{run.id}: {each}" for each in _of_run(state, run)]
    found += _of_agents(state)
    found += _of_machines(state)
    return found


def _of_run(state: MeshState, run: Run) -> list[str]:
    found: list[str] = []
    workflow = state.workflow(run)
    ready = state.ready.get(run.id, {})
    counted: dict[tuple[int, str], int] = {}
    open_main = 0
    for invocation in run.invocations.values():
        counted[(invocation.step, invocation.status)] = counted.get((invocation.step, invocation.status), 0) + 1
        found += _of_invocation(state, run, invocation)
        in_queue = invocation.id in ready.get(invocation.step, {})
        if in_queue != (invocation.status is Status.READY):
            found.append(f"{invocation.id} is {invocation.status} and {'in' if in_queue else 'not in'} the ready queue")
        if not invocation.ended and workflow.steps[invocation.step].section != "logs":
            open_main += 1
    for step, counts in run.counts.items():
        for status, number in counts.by_status.items():
            if counted.get((step, status), 0) != number:
                found.append(f"step {step} counts {number} {status}, and has {counted.get((step, status), 0)}")
    if abs(run.cost_usd - sum(each.cost_usd for each in run.invocations.values())) > 1e-9 * max(1.0, run.cost_usd):
        found.append("its cost is not the sum of its invocations'")
    if run.ended and any(not each.ended for each in run.invocations.values()):
        found.append(f"it is {run.status} and has invocations that go on")
    if not run.ended and run.pending < open_main:
        found.append(f"{open_main} invocations go on and {run.pending} are pending")
    if run.status is RunStatus.SUCCEEDED and run.lineages_failed:
        found.append("it succeeded with failed lineages")
    return found


def _of_invocation(state: MeshState, run: Run, invocation: Invocation) -> list[str]:
    found: list[str] = []
    plan = state.step_of(run, invocation)
    under_way = invocation.status in (Status.ASSIGNED, Status.RUNNING)
    if under_way != (invocation.agent is not None):
        found.append(f"{invocation.id} is {invocation.status} with agent {invocation.agent}")
    if under_way and invocation.agent is not None:
        agent = state.agents.get(invocation.agent)
        if agent is None or invocation.id not in agent.assigned:
            found.append(f"{invocation.id} runs on {invocation.agent}, which does not have it")
    if invocation.failures > plan.retries.max_retries + 1:
        found.append(f"{invocation.id} failed {invocation.failures} times with {plan.retries.max_retries} retries")
    returned = invocation.status in (Status.SUCCEEDED, Status.SKIPPED) or invocation.remaking is not None
    if (invocation.outputs is not None) != returned:
        found.append(f"{invocation.id} is {invocation.status} and its outputs are {invocation.outputs}")
    if len(set(invocation.children)) != len(invocation.children):
        found.append(f"{invocation.id} has a child twice")
    return found


def _of_agents(state: MeshState) -> list[str]:
    found: list[str] = []
    for agent in state.agents.values():
        cpu_milli = memory_bytes = gpus = 0
        if len(agent.assigned) > 1 and any(state.is_suspect(assigned) for assigned in agent.assigned.values()):
            found.append(f"{agent.facts.id} runs something beside what may end it")
        for assigned in agent.assigned.values():
            known = state.invocation(assigned.run_id, assigned.invocation_id)
            if known is None or known[1].agent != agent.facts.id or known[1].attempt != assigned.attempt:
                found.append(f"{agent.facts.id} has {assigned.invocation_id}, which does not run there")
                continue
            need = state.step_of(*known).request
            cpu_milli += need.cpu_milli
            memory_bytes += need.memory_bytes
            gpus += len(known[1].gpu_indices) if need.gpu_milli in (0, 1000) else 0
        # A detached agent may have come back smaller than it was; what it was given stays with it.
        if agent.status is AgentStatus.ATTACHED and (
            cpu_milli > agent.facts.cpu_milli or memory_bytes > agent.facts.memory_bytes or gpus > len(agent.facts.gpus)
        ):
            found.append(f"{agent.facts.id} has more than it can hold")
    return found


def _of_machines(state: MeshState) -> list[str]:
    lanes = [lane for run in state.runs.values() for lane in run.bought.values()]
    names = [machine.name for lane in lanes for machine in (lane.held, lane.coming) if machine is not None]
    return [f"machine {name} is bought twice" for name in dict.fromkeys(names) if names.count(name) > 1]
