"""Quote, explain and place, asked about one small mesh: a cheap agent with little room, a dear one with much."""

from __future__ import annotations

import dataclasses

import pytest

from orbit_core.errors import NotFoundError
from orbit_core.sched.estimate import learn_result
from orbit_core.sched.events import AgentAttached, AgentChanged, AgentLost, Placed, RunCreated, TimePassed
from orbit_core.sched.explain import explain
from orbit_core.sched.model import AgentFacts, ObjectAddress, TriggerFacts
from orbit_core.sched.place import Placer, Round
from orbit_core.sched.plan import Plan, Planner
from orbit_core.sched.quote import ask, quotes
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.sched.tariff import DAY_MS
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy

NOW_MS = 1_000_000
MINUTE_MS = 60_000


def one_step(sla_ms: int, *, name: str = "flow", objective: str = "cost", cpu_milli: int = 1_000) -> Workflow:
    """A workflow whose only step takes a minute of a core."""
    only = StepPlan(
        0, "work", "main", "satellite/t/work", (), RetryPolicy(), Need(cpu_milli, 1 << 20), 600_000, MINUTE_MS
    )
    return Workflow(f"test/{name}", sla_ms, (only,), objective=objective)  # type: ignore[arg-type]


def agent(name: str, price: float, cpus: int, **more: object) -> AgentFacts:
    facts = AgentFacts(name, "1", f"{name}:1", 1000 * cpus, 8 << 30, (), price, satellites=("satellite/t/work",))
    return dataclasses.replace(facts, **more)  # type: ignore[arg-type]


@pytest.fixture
def state() -> MeshState:
    state = MeshState()
    step(state, AgentAttached(agent("cheap", 0.06, 1)), NOW_MS)
    step(state, AgentAttached(agent("dear", 4.8, 8)), NOW_MS)
    return state


def start(state: MeshState, flow: Workflow, *runs: str) -> None:
    state.workflows[flow.identifier] = flow
    for run in runs:
        trigger = TriggerFacts("api-call", NOW_MS, "now")
        created = RunCreated(
            run, flow.identifier, flow.identifier, trigger, ObjectAddress(json="{}"), NOW_MS + flow.sla_ms
        )
        step(state, created, NOW_MS)


def place(state: MeshState, *, now_ms: int = NOW_MS) -> tuple[Plan, Round]:
    step(state, TimePassed(), now_ms)
    plan = Planner().plan(state, now_ms)
    return plan, Placer().place(state, None, plan)


def where(decided: Round) -> list[tuple[str, str]]:
    return [(placed.run_id, placed.agent_id) for placed in decided.placements]


# Quote.


def test_a_quote_of_an_idle_mesh_is_the_cheap_agents_price(state: MeshState) -> None:
    found = quotes(state, one_step(60 * MINUTE_MS), NOW_MS)
    assert found.quote.feasible
    assert found.quote.cost_usd == pytest.approx(0.06 * 1.1 / 60, rel=0.05), "a core-minute, a little more on average"
    assert MINUTE_MS <= found.quote.p50_finish_ms <= found.quote.p95_finish_ms < 60 * MINUTE_MS


def test_a_queue_on_the_cheap_agent_makes_a_short_sla_dear_and_leaves_a_long_one(state: MeshState) -> None:
    start(state, one_step(6 * MINUTE_MS, name="other"), "a", "b", "c")
    step(state, Placed(place(state)[1].placements), NOW_MS)
    found = quotes(state, one_step(3 * MINUTE_MS), NOW_MS)
    costs = {each.sla_ms: each.cost_usd for each in found.others}
    assert costs[3 * MINUTE_MS] > 3 * costs[60 * MINUTE_MS]


def test_what_no_agent_can_do_is_not_feasible_and_has_no_shortest_sla(state: MeshState) -> None:
    found = quotes(state, one_step(60 * MINUTE_MS, cpu_milli=64_000), NOW_MS)
    assert not found.quote.feasible
    assert found.shortest_sla_ms is None
    assert found.others == ()


def test_an_answer_does_not_depend_on_what_happens_to_the_state_meanwhile(state: MeshState) -> None:
    flow = one_step(10 * MINUTE_MS)
    question = ask(state, flow, NOW_MS)
    before = question.answer()
    step(state, AgentLost("cheap", "1", announced=True), NOW_MS)
    start(state, one_step(2 * MINUTE_MS, name="other"), "a", "b")
    assert question.answer() == before
    assert quotes(state, flow, NOW_MS) != before


