"""Everything that can happen to a run, as data, with all that `step` needs: random draws and decisions too."""

from __future__ import annotations

from dataclasses import dataclass

from orbit_core.sched.model import (
    AgentFacts,
    AttemptKey,
    Blob,
    Failure,
    ObjectAddress,
    Outputs,
    TakenOver,
    TriggerFacts,
    Usage,
)


@dataclass(frozen=True, slots=True)
class ClusterSubmitted:
    """A version of a cluster became the current one. Its workflow is known to the state by `spec_hash`."""

    identifier: str
    spec_hash: str


@dataclass(frozen=True, slots=True)
class ClusterEnabled:
    """A person let a cluster start runs, or stopped it from starting more."""

    identifier: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ClusterDeleted:
    """A person deleted a cluster; its runs stay."""

    identifier: str


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A trigger fired. `run_id` is derived from what fired, so the same trigger twice is the same run.

    With `takes_over` the run begins at the last `ResultsTakenOver`, and not before.
    """

    run_id: str
    cluster: str
    spec_hash: str
    trigger: TriggerFacts
    payload: ObjectAddress
    deadline_ms: int
    retry_of: str | None = None
    takes_over: bool = False


@dataclass(frozen=True, slots=True)
class ResultsTakenOver:
    """Results of the run that this one is a retry of, in parts: what has one does not run again."""

    run_id: str
    results: tuple[TakenOver, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """A person ended the run."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunPaused:
    """What the run would cost next passes its budget: nothing more of it is placed until it is resumed."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A person let a paused run go on, perhaps with another budget (US dollars; None: as it was)."""

    run_id: str
    budget_usd: float | None


@dataclass(frozen=True, slots=True)
class RunForecast:
    """The planner's word on a run has changed: it is, or is no longer, expected to miss its deadline."""

    run_id: str
    expected_late: bool


@dataclass(frozen=True, slots=True)
class RunBroken:
    """`step` raised on an event of this run: it ends as failed, and only it."""

    run_id: str
    message: str


@dataclass(frozen=True, slots=True)
class RunArchived:
    """The run's record is durable elsewhere: the state may forget it."""

    run_id: str


@dataclass(frozen=True, slots=True)
class TermBegan:
    """Another coordinator leads: agents have yet to find it, and its clock need not agree with the last leader's."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AgentAttached:
    """An agent opened its stream and said what it holds: attempts that run, and results not yet acknowledged."""

    agent: AgentFacts
    held: tuple[AttemptKey, ...] = ()
    draining: bool = False


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """An agent's price or warm models are others now."""

    agent: AgentFacts


@dataclass(frozen=True, slots=True)
class AgentDetached:
    """An agent's stream broke. It may come back with everything that it runs."""

    agent_id: str
    session: str


@dataclass(frozen=True, slots=True)
class AgentDraining:
    """An agent takes no more: it was asked to, or its end has been announced."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class AgentLost:
    """An agent is taken for gone. `announced` losses never count against an invocation."""

    agent_id: str
    session: str
    announced: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """One decision of the placer."""

    run_id: str
    invocation_id: str
    agent_id: str
    gpu_indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """The decisions of one round. Replay takes them from here and never asks the placer again."""

    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The agent's worker took the attempt up."""

    key: AttemptKey
    agent_id: str


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """The satellite returned. Every blob that the outputs need is stored."""

    key: AttemptKey
    agent_id: str
    outputs: Outputs
    usage: Usage
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptSkipped:
    """The step's `if` was false. `outputs`: of a gather, what it brought together; else its parent's object it is."""

    key: AttemptKey
    agent_id: str
    usage: Usage
    outputs: Outputs | None = None
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The satellite raised, hung or died. `draw` in [0, 1) decides the jitter of a retry."""

    key: AttemptKey
    agent_id: str
    failure: Failure
    usage: Usage
    draw: float


@dataclass(frozen=True, slots=True)
class AttemptReturned:
    """The agent hands the attempt back without a result (drain, preemption): no retry is spent."""

    key: AttemptKey
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class InputsLost:
    """Pages that an attempt needs cannot be had, so it was not sent. `gone`: not from any machine that is there."""

    key: AttemptKey
    agent_id: str
    sha256: tuple[str, ...]
    gone: bool


@dataclass(frozen=True, slots=True)
class LogsBatched:
    """Log records of a run, to be forwarded. `final`: there will be no more. Empty outputs: nothing to forward."""

    run_id: str
    outputs: Outputs
    final: bool


@dataclass(frozen=True, slots=True)
class CapacityChosen:
    """What the market policy wants one of a run's lanes to hold, and what it remembers from now on.

    `name`: of the machine that has to be started for it; empty where what is held will do, or nothing is wanted.
    `memory`: `MarketPolicy.state()` in base64. `work_ms`: this lane's work on one machine, as estimated.
    """

    run_id: str
    lane: int
    kind: str
    pool: str
    name: str
    work_ms: int
    memory: str


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """What became of a machine that was bought: `started`, `refused` (none to be had), `joined`, `lost`."""

    run_id: str
    lane: int
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class CapacityReleased:
    """A machine that no run wants is given back. Changes nothing: that it could be written shows who may do it."""

    name: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Timers may be due. `draw` in [0, 1) decides the jitter of retries that time-outs cause."""

    draw: float = 0.0


Event = (
    ClusterSubmitted
    | ClusterEnabled
    | ClusterDeleted
    | RunCreated
    | ResultsTakenOver
    | RunCancelled
    | RunPaused
    | RunResumed
    | RunForecast
    | RunBroken
    | RunArchived
    | TermBegan
    | AgentAttached
    | AgentChanged
    | AgentDetached
    | AgentDraining
    | AgentLost
    | Placed
    | AttemptStarted
    | AttemptSucceeded
    | AttemptSkipped
    | AttemptFailed
    | AttemptReturned
    | InputsLost
    | LogsBatched
    | CapacityChosen
    | CapacityChanged
    | CapacityReleased
    | TimePassed
)
