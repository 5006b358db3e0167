"""Estimates: what is declared gives way to what is seen; size counts where it explains; losses make spot dearer."""

from __future__ import annotations

from orbit_core.sched import estimate
from orbit_core.sched.model import AgentFacts
from orbit_core.sched.state import MeshState
from orbit_core.sched.workflow import Need, StepPlan
from orbit_core.spec.models import RetryPolicy
from orbit_core.store import codec

STEP = StepPlan(0, "s", "main", "satellite/test/any", (), RetryPolicy(), Need(1000, 1 << 20), 60_000, 10_000)


def test_samples_outweigh_what_was_declared():
    known = estimate.Estimates()
    assert estimate.estimate(known, STEP, "cpu").p50_ms == 10_000
    for number in range(40):
        estimate.learn_result(known, STEP, "cpu", 1_000 + number, 1 << 20, 0)
    found = estimate.estimate(known, STEP, "cpu")
    assert 1_000 <= found.p50_ms <= found.p95_ms < 1_040
    assert estimate.estimate(known, STEP, "H100").p50_ms == 10_000, "other hardware is another matter"


def test_size_counts_where_it_explains_the_time():
    known = estimate.Estimates()
    for size in range(1, 31):
        estimate.learn_result(known, STEP, "cpu", 100 * size, 0, size)
    assert abs(estimate.estimate(known, STEP, "cpu", input_bytes=60).p50_ms - 6_000) < 1


def test_losses_make_spot_dearer_and_leave_owned_agents_alone():
    known = estimate.Estimates()
    spot = AgentFacts("a", "1", "a:1", 1000, 1 << 30, price_kind="spot")
    before = estimate.redo_factor(known, spot, 3_600_000)
    for _ in range(5):
        estimate.learn_survival(known, "spot", 600_000, lost=True)
    assert estimate.redo_factor(known, spot, 3_600_000) > before > 1
    assert estimate.redo_factor(known, AgentFacts("b", "1", "b:1", 1000, 1 << 30), 3_600_000) == 1


def test_what_was_learnt_survives_a_snapshot():
    state = MeshState()
    estimate.learn_result(state.estimates, STEP, "cpu", 1_234, 5, 6)
    estimate.learn_fan_out(state.estimates, "test/flow", STEP, 7)
    again = codec.decode_mesh(codec.encode_mesh(state))
    assert again.estimates == state.estimates
    assert estimate.fan_out(again.estimates, "test/flow", STEP) == 7