# Explain.


def test_explain_says_why_work_is_dear_why_it_waits_and_what_it_would_be_elsewhere(state: MeshState) -> None:
    start(state, one_step(60 * MINUTE_MS, name="patient"), "one", "two")
    plan, decided = place(state)
    step(state, Placed(decided.placements), NOW_MS)
    assert where(decided) == [("one", "cheap")]
    (here,) = explain(state, state.runs["one"], plan, NOW_MS)
    assert here.agent_id == "cheap"
    assert "nothing that can run it is cheaper" in here.reason
    (waits,) = explain(state, state.runs["two"], plan, NOW_MS)
    assert waits.agent_id == ""
    assert waits.waiting == 1
    assert "waits for cheaper room" in waits.reason
    assert NOW_MS < waits.latest_start_ms < NOW_MS + 59 * MINUTE_MS
    assert [other.agent_ids for other in waits.elsewhere] == [("cheap",), ("dear",)]
    assert waits.elsewhere[1].cost_usd == pytest.approx(10 * waits.elsewhere[0].cost_usd)


def test_explain_tells_what_no_agent_has(state: MeshState) -> None:
    start(state, one_step(60 * MINUTE_MS, cpu_milli=64_000), "large")
    (found,) = explain(state, state.runs["large"], None, NOW_MS)
    assert "no agent is large enough" in found.reason
    with pytest.raises(NotFoundError):
        explain(state, state.runs["large"], None, NOW_MS, "inv-of-another")


# Place.


def test_work_with_time_waits_for_the_cheap_agent_and_hurried_work_does_not(state: MeshState) -> None:
    start(state, one_step(60 * MINUTE_MS, name="patient"), "p1", "p2")
    start(state, one_step(3 * MINUTE_MS, name="hurried"), "h1", "h2")
    _, decided = place(state)
    assert sorted(where(decided)) == [("h1", "cheap"), ("h2", "dear")] or sorted(where(decided)) == [("h1", "cheap")]
    assert decided.held, "the next round looks at what waits"
    _, later = place(state, now_ms=NOW_MS + 70_000)
    assert ("h2", "dear") in [*where(decided), *where(later)], "waiting any longer would miss its deadline"


def test_late_work_goes_where_it_is_still_in_time_though_a_slow_agent_is_cheaper(state: MeshState) -> None:
    slow = agent("slow", 0.01, 4, labels=(("hardware", "old"),))
    step(state, AgentAttached(slow), NOW_MS)
    flow = one_step(3 * MINUTE_MS)
    for _ in range(20):
        learn_result(state.estimates, flow.steps[0], "old", 10 * MINUTE_MS, 0, 0)
        learn_result(state.estimates, flow.steps[0], "cpu", MINUTE_MS, 0, 0)
    start(state, flow, "run")
    assert where(place(state, now_ms=NOW_MS + 100_000)[1]) == [("run", "cheap")]


