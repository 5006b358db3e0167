"""The placer: which ready invocation goes to which agent, now.

Pure: it reads the state and gives decisions (`Round`), which become events and only then change anything. Work is
looked at in classes, one per run and step, most urgent first; an invocation goes to the cheapest agent that can hold
it, and the packer decides among equally cheap ones. A plan says how much may start where: what it keeps for cheaper
room waits, except on room that nothing cheaper can beat. What may have ended its agents runs alone. What the placer
remembers between rounds (the packer's rooms) mirrors `Agent.assigned` and is made anew from it after a failover.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field

from orbit_core.limits import MIB
from orbit_core.sched import packing
from orbit_core.sched.estimate import AGES_MS
from orbit_core.sched.events import Placement, RunPaused
from orbit_core.sched.model import AgentFacts, AgentStatus, RunStatus
from orbit_core.sched.plan import NEARLY, Plan
from orbit_core.sched.price import expected_cost_usd, expected_ms
from orbit_core.sched.state import Agent, Invocation, MeshState, Run
from orbit_core.sched.tariff import DAY_MS, lowest_price
from orbit_core.sched.workflow import Need, StepPlan

#: Work that has to start within this time is not held back.
_PRESSING_MS = 2_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one round decided. `held`: ready work waits, for room or for cheaper room."""

    placements: tuple[Placement, ...]
    pauses: tuple[RunPaused, ...]
    held: bool = False


@dataclass(frozen=True, slots=True)
class _Class:
    """All ready invocations of one step of one run."""

    run: Run
    step: StepPlan
    latest_start_ms: int


@dataclass(slots=True)
class _Deciding:
    """A round under way."""

    state: MeshState
    plan: Plan | None
    left: dict[str, int] | None
    placements: list[Placement] = field(default_factory=list[Placement])
    pauses: dict[str, RunPaused] = field(default_factory=dict[str, RunPaused])
    reserved: dict[str, None] = field(default_factory=dict[str, None])
    committed_usd: dict[str, float] = field(default_factory=dict[str, float])
    held: bool = False


