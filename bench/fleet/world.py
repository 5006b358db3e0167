"""A mesh in virtual time: agents, arrivals, losses and prices around the live `step` and a policy's placements."""

from __future__ import annotations

import dataclasses
import heapq
import time
from dataclasses import dataclass, field
from typing import Any

from bench.fleet.policies import Policy
from bench.fleet.scenario import Scenario
from orbit_core.sched.commands import ArchiveRun, Command, Dispatch
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentLost,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Placed,
    RunArchived,
    RunCreated,
    RunForecast,
    TimePassed,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.model import AgentFacts, AttemptKey, ObjectAddress, Outputs, TriggerFacts, Usage
from orbit_core.sched.price import dominant_share
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.sched.tariff import DAY_MS

#: When a scenario begins: at midnight, so that seconds from the start are seconds of the day.
ORIGIN_MS = 12 * DAY_MS


@dataclass(slots=True)
class Outcome:
    """What a policy made of a scenario."""

    policy: str
    cost_usd: float = 0.0
    runs: int = 0
    missed: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    busy_ms: float = 0.0
    there_ms: float = 0.0
    end_ms: int = 0
    rounds: int = 0
    decision_s: float = 0.0
    decision_max_s: float = 0.0
    ended: dict[str, Run] = field(default_factory=dict)

    @property
    def utilisation(self) -> float:
        return self.busy_ms / self.there_ms if self.there_ms else 0.0


