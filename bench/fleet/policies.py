"""Who decides: Orbit as it runs live, and the baselines. All place through the same packer, into the same room."""

from __future__ import annotations

from typing import Protocol

from orbit_core.sched.events import RunForecast
from orbit_core.sched.place import Placer, Round, _Class, _Deciding
from orbit_core.sched.plan import Plan, Planner
from orbit_core.sched.state import MeshState


class Policy(Protocol):
    """`decide` is asked whenever something has happened, and again after a while when it says that it holds work."""

    name: str

    def decide(self, state: MeshState, now_ms: int) -> tuple[list[RunForecast], Round]: ...


class OrbitPolicy:
    """The live planner and placer, called as the leader's loop calls them."""

    name = "orbit"

    def __init__(self, every_ms: int, *, time_limit_s: float | None = None) -> None:
        self._every_ms = every_ms
        self._planner = Planner(every_ms=every_ms, time_limit_s=time_limit_s)
        self._placer = Placer()
        self._plan: Plan | None = None
        self._seen: tuple[object, ...] = ()

    def decide(self, state: MeshState, now_ms: int) -> tuple[list[RunForecast], Round]:
        forecasts: list[RunForecast] = []
        seen = (tuple(state.runs), tuple((a.facts.id, a.facts.price_usd_per_hour) for a in state.agents.values()))
        due = self._plan is None or now_ms - self._plan.made_ms >= self._every_ms or seen != self._seen
        if state.ready and due:
            self._seen = seen
            self._plan = self._planner.plan(state, now_ms)
            forecasts = [RunForecast(run, late) for run, late in self._planner.forecasts(state, self._plan)]
        return forecasts, self._placer.place(state, None, self._plan)


class BaselinePolicy(Placer):
    """Never waits: the next work by `order` ("arrival", "deadline") goes to the free agent that `choice` likes best.

    `choice`: "cheapest" and "fastest" by what an hour costs and how fast an agent is, "first" by its place in the
    list, "packed" the one that has least left. "cheapest-only" waits for the cheapest agents and uses no others.
    """

    def __init__(self, name: str, order: str, choice: str, speeds: dict[str, float]) -> None:
        super().__init__()
        self.name = name
        self._by = order
        self._choice = choice
        self._speeds = speeds

    def decide(self, state: MeshState, now_ms: int) -> tuple[list[RunForecast], Round]:
        return [], self.place(state)

    def _order(self, state: MeshState) -> list[_Class]:
        classes = super()._order(state)
        if self._by == "deadline":
            return sorted(classes, key=lambda work: (work.run.deadline_ms, work.run.id, work.step.index))
        return sorted(classes, key=lambda work: (work.run.created_ms, work.run.id, work.step.index))

    def _costs(self, now: _Deciding, work: _Class) -> dict[str, float]:
        agents = {agent_id: now.state.agents[agent_id] for agent_id in super()._costs(now, work)}
        match self._choice:
            case "cheapest":
                return {i: agent.facts.price_usd_per_hour for i, agent in agents.items()}
            case "cheapest-only":
                least = min((agent.facts.price_usd_per_hour for agent in agents.values()), default=0.0)
                return {i: 0.0 for i, agent in agents.items() if agent.facts.price_usd_per_hour <= least}
            case "fastest":
                return {i: -self._speeds[i] for i in agents}
            case "packed":
                return {i: -float(len(agent.assigned)) for i, agent in agents.items()}
            case _:
                return {i: float(at) for at, i in enumerate(agents)}


def baselines(speeds: dict[str, float]) -> list[Policy]:
    return [
        BaselinePolicy("FIFO, cheapest free", "arrival", "cheapest", speeds),
        BaselinePolicy("FIFO, cheapest only", "arrival", "cheapest-only", speeds),
        BaselinePolicy("FIFO, fastest", "arrival", "fastest", speeds),
        BaselinePolicy("EDF, first fit", "deadline", "first", speeds),
        BaselinePolicy("pack, then spread", "arrival", "packed", speeds),
    ]
