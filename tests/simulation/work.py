"""What the simulated mesh works on: a few clusters, and satellites whose every answer follows from seed and lineage.

What an invocation returns depends on what it is and never on when, where or how often it runs; so what a run must
come to is known beforehand (`expected`), whatever happens on the way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from orbit_coordinator.compile import compile_workflow
from orbit_core.ids import content_hash, derived_id
from orbit_core.sched.commands import ArchiveRun, CollectLogs, Dispatch
from orbit_core.sched.events import (
    AgentAttached,
    AttemptFailed,
    AttemptSucceeded,
    Event,
    LogsBatched,
    Placed,
    Placement,
    RunCreated,
    TimePassed,
)
from orbit_core.sched.model import AgentFacts, Failure, Outputs, Page, Usage
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.sched.workflow import Workflow
from orbit_core.spec.loader import load
from orbit_core.spec.models import Cluster
from satellites.catalog import InstalledCatalog

_FILES = {
    "chain": """
version: 0.0.1b
cluster:
  identifier: lab/chain
  sla: 10m
  trigger: {api-call: true}
  retries: {max-retries: 3, delay: 500ms}
  satellites:
    - {uses: satellite/orbit/echo, identifier: many}
    - {uses: satellite/orbit/echo, identifier: work}
    - {uses: satellite/orbit/echo, identifier: end}
""",
    "gather": """
version: 0.0.1b
cluster:
  identifier: lab/gather
  sla: 10m
  trigger: {api-call: true}
  retries: {max-retries: 3, delay: 1s}
  satellites:
    - {uses: satellite/orbit/echo, identifier: many}
    - {uses: satellite/orbit/fail, identifier: work, config: {attempts: 0}}
    - {uses: satellite/orbit/echo, identifier: all, gather: {over: run, when: all-ended}}
  failure:
    from: work
    satellites:
      - {uses: satellite/orbit/echo, identifier: note}
""",
    "nested": """
version: 0.0.1b
cluster:
  identifier: lab/nested
  sla: 10m
  trigger: {api-call: true}
  retries: {max-retries: 3, delay: 4s, jitter: none}
  satellites:
    - {uses: satellite/orbit/echo, identifier: many}
    - {uses: satellite/orbit/echo, identifier: parts}
    - {uses: satellite/orbit/echo, identifier: join, gather: {over: many, when: all-ended}}
    - {uses: satellite/orbit/echo, identifier: end, delay: 3s}
""",
}

NAMES = tuple(_FILES)
#: Steps that return several objects.
_WIDE = ("many", "parts")
TYPICAL_S = 1.2


@cache
def cluster(name: str) -> tuple[Cluster, Workflow]:
    """A cluster of the laboratory, loaded and compiled as a submitted file is."""
    catalog = InstalledCatalog()
    loaded = load(_FILES[name].encode(), file=f"{name}.yml", catalog=catalog)
    assert loaded.cluster is not None, loaded.diagnostics
    return loaded.cluster, compile_workflow(loaded.cluster, catalog)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt does: takes its time, then returns, fails, or ends its agent."""

    duration_s: float
    outputs: tuple[str, ...] = ()
    failure: Failure | None = None
    kills_agent: bool = False
    #: Its objects lie in a page, as large ones do.
    paged: bool = False

    @property
    def page(self) -> bytes:
        return "".join(f"{text}\n" for text in self.outputs).encode()

    def as_outputs(self) -> Outputs:
        if not self.paged or not self.outputs:
            return Outputs(inline=self.outputs)
        return Outputs(pages=(Page(content_hash(self.page), len(self.page), len(self.outputs)),))


