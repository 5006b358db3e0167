"""What the leader knows: runs, their invocations, agents. Changed by `step` and by nothing else.

Everything here is plain data that encodes to JSON and back (a snapshot is these objects, run by run); what can be
derived (timers, ready queues) is rebuilt by `rebuild_indices`. Dictionaries keep insertion order, and iteration
always goes over them or over lists: the same history gives the same state in every process.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from orbit_core.errors import InternalError
from orbit_core.limits import POISON_AGENT_LOSSES
from orbit_core.plants import planted
from orbit_core.sched.estimate import Estimates
from orbit_core.sched.history import History
from orbit_core.sched.model import (
    ENDED,
    AgentFacts,
    AgentStatus,
    Blob,
    Failure,
    ObjectAddress,
    Outputs,
    RunStatus,
    Sla,
    Status,
    TakenOver,
    TriggerFacts,
    Usage,
)
from orbit_core.sched.workflow import StepPlan, Workflow

NOTHING_USED = Usage()


@dataclass(slots=True)
class Invocation:
    """One execution of one satellite on one object of one run.

    `parent` and `index` name the object: output `index` of invocation `parent`; without a parent it is the trigger's
    payload. A failure step's first invocation has the failed invocation as `parent` and `cause`; it takes the
    object that the failed one took.
    """

    id: str
    step: int
    parent: str | None
    index: int
    status: Status
    created_ms: int
    cause: str | None = None
    attempt: int = 0  # attempts begun
    failures: int = 0  # attempts that failed and count against the retries
    losses: int = 0  # agents that ended unannounced while they ran it
    not_before_ms: int = 0
    #: Invocations that make again what it needs: until they have, it waits.
    awaits: list[str] = field(default_factory=list)
    #: How it had ended, while what it returned is made again because its blobs are lost.
    remaking: Status | None = None
    agent: str | None = None
    last_agent: str | None = None
    gpu_indices: tuple[int, ...] = ()
    assigned_ms: int = 0
    started_ms: int = 0
    #: Since when the agent's word is waited for: the assignment, or the beginning of the present leader's term.
    awaited_from_ms: int = 0
    ended_ms: int = 0
    outputs: Outputs | None = None
    #: Files inside its outputs; their pages are in `outputs`.
    files: tuple[Blob, ...] = ()
    expanded: int = 0  # children created so far, of `outputs.count` for each following step
    children: list[str] = field(default_factory=list)
    failure: Failure | None = None
    usage: Usage = NOTHING_USED
    cost_usd: float = 0.0
    #: A gather took its objects up: no lineage ends here.
    joined: bool = False
    story: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def suspect(self) -> bool:
        """One more agent that ends while it runs, and it is poison: so it runs alone, and is not blamed for others."""
        return self.losses >= POISON_AGENT_LOSSES - 1


@dataclass(slots=True)
class StepCounts:
    """How many invocations of a step stand where. `expected` grows as parents end."""

    expected: int = 0
    by_status: dict[str, int] = field(default_factory=dict)

    def of(self, status: Status) -> int:
        return self.by_status.get(status, 0)


@dataclass(slots=True)
class GatherPoint:
    """What a gather still waits for below one object of its `over` step."""

    open: int
    failed: bool = False
    fired: bool = False


@dataclass(slots=True)
class Machine:
    """A machine that is bought. Its agent carries its name as a label once it has joined."""

    name: str
    kind: str  # spot, on-demand
    pool: str
    since_ms: int
    joined: bool = False


@dataclass(slots=True)
class Lane:
    """One machine at a time, bought for a run: what is held, what is to replace it, and its policy's memory."""

    began_ms: int
    work_ms: int
    held: Machine | None = None
    #: To be started; what is held stays held until it has been.
    coming: Machine | None = None
    pool: str = ""  # where it is, or was last
    decisions: int = 0  # starts that were decided so far: the next machine's name derives from it
    memory: str = ""  # `MarketPolicy.state()`, in base64


