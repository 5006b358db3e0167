"""The placer: which ready invocation goes to which agent, now.

Pure: it reads the state and gives decisions (`Round`), which become events and only then change anything. Work is
looked at in classes, one per run and step, most urgent first; an invocation goes to the cheapest agent that can hold
it, and the packer decides among equally cheap ones. What it remembers between rounds (the packer's rooms) mirrors
`Agent.assigned` and is made anew from it after a failover.
"""

from __future__ import annotations

from dataclasses import dataclass

from orbit_core.limits import MIB
from orbit_core.sched import packing
from orbit_core.sched.events import Placement, RunPaused
from orbit_core.sched.model import AgentFacts, AgentStatus, RunStatus
from orbit_core.sched.price import attempt_cost_usd
from orbit_core.sched.state import Agent, Invocation, MeshState, Run
from orbit_core.sched.workflow import Need, StepPlan

#: What loading a model that is not warm counts for beside an invocation's own time.
COLD_MODEL_MS = 10_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one round decided."""

    placements: tuple[Placement, ...]
    pauses: tuple[RunPaused, ...]


@dataclass(frozen=True, slots=True)
class _Class:
    """All ready invocations of one step of one run."""

    run: Run
    step: StepPlan
    latest_start_ms: int


class Placer:
    """Remembers which room is taken; `place` is to be called by whoever applies its decisions at once."""

    def __init__(self) -> None:
        self._packer = packing.Packer([])
        self._nodes: dict[str, tuple[str, packing.Node]] = {}
        self._taken: dict[tuple[str, str, int], tuple[packing.Request, packing.Placement]] = {}

    def place(self, state: MeshState, room: dict[str, int] | None = None) -> Round:
        """One round. `room`: how many more attempts each agent's stream takes now; None: any number."""
        self._mirror(state)
        placements: list[Placement] = []
        pauses: list[RunPaused] = []
        left = dict(room) if room is not None else None
        for work in _classes(state):
            if not any(pause.run_id == work.run.id for pause in pauses):
                self._place_class(state, work, left, placements, pauses)
        return Round(tuple(placements), tuple(pauses))

    def _place_class(
        self,
        state: MeshState,
        work: _Class,
        left: dict[str, int] | None,
        placements: list[Placement],
        pauses: list[RunPaused],
    ) -> None:
        cost = {
            agent_id: _cost(agent.facts, work.step)
            for agent_id, agent in state.agents.items()
            if agent_id in self._nodes and _can_run(agent, work.step)
        }
        request = _request(work.step.request)
        committed = _committed_usd(state, work.run) if work.run.budget_usd is not None else 0.0
        for invocation_id in list(state.ready[work.run.id][work.step.index]):
            if left is not None:
                cost = {agent_id: price for agent_id, price in cost.items() if left.get(agent_id, 0) > 0}
            found = self._packer.place(request, cost=cost) if cost else None
            if found is None:
                return
            if work.run.budget_usd is not None:
                facts = state.agents[found.node_id].facts
                committed += attempt_cost_usd(facts, work.step.request, work.step.typical_ms)
                if work.run.cost_usd + committed > work.run.budget_usd:
                    self._packer.release(request, found)
                    pauses.append(
                        RunPaused(work.run.id, f"the next step would pass the budget of ${work.run.budget_usd:g}")
                    )
                    return
            invocation = work.run.invocations[invocation_id]
            self._taken[(found.node_id, invocation.id, invocation.attempt + 1)] = (request, found)
            placements.append(Placement(work.run.id, invocation_id, found.node_id, found.gpu_indices))
            if left is not None:
                left[found.node_id] -= 1

    def _mirror(self, state: MeshState) -> None:
        """Brings the packer's rooms in line with what agents are there and what they were given."""
        usable = {i: a for i, a in state.agents.items() if a.status is AgentStatus.ATTACHED}
        for agent_id, (session, node) in list(self._nodes.items()):
            agent = usable.get(agent_id)
            if agent is None or agent.facts.session != session or _node(agent.facts) != node:
                self._forget(agent_id)
        live: dict[tuple[str, str, int], None] = {}
        for agent_id, agent in usable.items():
            if agent_id not in self._nodes:
                node = _node(agent.facts)
                self._nodes[agent_id] = (agent.facts.session, node)
                self._packer.add_node(node)
            for assigned in agent.assigned.values():
                live[(agent_id, assigned.invocation_id, assigned.attempt)] = None
        for key in [key for key in self._taken if key not in live]:
            self._packer.release(*self._taken.pop(key))
        for agent_id, agent in usable.items():
            for assigned in agent.assigned.values():
                key = (agent_id, assigned.invocation_id, assigned.attempt)
                if key not in self._taken:
                    self._occupy(state, key, assigned.run_id)

    def _occupy(self, state: MeshState, key: tuple[str, str, int], run_id: str) -> None:
        found = state.invocation(run_id, key[1])
        if found is None:
            return
        run, invocation = found
        request = _request(state.step_of(run, invocation).request)
        placement = packing.Placement(key[0], invocation.gpu_indices)
        self._packer.occupy(request, placement)
        self._taken[key] = (request, placement)

    def _forget(self, agent_id: str) -> None:
        del self._nodes[agent_id]
        self._packer.remove_node(agent_id)
        for key in [key for key in self._taken if key[0] == agent_id]:
            del self._taken[key]


