"""How objects become invocations: lazy fan-out, fan-in, failure steps, and when a run has ended.

Fan-out is lazy: a step that returned a million objects has `FAN_OUT_WINDOW` children at first, and one more each
time one of them ends, so that memory follows what is in flight. A gather counts what is open below each object of
its `over` step (`GatherPoint`), so that an end costs the depth of the workflow, not the size of the run.
"""

from __future__ import annotations

from collections.abc import Iterator

from orbit_core.ids import derived_id
from orbit_core.limits import FAN_OUT_WINDOW
from orbit_core.plants import planted
from orbit_core.sched import takeover
from orbit_core.sched.commands import ArchiveRun, CollectLogs, Command, RunChanged
from orbit_core.sched.model import ObjectAddress, Outputs, Page, RunStatus, Sla, Status
from orbit_core.sched.state import GatherPoint, Invocation, MeshState, Run, StepCounts
from orbit_core.sched.transitions import enter
from orbit_core.sched.workflow import StepPlan


def start(state: MeshState, run: Run) -> None:
    """Creates the first invocations of a run."""
    workflow = state.workflow(run)
    for index in workflow.roots:
        run.pending += 1
        _expect(run, index, 1)
        run.roots.append(_create(state, run, workflow.steps[index], parent=None, object_index=0).id)


def follow(state: MeshState, run: Run, ended: Invocation) -> None:
    """Everything that the end of an invocation leads to, short of the end of the run."""
    section = state.step_of(run, ended).section
    count_open(state, run, ended, -1)
    fans = state.workflow(run).fans[ended.step]
    returned = ended.outputs.count if ended.outputs else 0
    for child in fans:
        _expect(run, child, returned)
    if section == "logs":
        run.logs_pending += returned * len(fans)
    else:
        run.pending += returned * len(fans)
    if section == "main":
        _count_lineage(run, ended, has_children=bool(fans) and returned > 0)
    if section != "logs":
        _count_gathers(state, run, ended, returned)
    if ended.status is Status.FAILED and state.workflow(run).handles_failure_of(ended.step):
        _start_failure_steps(state, run, ended)
    _expand(state, run, ended, FAN_OUT_WINDOW)
    parent = run.invocations.get(ended.parent) if ended.parent else None
    if parent is not None and not planted("fan-out-stalls"):
        _expand(state, run, parent, 1)


def count_open(state: MeshState, run: Run, invocation: Invocation, change: int) -> None:
    """Counts the invocation among those that are expected and have not ended."""
    if state.step_of(run, invocation).section == "logs":
        run.logs_pending += change
    else:
        run.pending += change


def _count_lineage(run: Run, ended: Invocation, *, has_children: bool) -> None:
    if ended.status is Status.FAILED:
        run.lineages_failed += 1
    elif not has_children:
        run.lineages_succeeded += 1


def _expect(run: Run, step: int, count: int) -> None:
    run.counts.setdefault(step, StepCounts()).expected += count


def _expand(state: MeshState, run: Run, parent: Invocation, room: int) -> None:
    """Creates up to `room` of the parent's children that do not exist yet, object by object, step by step."""
    if parent.outputs is None or run.ended:
        return
    workflow = state.workflow(run)
    fans = workflow.fans[parent.step]
    total = parent.outputs.count * len(fans)
    for position in range(parent.expanded, min(total, parent.expanded + room)):
        index, which = divmod(position, len(fans))
        child = _create(state, run, workflow.steps[fans[which]], parent=parent, object_index=index)
        parent.children.append(child.id)
        parent.expanded = position + 1


