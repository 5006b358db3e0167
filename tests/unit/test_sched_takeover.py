"""A retry takes over results with the files that they refer to."""

from __future__ import annotations

import json

import pytest

from orbit_coordinator.upkeep import blobs_of
from orbit_core.sched import takeover
from orbit_core.sched.events import (
    AgentAttached,
    AttemptSucceeded,
    Placed,
    Placement,
    ResultsTakenOver,
    RunCancelled,
    RunCreated,
)
from orbit_core.sched.model import AttemptKey, Blob, ObjectAddress, Outputs, TriggerFacts, Usage
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.store.codec import decode_event, encode_event
from tests.property.sched_worlds import agent, chain

FILE = Blob("f" * 64, 7)


@pytest.fixture
def state() -> MeshState:
    """A run whose first step returned an object with a file, and which was cancelled then."""
    state = MeshState()
    state.workflows["spec"] = chain(2)
    step(state, AgentAttached(agent("a")), 1_000)
    created("run", state)
    root = state.runs["run"].roots[0]
    step(state, Placed((Placement("run", root, "a"),)), 1_000)
    outputs = Outputs(inline=(json.dumps({"file": 1}),))
    step(state, AttemptSucceeded(AttemptKey("run", root, 1), "a", outputs, Usage(), (FILE,)), 1_000)
    step(state, RunCancelled("run", "enough"), 1_000)
    return state


def created(run_id: str, state: MeshState, *, retry_of: str | None = None) -> Run:
    payload, trigger = ObjectAddress(json="{}"), TriggerFacts("api-call", 1, "")
    more = {"retry_of": retry_of, "takes_over": True} if retry_of else {}
    step(state, RunCreated(run_id, "test/flow", "spec", trigger, payload, 2**50, **more), 1_000)  # type: ignore[arg-type]
    return state.runs[run_id]


def test_files_are_the_retrys_own(state: MeshState) -> None:
    taken = takeover.of_run(state.runs["run"], state.workflows["spec"])
    retry = created("retry", state, retry_of="run")
    event = ResultsTakenOver("retry", tuple(taken), final=True)
    assert decode_event(encode_event(event, 1_000)).event == event
    step(state, event, 1_000)
    assert retry.taken_over == 1
    assert [invocation.files for invocation in retry.invocations.values() if invocation.ended] == [(FILE,)]


def test_files_are_kept_before_anything_used_them(state: MeshState) -> None:
    taken = takeover.of_run(state.runs["run"], state.workflows["spec"])
    retry = created("retry", state, retry_of="run")
    step(state, ResultsTakenOver("retry", tuple(taken), final=False), 1_000)
    assert not retry.invocations
    assert (FILE.sha256, None) in set(blobs_of(retry))
