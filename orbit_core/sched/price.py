"""What an attempt costs: its dominant share of the agent, times the time it took, times the agent's price."""

from __future__ import annotations

from orbit_core.sched.estimate import Estimates, estimate, hardware_kind, redo_factor
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.workflow import Need, StepPlan

_MS_PER_HOUR = 3_600_000
#: What loading a model that is not warm counts for beside an invocation's own time, and what fetching it adds.
COLD_MODEL_MS = 10_000
FETCHED_MODEL_MS = 60_000


def dominant_share(agent: AgentFacts, need: Need) -> float:
    """The largest fraction of any one resource of the agent that `need` takes, 0 to 1.

    Source: Ghodsi et al., "Dominant Resource Fairness", NSDI 2011.
    """
    shares = [
        need.cpu_milli / agent.cpu_milli if agent.cpu_milli else 1.0,
        need.memory_bytes / agent.memory_bytes if agent.memory_bytes else 1.0,
    ]
    if agent.gpus and need.gpus:
        fraction = need.gpu_milli / 1000 if need.gpus == 1 and need.gpu_milli else float(need.gpus)
        shares.append(fraction / len(agent.gpus))
    return min(1.0, max(shares))


def attempt_cost_usd(agent: AgentFacts, need: Need, duration_ms: float) -> float:
    """US dollars for `duration_ms` on this agent at its price now."""
    return agent.price_usd_per_hour * dominant_share(agent, need) * duration_ms / _MS_PER_HOUR


def expected_cost_usd(
    estimates: Estimates, agent: AgentFacts, step: StepPlan, attempts: float = 1.0, age_ms: float = 0.0
) -> float:
    """US dollars that an attempt is expected to cost there: redone work counts, and the loading of its model.

    `attempts`: how many share the loading. `age_ms`: how long the agent has been there, which tells how long it may
    stay. The one estimate that placement, plan, quote and explanation use.
    """
    return attempt_cost_usd(agent, step.request, expected_ms(estimates, agent, step, attempts, age_ms))


def expected_ms(
    estimates: Estimates, agent: AgentFacts, step: StepPlan, attempts: float = 1.0, age_ms: float = 0.0
) -> float:
    """How long an attempt is expected to take its room there, in the same sense."""
    undisturbed_ms = estimate(estimates, step, hardware_kind(agent, step)).mean_ms
    cold_ms = _until_warm_ms(agent, step.model) / max(1.0, attempts)
    return undisturbed_ms * redo_factor(estimates, agent, undisturbed_ms, age_ms) + cold_ms


def _until_warm_ms(agent: AgentFacts, model: str | None) -> int:
    """How long the first attempt there waits for its model."""
    if model is None or model in agent.warm_models:
        return 0
    return COLD_MODEL_MS if model in agent.cached_models else COLD_MODEL_MS + FETCHED_MODEL_MS