def _create(
    state: MeshState,
    run: Run,
    step: StepPlan,
    *,
    parent: Invocation | None,
    object_index: int,
    cause: str | None = None,
    salt: str = "",
) -> Invocation:
    identifier = derived_id("inv", run.id, step.identifier, parent.id if parent else "", object_index, salt)
    invocation = Invocation(
        id=identifier,
        step=step.index,
        parent=parent.id if parent else None,
        index=object_index,
        status=Status.WAITING if step.delay_ms else Status.READY,
        created_ms=state.now_ms,
        not_before_ms=state.now_ms + step.delay_ms,
        cause=cause,
    )
    enter(state, run, invocation)
    if run.takeovers:
        run.newly_made.append(identifier)
    return invocation


def _start_failure_steps(state: MeshState, run: Run, failed: Invocation) -> None:
    for index in state.workflow(run).roots_of["failure"]:
        run.pending += 1
        _expect(run, index, 1)
        step = state.workflow(run).steps[index]
        child = _create(state, run, step, parent=failed, object_index=0, cause=failed.id)
        failed.children.append(child.id)


# Gathers.


def _count_gathers(state: MeshState, run: Run, ended: Invocation, returned: int) -> None:
    """Tells every gather that waits for this invocation that it has ended, and what it added."""
    workflow = state.workflow(run)
    for gather in workflow.gathers_above[ended.step]:
        upstream = workflow.upstream[gather]
        added = returned * sum(1 for child in workflow.fans[ended.step] if child in upstream)
        added += returned * _gathers_over(state, run, ended.step, upstream)
        _close(state, run, gather, ended, added - 1, failed=ended.status is Status.FAILED)


def _gathers_over(state: MeshState, run: Run, step: int, upstream: frozenset[int]) -> int:
    """How many gathers within `upstream` each object of `step` will lead to."""
    steps = state.workflow(run).steps
    found = 0
    for index in sorted(upstream):
        plan = steps[index].gather
        if plan is not None and plan.over == step:
            found += 1
    return found


def _close(state: MeshState, run: Run, gather: int, below: Invocation, change: int, *, failed: bool) -> None:
    anchor, index = _anchor(state, run, gather, below)
    key = f"{gather}/{anchor.id if anchor else ''}/{index}"
    point = run.gathers.get(key)
    if point is None:
        point = run.gathers[key] = GatherPoint(open=_initially_open(state, run, gather))
    point.open += change
    point.failed = point.failed or failed
    early = planted("gather-fires-early") and point.open == 1
    if (point.open == 0 or early) and not point.fired:
        point.fired = True
        _fire(state, run, gather, anchor, index, point)


def _initially_open(state: MeshState, run: Run, gather: int) -> int:
    workflow = state.workflow(run)
    upstream = workflow.upstream[gather]
    plan = workflow.steps[gather].gather
    assert plan is not None
    section = workflow.steps[gather].section
    starting = workflow.roots_of[section] if plan.over is None else workflow.fans[plan.over]
    direct = sum(1 for index in starting if index in upstream)
    nested = sum(
        1
        for index in sorted(upstream)
        if (inner := workflow.steps[index].gather) is not None and inner.over == plan.over
    )
    return direct + nested


def _fire(state: MeshState, run: Run, gather: int, anchor: Invocation | None, index: int, point: GatherPoint) -> None:
    step = state.workflow(run).steps[gather]
    assert step.gather is not None
    if point.failed and step.gather.when == "all-succeeded":
        # It never fires, which is not another failure; gathers above it wait for it no longer.
        for outer in state.workflow(run).gathers_above[gather]:
            _close_above(state, run, outer, step.gather.over, anchor, index)
        return
    _join(state, run, step, anchor, index)
    run.pending += 1
    _expect(run, gather, 1)
    # Over the whole of a failed lineage's failure steps, the gather hangs on what failed, like the first of them.
    cause = anchor.id if anchor is not None and step.gather.over is None else None
    created = _create(state, run, step, parent=anchor, object_index=index, cause=cause)
    (anchor.children if anchor else run.roots).append(created.id)


