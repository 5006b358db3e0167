"""How an attempt that gave nothing ends: in a retry, as a failure, or (made again for lost blobs) as it had ended."""

from __future__ import annotations

from orbit_core.plants import planted
from orbit_core.sched import lineage
from orbit_core.sched.commands import Command, RunChanged
from orbit_core.sched.model import Failure, Outputs, Status
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.transitions import move

#: With this code an agent says that it could not get a blob that an attempt needs.
MISSING = "blob-missing"


def retry_or_fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure, draw: float) -> list[Command]:
    invocation.failures += 1
    policy = state.step_of(run, invocation).retries
    spent = invocation.failures > policy.max_retries and not planted("retry-unbounded")
    if not failure.retryable or spent:
        return fail(state, run, invocation, data_lost(failure.message) if failure.code == MISSING else failure)
    invocation.failure = failure
    invocation.not_before_ms = state.now_ms + policy.delay_ms_for(invocation.failures, draw)
    move(state, run, invocation, Status.WAITING, f"retry {invocation.failures} after {failure.code}")
    return [RunChanged(run.id)]


def fail(state: MeshState, run: Run, invocation: Invocation, failure: Failure) -> list[Command]:
    if invocation.remaking is not None:
        return made_again(state, run, invocation, None)
    invocation.failure = failure
    invocation.ended_ms = state.now_ms
    move(state, run, invocation, Status.FAILED, failure.code)
    lineage.follow(state, run, invocation)
    return [RunChanged(run.id), *lineage.settle(state, run)]


def made_again(state: MeshState, run: Run, maker: Invocation, outputs: Outputs | None) -> list[Command]:
    """The maker has come to an end once more. `outputs`: what it returned; None: it could not."""
    same = outputs is not None and outputs == maker.outputs
    end_making(state, run, maker)
    for page in outputs.pages if same and outputs else ():
        run.missing.pop(page.sha256, None)
    commands: list[Command] = [RunChanged(run.id)]
    for each in list(run.invocations.values()):
        if each.ended or maker.id not in each.awaits:
            continue
        each.awaits.remove(maker.id)
        if not same:
            each.awaits.clear()
            commands += fail(state, run, each, data_lost(f"what {maker.id} returned"))
        elif not each.awaits:
            move(state, run, each, Status.READY, "its inputs have been made again")
    return commands


def end_making(state: MeshState, run: Run, maker: Invocation) -> None:
    """The invocation is again what it was."""
    assert maker.remaking is not None
    before, maker.remaking = maker.remaking, None
    maker.awaits.clear()
    lineage.count_open(state, run, maker, -1)
    move(state, run, maker, before, "as it had ended before")


def data_lost(what: str) -> Failure:
    """Nothing brings back what this needs."""
    return Failure("data-lost", f"{what}: it is on no machine any more, and nothing can make it again", retryable=False)
