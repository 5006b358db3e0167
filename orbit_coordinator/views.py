"""State as the wire shows it: pure functions from runs, invocations and agents to protobuf messages."""

from __future__ import annotations

from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2, runs_pb2
from orbit_core.sched.model import AgentFacts, AgentStatus, Failure, RunStatus, Sla, Status, Usage
from orbit_core.sched.state import Agent, Invocation, MeshState, Run
from orbit_core.sched.workflow import Need, Workflow

RUN_STATES = {
    RunStatus.RUNNING: runs_pb2.RUN_STATE_RUNNING,
    RunStatus.PAUSED: runs_pb2.RUN_STATE_PAUSED,
    RunStatus.SUCCEEDED: runs_pb2.RUN_STATE_SUCCEEDED,
    RunStatus.PARTIALLY_SUCCEEDED: runs_pb2.RUN_STATE_PARTIALLY_SUCCEEDED,
    RunStatus.FAILED: runs_pb2.RUN_STATE_FAILED,
    RunStatus.CANCELLED: runs_pb2.RUN_STATE_CANCELLED,
}

SLA_STATES = {
    Sla.PENDING: runs_pb2.SLA_STATE_PENDING,
    Sla.MET: runs_pb2.SLA_STATE_MET,
    Sla.MISSED: runs_pb2.SLA_STATE_MISSED,
}

INVOCATION_STATES = {
    Status.WAITING: runs_pb2.INVOCATION_STATE_WAITING,
    Status.READY: runs_pb2.INVOCATION_STATE_READY,
    Status.ASSIGNED: runs_pb2.INVOCATION_STATE_ASSIGNED,
    Status.RUNNING: runs_pb2.INVOCATION_STATE_RUNNING,
    Status.SUCCEEDED: runs_pb2.INVOCATION_STATE_SUCCEEDED,
    Status.FAILED: runs_pb2.INVOCATION_STATE_FAILED,
    Status.SKIPPED: runs_pb2.INVOCATION_STATE_SKIPPED,
    Status.CANCELLED: runs_pb2.INVOCATION_STATE_CANCELLED,
}

AGENT_STATES = {
    AgentStatus.ATTACHED: agents_pb2.AGENT_STATE_ATTACHED,
    AgentStatus.DETACHED: agents_pb2.AGENT_STATE_DETACHED,
    AgentStatus.DRAINING: agents_pb2.AGENT_STATE_DRAINING,
}


def run_view(run: Run, workflow: Workflow) -> runs_pb2.Run:
    """A run with the progress of each of its steps."""
    return runs_pb2.Run(
        run_id=run.id,
        cluster=run.cluster,
        spec_hash=run.spec_hash,
        state=RUN_STATES[run.status],
        sla=SLA_STATES[run.sla],
        created_ms=run.created_ms,
        deadline_ms=run.deadline_ms,
        ended_ms=run.ended_ms,
        trigger=run.trigger.kind,
        cost_usd=run.cost_usd,
        usage=usage_view(run.usage),
        lineages_succeeded=run.lineages_succeeded,
        lineages_failed=run.lineages_failed,
        steps=[_progress(run, workflow, index) for index in range(len(workflow.steps))],
        attempts=run.attempts,
        attempts_lost=run.attempts_lost,
        reason=run.reason,
        retry_of=run.retry_of or "",
        expected_late=run.expected_late and not run.ended,
        reused=run.taken_over,
        budget_usd=run.budget_usd or 0.0,
    )


def _progress(run: Run, workflow: Workflow, index: int) -> runs_pb2.StepProgress:
    step = workflow.steps[index]
    view = runs_pb2.StepProgress(step=step.identifier, section=step.section, satellite=step.satellite)
    counts = run.counts.get(index)
    if counts is not None:
        view.expected = counts.expected
        view.waiting = counts.of(Status.WAITING)
        view.ready = counts.of(Status.READY)
        view.running = counts.of(Status.ASSIGNED) + counts.of(Status.RUNNING)
        view.succeeded = counts.of(Status.SUCCEEDED)
        view.failed = counts.of(Status.FAILED)
        view.skipped = counts.of(Status.SKIPPED)
        view.cancelled = counts.of(Status.CANCELLED)
    return view


def usage_view(usage: Usage) -> common_pb2.Usage:
    return common_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        duration_ms=usage.duration_ms,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def failure_view(failure: Failure) -> common_pb2.Failure:
    return common_pb2.Failure(code=failure.code, message=failure.message, retryable=failure.retryable)


def invocation_view(run: Run, workflow: Workflow, invocation: Invocation) -> runs_pb2.Invocation:
    step = workflow.steps[invocation.step]
    outputs = invocation.outputs
    return runs_pb2.Invocation(
        invocation_id=invocation.id,
        run_id=run.id,
        step=step.identifier,
        section=step.section,
        state=INVOCATION_STATES[invocation.status],
        attempt=invocation.attempt,
        retries=invocation.failures,
        parent_id=invocation.parent or "",
        index=invocation.index,
        agent_id=invocation.agent or invocation.last_agent or "",
        not_before_ms=invocation.not_before_ms if invocation.status is Status.WAITING else 0,
        started_ms=invocation.started_ms,
        ended_ms=invocation.ended_ms,
        failure=failure_view(invocation.failure) if invocation.failure else None,
        usage=usage_view(invocation.usage),
        cost_usd=invocation.cost_usd,
        outputs=outputs.count if outputs else 0,
        outputs_json=[text.encode() for text in outputs.inline] if outputs else [],
    )


def agent_view(agent: Agent, advertisement: agents_pb2.Advertisement | None, state: MeshState) -> agents_pb2.Agent:
    """An agent with what it runs; `advertisement`: what it last said itself, if it is attached here."""
    if advertisement is None:
        advertisement = _advertisement(agent.facts)
    view = agents_pb2.Agent(advertisement=advertisement, state=AGENT_STATES[agent.status])
    for assigned in agent.assigned.values():
        found = state.invocation(assigned.run_id, assigned.invocation_id)
        if found is None:
            continue
        run, invocation = found
        plan = state.step_of(run, invocation)
        view.running.add(
            invocation_id=invocation.id,
            run_id=run.id,
            step=plan.identifier,
            attempt=assigned.attempt,
            started_ms=invocation.started_ms,
        )
        view.used.cpu_milli += plan.request.cpu_milli
        view.used.memory_bytes += plan.request.memory_bytes
        view.used.gpus += plan.request.gpus
    return view


def _advertisement(facts: AgentFacts) -> agents_pb2.Advertisement:
    """What the state remembers of an agent that is not attached just now."""
    return agents_pb2.Advertisement(
        agent_id=facts.id,
        session_id=facts.session,
        address=facts.address,
        price_usd_per_hour=facts.price_usd_per_hour,
        labels=dict(facts.labels),
        hardware=agents_pb2.Hardware(
            cpu_milli=facts.cpu_milli,
            memory_bytes=facts.memory_bytes,
            gpus=[agents_pb2.Gpu(model=gpu.model, memory_bytes=gpu.memory_bytes) for gpu in facts.gpus],
        ),
    )


def resources_view(need: Need) -> common_pb2.Resources:
    return common_pb2.Resources(
        cpu_milli=need.cpu_milli,
        memory_bytes=need.memory_bytes,
        gpus=need.gpus,
        gpu_milli=need.gpu_milli,
        gpu_memory_bytes=need.gpu_memory_bytes,
        gpu_models=list(need.gpu_models),
    )