@dataclass(slots=True)
class WorkDone:
    """What attempts at a step took on one kind of hardware, those included that failed: in all, and the shortest."""

    total_ms: int = 0
    shortest_ms: int = 0


@dataclass(slots=True)
class Run:
    """One activation of a cluster."""

    id: str
    cluster: str
    spec_hash: str
    trigger: TriggerFacts
    payload: ObjectAddress
    created_ms: int
    deadline_ms: int
    retry_of: str | None = None
    status: RunStatus = RunStatus.RUNNING
    sla: Sla = Sla.PENDING
    #: The planner sees no way to meet the deadline with the capacity that is there.
    expected_late: bool = False
    ended_ms: int = 0
    reason: str = ""
    budget_usd: float | None = None
    cost_usd: float = 0.0
    usage: Usage = NOTHING_USED
    #: By `<step>|<kind of hardware>`; without attempts that were lost, handed back or stopped.
    work: dict[str, WorkDone] = field(default_factory=dict)
    attempts: int = 0
    attempts_lost: int = 0
    lineages_succeeded: int = 0
    lineages_failed: int = 0
    #: Invocations of the main and failure sections that are expected and have not ended, created or not.
    pending: int = 0
    logs_pending: int = 0
    logs_final: bool = False
    collecting_logs: bool = False
    invocations: dict[str, Invocation] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    counts: dict[int, StepCounts] = field(default_factory=dict)
    #: `<gather step>/<anchor invocation or "">/<object index>`
    gathers: dict[str, GatherPoint] = field(default_factory=dict)
    #: Log batches, addressed by invocations of the logs section that have no parent.
    log_batches: dict[str, ObjectAddress] = field(default_factory=dict)
    #: Waits for the results of the run that it is a retry of, and has not begun.
    taking_over: bool = False
    #: By lineage: results that nothing has come to yet.
    takeovers: dict[str, TakenOver] = field(default_factory=dict)
    taken_over: int = 0
    #: Blobs that no machine that was there had: when this was first found, and when last.
    missing: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: What is bought for it, by lane.
    bought: dict[int, Lane] = field(default_factory=dict)
    #: Made in the present step, perhaps with a result to take over; empty between steps.
    newly_made: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status not in (RunStatus.RUNNING, RunStatus.PAUSED)


@dataclass(slots=True)
class Assigned:
    """What an agent was given and has not ended."""

    run_id: str
    invocation_id: str
    attempt: int


@dataclass(slots=True)
class Agent:
    """An agent, as the coordinator sees it. A lost agent is not in the state."""

    facts: AgentFacts
    status: AgentStatus
    assigned: dict[str, Assigned] = field(default_factory=dict)
    attached_ms: int = 0  # this session, for the first time
    counted_ms: int = 0  # until then its life has taught how long such agents last


@dataclass(slots=True)
class ClusterVersion:
    """A content that a cluster had, and when it last became the current one."""

    spec_hash: str
    submitted_ms: int


@dataclass(slots=True)
class ClusterEntry:
    """The current version of a cluster, those before it (oldest first), and the last cron tick that became a run."""

    identifier: str
    spec_hash: str
    submitted_ms: int
    enabled: bool = True
    last_tick_ms: int = 0
    earlier: list[ClusterVersion] = field(default_factory=list)


#: A timer: when, what for (`wake`, `deadline`, `guard`), run, invocation (or ""), attempt.
Timer = tuple[int, str, str, str, int]