def _classes(state: MeshState) -> list[_Class]:
    """Ready work, most urgent first: earliest latest start, then priority, then steps near the end, then age."""
    found: list[_Class] = []
    for run_id, steps in state.ready.items():
        run = state.runs[run_id]
        if run.status is not RunStatus.RUNNING:
            continue
        workflow = state.workflow(run)
        found.extend(_Class(run, workflow.steps[index], run.deadline_ms - workflow.tail_ms[index]) for index in steps)

    def urgency(work: _Class) -> tuple[int, int, int, int, str]:
        workflow = state.workflow(work.run)
        depth = workflow.depth[work.step.index]
        return (work.latest_start_ms, -workflow.priority, -depth, work.run.created_ms, work.run.id)

    return sorted(found, key=urgency)


def _can_run(agent: Agent, step: StepPlan) -> bool:
    return agent.status is AgentStatus.ATTACHED and step.satellite in agent.facts.satellites


def _cost(facts: AgentFacts, step: StepPlan) -> float:
    """US dollars that one invocation is expected to cost there, the loading of its model included."""
    cold = step.model is not None and step.model not in facts.warm_models
    return attempt_cost_usd(facts, step.request, step.typical_ms + (COLD_MODEL_MS if cold else 0))


def _committed_usd(state: MeshState, run: Run) -> float:
    """What the attempts under way are expected to cost."""
    total = 0.0
    for agent in state.agents.values():
        for assigned in agent.assigned.values():
            if assigned.run_id == run.id:
                step = state.step_of(run, _invocation(run, assigned.invocation_id))
                total += attempt_cost_usd(agent.facts, step.request, step.typical_ms)
    return total


def _invocation(run: Run, invocation_id: str) -> Invocation:
    return run.invocations[invocation_id]


def _request(need: Need) -> packing.Request:
    return packing.Request(
        cpu_milli=need.cpu_milli,
        memory_mib=-(-need.memory_bytes // MIB),
        gpus=need.gpus,
        gpu_milli=need.gpu_milli,
        gpu_memory_mib=-(-need.gpu_memory_bytes // MIB),
        gpu_models=frozenset(need.gpu_models),
    )


def _node(facts: AgentFacts) -> packing.Node:
    return packing.Node(
        id=facts.id,
        cpu_milli=facts.cpu_milli,
        memory_mib=facts.memory_bytes // MIB,
        gpus=len(facts.gpus),
        gpu_model=facts.gpus[0].model if facts.gpus else None,
        gpu_memory_mib=min((gpu.memory_bytes for gpu in facts.gpus), default=0) // MIB,
    )
