"""Lost blobs, as `step` sees them: what is deterministic is made again, once; everything else fails as data-lost."""

from __future__ import annotations

from dataclasses import replace

from orbit_core.limits import DATA_LOST_AFTER_MS
from orbit_core.sched.commands import Command, Dispatch
from orbit_core.sched.events import (
    AgentAttached,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    InputsLost,
    Placed,
    Placement,
    RunCancelled,
    RunCreated,
    TimePassed,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.model import (
    AttemptKey,
    Failure,
    ObjectAddress,
    Outputs,
    Page,
    RunStatus,
    Status,
    TriggerFacts,
    Usage,
)
from orbit_core.sched.state import Invocation, MeshState, Run, rebuild_indices
from orbit_core.sched.step import step
from orbit_core.sched.workflow import GatherPlan, Workflow
from orbit_core.store.codec import decode, digest, encode
from tests.property.sched_worlds import agent, plan, workflow

SHA = {name: name * 64 for name in "abcdef"}


def page(name: str, count: int = 1) -> Outputs:
    return Outputs(pages=(Page(SHA[name], 10, count),))


class Mesh:
    """One agent that takes whatever is ready; the test says how it ends."""

    def __init__(self, flow: Workflow, payload: ObjectAddress = ObjectAddress(json="{}")) -> None:  # noqa: B008
        self.state = MeshState()
        self.state.workflows["spec"] = flow
        self.now_ms = 1_000_000
        self.tell(AgentAttached(agent("a", cpus=64)))
        trigger = TriggerFacts("api-call", 1, "now")
        self.tell(RunCreated("run", "test/flow", "spec", trigger, payload, deadline_ms=2**50))

    @property
    def run(self) -> Run:
        return self.state.runs["run"]

    def tell(self, event: Event) -> list[Command]:
        commands = step(self.state, event, self.now_ms)
        assert violations(self.state) == []
        return commands

    def one(self, step_index: int) -> Invocation:
        (found,) = [each for each in self.run.invocations.values() if each.step == step_index]
        return found

    def place(self, invocation: Invocation) -> AttemptKey:
        commands = self.tell(Placed((Placement("run", invocation.id, "a"),)))
        (key,) = [command.key for command in commands if isinstance(command, Dispatch)]
        return key

    def succeed(self, invocation: Invocation, outputs: Outputs) -> None:
        key = self.place(invocation)
        self.tell(AttemptStarted(key, "a"))
        self.tell(AttemptSucceeded(key, "a", outputs, Usage(duration_ms=5)))

    def lose(self, invocation: Invocation, *names: str, gone: bool = True) -> None:
        self.tell(InputsLost(self.place(invocation), "a", tuple(SHA[name] for name in names), gone))

    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.tell(TimePassed())

    def lose_for_good(self, invocation: Invocation, *names: str) -> None:
        """Missing again and again, until it is taken for lost."""
        began_ms = self.now_ms
        while self.now_ms - began_ms <= DATA_LOST_AFTER_MS:
            self.lose(invocation, *names)
            if invocation.status is not Status.WAITING or invocation.awaits:
                return
            self.wait(10_000)
        raise AssertionError("it is waited for without end")


def flow(*, deterministic: bool = True, gather: bool = False) -> Workflow:
    steps = [plan(0), plan(1, needs=(0,)), plan(2, needs=(1,))]
    if gather:
        steps[2] = plan(2, needs=(1,), gather=GatherPlan(None, "all-ended"))
    return workflow(*(replace(each, deterministic=deterministic) for each in steps))


def test_missing_inputs_are_waited_for_and_cost_no_retry() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose(mesh.one(1), "a")
    assert mesh.one(1).status is Status.WAITING and mesh.one(1).failures == 0
    mesh.wait(5_000)
    mesh.succeed(mesh.one(1), Outputs(inline=("{}",)))
    assert mesh.one(0).attempt == 1, "the machine came back: nothing was made again"


def test_what_is_deterministic_is_made_again_and_nothing_else_comes_of_it() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    maker, consumer = mesh.one(0), mesh.one(1)
    mesh.lose_for_good(consumer, "a")
    assert maker.status is Status.READY and maker.outputs == page("a") and consumer.awaits == [maker.id]
    mesh.wait(3_600_000)
    assert consumer.status is Status.WAITING, "it waits for its maker and not for a time"
    mesh.succeed(maker, page("a"))
    assert maker.status is Status.SUCCEEDED and len(mesh.run.invocations) == 2
    mesh.succeed(consumer, Outputs(inline=("{}",)))
    mesh.succeed(mesh.one(2), Outputs(inline=("{}",)))
    assert mesh.run.status is RunStatus.SUCCEEDED and mesh.run.pending == 0


def test_another_hash_fails_what_needs_it() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose_for_good(mesh.one(1), "a")
    mesh.succeed(mesh.one(0), page("b"))
    assert mesh.one(0).status is Status.SUCCEEDED and mesh.one(0).outputs == page("a")
    failure = mesh.one(1).failure
    assert mesh.one(1).status is Status.FAILED and failure is not None and failure.code == "data-lost"
    assert mesh.run.status is RunStatus.FAILED


def test_what_is_not_deterministic_is_lost() -> None:
    mesh = Mesh(flow(deterministic=False))
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose_for_good(mesh.one(1), "a")
    failure = mesh.one(1).failure
    assert failure is not None and failure.code == "data-lost" and SHA["a"] in failure.message
    assert mesh.one(0).attempt == 1 and mesh.run.status is RunStatus.FAILED


def test_a_payload_is_made_by_nobody() -> None:
    mesh = Mesh(flow(), ObjectAddress(page=Page(SHA["f"], 10, 1)))
    mesh.lose_for_good(mesh.one(0), "f")
    assert mesh.one(0).status is Status.FAILED and mesh.run.status is RunStatus.FAILED


def test_a_maker_whose_own_inputs_are_lost_is_made_good_from_further_up() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.succeed(mesh.one(1), page("b"))
    mesh.lose_for_good(mesh.one(2), "b")
    mesh.lose_for_good(mesh.one(1), "a")
    assert mesh.one(1).awaits == [mesh.one(0).id] and mesh.one(2).awaits == [mesh.one(1).id]
    for index, name in ((0, "a"), (1, "b")):
        mesh.succeed(mesh.one(index), page(name))
    mesh.succeed(mesh.one(2), Outputs())
    assert mesh.run.status is RunStatus.SUCCEEDED


def test_a_maker_that_fails_takes_what_waits_for_it_along() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose_for_good(mesh.one(1), "a")
    key = mesh.place(mesh.one(0))
    mesh.tell(AttemptFailed(key, "a", Failure("broken", "no more", retryable=False), Usage(), 0.0))
    assert mesh.one(0).status is Status.SUCCEEDED and mesh.one(1).status is Status.FAILED
    assert mesh.run.status is RunStatus.FAILED


def test_a_gather_waits_for_all_that_is_lost() -> None:
    mesh = Mesh(flow(gather=True))
    mesh.succeed(mesh.one(0), Outputs(inline=("1", "2")))
    first, second = [each for each in mesh.run.invocations.values() if each.step == 1]
    mesh.succeed(first, page("a"))
    mesh.succeed(second, page("b"))
    gather = mesh.one(2)
    mesh.lose_for_good(gather, "a", "b")
    mesh.succeed(second, page("b"))
    assert gather.awaits == [first.id]
    mesh.succeed(first, page("a"))
    mesh.succeed(gather, Outputs(inline=("{}",)))
    assert mesh.run.status is RunStatus.SUCCEEDED


def test_a_word_of_the_first_time_does_not_count_as_made_again() -> None:
    mesh = Mesh(flow())
    key = mesh.place(mesh.one(0))
    result = AttemptSucceeded(key, "a", page("a"), Usage(duration_ms=5))
    mesh.tell(result)
    mesh.lose_for_good(mesh.one(1), "a")
    mesh.tell(result)
    assert mesh.one(0).remaking is Status.SUCCEEDED and mesh.one(1).awaits


def test_cancelled_meanwhile_what_had_succeeded_has_succeeded() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose_for_good(mesh.one(1), "a")
    mesh.place(mesh.one(0))
    mesh.tell(RunCancelled("run", "enough"))
    assert mesh.one(0).status is Status.SUCCEEDED and mesh.one(1).status is Status.CANCELLED
    assert mesh.run.status is RunStatus.CANCELLED


def test_a_disk_that_is_full_is_no_loss() -> None:
    mesh = Mesh(flow(deterministic=False))
    mesh.succeed(mesh.one(0), page("a"))
    for _ in range(20):
        mesh.lose(mesh.one(1), "a", gone=False)
        mesh.wait(10_000)
    mesh.succeed(mesh.one(1), Outputs())
    assert mesh.run.status is RunStatus.SUCCEEDED


def test_a_snapshot_in_between_changes_nothing() -> None:
    mesh = Mesh(flow())
    mesh.succeed(mesh.one(0), page("a"))
    mesh.lose_for_good(mesh.one(1), "a")
    before = digest(mesh.state)
    mesh.state.runs["run"] = decode(Run, encode(mesh.run))
    rebuild_indices(mesh.state)
    assert digest(mesh.state) == before
    mesh.wait(10_000)
    mesh.succeed(mesh.one(0), page("a"))
    assert mesh.one(1).status is Status.READY