def _join(state: MeshState, run: Run, step: StepPlan, anchor: Invocation | None, index: int) -> None:
    """The lineages that a gather brings together go on in it: what had been counted as their ends were none."""
    if step.section != "main":
        return
    fans = state.workflow(run).fans
    needs = frozenset(need for need in step.needs if not fans[need])
    for each in _below(run, anchor, index):
        if each.step in needs and not each.joined and each.outputs is not None and each.outputs.count:
            each.joined = True
            run.lineages_succeeded -= 1


def _close_above(
    state: MeshState, run: Run, outer: int, over: int | None, anchor: Invocation | None, index: int
) -> None:
    plan = state.workflow(run).steps[outer].gather
    assert plan is not None
    if plan.over == over:
        _close_at(state, run, outer, anchor, index)
    elif anchor is not None:
        higher, higher_index = _anchor(state, run, outer, anchor)
        _close_at(state, run, outer, higher, higher_index)


def _close_at(state: MeshState, run: Run, gather: int, anchor: Invocation | None, index: int) -> None:
    key = f"{gather}/{anchor.id if anchor else ''}/{index}"
    point = run.gathers.get(key)
    if point is None:
        point = run.gathers[key] = GatherPoint(open=_initially_open(state, run, gather))
    point.open -= 1
    point.failed = True
    if point.open == 0 and not point.fired:
        point.fired = True
        _fire(state, run, gather, anchor, index, point)


def _anchor(state: MeshState, run: Run, gather: int, below: Invocation) -> tuple[Invocation | None, int]:
    """The object of the gather's `over` step that `below` descends from."""
    plan = state.workflow(run).steps[gather].gather
    assert plan is not None
    current = below
    if plan.over is None:
        while current.cause is None and current.parent is not None:
            current = run.invocations[current.parent]
        return (run.invocations[current.cause], 0) if current.cause is not None else (None, 0)
    while current.parent is not None:
        parent = run.invocations[current.parent]
        if parent.step == plan.over:
            return parent, current.index
        current = parent
    raise AssertionError(f"{below.id} does not descend from step {plan.over}")


# Logs, and the end.


def forward_logs(state: MeshState, run: Run, outputs: Outputs) -> None:
    """Creates the invocations that forward a batch of log records."""
    for address in addresses(outputs):
        for index in state.workflow(run).roots_of["logs"]:
            salt = str(len(run.log_batches))
            run.logs_pending += 1
            _expect(run, index, 1)
            step = state.workflow(run).steps[index]
            created = _create(state, run, step, parent=None, object_index=0, salt=salt)
            run.log_batches[created.id] = address


def settle(state: MeshState, run: Run) -> list[Command]:
    """Ends the run if nothing is left to do."""
    takeover.use(state, run, follow)
    if run.ended or run.taking_over or run.pending > 0:
        return []
    if state.workflow(run).first_of["logs"] is not None and not run.logs_final:
        if run.collecting_logs:
            return []
        run.collecting_logs = True
        return [CollectLogs(run.id), RunChanged(run.id)]
    if run.logs_pending > 0:
        return []
    if run.lineages_failed == 0:
        outcome = RunStatus.SUCCEEDED
    elif run.lineages_succeeded > 0:
        outcome = RunStatus.PARTIALLY_SUCCEEDED
    else:
        outcome = RunStatus.FAILED
    return end(state, run, outcome)


def end(state: MeshState, run: Run, outcome: RunStatus) -> list[Command]:
    """Sums the run up."""
    run.status = outcome
    run.ended_ms = state.now_ms
    if run.sla is Sla.PENDING:
        run.sla = Sla.MET if state.now_ms <= run.deadline_ms else Sla.MISSED
    run.gathers.clear()
    return [RunChanged(run.id), ArchiveRun(run.id)]


# Reading lineages.


def addresses(outputs: Outputs) -> list[ObjectAddress]:
    """Every object of `outputs`, in order."""
    found = [ObjectAddress(json=text) for text in outputs.inline]
    for page in outputs.pages:
        found.extend(ObjectAddress(page=page, index=page.first + line) for line in range(page.count))
    return found