class Script:
    """The satellites of one seed. `poison`: the share of inputs that end their agent; `paged`: of outputs in pages."""

    def __init__(self, seed: int, *, poison: float = 0.0, paged: float = 0.0) -> None:
        self._seed = seed
        self._poison = poison
        self._paged = paged

    @property
    def pages(self) -> bool:
        """Whether there are objects that lie in blobs."""
        return self._paged > 0

    def answer(self, invocation_id: str, step_name: str, attempt: int) -> Answer:
        rng = random.Random(derived_id("answer", self._seed, invocation_id))
        duration_s = rng.expovariate(1 / TYPICAL_S) + 0.05
        flaky, kind = rng.randrange(3), rng.random()
        count = rng.randrange(7) if step_name in _WIDE else rng.choice((1, 1, 1, 0, 2))
        if step_name in ("work", "parts"):
            if rng.random() < self._poison:
                return Answer(2.0, kills_agent=True)
            if kind < 0.12:
                return Answer(duration_s, failure=Failure("broken", "it never works", retryable=False))
            if kind < 0.18:
                return Answer(duration_s, failure=Failure("stubborn", "it never works, and may be tried again"))
            if kind < 0.4 and attempt <= flaky:
                return Answer(duration_s, failure=Failure("flaky", f"try {attempt}"))
        outputs = tuple(f'{{"of":"{invocation_id[-6:]}","n":{n}}}' for n in range(count))
        return Answer(duration_s, outputs, paged=rng.random() < self._paged)


@dataclass(frozen=True, slots=True)
class End:
    """How one invocation ends."""

    step: str
    status: str
    outputs: tuple[str, ...]
    failure: str


def ends(run: Run, workflow: Workflow) -> dict[str, End]:
    """Every invocation of a run and how it ended, or stands."""
    return {
        each.id: End(
            workflow.steps[each.step].identifier,
            each.status,
            (*each.outputs.inline, *(page.sha256 for page in each.outputs.pages)) if each.outputs else (),
            each.failure.code if each.failure and each.status == "failed" else "",
        )
        for each in run.invocations.values()
    }


_IDEAL = AgentFacts("ideal", "1", "ideal:1", 10**9, 1 << 60, satellites=())


def expected(created: RunCreated, workflow: Workflow, script: Script) -> dict[str, End]:
    """What the run comes to where nothing is ever lost: one boundless agent, one step after the other."""
    state = MeshState()
    state.workflows[created.spec_hash] = workflow
    now_ms = 1_000
    found: dict[str, End] = {}
    todo: list[Event] = [AgentAttached(_IDEAL), created]
    while todo:
        commands = step(state, todo.pop(0), now_ms)
        for command in commands:
            if isinstance(command, Dispatch):
                todo.append(_outcome(state, command, script))
            elif isinstance(command, CollectLogs):
                todo.append(LogsBatched(command.run_id, Outputs(), final=True))
            elif isinstance(command, ArchiveRun):
                found = ends(state.runs[command.run_id], workflow)
        ready = [(run_id, each) for run_id, steps in state.ready.items() for queue in steps.values() for each in queue]
        if ready and not any(isinstance(event, Placed) for event in todo):
            todo.insert(0, Placed(tuple(Placement(run_id, each, "ideal") for run_id, each in ready)))
        if not todo and not state.runs[created.run_id].ended:
            due = min(timer[0] for timer in state.timers if timer[1] == "wake")
            now_ms = max(now_ms + 1, due)
            todo.append(TimePassed())
    return found


def _outcome(state: MeshState, command: Dispatch, script: Script) -> Event:
    key = command.key
    run, invocation = state.runs[key.run_id], state.runs[key.run_id].invocations[key.invocation_id]
    answer = script.answer(key.invocation_id, state.step_of(run, invocation).identifier, key.attempt)
    if answer.kills_agent:
        poisoned = Failure("poisoned", "it ended its agents", retryable=False)
        return AttemptFailed(key, "ideal", poisoned, Usage(), 0.0)
    if answer.failure is not None:
        return AttemptFailed(key, "ideal", answer.failure, Usage(), 0.0)
    return AttemptSucceeded(key, "ideal", answer.as_outputs(), Usage())
