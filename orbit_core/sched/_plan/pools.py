"""Which agents are alike, what room they have, and what takes some of it for how much longer."""

from __future__ import annotations

import math
from collections.abc import Mapping

from orbit_core.limits import MIB
from orbit_core.sched._plan.durations import Durations
from orbit_core.sched._plan.picture import Pool, Room
from orbit_core.sched.estimate import hardware_kind
from orbit_core.sched.model import AgentFacts, AgentStatus
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.workflow import Need, StepPlan

_POOLS_MOST = 12
#: Attempts under way that a pool is described by; beyond it the last ones count as the longest of them.
_BUSY_MOST = 64


def pools_of(
    state: MeshState, durations: Durations, now_ms: int, attempts: Mapping[str, int] | None
) -> tuple[tuple[Pool, ...], dict[str, int], list[AgentFacts]]:
    """The pools, the number of each agent's, and one agent of each. `attempts` as `observe` takes it."""
    usable = [agent for agent in state.agents.values() if agent.status is AgentStatus.ATTACHED]
    groups: dict[object, list[Agent]] = {}
    for like in (_alike, _alike_but_for_models, _alike_roughly):
        groups = {}
        for agent in usable:
            groups.setdefault(like(agent), []).append(agent)
        if len(groups) <= _POOLS_MOST:
            break
    pools = tuple(_pool(state, durations, members, now_ms, attempts) for members in groups.values())
    pool_of = {agent.facts.id: number for number, members in enumerate(groups.values()) for agent in members}
    return pools, pool_of, [members[0].facts for members in groups.values()]


def _alike(agent: Agent) -> object:
    facts = agent.facts
    return (*_shape(facts), facts.price_usd_per_hour, facts.tariff, facts.warm_models, facts.cached_models)


def _alike_but_for_models(agent: Agent) -> object:
    return (*_shape(agent.facts), agent.facts.price_usd_per_hour, agent.facts.tariff)


def _alike_roughly(agent: Agent) -> object:
    facts = agent.facts
    price = round(math.log(facts.price_usd_per_hour, 1.25)) if facts.price_usd_per_hour > 0 else None
    return (facts.gpus[:1], len(facts.gpus), facts.satellites, facts.price_kind == "spot", price)


def _shape(facts: AgentFacts) -> tuple[object, ...]:
    label = dict(facts.labels).get("hardware", "")
    able = (facts.satellites, facts.barred_models)
    return (facts.cpu_milli, facts.memory_bytes, facts.gpus, able, facts.price_kind, label)


def _pool(
    state: MeshState, durations: Durations, members: list[Agent], now_ms: int, attempts: Mapping[str, int] | None
) -> Pool:
    rooms = [_room(agent, attempts) for agent in members]
    busy: list[tuple[float, Room]] = []
    for agent in members:
        for assigned in agent.assigned.values():
            found = state.invocation(assigned.run_id, assigned.invocation_id)
            if found is None:
                continue
            step = state.step_of(*found)
            left_ms = durations.left_ms(hardware_kind(agent.facts, step), step, now_ms - found[1].assigned_ms)
            busy.append((max(100.0, left_ms), need_room(step.request)))
    busy.sort(key=lambda each: each[0])
    total = tuple(math.fsum(room[at] for room in rooms) for at in range(4))
    return Pool(
        agents=tuple(agent.facts.id for agent in members),
        room=(total[0], total[1], total[2], total[3]),
        each=min(rooms),
        busy=_summed(busy),
        spot=members[0].facts.price_kind == "spot",
        age_ms=math.fsum(state.age_ms(agent) for agent in members) / len(members),
    )


def _room(agent: Agent, attempts: Mapping[str, int] | None) -> Room:
    facts = agent.facts
    most = math.inf if attempts is None else attempts.get(facts.id, 0) + len(agent.assigned)
    slots = min(float(most), facts.cpu_milli / 1.0)
    return (float(facts.cpu_milli), facts.memory_bytes / MIB, 1000.0 * len(facts.gpus), slots)


def _summed(busy: list[tuple[float, Room]]) -> tuple[tuple[float, Room], ...]:
    """At most `_BUSY_MOST` entries: neighbours in time are put together, at the later end."""
    size = -(-len(busy) // _BUSY_MOST)
    if size <= 1:
        return tuple(busy)
    found: list[tuple[float, Room]] = []
    for at in range(0, len(busy), size):
        some = busy[at : at + size]
        rooms = [room for _, room in some]
        found.append((some[-1][0], (_add(rooms, 0), _add(rooms, 1), _add(rooms, 2), _add(rooms, 3))))
    return tuple(found)


def _add(rooms: list[Room], dimension: int) -> float:
    return math.fsum(room[dimension] for room in rooms)


def need_room(need: Need) -> Room:
    """What one attempt takes of a pool."""
    gpu = float(need.gpu_milli) if need.gpus == 1 and need.gpu_milli else 1000.0 * need.gpus
    return (float(need.cpu_milli), need.memory_bytes / MIB, gpu, 1.0)


def can_hold(facts: AgentFacts, step: StepPlan) -> bool:
    """Whether an empty agent like this could run the step."""
    need = step.request
    if step.satellite not in facts.satellites or step.model in facts.barred_models:
        return False
    if need.cpu_milli > facts.cpu_milli:
        return False
    if need.memory_bytes > facts.memory_bytes or need.gpus > len(facts.gpus):
        return False
    if not need.gpus:
        return True
    fits = [gpu for gpu in facts.gpus if gpu.memory_bytes >= need.gpu_memory_bytes]
    fits = [gpu for gpu in fits if not need.gpu_models or gpu.model in need.gpu_models]
    return len(fits) >= need.gpus
