"""Scenario files: agents, work and what happens to them. The format is documented in `README.md` beside this."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orbit_core.ids import derived_id
from orbit_core.limits import GIB
from orbit_core.sched.model import AgentFacts, Gpu
from orbit_core.sched.tariff import spans
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy


@dataclass(frozen=True, slots=True)
class SimAgent:
    """An agent of the simulation: what it says of itself, how fast it is, when it is there, what it costs when."""

    facts: AgentFacts
    speed: float
    there_ms: tuple[tuple[int, int], ...]
    prices: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What a step really does, which no policy is told."""

    typical_ms: float
    sigma: float
    objects: int


@dataclass(frozen=True, slots=True)
class Work:
    """A workflow, the truth of its steps, and when its runs begin."""

    flow: Workflow
    truths: tuple[Truth, ...]
    arrivals_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    agents: tuple[SimAgent, ...]
    work: tuple[Work, ...]
    plan_every_ms: int
    end_ms: int

    def duration_ms(self, work: int, step: int, invocation_id: str, attempt_speed: float) -> int:
        """How long the invocation takes there: the same whoever placed it."""
        truth = self.work[work].truths[step]
        noise = random.Random(derived_id("noise", self.name, invocation_id)).gauss(0.0, 1.0)
        return max(1, round(truth.typical_ms * 2.718281828 ** (truth.sigma * noise) / attempt_speed))


def load(path: Path) -> Scenario:
    """Reads a scenario. ValueError or KeyError for a file that is none."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    end_ms = int(1000 * document.get("end-s", 86_400))
    work = tuple(_work(each) for each in document["work"])
    satellites = tuple(step.satellite for each in work for step in each.flow.steps)
    agents = tuple(agent for each in document["agents"] for agent in _agents(each, end_ms, satellites))
    return Scenario(document["name"], agents, work, int(1000 * document.get("plan-every-s", 5)), end_ms)


def _agents(each: dict[str, Any], end_ms: int, satellites: tuple[str, ...]) -> list[SimAgent]:
    found: list[SimAgent] = []
    prices = tuple((int(1000 * at), float(usd)) for at, usd in each.get("prices", []))
    tariff = tuple((int(at) // 60, float(usd)) for at, usd in each.get("tariff", []))
    usual = tuple((int(at) // 60, float(usd)) for at, usd in each.get("daily-prices", []))
    if usual:
        prices = tuple((begin, usd) for begin, _, usd in spans(usual, 0, end_ms))
    if tariff:
        prices = tuple((begin, usd) for begin, _, usd in spans(tariff, 0, end_ms))
    for number in range(each.get("count", 1)):
        gone = [loss for loss in each.get("losses", []) if loss.get("number", 0) == number]
        there: list[tuple[int, int]] = []
        since = int(1000 * each.get("from-s", 0))
        for loss in gone:
            there.append((since, int(1000 * loss["at-s"])))
            since = int(1000 * loss.get("back-s", end_ms))
        if since < end_ms:
            there.append((since, end_ms))
        gpus = (Gpu(each.get("gpu-model", "L4"), int(each.get("gpu-memory-gib", 24) * GIB)),) * each.get("gpus", 0)
        facts = AgentFacts(
            id=f"{each['name']}-{number}",
            session="1",
            address=f"{each['name']}-{number}:1",
            cpu_milli=int(1000 * each.get("cpus", 4)),
            memory_bytes=int(each.get("memory-gib", 16) * GIB),
            gpus=gpus,
            price_usd_per_hour=prices[0][1] if tariff or usual else float(each["price"]),
            tariff=tariff,
            price_kind=each.get("kind", "owned"),
            labels=(("hardware", each.get("hardware", each["name"])),),
            satellites=satellites,
        )
        found.append(SimAgent(facts, float(each.get("speed", 1.0)), tuple(there), prices))
    return found


def _work(each: dict[str, Any]) -> Work:
    names = [step["name"] for step in each["steps"]]
    plans = tuple(_step(at, step, names, each["name"]) for at, step in enumerate(each["steps"]))
    truths = tuple(
        Truth(1000.0 * s["takes-s"], float(s.get("sigma", 0.2)), int(s.get("objects", 1))) for s in each["steps"]
    )
    flow = Workflow(
        identifier=f"bench/{each['name']}",
        sla_ms=int(1000 * each["sla-s"]),
        steps=plans,
        priority=each.get("priority", 50),
        objective=each.get("objective", "cost"),
    )
    arrivals = [int(1000 * at) for at in each.get("at-s", [])]
    every = each.get("every")
    if every:
        arrivals += [int(1000 * (every.get("from-s", 0) + n * every["s"])) for n in range(every["count"])]
    return Work(flow, truths, tuple(sorted(arrivals)))


def _step(at: int, step: dict[str, Any], names: list[str], work: str) -> StepPlan:
    gpu = float(step.get("gpu", 0))
    fraction = 0 < gpu < 1
    default = (at - 1,) if at else ()
    return StepPlan(
        index=at,
        identifier=step["name"],
        section="main",
        satellite=f"satellite/{work}/{step['name']}",
        needs=tuple(names.index(name) for name in step["needs"]) if "needs" in step else default,
        retries=RetryPolicy(),
        request=Need(
            cpu_milli=int(1000 * step.get("cpu", 1)),
            memory_bytes=int(step.get("memory-gib", 1) * GIB),
            gpus=1 if fraction else int(gpu),
            gpu_milli=int(1000 * gpu) if fraction else (1000 if gpu == 1 else 0),
        ),
        timeout_ms=86_400_000,
        typical_ms=int(1000 * step.get("declared-s", step["takes-s"])),
    )