class Placer:
    """Remembers which room is taken; `place` is to be called by whoever applies its decisions at once."""

    def __init__(self) -> None:
        self._packer = packing.Packer([])
        self._nodes: dict[str, tuple[str, packing.Node]] = {}
        self._taken: dict[tuple[str, str, int], tuple[packing.Request, packing.Placement]] = {}

    def place(self, state: MeshState, room: Mapping[str, int] | None = None, plan: Plan | None = None) -> Round:
        """One round. `room`: how many more attempts each agent's stream takes now; None: any number.

        Without a plan nothing is held back. The plan's quotas are counted down.
        """
        self._mirror(state)
        now = _Deciding(state, plan, dict(room) if room is not None else None)
        self._place_suspects(now)
        for work in self._order(state):
            self._decide(now, work)
        return Round(tuple(now.placements), tuple(now.pauses.values()), now.held)

    def _place_suspects(self, now: _Deciding) -> None:
        """What may have ended its agents runs alone, so that no neighbour is lost with it or blamed for it.

        It goes first, and where no agent is idle it keeps one for itself: what runs there comes to an end.
        """
        state = now.state
        for agent_id, agent in state.agents.items():
            if any(state.is_suspect(assigned) for assigned in agent.assigned.values()):
                now.reserved[agent_id] = None
        for invocation_id, run_id in list(state.suspects.items()):
            run = state.runs[run_id]
            if run.status is not RunStatus.RUNNING or run.id in now.pauses:
                continue
            invocation = run.invocations[invocation_id]
            workflow = state.workflow(run)
            step = workflow.steps[invocation.step]
            work = _Class(run, step, run.deadline_ms - workflow.tail_ms[step.index])
            cost = self._costs(now, work)
            room = now.left
            idle = {
                agent_id: usd
                for agent_id, usd in cost.items()
                if not state.agents[agent_id].assigned and (room is None or room.get(agent_id, 0) > 0)
            }
            request = _request(step.request)
            found = self._packer.place(request, cost=idle) if idle else None
            if found is None:
                self._reserve(now, work, cost)
            elif self._within_budget(now, work, found.node_id):
                self._take(now, invocation, run, request, found)
                now.reserved[found.node_id] = None
            else:
                self._packer.release(request, found)

    def _order(self, state: MeshState) -> list[_Class]:
        return _classes(state)

    def _decide(self, now: _Deciding, work: _Class) -> None:
        """What has to start now goes wherever there is room; the rest goes where the plan wants it."""
        plan = now.plan
        cost = self._costs(now, work)
        number = plan.class_of(work.run.id, work.step.index) if plan else None
        late = work.latest_start_ms <= now.state.now_ms + _PRESSING_MS
        if plan is None or late or (number is not None and plan.pressing(number, now.state.now_ms)):
            if plan is not None and number is not None:
                # Cheap room that is too slow by now would be cheap and late.
                quick = plan.quick_pools(number, now.state.now_ms)
                cost = {agent_id: usd for agent_id, usd in cost.items() if plan.picture.pool_of.get(agent_id) in quick}
            if not self._place_class(now, work, cost, None) and late:
                self._reserve(now, work, cost)
            return
        if number is None:  # new since the plan: until the next one, only where nothing is cheaper
            least = min(cost.values(), default=0.0) * NEARLY
            cost = {
                agent_id: usd
                for agent_id, usd in cost.items()
                if usd <= least
                and not plan.awaits(agent_id)
                and not _cheaper_later(now.state.agents[agent_id].facts, now.state.now_ms)
            }
        else:
            pools = plan.open_pools(number)
            cost = {agent_id: usd for agent_id, usd in cost.items() if plan.picture.pool_of.get(agent_id) in pools}
        if not self._place_class(now, work, cost, number):
            now.held = True

    def _costs(self, now: _Deciding, work: _Class) -> dict[str, float]:
        """Agents that can run the class, with what one invocation is expected to cost there.

        For work whose objective is time, how long it is expected to take: what it costs breaks ties.
        """
        hurried = now.state.workflow(work.run).objective == "time"
        known: dict[tuple[object, ...], float] = {}
        found: dict[str, float] = {}
        for agent_id, agent in now.state.agents.items():
            if agent_id not in self._nodes or agent_id in now.reserved or not _can_run(agent, work.step):
                continue
            facts = agent.facts
            like = (facts.price_usd_per_hour, facts.price_kind, facts.cpu_milli, facts.memory_bytes, facts.gpus)
            like = (*like, facts.labels, facts.warm_models, facts.cached_models)
            age_ms = now.state.age_ms(agent) if facts.price_kind == "spot" else 0
            like = (*like, bisect.bisect_right(AGES_MS, age_ms))
            if like not in known:
                known[like] = expected_cost_usd(now.state.estimates, facts, work.step, age_ms=age_ms)
                if hurried:
                    known[like] = expected_ms(now.state.estimates, facts, work.step, age_ms=age_ms) + min(
                        known[like], 1.0
                    )
            found[agent_id] = known[like]
        return found

    def _place_class(self, now: _Deciding, work: _Class, cost: dict[str, float], number: int | None) -> bool:
        """Places what fits; whether that was all. `number`: the class whose quotas bound it."""
        run, left, plan = work.run, now.left, now.plan
        request = _request(work.step.request)
        if left is not None:
            cost = {agent_id: usd for agent_id, usd in cost.items() if left.get(agent_id, 0) > 0}
        for invocation_id in now.state.ready[run.id].get(work.step.index, {}):
            if run.id in now.pauses:
                return True
            if invocation_id in now.state.suspects:
                continue
            found = self._packer.place(request, cost=cost) if cost else None
            if found is None:
                return False
            if not self._within_budget(now, work, found.node_id):
                self._packer.release(request, found)
                return True
            self._take(now, run.invocations[invocation_id], run, request, found)
            if left is not None and left[found.node_id] == 0:
                cost = {agent_id: usd for agent_id, usd in cost.items() if agent_id != found.node_id}
            if plan is not None and number is not None and plan.spend(number, found.node_id):
                pools, pool_of = plan.open_pools(number), plan.picture.pool_of
                cost = {agent_id: usd for agent_id, usd in cost.items() if pool_of[agent_id] in pools}
        return True

    def _take(
        self, now: _Deciding, invocation: Invocation, run: Run, request: packing.Request, found: packing.Placement
    ) -> None:
        self._taken[(found.node_id, invocation.id, invocation.attempt + 1)] = (request, found)
        now.placements.append(Placement(run.id, invocation.id, found.node_id, found.gpu_indices))
        if now.left is not None:
            now.left[found.node_id] -= 1

    def _within_budget(self, now: _Deciding, work: _Class, agent_id: str) -> bool:
        """Counts the attempt against the run's budget; a run that would pass it is paused."""
        run = work.run
        if run.budget_usd is None:
            return True
        committed = now.committed_usd.get(run.id)
        if committed is None:
            committed = committed_usd(now.state, run)
        committed += expected_cost_usd(now.state.estimates, now.state.agents[agent_id].facts, work.step)
        now.committed_usd[run.id] = committed
        if run.cost_usd + committed <= run.budget_usd:
            return True
        now.pauses[run.id] = RunPaused(run.id, f"the next step would pass the budget of ${run.budget_usd:g}")
        return False

    def _reserve(self, now: _Deciding, work: _Class, cost: dict[str, float]) -> None:
        """Late work that fits nowhere: the agent that has least to finish takes nothing less urgent until it fits."""
        need = work.step.request
        agents = [now.state.agents[agent_id] for agent_id in cost if agent_id not in now.reserved]
        whole = [each.facts for each in agents if _is_large_enough(each.facts, need)]
        if whole:
            chosen = min(whole, key=lambda each: (len(now.state.agents[each.id].assigned), cost[each.id], each.id))
            now.reserved[chosen.id] = None

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
    facts = agent.facts
    return (
        agent.status is AgentStatus.ATTACHED
        and step.satellite in facts.satellites
        and step.model not in facts.barred_models
    )


def _cheaper_later(facts: AgentFacts, now_ms: int) -> bool:
    """Whether an hour of the agent is sure to be cheaper within a day: only a plan can say whether to wait."""
    return bool(facts.tariff) and lowest_price(facts.tariff, now_ms, now_ms + DAY_MS) < facts.price_usd_per_hour


def _is_large_enough(facts: AgentFacts, need: Need) -> bool:
    return (
        need.cpu_milli <= facts.cpu_milli and need.memory_bytes <= facts.memory_bytes and need.gpus <= len(facts.gpus)
    )


def committed_usd(state: MeshState, run: Run) -> float:
    """What the attempts under way are expected to cost."""
    total = 0.0
    for agent in state.agents.values():
        for assigned in agent.assigned.values():
            if assigned.run_id == run.id:
                step = state.step_of(run, _invocation(run, assigned.invocation_id))
                total += expected_cost_usd(state.estimates, agent.facts, step)
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
