"""A cluster, compiled: what scheduling needs of it and nothing else.

Compiled once at submission, with what the satellites declared at that time, and stored beside the spec: a later
version of a satellite cannot change how a journal replays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from orbit_core.spec.models import RetryPolicy

Section = Literal["main", "failure", "logs"]


@dataclass(frozen=True, slots=True)
class Need:
    """What one invocation takes of an agent. Memory in bytes; `gpu_milli` below 1000 only with one GPU."""

    cpu_milli: int
    memory_bytes: int
    gpus: int = 0
    gpu_milli: int = 0
    gpu_memory_bytes: int = 0
    gpu_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatherPlan:
    """A fan-in. `over` is a step's index, or None for the whole run."""

    over: int | None
    when: Literal["all-succeeded", "all-ended"]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. Indices point into `Workflow.steps`."""

    index: int
    identifier: str
    section: Section
    satellite: str
    needs: tuple[int, ...]
    retries: RetryPolicy
    request: Need
    timeout_ms: int
    typical_ms: int
    delay_ms: int = 0
    gather: GatherPlan | None = None
    conditional: bool = False
    model: str | None = None
    deterministic: bool = False


@dataclass(frozen=True)
class Workflow:
    """The steps of a cluster, and who follows whom."""

    identifier: str
    sla_ms: int
    steps: tuple[StepPlan, ...]
    failure_from: int | None = None
    budget_usd: float | None = None
    priority: int = 50
    objective: Literal["cost", "time", "availability"] = "cost"

    @cached_property
    def fans(self) -> Mapping[int, tuple[int, ...]]:
        """For each step, the steps that take each of its objects, one invocation an object."""
        children: dict[int, list[int]] = {step.index: [] for step in self.steps}
        for step in self.steps:
            if step.gather is None and len(step.needs) == 1:
                children[step.needs[0]].append(step.index)
        return {index: tuple(found) for index, found in children.items()}

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Steps of the main section that the trigger's payload starts."""
        return self.roots_of["main"]

    @cached_property
    def roots_of(self) -> Mapping[Section, tuple[int, ...]]:
        """The steps that each section begins with."""
        found: dict[Section, list[int]] = {"main": [], "failure": [], "logs": []}
        for step in self.steps:
            if not step.needs and step.gather is None:
                found[step.section].append(step.index)
        return {section: tuple(indices) for section, indices in found.items()}

    @cached_property
    def ancestors(self) -> Mapping[int, frozenset[int]]:
        """For each step, every step that leads to it."""
        found: dict[int, frozenset[int]] = {}
        for step in self._topological():
            above = set(step.needs)
            for need in step.needs:
                above |= found[need]
            found[step.index] = frozenset(above)
        return found

    @cached_property
    def upstream(self) -> Mapping[int, frozenset[int]]:
        """For each gather, the steps strictly below its `over` whose invocations it waits for."""
        result: dict[int, frozenset[int]] = {}
        for step in self.steps:
            if step.gather is not None:
                over = step.gather.over
                result[step.index] = frozenset(
                    index for index in self.ancestors[step.index] if over is None or over in self.ancestors[index]
                )
        return result

    @cached_property
    def gathers_above(self) -> Mapping[int, tuple[int, ...]]:
        """For each step, the gathers that wait for its invocations."""
        waiting: dict[int, list[int]] = {step.index: [] for step in self.steps}
        for gather in sorted(self.upstream):
            for index in sorted(self.upstream[gather]):
                waiting[index].append(gather)
        return {index: tuple(found) for index, found in waiting.items()}

    @cached_property
    def first_of(self) -> Mapping[Section, int | None]:
        """The first step of each section."""
        first: dict[Section, int | None] = {"main": None, "failure": None, "logs": None}
        for step in self.steps:
            if first[step.section] is None:
                first[step.section] = step.index
        return first

    @cached_property
    def depth(self) -> Mapping[int, int]:
        """The number of steps on the longest way from the start to each step."""
        result: dict[int, int] = {}
        for step in self._topological():
            result[step.index] = 1 + max((result[need] for need in step.needs), default=-1)
        return result

    @cached_property
    def tail_ms(self) -> Mapping[int, int]:
        """For each step, the typical time of the longest way from its start to the end of the workflow."""
        result: dict[int, int] = {}
        for step in reversed(self._topological()):
            after = (result[other.index] for other in self.steps if step.index in other.needs)
            result[step.index] = step.typical_ms + max(after, default=0)
        return result

    def handles_failure_of(self, step: int) -> bool:
        """Whether a lineage that failed at `step` runs the failure steps."""
        origin = self.failure_from
        if origin is None or self.steps[step].section != "main":
            return False
        return step == origin or origin in self.ancestors[step]

    def _topological(self) -> list[StepPlan]:
        ordered: list[StepPlan] = []
        placed: set[int] = set()
        remaining = list(self.steps)
        while remaining:
            later = [step for step in remaining if not placed.issuperset(step.needs)]
            ordered.extend(step for step in remaining if placed.issuperset(step.needs))
            if len(later) == len(remaining):
                raise ValueError(f"the steps of {self.identifier} form a cycle")
            placed.update(step.index for step in ordered)
            remaining = later
        return ordered
