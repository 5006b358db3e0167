"""A whole mesh in a few lines: drives the live `step` and placer with agents that fail, vanish, repeat themselves.

No event loop, no sockets, no clock: a `World` is handed a source of choices and is otherwise deterministic.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from orbit_core.sched.commands import AckResult, ArchiveRun, CollectLogs, Command, Dispatch, StopAttempt
from orbit_core.sched.events import (
    AgentAttached,
    AgentLost,
    AttemptFailed,
    AttemptReturned,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    LogsBatched,
    Placed,
    RunArchived,
    RunCreated,
    TimePassed,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.model import (
    AgentFacts,
    AttemptKey,
    Failure,
    ObjectAddress,
    Outputs,
    TriggerFacts,
    Usage,
)
from orbit_core.sched.place import Placer
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.sched.workflow import GatherPlan, Need, Section, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy

SMALL = Need(cpu_milli=500, memory_bytes=64 << 20)


def plan(
    index: int,
    *,
    needs: tuple[int, ...] = (),
    section: Section = "main",
    gather: GatherPlan | None = None,
    retries: int = 1,
    delay_ms: int = 0,
) -> StepPlan:
    """A step called `s<index>`."""
    return StepPlan(
        index=index,
        identifier=f"s{index}",
        section=section,
        satellite="satellite/test/any",
        needs=needs,
        retries=RetryPolicy(max_retries=retries, delay_ms=1_000),
        request=SMALL,
        timeout_ms=60_000,
        typical_ms=1_000,
        delay_ms=delay_ms,
        gather=gather,
    )


def workflow(*steps: StepPlan, failure_from: int | None = None, **more: object) -> Workflow:
    return Workflow(identifier="test/flow", sla_ms=3_600_000, steps=steps, failure_from=failure_from, **more)  # type: ignore[arg-type]


def chain(length: int, *, failure: bool = False, logs: bool = False) -> Workflow:
    """`length` steps after one another, with one failure step and one logs step where asked."""
    steps = [plan(index, needs=(index - 1,) if index else ()) for index in range(length)]
    if failure:
        steps.append(plan(len(steps), section="failure"))
    if logs:
        steps.append(plan(len(steps), section="logs"))
    return workflow(*steps, failure_from=0 if failure else None)


def agent(name: str, *, session: str = "1", cpus: int = 2, price: float = 1.0) -> AgentFacts:
    return AgentFacts(
        id=name,
        session=session,
        address=f"{name}:1",
        cpu_milli=cpus * 1000,
        memory_bytes=1 << 30,
        price_usd_per_hour=price,
        satellites=("satellite/test/any",),
    )


@dataclass
class World:
    """`behave(run, invocation id, attempt)` says what a satellite does: a number of objects, or a failure."""

    flow: Workflow
    rng: random.Random
    behave: Callable[[Run, str, int], int | Failure]
    state: MeshState = field(default_factory=MeshState)
    history: list[tuple[int, Event]] = field(default_factory=list)
    now_ms: int = 1_000_000
    archived: list[str] = field(default_factory=list)
    ended_once: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state.workflows["spec"] = self.flow
        self.placer = Placer()
        self.on_agents: dict[tuple[str, AttemptKey], bool] = {}
        self.unacknowledged: dict[tuple[str, AttemptKey], Event] = {}

    # Events in, commands out.

    def tell(self, event: Event) -> None:
        before = {run.id: {i.id for i in run.invocations.values() if i.ended} for run in self.state.runs.values()}
        commands = step(self.state, event, self.now_ms)
        self.history.append((self.now_ms, event))
        self._count_ends(before)
        assert violations(self.state) == []
        for command in commands:
            self._do(command)

    def _count_ends(self, before: dict[str, set[str]]) -> None:
        for run in self.state.runs.values():
            for invocation in run.invocations.values():
                if invocation.ended and invocation.id not in before.get(run.id, set()):
                    self.ended_once[invocation.id] = self.ended_once.get(invocation.id, 0) + 1

    def _do(self, command: Command) -> None:
        if isinstance(command, Dispatch):
            self.on_agents[(command.agent_id, command.key)] = False
        elif isinstance(command, StopAttempt):
            self.on_agents.pop((command.agent_id, command.key), None)
        elif isinstance(command, AckResult):
            self.unacknowledged.pop((command.agent_id, command.key), None)
        elif isinstance(command, CollectLogs):
            self.tell(LogsBatched(command.run_id, Outputs(inline=('{"records":[]}',)), final=True))
        elif isinstance(command, ArchiveRun):
            self.archived.append(command.run_id)

    def place(self) -> None:
        decided = self.placer.place(self.state)
        for pause in decided.pauses:
            self.tell(pause)
        if decided.placements:
            self.tell(Placed(decided.placements))

    def start(self, run_id: str = "run-1") -> None:
        self.tell(
            RunCreated(
                run_id=run_id,
                cluster="test/flow",
                spec_hash="spec",
                trigger=TriggerFacts("api-call", self.now_ms, "now"),
                payload=ObjectAddress(json="{}"),
                deadline_ms=self.now_ms + self.flow.sla_ms,
            )
        )

    def attach(self, facts: AgentFacts) -> None:
        held = tuple(key for (name, key) in self.on_agents if name == facts.id)
        self.tell(AgentAttached(facts, held))

    def lose(self, name: str, *, announced: bool = False) -> None:
        """The agent dies with everything that it ran; results that it had sent may still be on their way."""
        for known in [known for known in self.on_agents if known[0] == name]:
            del self.on_agents[known]
        session = self.state.agents[name].facts.session
        self.tell(AgentLost(name, session, announced))

    # One thing that an agent says.

    def progress(self) -> bool:
        """Some attempt goes on by one word; False when there is none."""
        if not self.on_agents:
            return False
        known = self.rng.choice(list(self.on_agents))
        name, key = known
        if not self.on_agents[known]:
            self.start_attempt(known)
            return True
        del self.on_agents[known]
        event = self._outcome(name, key)
        self.unacknowledged[known] = event
        self.tell(event)
        return True

    def start_attempt(self, known: tuple[str, AttemptKey]) -> None:
        self.on_agents[known] = True
        self.tell(AttemptStarted(known[1], known[0]))

    def _outcome(self, name: str, key: AttemptKey) -> Event:
        run = self.state.runs.get(key.run_id)
        usage = Usage(duration_ms=1_000, output_tokens=3)
        result = self.behave(run, key.invocation_id, key.attempt) if run else 0
        if isinstance(result, Failure):
            return AttemptFailed(key, name, result, usage, self.rng.random())
        outputs = Outputs(inline=tuple(f'{{"n":{n}}}' for n in range(result)))
        return AttemptSucceeded(key, name, outputs, usage)

    def hand_back(self) -> None:
        if self.on_agents:
            name, key = known = self.rng.choice(list(self.on_agents))
            del self.on_agents[known]
            self.tell(AttemptReturned(key, name, "drain"))

    def repeat_something(self) -> None:
        """An agent says again what it said before: late duplicates must change nothing."""
        said = [event for _, event in self.history if isinstance(event, AttemptSucceeded | AttemptFailed)]
        if said:
            self.tell(self.rng.choice(said))

    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.tell(TimePassed(self.rng.random()))

    def settle(self, limit: int = 20_000) -> Run:
        """Lets everything go on without further faults until the run has ended; the run."""
        run = self.state.runs["run-1"]
        for _ in range(limit):
            if run.ended:
                return run
            self.place()
            if not self.progress():
                due = self.state.next_timer_ms()
                assert due is not None, f"nothing goes on and the run has not ended: {run.pending} pending"
                self.wait(max(1, due - self.now_ms))
        raise AssertionError("the run does not end")

    def forget(self) -> None:
        for run_id in self.archived:
            self.tell(RunArchived(run_id))
