"""From the wire's messages to the client's types. One function for each message, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message

from orbit_core.client import types
from orbit_core.pb.orbit.v1 import agents_pb2, clusters_pb2, common_pb2, runs_pb2, secrets_pb2


def _word(message: Message, field: str) -> Any:
    """The enum in `field` as a word: `RUN_STATE_PARTIALLY_SUCCEEDED` is `partially-succeeded`."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    assert enum is not None, f"{field} is not an enum"
    value = enum.values_by_number.get(getattr(message, field))
    if value is None or value.number == 0:
        return "unknown"
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower().replace("_", "-")


def _json(document: bytes) -> Any:
    return json.loads(document) if document else None


def diagnostic(message: clusters_pb2.Diagnostic) -> types.Diagnostic:
    return types.Diagnostic(
        severity="warning" if message.severity == clusters_pb2.SEVERITY_WARNING else "error",
        code=message.code,
        file=message.file,
        line=message.line,
        column=message.column,
        path=message.path,
        message=message.message,
        found=message.found,
        expected=message.expected,
        suggestion=message.suggestion,
        text=message.text,
    )


def cluster(message: clusters_pb2.Cluster) -> types.Cluster:
    return types.Cluster(
        identifier=message.identifier,
        title=message.title,
        spec_hash=message.spec_hash,
        sla_ms=message.sla_ms,
        enabled=message.enabled,
        submitted_ms=message.submitted_ms,
        triggers=tuple(message.triggers),
        next_run_ms=message.next_run_ms or None,
        steps=tuple(message.steps),
        document=message.document,
    )


def cluster_version(message: clusters_pb2.ClusterVersion) -> types.ClusterVersion:
    return types.ClusterVersion(message.spec_hash, message.submitted_ms, message.current)


def usage(message: common_pb2.Usage) -> types.Usage:
    return types.Usage(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        duration_ms=message.duration_ms,
        peak_memory_bytes=message.peak_memory_bytes,
    )


def step_progress(message: runs_pb2.StepProgress) -> types.StepProgress:
    return types.StepProgress(
        step=message.step,
        section=message.section or "main",
        satellite=message.satellite,
        expected=message.expected,
        waiting=message.waiting,
        ready=message.ready,
        running=message.running,
        succeeded=message.succeeded,
        failed=message.failed,
        skipped=message.skipped,
        cancelled=message.cancelled,
    )


def run(message: runs_pb2.Run) -> types.Run:
    return types.Run(
        run_id=message.run_id,
        cluster=message.cluster,
        spec_hash=message.spec_hash,
        state=_word(message, "state"),
        sla=_word(message, "sla"),
        created_ms=message.created_ms,
        deadline_ms=message.deadline_ms,
        ended_ms=message.ended_ms or None,
        trigger=message.trigger,
        cost_usd=message.cost_usd,
        usage=usage(message.usage),
        lineages_succeeded=message.lineages_succeeded,
        lineages_failed=message.lineages_failed,
        steps=tuple(step_progress(each) for each in message.steps),
        attempts=message.attempts,
        attempts_lost=message.attempts_lost,
        reason=message.reason,
        retry_of=message.retry_of,
        expected_late=message.expected_late,
        reused=message.reused,
        budget_usd=message.budget_usd,
    )


def _failure(message: runs_pb2.Result | runs_pb2.Invocation) -> types.Failure | None:
    if not message.HasField("failure"):
        return None
    return types.Failure(message.failure.code, message.failure.message, message.failure.retryable)


def result(message: runs_pb2.Result) -> types.Result:
    return types.Result(
        invocation_id=message.invocation_id,
        step=message.step,
        section=message.section or "main",
        index=message.index,
        value=_json(message.json),
        failure=_failure(message),
        agent_id=message.agent_id,
        usage=usage(message.usage),
        cost_usd=message.cost_usd,
        attempts=message.attempts,
        lineage=tuple(message.lineage),
    )


def invocation(message: runs_pb2.Invocation) -> types.Invocation:
    return types.Invocation(
        invocation_id=message.invocation_id,
        run_id=message.run_id,
        step=message.step,
        section=message.section or "main",
        state=_word(message, "state"),
        attempt=message.attempt,
        retries=message.retries,
        parent_id=message.parent_id,
        index=message.index,
        agent_id=message.agent_id,
        not_before_ms=message.not_before_ms or None,
        started_ms=message.started_ms or None,
        ended_ms=message.ended_ms or None,
        failure=_failure(message),
        usage=usage(message.usage),
        cost_usd=message.cost_usd,
        outputs=message.outputs,
        values=tuple(_json(document) for document in message.outputs_json),
    )


def log_record(message: common_pb2.LogRecord) -> types.LogRecord:
    return types.LogRecord(
        time_ms=message.time_ms,
        level=message.level,
        message=message.message,
        run_id=message.run_id,
        invocation_id=message.invocation_id,
        step=message.step,
        agent_id=message.agent_id,
        attempt=message.attempt,
    )


def _hardware(message: agents_pb2.Hardware) -> types.Hardware:
    return types.Hardware(
        cpu_milli=message.cpu_milli,
        memory_bytes=message.memory_bytes,
        disk_free_bytes=message.disk_free_bytes,
        gpus=tuple(types.Gpu(gpu.model, gpu.memory_bytes) for gpu in message.gpus),
        cpu_model=message.cpu_model,
        architecture=message.architecture,
        os=message.os,
        providers=tuple(message.providers),
    )


def agent(message: agents_pb2.Agent) -> types.Agent:
    said = message.advertisement
    return types.Agent(
        agent_id=said.agent_id,
        state=_word(message, "state"),
        address=said.address,
        hardware=_hardware(said.hardware),
        labels=dict(said.labels),
        price_usd_per_hour=said.price_usd_per_hour,
        price_kind=_word(said, "price_kind"),
        satellites=tuple(said.satellites),
        warm_models=tuple(said.warm_models),
        cached_models=tuple(said.cached_models),
        version=said.version,
        started_ms=said.started_ms,
        used_cpu_milli=message.used.cpu_milli,
        used_memory_bytes=message.used.memory_bytes,
        running=tuple(
            types.RunningInvocation(each.invocation_id, each.run_id, each.step, each.attempt, each.started_ms)
            for each in message.running
        ),
        last_seen_ms=message.last_seen_ms,
        cpu_load=message.cpu_load,
    )


def mesh(message: agents_pb2.GetMeshResponse) -> types.Mesh:
    return types.Mesh(
        coordinator_id=message.coordinator_id,
        leader_id=message.leader_id,
        leader_address=message.leader_address,
        epoch=message.epoch,
        version=message.version,
        runs_live=message.runs_live,
        journal_sequence=message.journal_sequence,
        blob_copies=message.blob_copies,
        http_address=message.http_address,
        blob_home=message.blob_home,
    )


def secret(message: secrets_pb2.Secret) -> types.Secret:
    return types.Secret(cluster=message.cluster, name=message.name, version=message.version)
