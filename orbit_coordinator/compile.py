"""From a checked cluster to the workflow that scheduling drives: the satellites' declarations folded in. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orbit_core.errors import InvalidSpecError
from orbit_core.sched.workflow import GatherPlan, Need, Section, StepPlan, Workflow
from orbit_core.spec.catalog import Catalog, SatelliteInfo
from orbit_core.spec.graph import RUN
from orbit_core.spec.models import Cluster, Gather, Resources, Step


def compile_workflow(cluster: Cluster, catalog: Catalog) -> Workflow:
    """The workflow of a cluster that the loader has accepted. InvalidSpecError if a satellite is gone since."""
    blocks: list[tuple[Section, Sequence[Step]]] = [
        ("main", cluster.satellites),
        ("failure", cluster.failure.satellites if cluster.failure else ()),
        ("logs", cluster.logs),
    ]
    plans: list[StepPlan] = []
    main = {step.identifier: index for index, step in enumerate(cluster.satellites)}
    for section, steps in blocks:
        indices = {step.identifier: len(plans) + offset for offset, step in enumerate(steps)}
        for step in steps:
            plans.append(_plan(step, section, len(plans), indices, catalog, cluster.sla_ms))
    return Workflow(
        identifier=cluster.identifier,
        sla_ms=cluster.sla_ms,
        steps=tuple(plans),
        failure_from=main[cluster.failure.from_step] if cluster.failure else None,
        budget_usd=cluster.budget_usd,
        priority=cluster.priority,
        objective=cluster.objective,
    )


def _plan(step: Step, section: Section, index: int, indices: dict[str, int], catalog: Catalog, sla_ms: int) -> StepPlan:
    info = catalog.resolve(step.uses)
    if info is None:
        raise InvalidSpecError(
            f"there is no satellite {step.uses.full_name}", remedy="see `orbit satellites` for those there are"
        )
    return StepPlan(
        index=index,
        identifier=step.identifier,
        section=section,
        satellite=info.name,
        needs=tuple(indices[need] for need in step.needs),
        retries=step.retries,
        request=_need(step.resources.over(info.resources)),
        # A declared time-out is for any cluster: none of its attempts may outlast this one's SLA.
        timeout_ms=step.timeout_ms or min(info.timeout_ms, sla_ms),
        typical_ms=info.typical_ms,
        delay_ms=step.delay_ms,
        gather=_gather(step.gather, indices),
        conditional=step.condition is not None,
        model=_model(step, info),
        deterministic=info.deterministic,
    )


def _gather(gather: Gather | None, indices: dict[str, int]) -> GatherPlan | None:
    if gather is None:
        return None
    return GatherPlan(over=None if gather.over == RUN else indices[gather.over], when=gather.when)


def _model(step: Step, info: SatelliteInfo) -> str | None:
    return info.model_of(step.config) if info.model_of is not None else None


def _need(resources: Resources) -> Need:
    """Every amount said: `resources` is a satellite's declaration with the step's own over it."""
    gpu = resources.gpu or 0.0
    fraction = 0 < gpu < 1
    return Need(
        cpu_milli=max(1, math.ceil((resources.cpu or 0.1) * 1000)),
        memory_bytes=resources.memory_bytes or 0,
        gpus=1 if fraction else math.ceil(gpu),
        gpu_milli=math.ceil(gpu * 1000) if fraction else (1000 if gpu == 1 else 0),
        gpu_memory_bytes=resources.gpu_memory_bytes or 0,
        gpu_models=(resources.accelerator,) if resources.accelerator else (),
    )
