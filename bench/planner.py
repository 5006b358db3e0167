"""`python -m bench.planner`: one planning round for 100,000 ready invocations of 50 classes on 1,000 agents.

Prints the milliseconds of observing, of the solver's way and of the greedy way, and their ratio.
"""

from __future__ import annotations

import time

from orbit_core.sched._plan import greedy, linear
from orbit_core.sched._plan.observe import Demand, look, observe
from orbit_core.sched.model import AgentFacts, AgentStatus
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy

_AGENTS, _CLASSES, _READY = 1_000, 50, 2_000


def _state() -> MeshState:
    names = tuple(f"satellite/bench/s{number}" for number in range(_CLASSES))
    state = MeshState()
    for number in range(_AGENTS):
        price = 0.05 * (1 + number % 10)
        facts = AgentFacts(f"a{number}", "1", "a:1", 16_000, 64 << 30, (), price, satellites=names)
        state.agents[facts.id] = Agent(facts, AgentStatus.ATTACHED)
    return state


def _demands() -> list[Demand]:
    found: list[Demand] = []
    for number in range(_CLASSES):
        need = Need(500 * (1 + number % 4), 1 << 30)
        name = f"satellite/bench/s{number}"
        plan = StepPlan(0, "work", "main", name, (), RetryPolicy(), need, 60_000, 10_000 + 3_000 * number)
        deadline = 300_000 * (1 + number % 12)
        found.append(Demand(f"run-{number}", Workflow("bench/flow", deadline, (plan,)), deadline))
        found[-1].open[0] = float(_READY)
        found[-1].ready[0] = _READY
    return found


def main() -> None:
    state, wanted = _state(), _demands()
    began = time.perf_counter()
    picture = observe(look(state, 0), wanted)
    seen = time.perf_counter()
    quick = greedy.schedule(picture, following=True)
    greedy_done = time.perf_counter()
    best = linear.schedule(picture, None, quick)
    done = time.perf_counter()
    assert best is not None
    ratio = best.cost_usd(picture) / quick.cost_usd(picture)
    print(f"observe {1000 * (seen - began):.0f} ms, {len(picture.classes)} classes, {len(picture.pools)} pools")
    print(f"greedy {1000 * (greedy_done - seen):.0f} ms, linear {1000 * (done - greedy_done):.0f} ms")
    print(f"a live round: {1000 * (done - began):.0f} ms; cost of linear over greedy {ratio:.3f}")


if __name__ == "__main__":
    main()