def test_work_whose_objective_is_time_goes_to_the_fastest_agent_whatever_it_costs(state: MeshState) -> None:
    step(state, AgentAttached(agent("rocket", 90.0, 4, labels=(("hardware", "new"),))), NOW_MS)
    flow = one_step(60 * MINUTE_MS, objective="time")
    for _ in range(20):
        learn_result(state.estimates, flow.steps[0], "new", MINUTE_MS // 4, 0, 0)
    start(state, flow, "run")
    assert where(place(state)[1]) == [("run", "rocket")]


def test_nothing_goes_to_an_agent_whose_stream_takes_no_more(state: MeshState) -> None:
    start(state, one_step(2 * MINUTE_MS), "a", "b", "c")
    decided = Placer().place(state, {"cheap": 0, "dear": 2})
    assert [agent_id for _, agent_id in where(decided)] == ["dear", "dear"]


# Tariffs.


def test_work_with_time_waits_for_the_hour_that_is_sure_to_be_cheaper(state: MeshState) -> None:
    minute = NOW_MS // MINUTE_MS
    night = agent("night", 0.03, 4, tariff=((minute + 120, 0.0003), (minute + 600, 0.03)))
    for name in ("cheap", "dear"):
        step(state, AgentLost(name, "1", announced=True), NOW_MS)
    step(state, AgentAttached(night), NOW_MS)
    step(state, AgentAttached(agent("dear", 4.8, 8)), NOW_MS)
    start(state, one_step(180 * MINUTE_MS, name="patient"), "patient")
    start(state, one_step(60 * MINUTE_MS, name="sooner"), "sooner")
    plan, decided = place(state)
    assert where(decided) == [("sooner", "night")], "no cheaper hour comes before its deadline"
    (waits,) = explain(state, state.runs["patient"], plan, NOW_MS)
    assert "waits for cheaper room" in waits.reason
    cheap_now = dataclasses.replace(night, price_usd_per_hour=0.0003)
    step(state, AgentChanged(cheap_now), NOW_MS + 121 * MINUTE_MS)
    assert ("patient", "night") in where(place(state, now_ms=NOW_MS + 121 * MINUTE_MS)[1])


def test_a_cheaper_hour_after_the_deadline_is_no_reason_to_wait(state: MeshState) -> None:
    minute = NOW_MS // MINUTE_MS
    step(state, AgentLost("cheap", "1", announced=True), NOW_MS)
    step(state, AgentAttached(agent("night", 0.03, 4, tariff=((0, 0.03), (minute + 120, 0.0003)))), NOW_MS)
    quoted = quotes(state, one_step(60 * MINUTE_MS), NOW_MS)
    costs = {each.sla_ms: each.cost_usd for each in (quoted.quote, *quoted.others)}
    assert costs[60 * MINUTE_MS] > 50 * costs[240 * MINUTE_MS], "the hour after next is a hundredth of the price"


def test_what_brings_forth_an_unknown_amount_of_work_does_not_wait(state: MeshState) -> None:
    flow = one_step(240 * MINUTE_MS)
    child = dataclasses.replace(flow.steps[0], index=1, identifier="then", needs=(0,))
    flow = dataclasses.replace(flow, steps=(*flow.steps, child))
    start(state, one_step(60 * MINUTE_MS, name="busy"), "busy")
    step(state, Placed(place(state)[1].placements), NOW_MS)
    start(state, flow, "first", "second")
    assert where(place(state)[1]) == [("first", "dear")], "one goes ahead, at once, the others wait for what it tells"


def test_where_cheap_room_is_free_the_one_that_goes_ahead_goes_there(state: MeshState) -> None:
    flow = one_step(240 * MINUTE_MS)
    child = dataclasses.replace(flow.steps[0], index=1, identifier="then", needs=(0,))
    start(state, dataclasses.replace(flow, steps=(*flow.steps, child)), "first", "second")
    assert where(place(state)[1]) == [("first", "cheap")]


def test_what_waits_for_a_usual_price_says_so_and_a_quote_does_not_count_on_it() -> None:
    state = MeshState()
    now_ms = 20_000 * DAY_MS + 12 * 60 * MINUTE_MS
    evening_ms = 8 * 60 * MINUTE_MS
    step(state, AgentAttached(agent("own", 0.40, 1)), now_ms - 5 * DAY_MS)
    step(state, AgentAttached(agent("spot", 0.30, 1, price_kind="spot")), now_ms - 5 * DAY_MS)
    for day in range(4, 0, -1):
        step(state, AgentChanged(agent("spot", 0.02, 1, price_kind="spot")), now_ms - day * DAY_MS + evening_ms)
        step(
            state,
            AgentChanged(agent("spot", 0.30, 1, price_kind="spot")),
            now_ms - (day - 1) * DAY_MS - evening_ms // 2,
        )
    flow = one_step(12 * 60 * MINUTE_MS)
    quoted = quotes(state, flow, now_ms)
    state.workflows[flow.identifier] = flow
    trigger = TriggerFacts("api-call", now_ms, "now")
    payload = ObjectAddress(json="{}")
    step(state, RunCreated("r1", flow.identifier, flow.identifier, trigger, payload, now_ms + flow.sla_ms), now_ms)
    plan, decided = place(state, now_ms=now_ms)
    assert not decided.placements
    assert decided.held
    (why,) = explain(state, state.runs["r1"], plan, now_ms)
    assert "usually cheaper" in why.reason
    assert quoted.quote.cost_usd > 0.25 / 60, "a minute at the price of now"
    later_ms = now_ms + evening_ms
    step(state, AgentChanged(agent("spot", 0.02, 1, price_kind="spot")), later_ms)
    _, decided = place(state, now_ms=later_ms)
    assert [each.agent_id for each in decided.placements] == ["spot"]
