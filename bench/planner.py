"""`python -m bench.planner`: one planning round for 100,000 ready invocations of 50 classes on 1,000 agents.

Prints the milliseconds of observing, of the solver's way and of the greedy way, and their ratio.
"""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median

from orbit_core.sched._plan import greedy, linear
from orbit_core.sched._plan.observe import Demand, look, observe
from orbit_core.sched.model import AgentFacts, AgentStatus
from orbit_core.sched.state import Agent, MeshState
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy

_AGENTS, _CLASSES, _READY, _ROUNDS = 1_000, 50, 2_000, 5


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


def _round(state: MeshState, wanted: list[Demand]) -> tuple[list[float], float]:
    """Milliseconds: the whole, its CPU time, observing, greedy, linear; and the cost of linear over greedy."""
    marks = [time.perf_counter()]
    cpu_s = time.process_time()
    picture = observe(look(state, 0, expectant=True), wanted)
    marks.append(time.perf_counter())
    quick = greedy.schedule(picture, following=True)
    marks.append(time.perf_counter())
    best = linear.schedule(picture, None, quick)
    marks.append(time.perf_counter())
    cpu_s = time.process_time() - cpu_s
    assert best is not None
    found = [marks[-1] - marks[0], cpu_s, *(end - begin for begin, end in pairwise(marks))]
    return [1000 * each for each in found], best.cost_usd(picture) / quick.cost_usd(picture)


def main() -> None:
    """Some rounds, of which the middle one counts; CPU time beside wall time, for machines that others use too."""
    state, wanted = _state(), _demands()
    rounds = [_round(state, wanted) for _ in range(_ROUNDS)]
    columns = zip(*(times for times, _ in rounds), strict=True)
    whole, cpu, seen, greedily, linearly = (median(column) for column in columns)
    print(f"a live round: {whole:.0f} ms, {cpu:.0f} ms of CPU time")
    print(f"observe {seen:.0f} ms, greedy {greedily:.0f} ms, linear {linearly:.0f} ms")
    print(f"cost of linear over greedy {rounds[0][1]:.3f}")


if __name__ == "__main__":
    main()
