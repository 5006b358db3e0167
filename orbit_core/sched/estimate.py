"""What work will take: duration and memory for each satellite, model and kind of hardware, learnt as results come in.

Part of the state: `step` learns from events and nothing else does, so replay and snapshots give the same estimates.
Each key keeps its last samples, the satellite's declared time counts as a few more until they are outnumbered.
Whoever wants to know how long something takes (plan, placement, quote, explanation) asks here; what to do about it
is theirs.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from orbit_core.sched.model import AgentFacts
from orbit_core.sched.workflow import StepPlan

#: Samples that one key remembers: enough for a 95th percentile, small enough for a snapshot.
SAMPLES_KEPT = 64
#: Keys that are remembered; beyond it the one that was learnt first is forgotten.
KEYS_KEPT = 4_000
#: What a declared time counts for, in samples.
PRIOR_WEIGHT = 3
#: A declared time is a typical one: the spread that is assumed of it until samples say more.
PRIOR_SPREAD = (0.8, 1.0, 1.5)
#: The spread (of the logarithm) that is assumed of durations, and the samples that this counts for.
PRIOR_LOG_SPREAD = 0.3
PRIOR_LOG_SAMPLES = 4
#: Samples with sizes from which on duration is seen as a function of size, and the correlation that it takes.
SIZED_FROM_SAMPLES = 12
SIZED_FROM_CORRELATION = 0.7
#: Ages of spot agents at which their odds of going away are looked at apart, in milliseconds.
AGES_MS = tuple(minutes * 60_000.0 for minutes in (10, 30, 60, 180, 360, 720, 1440))
#: A spot agent is thought to last this long until losses say more.
PRIOR_SPOT_LIFE_MS = 6 * 3_600_000


@dataclass(slots=True)
class Samples:
    """The last attempts of one key, oldest first: milliseconds, bytes of memory, bytes of input (0: not known)."""

    durations_ms: list[int] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    input_bytes: list[int] = field(default_factory=list)

    def add(self, duration_ms: int, memory_bytes: int, input_bytes: int) -> None:
        for kept, value in (
            (self.durations_ms, duration_ms),
            (self.memory_bytes, memory_bytes),
            (self.input_bytes, input_bytes),
        ):
            kept.append(value)
            if len(kept) > SAMPLES_KEPT:
                del kept[0]


@dataclass(slots=True)
class FanOut:
    """How many objects a step returned, with older ones fading."""

    invocations: float = 0.0
    objects: float = 0.0

    def add(self, objects: int) -> None:
        self.invocations = self.invocations * _FADE + 1
        self.objects = self.objects * _FADE + objects


_FADE = 1 - 1 / SAMPLES_KEPT


@dataclass(slots=True)
class Lives:
    """How long agents of one pool were there at each age (by `AGES_MS`), and how many went away at that age."""

    exposure_ms: list[float] = field(default_factory=lambda: [0.0] * (len(AGES_MS) + 1))
    losses: list[int] = field(default_factory=lambda: [0] * (len(AGES_MS) + 1))


@dataclass(slots=True)
class Estimates:
    """Everything learnt. Keys are texts, so that a snapshot is plain JSON."""

    samples: dict[str, Samples] = field(default_factory=dict)
    fan_outs: dict[str, FanOut] = field(default_factory=dict)
    lives: dict[str, Lives] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Milliseconds that an attempt takes its room for: mean, median, and what 95 of 100 do not exceed."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    samples: int


def hardware_kind(facts: AgentFacts, step: StepPlan) -> str:
    """What durations depend on: the GPU's model for work that takes one, else the agent's `hardware` label."""
    if step.request.gpus and facts.gpus:
        return facts.gpus[0].model
    return dict(facts.labels).get("hardware", "cpu")


# Learning: called by `step` alone.


def learn_result(
    estimates: Estimates, step: StepPlan, hardware: str, duration_ms: int, memory_bytes: int, input_bytes: int
) -> None:
    """An attempt ended with a result after its room was taken for `duration_ms`."""
    key = _key(step, hardware)
    if key not in estimates.samples and len(estimates.samples) >= KEYS_KEPT:
        del estimates.samples[next(iter(estimates.samples))]
    estimates.samples.setdefault(key, Samples()).add(duration_ms, memory_bytes, input_bytes)


def learn_fan_out(estimates: Estimates, workflow: str, step: StepPlan, objects: int) -> None:
    """An invocation of this step of this workflow returned so many objects."""
    key = f"{workflow}|{step.identifier}"
    if key not in estimates.fan_outs and len(estimates.fan_outs) >= KEYS_KEPT:
        del estimates.fan_outs[next(iter(estimates.fan_outs))]
    estimates.fan_outs.setdefault(key, FanOut()).add(objects)


def learn_life(estimates: Estimates, facts: AgentFacts, from_ms: float, to_ms: float, *, lost: bool) -> None:
    """An agent was there from one age to another; `lost`: at that age it went away. Only spot agents teach."""
    if facts.price_kind != "spot":
        return
    for key in (_SPOT, _pool_key(facts)):
        lives = estimates.lives.setdefault(key, Lives())
        for bucket, exposure in _by_age(from_ms, to_ms):
            lives.exposure_ms[bucket] += exposure
        if lost:
            lives.losses[bisect.bisect_right(AGES_MS, to_ms)] += 1


def copied(estimates: Estimates, satellites: Iterable[str], workflows: Iterable[str]) -> Estimates:
    """What is known of these satellites and workflows, as it is now: later learning does not change it."""
    of_satellites, of_workflows = dict.fromkeys(satellites), dict.fromkeys(workflows)
    return Estimates(
        samples={
            key: Samples(list(known.durations_ms), list(known.memory_bytes), list(known.input_bytes))
            for key, known in estimates.samples.items()
            if key.partition("|")[0] in of_satellites
        },
        fan_outs={
            key: replace(known) for key, known in estimates.fan_outs.items() if key.rpartition("|")[0] in of_workflows
        },
        lives={key: Lives(list(each.exposure_ms), list(each.losses)) for key, each in estimates.lives.items()},
    )


# Asking.


def estimate(estimates: Estimates, step: StepPlan, hardware: str, input_bytes: int = 0) -> Estimate:
    """What an attempt of this step takes on that kind of hardware; `input_bytes`: of its object, 0 if not known."""
    known = estimates.samples.get(_key(step, hardware))
    if known is None or not known.durations_ms:
        return _from_prior(step, ())
    durations = [float(each) for each in known.durations_ms]
    if input_bytes:
        durations = _scaled_to(known, input_bytes) or durations
    return _from_prior(step, durations)


def log_spread(estimates: Estimates, step: StepPlan, hardware: Iterable[str]) -> float:
    """The standard deviation of the logarithm of durations, over all these kinds of hardware together.

    How far times scatter belongs to the work, how long it takes to the hardware: a kind on which little ran yet is
    told by the others.
    """
    squares, count = PRIOR_LOG_SAMPLES * PRIOR_LOG_SPREAD**2, float(PRIOR_LOG_SAMPLES)
    for kind in hardware:
        known = estimates.samples.get(_key(step, kind))
        logs = [math.log(max(1, each)) for each in known.durations_ms] if known else []
        if len(logs) > 1:
            mean = math.fsum(logs) / len(logs)
            squares += math.fsum((each - mean) ** 2 for each in logs)
            count += len(logs) - 1
    return math.sqrt(squares / count)


def tail_ms(estimates: Estimates, step: StepPlan, hardware: str, spread: float, odds: float) -> float:
    """What all but a share `odds` of attempts do not exceed; `spread` as `log_spread` gives it.

    Log-normal beyond what samples show, and never less than what they have shown.
    """
    known = estimates.samples.get(_key(step, hardware))
    seen = sorted(known.durations_ms) if known else []
    told = estimate(estimates, step, hardware).p50_ms * math.exp(-NormalDist().inv_cdf(odds) * spread)
    return max(told, seen[_rank(len(seen), 1.0 - odds)]) if seen else told


def left_ms(known: Estimate, spread: float, ran_ms: float) -> float:
    """How much longer an attempt is expected to take that has run for so long; log-normal around the median."""
    if ran_ms <= 0 or spread < 1e-6:
        return max(known.mean_ms - ran_ms, 0.1 * ran_ms)
    deviation = math.log(ran_ms / known.p50_ms) / spread
    survives = _beyond(deviation)
    if survives < 1e-6:
        return spread * ran_ms / deviation  # the tail beyond, where the quotient below has no digits left
    beyond = known.p50_ms * math.exp(spread**2 / 2) * _beyond(deviation - spread) / survives
    return max(beyond - ran_ms, 1.0)


def _beyond(deviation: float) -> float:
    return 0.5 * math.erfc(deviation / math.sqrt(2.0))


def memory_bytes(estimates: Estimates, step: StepPlan, hardware: str) -> int:
    """The peak that 95 of 100 attempts do not exceed; what the satellite declares where nothing is known."""
    known = estimates.samples.get(_key(step, hardware))
    measured = sorted(each for each in known.memory_bytes if each) if known else []
    return measured[_rank(len(measured), 0.95)] if measured else step.request.memory_bytes


def fan_out(estimates: Estimates, workflow: str, step: StepPlan) -> float:
    """How many objects an invocation returns, as far as is known; one where nothing is."""
    known = estimates.fan_outs.get(f"{workflow}|{step.identifier}")
    return known.objects / known.invocations if known and known.invocations else 1.0


def knows_fan_out(estimates: Estimates, workflow: str, step: StepPlan) -> bool:
    """Whether the step has returned anything before."""
    return f"{workflow}|{step.identifier}" in estimates.fan_outs


def redo_factor(estimates: Estimates, facts: AgentFacts, duration_ms: float, age_ms: float = 0.0) -> float:
    """What work on capacity that may go away costs, in times of undisturbed work, redone until it is through.

    (e^H - 1) / H with the hazard H that an agent of that age collects in that time: exact where it does not change
    with age, and near it where it changes slowly.
    """
    if facts.price_kind != "spot":
        return 1.0
    hazard = min(spot_hazard(estimates, facts, duration_ms, age_ms), 20.0)
    return math.expm1(hazard) / hazard if hazard > 1e-9 else 1.0


def spot_hazard(estimates: Estimates, facts: AgentFacts, duration_ms: float, age_ms: float) -> float:
    """The hazard of a spot agent of that age over that time; e^-hazard is the chance that it lives through it.

    Losses by exposure at each age (the estimate of a piecewise constant hazard: Friedman, Annals of Statistics 1982).
    What all spot agents have shown counts for one life of each pool, and a life of some hours for one of all.
    """
    everywhere, here = estimates.lives.get(_SPOT), estimates.lives.get(_pool_key(facts))
    hazard = 0.0
    for bucket, exposure in _by_age(age_ms, age_ms + duration_ms):
        rate = 1.0 / PRIOR_SPOT_LIFE_MS
        for known in (everywhere, here):
            if known is not None:
                rate = (known.losses[bucket] + 1.0) / (known.exposure_ms[bucket] + 1.0 / rate)
        hazard += rate * exposure
    return hazard


#: The key under which all spot agents are counted together.
_SPOT = "spot"


def _pool_key(facts: AgentFacts) -> str:
    """Agents that are likely to go away together: the same hardware in the same zone."""
    labels = dict(facts.labels)
    hardware = facts.gpus[0].model if facts.gpus else labels.get("hardware", "cpu")
    return f"{_SPOT}|{hardware}|{labels.get('zone', '')}"


def _by_age(from_ms: float, to_ms: float) -> Iterator[tuple[int, float]]:
    """(bucket, milliseconds in it) of a stretch of a life."""
    begin = 0.0
    for bucket, end in enumerate((*AGES_MS, math.inf)):
        overlap = min(end, to_ms) - max(begin, from_ms)
        if overlap > 0:
            yield bucket, overlap
        begin = end


def _key(step: StepPlan, hardware: str) -> str:
    return f"{step.satellite}|{step.model or ''}|{hardware}"


def _from_prior(step: StepPlan, durations: Sequence[float]) -> Estimate:
    prior = [step.typical_ms * spread for spread in PRIOR_SPREAD][: max(0, PRIOR_WEIGHT - len(durations) // 4)]
    ordered = sorted([*durations, *prior])
    return Estimate(
        mean_ms=max(1.0, math.fsum(ordered) / len(ordered)),
        p50_ms=max(1.0, ordered[_rank(len(ordered), 0.50)]),
        p95_ms=max(1.0, ordered[_rank(len(ordered), 0.95)]),
        samples=len(durations),
    )


def _rank(count: int, quantile: float) -> int:
    return max(0, math.ceil(quantile * count) - 1)


def _scaled_to(known: Samples, input_bytes: int) -> list[float] | None:
    """The durations as they would be at that size, where a straight line through the samples explains them."""
    pairs = [(float(s), float(d)) for s, d in zip(known.input_bytes, known.durations_ms, strict=True) if s]
    if len(pairs) < SIZED_FROM_SAMPLES:
        return None
    mean_size = math.fsum(s for s, _ in pairs) / len(pairs)
    mean_ms = math.fsum(d for _, d in pairs) / len(pairs)
    spread_size = math.fsum((s - mean_size) ** 2 for s, _ in pairs)
    spread_ms = math.fsum((d - mean_ms) ** 2 for _, d in pairs)
    together = math.fsum((s - mean_size) * (d - mean_ms) for s, d in pairs)
    if not spread_size or not spread_ms or together / math.sqrt(spread_size * spread_ms) < SIZED_FROM_CORRELATION:
        return None
    slope = together / spread_size
    return [max(1.0, d + slope * (input_bytes - s)) for s, d in pairs]
