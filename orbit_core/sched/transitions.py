"""The table of what an invocation may become, and the one function that moves it.

A pair that is not listed is a bug, and raises with the whole story of that invocation.
"""

from __future__ import annotations

from orbit_core.errors import InternalError
from orbit_core.sched.model import Status
from orbit_core.sched.state import Invocation, MeshState, Run, StepCounts

ALLOWED: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.WAITING, Status.READY),
        (Status.READY, Status.ASSIGNED),
        (Status.ASSIGNED, Status.RUNNING),
        # Back to the queue: handed back, or lost with its agent.
        (Status.ASSIGNED, Status.READY),
        (Status.RUNNING, Status.READY),
        # A retry after a backoff.
        (Status.ASSIGNED, Status.WAITING),
        (Status.RUNNING, Status.WAITING),
        # Ends. A result may come before the word that it started, and from an attempt that was given up for lost.
        (Status.ASSIGNED, Status.SUCCEEDED),
        (Status.RUNNING, Status.SUCCEEDED),
        (Status.READY, Status.SUCCEEDED),
        (Status.WAITING, Status.SUCCEEDED),
        (Status.ASSIGNED, Status.FAILED),
        (Status.RUNNING, Status.FAILED),
        (Status.ASSIGNED, Status.SKIPPED),
        (Status.RUNNING, Status.SKIPPED),
        (Status.READY, Status.SKIPPED),
        (Status.WAITING, Status.SKIPPED),
        (Status.WAITING, Status.CANCELLED),
        (Status.READY, Status.CANCELLED),
        (Status.ASSIGNED, Status.CANCELLED),
        (Status.RUNNING, Status.CANCELLED),
        # What it needs is lost for good.
        (Status.WAITING, Status.FAILED),
        # What it returned is lost, and made again: through the queue once more, and back to how it had ended.
        (Status.SUCCEEDED, Status.READY),
        (Status.SKIPPED, Status.READY),
    }
)

_STORY_LENGTH = 24


class InvalidTransitionError(InternalError):
    """An invocation was to become what it cannot become."""

    code = "invalid-transition"


def move(state: MeshState, run: Run, invocation: Invocation, to: Status, why: str) -> None:
    """Changes the invocation's status, its counts and its place in the ready queue."""
    origin = invocation.status
    if (origin, to) not in ALLOWED:
        story = "\n  ".join(invocation.story)
        raise InvalidTransitionError(f"{invocation.id} of {run.id}: {origin} → {to} ({why})\n  {story}")
    if origin is Status.READY:
        state.remove_ready(run, invocation)
    invocation.status = to
    counts = run.counts[invocation.step].by_status
    counts[origin] -= 1
    counts[to] = counts.get(to, 0) + 1
    if to is Status.READY:
        state.add_ready(run, invocation)
    elif to is Status.WAITING:
        state.set_timer(invocation.not_before_ms, "wake", run.id, invocation.id, invocation.attempt)
    tell(state, invocation, f"{origin} → {to}: {why}")


def enter(state: MeshState, run: Run, invocation: Invocation) -> None:
    """Takes a new invocation in, waiting or ready as its status says."""
    run.invocations[invocation.id] = invocation
    counts = run.counts.setdefault(invocation.step, StepCounts()).by_status
    counts[invocation.status] = counts.get(invocation.status, 0) + 1
    if invocation.status is Status.READY:
        state.add_ready(run, invocation)
    else:
        state.set_timer(invocation.not_before_ms, "wake", run.id, invocation.id, invocation.attempt)
    tell(state, invocation, f"new, {invocation.status}")


def tell(state: MeshState, invocation: Invocation, line: str) -> None:
    """Adds a line to the invocation's story; only the last lines are kept."""
    invocation.story.append(f"{state.now_ms} attempt {invocation.attempt} {line}")
    if len(invocation.story) > _STORY_LENGTH:
        del invocation.story[0]
