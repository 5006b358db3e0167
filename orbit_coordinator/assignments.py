"""Builds what an agent is told of one attempt, from the state and the spec. Pure but for the secrets handed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from orbit_coordinator.views import resources_view
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.sched.lineage import gathered_objects, lineage_objects, parent_object
from orbit_core.sched.model import AttemptKey, ObjectAddress
from orbit_core.sched.state import Invocation, MeshState, Run
from orbit_core.sched.workflow import StepPlan
from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.models import Cluster, Step
from orbit_core.spec.references import OutputReference, OutputsReference


def key_message(key: AttemptKey) -> agents_pb2.AttemptKey:
    return agents_pb2.AttemptKey(run_id=key.run_id, invocation_id=key.invocation_id, attempt=key.attempt)


def key_of(message: agents_pb2.AttemptKey) -> AttemptKey:
    return AttemptKey(message.run_id, message.invocation_id, message.attempt)


def under_way(state: MeshState, key: AttemptKey) -> tuple[Run, Invocation] | None:
    """The attempt's run and invocation, unless the attempt has ended."""
    found = state.invocation(key.run_id, key.invocation_id)
    if found is None or found[1].attempt != key.attempt or found[1].agent is None:
        return None
    return found


def build(
    state: MeshState,
    run: Run,
    invocation: Invocation,
    cluster: Cluster,
    *,
    epoch: int,
    secrets: Mapping[str, str],
    holders: Iterable[str],
    allow_private_addresses: bool,
) -> agents_pb2.Assignment:
    """The assignment of the invocation's attempt under way.

    `secrets`: values by the names that the step uses. `holders`: addresses that serve blobs.
    Only the objects that the step's references name travel with it, and its direct parent's.
    """
    plan = state.step_of(run, invocation)
    step = cluster.step(plan.identifier)
    assert step is not None
    where = tuple(holders)
    message = agents_pb2.Assignment(
        key=key_message(AttemptKey(run.id, invocation.id, invocation.attempt)),
        epoch=epoch,
        cluster=run.cluster,
        step=plan.identifier,
        satellite=plan.satellite,
        config_json=_json(_config(step)),
        input_json=b"" if step.input is None else _json(step.input),
        condition=step.condition.text if step.condition else "",
        parent=object_message(parent_object(run, invocation), where),
        payload=object_message(run.payload, where),
        facts_json=_json(facts(run, cluster)),
        secrets=dict(secrets),
        resources=resources_view(plan.request),
        gpu_indices=list(invocation.gpu_indices),
        timeout_ms=plan.timeout_ms,
        allow_private_addresses=allow_private_addresses,
    )
    _add_lineage(message, state, run, invocation, step, where)
    failure = _failure(state, run, invocation)
    if failure is not None:
        message.failure_json = _json(failure)
    return message


def _config(step: Step) -> dict[str, object]:
    """The config as in the file, its secrets as references under `secrets`."""
    config: dict[str, object] = dict(step.config)
    if step.secrets:
        config["secrets"] = {name: f"${{{{ secrets.{source} }}}}" for name, source in step.secrets.items()}
    return config


def facts(run: Run, cluster: Cluster) -> dict[str, str]:
    """What `cluster.*` references read."""
    deadline = datetime.fromtimestamp(run.deadline_ms / 1000, UTC)
    return {
        "identifier": run.cluster,
        "trigger": run.trigger.text,
        "run-id": run.id,
        "sla": format_duration_ms(cluster.sla_ms),
        "deadline": deadline.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _add_lineage(
    message: agents_pb2.Assignment,
    state: MeshState,
    run: Run,
    invocation: Invocation,
    step: Step,
    holders: tuple[str, ...],
) -> None:
    steps = state.workflow(run).steps
    references = step.references()
    single = {ref.step for ref in references if isinstance(ref, OutputReference)}
    whole = {ref.step for ref in references if isinstance(ref, OutputsReference)}
    for index, address in sorted(lineage_objects(run, invocation).items()):
        if steps[index].identifier in single:
            message.lineage.add(step=steps[index].identifier, object=object_message(address, holders))
    taken = _gather_taken(state, run, invocation)
    if taken is not None:
        message.gather_needs.extend(steps[need].identifier for need in taken.needs)
        whole.update(message.gather_needs)
    if not whole:
        return
    for index, addresses in sorted(gathered_objects(state, run, invocation).items()):
        if steps[index].identifier in whole:
            objects = [object_message(address, holders) for address in addresses]
            message.gathered.add(step=steps[index].identifier, objects=objects)


def _gather_taken(state: MeshState, run: Run, invocation: Invocation) -> StepPlan | None:
    """The gather whose lists are this invocation's object: its own, or that of the one whose failure it answers."""
    current = invocation
    while True:
        plan = state.step_of(run, current)
        if plan.gather is not None:
            return plan
        if current.cause is None:
            return None
        current = run.invocations[current.cause]


def _failure(state: MeshState, run: Run, invocation: Invocation) -> dict[str, str] | None:
    """What `failure.*` references read, inside failure steps."""
    current: Invocation | None = invocation
    while current is not None:
        if current.cause is not None:
            cause = run.invocations[current.cause]
            message = cause.failure.message if cause.failure else ""
            return {"error": message, "satellite": state.step_of(run, cause).identifier}
        current = run.invocations.get(current.parent) if current.parent else None
    return None


def blobs_of(message: agents_pb2.Assignment) -> list[str]:
    """The hashes of all pages that an assignment's objects lie in, each once."""
    objects = [message.parent, message.payload, *(each.object for each in message.lineage)]
    objects += [each for gathered in message.gathered for each in gathered.objects]
    found = (each.item.page.sha256 for each in objects if each.WhichOneof("kind") == "item")
    return list(dict.fromkeys(found))


def object_message(address: ObjectAddress, holders: Iterable[str]) -> common_pb2.ObjectRef:
    if address.page is None:
        return common_pb2.ObjectRef(json=(address.json or "null").encode())
    blob = common_pb2.BlobRef(sha256=address.page.sha256, size_bytes=address.page.size_bytes, holders=list(holders))
    return common_pb2.ObjectRef(item=common_pb2.PageItem(page=blob, index=address.index))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