class FleetWorld:
    """One policy on one scenario; `play` until everything has ended. Checks the invariants as it goes."""

    def __init__(self, scenario: Scenario, policy: Policy, *, check_every: int = 500) -> None:
        self.scenario = scenario
        self.policy = policy
        self.state = MeshState()
        self.outcome = Outcome(policy.name)
        self._now_ms = 0
        self._heap: list[tuple[int, int, str, Any]] = []
        self._sequence = 0
        self._facts: dict[str, AgentFacts] = {}
        self._speeds = {agent.facts.id: agent.speed for agent in scenario.agents}
        self.work_of: dict[str, int] = {}
        self._check_every = check_every
        self._told = 0
        self._tick_at = -1

    def play(self) -> Outcome:
        self._arrange()
        while self._heap:
            self._now_ms = self._heap[0][0]
            while self._heap and self._heap[0][0] == self._now_ms:
                _, _, kind, data = heapq.heappop(self._heap)
                getattr(self, f"_on_{kind}")(data)
            self._decide()
            if not self._work_left():
                break
        self.outcome.end_ms = self._now_ms
        self.outcome.there_ms = sum(
            max(0, min(end, self._now_ms) - start) for agent in self.scenario.agents for start, end in agent.there_ms
        )
        left = [run.id for run in self.state.runs.values() if not run.ended]
        self.outcome.missed += left
        return self.outcome

    def _work_left(self) -> bool:
        return bool(self.state.runs) or any(kind == "arrival" for _, _, kind, _ in self._heap[:])

    def _arrange(self) -> None:
        for number, work in enumerate(self.scenario.work):
            self.state.workflows[f"spec-{number}"] = work.flow
            for at in work.arrivals_ms:
                self._push(at, "arrival", number)
        for agent in self.scenario.agents:
            for turn, (start, end) in enumerate(agent.there_ms):
                facts = dataclasses.replace(agent.facts, session=str(turn))
                self._push(start, "attach", facts)
                if end < self.scenario.end_ms:
                    self._push(end, "lose", (facts.id, facts.session))
            for at, usd in agent.prices:
                self._push(at, "price", (agent.facts.id, usd))

    def _push(self, at_ms: int, kind: str, data: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at_ms, self._sequence, kind, data))

    # What happens.

    def _on_arrival(self, number: int) -> None:
        work = self.scenario.work[number]
        run_id = f"{work.flow.identifier.removeprefix('bench/')}@{self._now_ms // 1000}"
        self.work_of[run_id] = number
        self.outcome.runs += 1
        now = ORIGIN_MS + self._now_ms
        trigger = TriggerFacts("api-call", now, "now")
        payload = ObjectAddress(json="{}")
        spec = f"spec-{number}"
        self.tell(RunCreated(run_id, work.flow.identifier, spec, trigger, payload, now + work.flow.sla_ms))
        self._push(self._now_ms + work.flow.sla_ms, "time", None)

    def _on_attach(self, facts: AgentFacts) -> None:
        price = self._facts[facts.id].price_usd_per_hour if facts.id in self._facts else facts.price_usd_per_hour
        self._facts[facts.id] = dataclasses.replace(facts, price_usd_per_hour=price)
        self.tell(AgentAttached(self._facts[facts.id]))

    def _on_lose(self, gone: tuple[str, str]) -> None:
        self.tell(AgentLost(*gone, announced=True))

    def _on_price(self, new: tuple[str, float]) -> None:
        agent_id, usd = new
        facts = self._facts.get(agent_id)
        if facts is not None:
            self._facts[agent_id] = dataclasses.replace(facts, price_usd_per_hour=usd)
            self.tell(AgentChanged(self._facts[agent_id]))

    def _on_end(self, ended: tuple[str, AttemptKey, int]) -> None:
        agent_id, key, duration_ms = ended
        found = self.state.invocation(key.run_id, key.invocation_id)
        if found is None or found[1].agent != agent_id or found[1].attempt != key.attempt:
            return
        run, invocation = found
        self.outcome.busy_ms += duration_ms * dominant_share(
            self._facts[agent_id], self.state.step_of(run, invocation).request
        )
        truth = self.scenario.work[self.work_of[run.id]].truths[invocation.step]
        outputs = Outputs(inline=("{}",) * truth.objects)
        self.tell(AttemptSucceeded(key, agent_id, outputs, Usage(duration_ms=duration_ms)))

    def _on_time(self, _: None) -> None:
        self.tell(TimePassed())

    def _on_tick(self, _: None) -> None:
        return

    # Events in, commands out.

    def tell(self, event: Event) -> None:
        commands = step(self.state, event, ORIGIN_MS + self._now_ms)
        self._told += 1
        if self._told % self._check_every == 0:
            broken = violations(self.state)
            assert not broken, broken
        if isinstance(event, RunForecast) and event.expected_late:
            self.outcome.warned.append(event.run_id)
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        if isinstance(command, Dispatch):
            run, invocation = self.state.invocation(command.key.run_id, command.key.invocation_id) or (None, None)
            assert run is not None and invocation is not None
            work = self.work_of[run.id]
            speed = self._speeds[command.agent_id]
            duration = self.scenario.duration_ms(work, invocation.step, invocation.id, speed)
            self.tell(AttemptStarted(command.key, command.agent_id))
            self._push(self._now_ms + duration, "end", (command.agent_id, command.key, duration))
        elif isinstance(command, ArchiveRun):
            run = self.state.runs[command.run_id]
            self.outcome.cost_usd += run.cost_usd
            self.outcome.ended[run.id] = run
            if run.ended_ms > run.deadline_ms:
                self.outcome.missed.append(run.id)
            self._push(self._now_ms, "archived", run.id)

    def _on_archived(self, run_id: str) -> None:
        self.tell(RunArchived(run_id))

    def _decide(self) -> None:
        began = time.perf_counter()
        forecasts, decided = self.policy.decide(self.state, ORIGIN_MS + self._now_ms)
        took = time.perf_counter() - began
        if self.state.ready:
            self.outcome.rounds += 1
            self.outcome.decision_s += took
            self.outcome.decision_max_s = max(self.outcome.decision_max_s, took)
        for forecast in forecasts:
            self.tell(forecast)
        if decided.placements:
            self.tell(Placed(decided.placements))
        if decided.held and self._tick_at <= self._now_ms:
            self._tick_at = self._now_ms + self.scenario.plan_every_ms
            self._push(self._tick_at, "tick", None)
