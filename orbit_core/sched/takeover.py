"""What a retry takes over: the results of the earlier run that rest on nothing that failed.

A result is named by its lineage, which is the same in both runs: steps and object numbers from the start down. The
retry uses one as soon as its invocation exists, before anything could place it. A result rests on the whole line above
it, and a gather's on everything that it brought together: where any of that failed, it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orbit_core.ids import derived_id
from orbit_core.sched.model import Status, TakenOver
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.transitions import move
from orbit_core.sched.workflow import Workflow

#: What the shell's event holds at most, so that a journal record never grows with the run.
PART_RESULTS = 500
PART_CHARS = 128 * 1024


def lineage_name(run: Run, workflow: Workflow, invocation: Invocation) -> str:
    """The same for the same work in every run of one spec."""
    parts: list[str | int] = []
    current: Invocation | None = invocation
    while current is not None:
        parts += [workflow.steps[current.step].identifier, current.index]
        current = run.invocations[current.parent] if current.parent else None
    return derived_id("lin", *parts)


def of_run(run: Run, workflow: Workflow) -> list[TakenOver]:
    """All that a retry of `run` can take over, parents before children."""
    spoiled = _spoiled_gathers(run, workflow)
    sound: set[str] = set()
    found: list[TakenOver] = []
    for invocation in run.invocations.values():  # in the order in which they came to be: parents first
        if workflow.steps[invocation.step].section != "main" or invocation.outputs is None:
            continue
        if invocation.id in spoiled or (invocation.parent is not None and invocation.parent not in sound):
            continue
        sound.add(invocation.id)
        skipped = invocation.status is Status.SKIPPED
        name = lineage_name(run, workflow, invocation)
        found.append(TakenOver(name, invocation.outputs, skipped, invocation.files))
    return found


def _spoiled_gathers(run: Run, workflow: Workflow) -> set[str]:
    """Gathers that fired beside a failure, and those that brought what came of such a one together."""
    spoiled: set[str] = set()
    marked: set[tuple[int, str, int]] = set()  # gather step, the anchor's invocation or "", the number of its object
    for invocation in run.invocations.values():  # a gather comes to be after everything that it waited for
        plan = workflow.steps[invocation.step]
        if plan.section != "main":
            continue
        if plan.gather is not None and (plan.index, invocation.parent or "", invocation.index) in marked:
            spoiled.add(invocation.id)
        if invocation.status is Status.FAILED or invocation.id in spoiled:
            marked.update(_waiting_gathers(run, workflow, invocation))
    return spoiled


def _waiting_gathers(run: Run, workflow: Workflow, invocation: Invocation) -> Iterator[tuple[int, str, int]]:
    for gather in workflow.gathers_above[invocation.step]:
        plan = workflow.steps[gather].gather
        assert plan is not None
        if plan.over is None:
            yield gather, "", 0
            continue
        current = invocation
        while current.parent is not None:
            above = run.invocations[current.parent]
            if above.step == plan.over:
                yield gather, above.id, current.index
                break
            current = above


def parts_of(results: list[TakenOver]) -> list[tuple[TakenOver, ...]]:
    """The results in parts of a bounded size; at least one part, which may be empty."""
    parts: list[list[TakenOver]] = [[]]
    size = 0
    for result in results:
        chars = sum(map(len, result.outputs.inline)) + 200 * (1 + len(result.outputs.pages) + len(result.files))
        if parts[-1] and (len(parts[-1]) >= PART_RESULTS or size + chars > PART_CHARS):
            parts.append([])
            size = 0
        parts[-1].append(result)
        size += chars
    return [tuple(part) for part in parts]


def use(state: MeshState, run: Run, follow: Callable[[MeshState, Run, Invocation], None]) -> None:
    """Ends every invocation that a result was taken over for; what follows from one is looked at in turn.

    A loop, since ends lead to invocations that end at once: their number is the run's, not the workflow's depth.
    """
    workflow = state.workflow(run)
    while run.takeovers and run.newly_made:
        invocation = run.invocations[run.newly_made.pop()]
        result = run.takeovers.pop(lineage_name(run, workflow, invocation), None)
        if result is None or workflow.steps[invocation.step].section != "main":
            continue
        invocation.outputs = result.outputs
        invocation.files = result.files
        invocation.ended_ms = state.now_ms
        run.taken_over += 1
        status = Status.SKIPPED if result.skipped else Status.SUCCEEDED
        move(state, run, invocation, status, f"taken over from {run.retry_of}")
        follow(state, run, invocation)
    run.newly_made.clear()
