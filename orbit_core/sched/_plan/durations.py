"""What the planner knows of durations: the estimates, each asked for once in a plan, and what follows each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from orbit_core.sched import estimate as estimates_of
from orbit_core.sched.estimate import Estimate, Estimates, hardware_kind
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.workflow import StepPlan, Workflow

#: What sending an attempt out and hearing of its end adds for each step on the way.
HOP_MS = 250.0


class Durations:
    """Estimates by step and kind of hardware. `agents`: those that are there."""

    def __init__(self, estimates: Estimates, agents: Iterable[AgentFacts]) -> None:
        self.estimates = estimates
        self._kinds = {(facts.gpus[:1], dict(facts.labels).get("hardware")): facts for facts in agents}
        self._known: dict[tuple[str, StepPlan], Estimate] = {}
        self._spread: dict[StepPlan, float] = {}

    def on(self, estimates: Estimates) -> Durations:
        """The same agents, with other estimates."""
        return Durations(estimates, self._kinds.values())

    def of(self, kind: str, step: StepPlan) -> Estimate:
        """The estimate on that kind of hardware."""
        found = self._known.get((kind, step))
        if found is None:
            found = self._known[(kind, step)] = estimates_of.estimate(self.estimates, step, kind)
        return found

    def tail_ms(self, kind: str, step: StepPlan, odds: float) -> float:
        """What all but a share `odds` of attempts do not exceed."""
        return estimates_of.tail_ms(self.estimates, step, kind, self._spread_of(step), odds)

    def left_ms(self, kind: str, step: StepPlan, ran_ms: float) -> float:
        """How much longer an attempt is expected to run that has run for so long."""
        return estimates_of.left_ms(self.of(kind, step), self._spread_of(step), ran_ms)

    def _spread_of(self, step: StepPlan) -> float:
        found = self._spread.get(step)
        if found is None:
            kinds = dict.fromkeys(hardware_kind(facts, step) for facts in self._kinds.values())
            found = self._spread[step] = estimates_of.log_spread(self.estimates, step, kinds)
        return found


class Tails:
    """For each step of a workflow, what follows it at least: mean time, and how uncertain that is."""

    def __init__(self, workflow: Workflow, fastest: Callable[[StepPlan], Estimate]) -> None:
        self.mean_ms: dict[int, float] = {}
        self.variance: dict[int, float] = {}
        for step in sorted(workflow.steps, key=lambda each: -workflow.depth[each.index]):
            self.mean_ms[step.index] = self.variance[step.index] = 0.0
            for after in workflow.steps:
                if step.index in after.needs and after.section == step.section:
                    known = fastest(after)
                    mean = self.mean_ms[after.index] + known.mean_ms + HOP_MS
                    if mean > self.mean_ms[step.index]:
                        self.mean_ms[step.index] = mean
                        spread = known.p95_ms - known.mean_ms
                        self.variance[step.index] = self.variance[after.index] + spread**2

    def finish_ms(self, deadline_ms: float, step: StepPlan) -> float:
        """When the step has to have ended, so that what follows has its time and some more."""
        return deadline_ms - self.mean_ms[step.index] - math.sqrt(self.variance[step.index]) - HOP_MS