def maker_of(state: MeshState, run: Run, sha256: str) -> Invocation | None:
    """An invocation that returned that page and returns the same if it runs again; None: there is none in the run."""
    for invocation in run.invocations.values():
        if invocation.outputs is None or all(page.sha256 != sha256 for page in invocation.outputs.pages):
            continue
        plan = state.step_of(run, invocation)
        # A skipped gather wrote down what it brought together; any other that is skipped passes on what is not its own.
        skipped = Status.SKIPPED in (invocation.status, invocation.remaking)
        if plan.gather is not None if skipped else plan.deterministic:
            return invocation
    return None


def only(found: ObjectAddress) -> Outputs:
    """That one object, as outputs."""
    if found.page is None:
        return Outputs(inline=(found.json or "null",))
    return Outputs(pages=(Page(found.page.sha256, found.page.size_bytes, count=1, first=found.index),))


def address(outputs: Outputs, index: int) -> ObjectAddress:
    """Object `index` of `outputs`."""
    if index < len(outputs.inline):
        return ObjectAddress(json=outputs.inline[index])
    index -= len(outputs.inline)
    for page in outputs.pages:
        if index < page.count:
            return ObjectAddress(page=page, index=page.first + index)
        index -= page.count
    raise IndexError(index)


def parent_object(run: Run, invocation: Invocation) -> ObjectAddress:
    """The object that the invocation was made for."""
    if invocation.id in run.log_batches:
        return run.log_batches[invocation.id]
    if invocation.parent is None:
        return run.payload
    parent = run.invocations[invocation.parent]
    if invocation.cause == parent.id:
        return parent_object(run, parent)
    assert parent.outputs is not None
    return address(parent.outputs, invocation.index)


def object_bytes(found: ObjectAddress) -> int:
    """The size of an object; of one in a page, the mean of that page."""
    if found.page is not None:
        return found.page.size_bytes // max(1, found.page.first + found.page.count)
    return len(found.json or "")


def lineage_objects(run: Run, invocation: Invocation) -> dict[int, ObjectAddress]:
    """For each step above the invocation, the object that it returned on this lineage."""
    found: dict[int, ObjectAddress] = {}
    current = invocation
    while current.parent is not None:
        parent = run.invocations[current.parent]
        if parent.outputs is not None and parent.step not in found:
            found[parent.step] = address(parent.outputs, current.index)
        current = parent
    return found


def gathered_objects(state: MeshState, run: Run, invocation: Invocation) -> dict[int, list[ObjectAddress]]:
    """At and below a gather: for each step that it gathered, all its objects below the anchor, in lineage order.

    Where a gather needs the very step that it is over, that step has one object there: the anchor's own.
    """
    workflow = state.workflow(run)
    found: dict[int, list[ObjectAddress]] = {}
    current: Invocation | None = invocation
    while current is not None:
        plan = workflow.steps[current.step]
        if plan.gather is not None:
            upstream = workflow.upstream[current.step]
            missing = sorted(index for index in upstream if index not in found)
            found.update({index: [] for index in missing})
            anchor = run.invocations.get(current.parent) if current.parent else None
            for each in _below(run, anchor, current.index):
                if each.step in missing and each.outputs is not None:
                    found[each.step].extend(addresses(each.outputs))
            if plan.gather.over in plan.needs and anchor is not None and anchor.outputs is not None:
                found.setdefault(anchor.step, [address(anchor.outputs, current.index)])
        current = run.invocations[current.parent] if current.parent else None
    return found


def _below(run: Run, anchor: Invocation | None, index: int) -> Iterator[Invocation]:
    """Every invocation below that object (of the run without an anchor), those of one step in lineage order."""
    children = [run.invocations[child] for child in (run.roots if anchor is None else anchor.children)]
    stack = [child for child in reversed(children) if anchor is None or child.index == index]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(
            run.invocations[child]
            for child in reversed(sorted(current.children, key=lambda c: run.invocations[c].index))
        )
