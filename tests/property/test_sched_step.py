"""Safety and liveness of `step` under agents that fail, vanish, come back and repeat themselves."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orbit_core.ids import derived_id
from orbit_core.sched.model import Failure, RunStatus, Status
from orbit_core.sched.state import MeshState, Run, rebuild_indices
from orbit_core.sched.step import step
from orbit_core.sched.workflow import GatherPlan, Workflow
from orbit_core.store import codec
from tests.property.sched_worlds import World, agent, chain, plan, workflow

FLOWS = {
    "chain": chain(3),
    "chain with failure steps": chain(3, failure=True),
    "chain with logs": chain(2, failure=True, logs=True),
    "branches": workflow(plan(0), plan(1, needs=(0,)), plan(2, needs=(0,)), plan(3, needs=(1,), delay_ms=500)),
    "gather over the run": workflow(
        plan(0), plan(1, needs=(0,)), plan(2, needs=(1,), gather=GatherPlan(None, "all-ended"))
    ),
    "gather over a step": workflow(
        plan(0),
        plan(1, needs=(0,)),
        plan(2, needs=(1,)),
        plan(3, needs=(2,), gather=GatherPlan(0, "all-succeeded")),
        plan(4, needs=(3,), gather=GatherPlan(None, "all-ended")),
    ),
    "diamond": workflow(
        plan(0),
        plan(1, needs=(0,)),
        plan(2, needs=(0,)),
        plan(3, needs=(1, 2), gather=GatherPlan(0, "all-ended")),
    ),
}


def fate(seed: int, run: Run, invocation_id: str, attempt: int, *, failing: float, fan: int) -> int | Failure:
    """What a satellite does: the same for the same attempt, so that a replayed world behaves the same."""
    rng = random.Random(derived_id("fate", seed, invocation_id))
    returned = rng.randint(0, fan)
    doomed = rng.random() < failing / 2
    if doomed or random.Random(derived_id("fate", seed, invocation_id, attempt)).random() < failing:
        return Failure("boom", "it broke", retryable=rng.random() < 0.8)
    return returned


def adventure(flow: Workflow, seed: int, *, failing: float, fan: int, steps: int) -> World:
    """A run with faults for `steps` words, then without, until its end."""
    rng = random.Random(seed)
    world = World(flow, rng, lambda run, i, attempt: fate(seed, run, i, attempt, failing=failing, fan=fan))
    sessions = {"a": 1, "b": 1, "c": 1}
    for name in sessions:
        world.attach(agent(name, price=rng.choice([0.5, 1.0, 2.0])))
    world.start()
    for _ in range(steps):
        world.place()
        what = rng.random()
        present = [name for name in sessions if name in world.state.agents]
        if what < 0.05 and present:
            world.lose(rng.choice(present), announced=rng.random() < 0.7)
        elif what < 0.12:
            name = rng.choice(sorted(sessions))
            if name not in world.state.agents or rng.random() < 0.5:
                sessions[name] += 1
                for known in [known for known in world.on_agents if known[0] == name]:
                    del world.on_agents[known]  # the process was started anew
            world.attach(agent(name, session=str(sessions[name])))
        elif what < 0.18:
            world.hand_back()
        elif what < 0.26:
            world.repeat_something()
        elif what < 0.34 or not world.progress():
            world.wait(rng.randint(1, 5_000))
    for name in sessions:
        if name not in world.state.agents:
            sessions[name] += 1
            world.attach(agent(name, session=str(sessions[name])))
    world.settle()
    return world


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flow=st.sampled_from(sorted(FLOWS)), seed=st.integers(0, 2**32), failing=st.sampled_from([0.0, 0.1, 0.4]))
def test_every_object_ends_exactly_once(flow: str, seed: int, failing: float) -> None:
    world = adventure(FLOWS[flow], seed, failing=failing, fan=4, steps=150)
    run = world.state.runs["run-1"]
    assert set(world.ended_once) == set(run.invocations)
    assert set(world.ended_once.values()) <= {1}
    assert world.archived == ["run-1"]
    for invocation in run.invocations.values():
        fans = FLOWS[flow].fans[invocation.step]
        objects = invocation.outputs.count if invocation.outputs else 0
        made = [run.invocations[child] for child in invocation.children]
        fanned = [child for child in made if child.step in fans and child.cause is None]
        assert sorted((child.index, child.step) for child in fanned) == sorted(
            (index, step) for index in range(objects) for step in fans
        )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flow=st.sampled_from(sorted(FLOWS)), seed=st.integers(0, 2**32))
def test_recorded_events_replay_to_the_same_state(flow: str, seed: int) -> None:
    world = adventure(FLOWS[flow], seed, failing=0.2, fan=3, steps=100)
    stored = [codec.encode_event(event, now_ms) for now_ms, event in world.history]
    replayed = MeshState()
    replayed.workflows["spec"] = FLOWS[flow]
    for data in stored:
        timed = codec.decode_event(data)
        step(replayed, timed.event, timed.now_ms)
    assert codec.digest(replayed) == codec.digest(world.state)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flow=st.sampled_from(sorted(FLOWS)), seed=st.integers(0, 2**32), cut=st.floats(0, 1))
def test_a_snapshot_anywhere_goes_on_as_the_original_did(flow: str, seed: int, cut: float) -> None:
    world = adventure(FLOWS[flow], seed, failing=0.2, fan=3, steps=80)
    at = int(cut * len(world.history))
    state = MeshState()
    state.workflows["spec"] = FLOWS[flow]
    for now_ms, event in world.history[:at]:
        step(state, event, now_ms)
    restored = codec.decode_mesh(codec.encode_mesh(state))
    restored.workflows["spec"] = FLOWS[flow]
    restored.runs = {run.id: codec.decode(Run, codec.encode(run)) for run in state.runs.values()}
    rebuild_indices(restored)
    for now_ms, event in world.history[at:]:
        step(restored, event, now_ms)
    assert codec.digest(restored) == codec.digest(world.state)


@pytest.mark.parametrize("failing", [0, 3, 1000])
def test_a_thousand_objects_of_which_some_fail(failing: int) -> None:
    flow = chain(2, failure=True)

    def behave(run: Run, invocation_id: str, attempt: int) -> int | Failure:
        invocation = run.invocations[invocation_id]
        if invocation.step == 0:
            return 1000
        if invocation.step == 1 and invocation.index < failing:
            return Failure("bad-file", "cannot be read", retryable=False)
        return 1

    world = World(flow, random.Random(1), behave)
    world.attach(agent("a", cpus=32))
    world.start()
    largest = 0
    while not world.state.runs["run-1"].ended:
        world.place()
        world.progress()
        run = world.state.runs["run-1"]
        largest = max(largest, sum(1 for each in run.invocations.values() if not each.ended))
    run = world.state.runs["run-1"]
    expected = {0: RunStatus.SUCCEEDED, 3: RunStatus.PARTIALLY_SUCCEEDED, 1000: RunStatus.FAILED}[failing]
    assert run.status is expected
    assert run.lineages_succeeded == 1000 - failing
    assert run.lineages_failed == failing
    assert run.counts[2].of(Status.SUCCEEDED) == failing if failing else 2 not in run.counts
    assert largest <= 256 + failing, "fan-out is lazy"
