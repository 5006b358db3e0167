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


HOUR_MS = 3_600_000


def spot(hardware: str = "cpu") -> AgentFacts:
    return AgentFacts("a", "1", "a:1", 1000, 1 << 30, price_kind="spot", labels=(("hardware", hardware),))


def test_losses_make_spot_dearer_and_leave_owned_agents_alone():
    known = estimate.Estimates()
    before = estimate.redo_factor(known, spot(), HOUR_MS)
    for _ in range(5):
        estimate.learn_life(known, spot(), 0, HOUR_MS / 6, lost=True)
    assert estimate.redo_factor(known, spot(), HOUR_MS) > before > 1
    owned = AgentFacts("b", "1", "b:1", 1000, 1 << 30)
    estimate.learn_life(known, owned, 0, HOUR_MS, lost=True)
    assert estimate.redo_factor(known, owned, HOUR_MS) == 1


def test_who_has_lived_through_the_first_hour_is_trusted_where_losses_come_early():
    known = estimate.Estimates()
    for number in range(60):
        lost_early = number % 2 == 0
        estimate.learn_life(known, spot(), 0, HOUR_MS / 4 if lost_early else 30 * HOUR_MS, lost=lost_early)
    young, old = (estimate.spot_hazard(known, spot(), HOUR_MS, age) for age in (0, 8 * HOUR_MS))
    assert young > 0.4, "half of them went within the first quarter of an hour"
    assert old < young / 10


def test_a_pool_is_judged_by_its_own_losses_once_it_has_some_and_by_all_before():
    known = estimate.Estimates()
    for _ in range(20):
        estimate.learn_life(known, spot("flapping"), 0, HOUR_MS / 4, lost=True)
        estimate.learn_life(known, spot("steady"), 0, 10 * HOUR_MS, lost=False)
    flapping, steady, unseen = (
        estimate.spot_hazard(known, spot(hardware), HOUR_MS / 2, 0) for hardware in ("flapping", "steady", "unseen")
    )
    assert flapping > unseen > steady


def test_exposure_falls_into_the_ages_at_which_it_was():
    known = estimate.Estimates()
    estimate.learn_life(known, spot(), 20 * 60_000, 70 * 60_000, lost=True)
    lives = known.lives["spot"]
    assert lives.exposure_ms[:5] == [0, 10 * 60_000, 30 * 60_000, 10 * 60_000, 0]
    assert lives.losses == [0, 0, 0, 1, 0, 0, 0, 0]


def test_what_was_learnt_survives_a_snapshot():
    state = MeshState()
    estimate.learn_result(state.estimates, STEP, "cpu", 1_234, 5, 6)
    estimate.learn_fan_out(state.estimates, "test/flow", STEP, 7)
    estimate.learn_life(state.estimates, spot(), 0, 5_000, lost=True)
    again = codec.decode_mesh(codec.encode_mesh(state))
    assert again.estimates == state.estimates
    assert estimate.fan_out(again.estimates, "test/flow", STEP) == 7


def test_scatter_is_told_by_all_hardware_together_and_the_tail_is_never_below_what_was_seen():
    known = estimate.Estimates()
    assert abs(estimate.log_spread(known, STEP, ["cpu"]) - estimate.PRIOR_LOG_SPREAD) < 1e-9
    for number in range(40):
        estimate.learn_result(known, STEP, "old", 10_000 if number % 2 else 20_000, 0, 0)
        estimate.learn_result(known, STEP, "new", 1_000 if number % 2 else 2_000, 0, 0)
    spread = estimate.log_spread(known, STEP, ["old", "new", "unseen"])
    assert 0.33 < spread < 0.37, "a factor of two between the halves of each, whatever lies between the two kinds"
    tails = [estimate.tail_ms(known, STEP, "old", spread, odds) for odds in (0.5, 0.05, 0.01, 0.001)]
    assert tails == sorted(tails)
    assert tails[1] >= 20_000
    assert estimate.tail_ms(known, STEP, "new", spread, 0.01) < tails[2] / 5


def test_what_has_run_for_long_is_expected_to_run_on_for_a_while():
    known = estimate.estimate(estimate.Estimates(), STEP, "cpu")
    left = [estimate.left_ms(known, 0.3, ran_ms) for ran_ms in (0, 2_000, 8_000, 10_000, 20_000, 200_000)]
    assert abs(left[0] - known.mean_ms) < 1
    assert left[0] > left[1] > left[2] > left[3] > 0
    assert 0 < left[4] < 10_000
    assert left[5] > left[4], "a time that nothing explains says little about its end"