@dataclass(slots=True)
class MeshState:
    """Everything. `workflows` is handed in by the shell before an event needs one; timers and queues are derived."""

    now_ms: int = 0
    clusters: dict[str, ClusterEntry] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    estimates: Estimates = field(default_factory=Estimates)
    history: History = field(default_factory=History)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    timers: list[Timer] = field(default_factory=list)
    #: For each run, for each step, the invocations that are ready, oldest first.
    ready: dict[str, dict[int, dict[str, None]]] = field(default_factory=dict)
    #: Those of the ready invocations that have to run alone, each with its run.
    suspects: dict[str, str] = field(default_factory=dict)

    def workflow(self, run: Run) -> Workflow:
        return self.workflows[run.spec_hash]

    def step_of(self, run: Run, invocation: Invocation) -> StepPlan:
        return self.workflow(run).steps[invocation.step]

    def invocation(self, run_id: str, invocation_id: str) -> tuple[Run, Invocation] | None:
        run = self.runs.get(run_id)
        found = run.invocations.get(invocation_id) if run else None
        return (run, found) if run and found else None

    def age_ms(self, agent: Agent) -> int:
        """For how long the agent has been there."""
        return max(0, self.now_ms - agent.attached_ms) if agent.attached_ms else 0

    def is_suspect(self, assigned: Assigned) -> bool:
        found = self.invocation(assigned.run_id, assigned.invocation_id)
        return found is not None and found[1].suspect

    def set_timer(self, due_ms: int, kind: str, run_id: str, invocation_id: str = "", attempt: int = 0) -> None:
        heapq.heappush(self.timers, (due_ms, kind, run_id, invocation_id, attempt))

    def guard_ms(self, run: Run, invocation: Invocation) -> int:
        """When the agent's word on the attempt under way is no longer waited for."""
        return invocation.awaited_from_ms + self.step_of(run, invocation).timeout_ms + GUARD_GRACE_MS

    def set_guard(self, run: Run, invocation: Invocation) -> None:
        self.set_timer(self.guard_ms(run, invocation), "guard", run.id, invocation.id, invocation.attempt)

    def next_timer_ms(self) -> int | None:
        return self.timers[0][0] if self.timers else None

    def due_timers(self) -> Iterator[Timer]:
        """Timers whose time has come, removed as they are given out."""
        while self.timers and self.timers[0][0] <= self.now_ms:
            yield heapq.heappop(self.timers)

    def timers_due_by(self, due_ms: int) -> Iterator[Timer]:
        """Timers that are due by then, in no order, and left where they are."""
        stack = [0]
        while stack:
            at = stack.pop()
            if at < len(self.timers) and self.timers[at][0] <= due_ms:
                yield self.timers[at]
                stack += [2 * at + 1, 2 * at + 2]  # a heap: nothing below a timer is due before it

    def add_ready(self, run: Run, invocation: Invocation) -> None:
        self.ready.setdefault(run.id, {}).setdefault(invocation.step, {})[invocation.id] = None
        if invocation.suspect and not planted("suspects-share"):
            self.suspects[invocation.id] = run.id

    def remove_ready(self, run: Run, invocation: Invocation) -> None:
        steps = self.ready.get(run.id, {})
        queue = steps.get(invocation.step)
        if queue is None or invocation.id not in queue:
            raise InternalError(f"{invocation.id} of {run.id} is not in the ready queue")
        del queue[invocation.id]
        self.suspects.pop(invocation.id, None)
        if not queue:
            del steps[invocation.step]
        if not steps:
            del self.ready[run.id]


#: What the guard adds to an attempt's own time-out before the coordinator stops waiting for the agent's word.
GUARD_GRACE_MS = 30_000


def rebuild_indices(state: MeshState) -> None:
    """Makes timers and ready queues from runs, as after loading a snapshot."""
    state.timers.clear()
    state.ready.clear()
    state.suspects.clear()
    for run in state.runs.values():
        if run.ended:
            continue
        if run.sla is Sla.PENDING:
            state.set_timer(run.deadline_ms, "deadline", run.id)
        for invocation in run.invocations.values():
            if invocation.status is Status.READY:
                state.add_ready(run, invocation)
            elif invocation.status is Status.WAITING and not planted("timer-lost-on-failover"):
                state.set_timer(invocation.not_before_ms, "wake", run.id, invocation.id, invocation.attempt)
            elif invocation.status in (Status.ASSIGNED, Status.RUNNING):
                state.set_guard(run, invocation)
