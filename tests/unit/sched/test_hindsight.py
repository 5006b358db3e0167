"""What work could have cost at the least, in cases that can be worked out on paper."""

from __future__ import annotations

import dataclasses

import pytest

from orbit_core.sched import hindsight
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentLost,
    AttemptReturned,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Placed,
    Placement,
    RunCreated,
)
from orbit_core.sched.hindsight import Job, Offer, least
from orbit_core.sched.model import AgentFacts, AttemptKey, ObjectAddress, Outputs, TriggerFacts, Usage
from orbit_core.sched.past_work import EndedRun, look_back
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
T0_MS = 1_000_000_000_000

WORK = StepPlan(0, "work", "main", "satellite/t/work", (), RetryPolicy(), Need(1_000, 1 << 20), HOUR_MS, MINUTE_MS)


def core(name: str, usd: float, **more: object) -> AgentFacts:
    """An agent with a single core, which one attempt takes whole."""
    facts = AgentFacts(name, "1", f"{name}:1", 1_000, 8 << 30, (), usd, satellites=("satellite/t/work",))
    return dataclasses.replace(facts, **more)  # type: ignore[arg-type]


def test_the_cheap_agent_does_what_it_can_and_the_rest_is_bought() -> None:
    offers = [Offer(core("cheap", 1.0), ((0, HOUR_MS, 1.0),)), Offer(core("dear", 4.0), ((0, HOUR_MS, 4.0),))]
    # An hour and a half of a core, to be done within an hour: an hour at 1 dollar, half an hour at 4.
    jobs = [Job(f"run-{n}", WORK, {0: 0.75 * HOUR_MS, 1: 0.75 * HOUR_MS}, 0, HOUR_MS) for n in range(2)]
    found = least(jobs, offers)
    assert found.total_usd == pytest.approx(1.0 + 2.0)
    assert found.cost_usd == pytest.approx((1.5, 1.5)), "alike, they share what both cost"
    assert found.late_runs == ()
    assert found.with_capacity


def test_who_knows_the_night_price_waits_for_it_and_who_must_not_wait_pays() -> None:
    offers = [Offer(core("office", 3.0), ((0, HOUR_MS, 3.0), (HOUR_MS, 2 * HOUR_MS, 1.0)))]
    patient = Job("patient", WORK, {0: HOUR_MS / 2}, 0, 2 * HOUR_MS)
    urgent = Job("urgent", WORK, {0: HOUR_MS / 4}, 0, HOUR_MS)
    found = least([patient, urgent], offers)
    assert found.cost_usd == pytest.approx((0.5, 0.75))
    faster = dataclasses.replace(patient, run="faster", takes_ms={0: HOUR_MS / 4})
    assert least([faster], offers).total_usd == pytest.approx(0.25)


def test_what_cannot_be_in_time_is_named_and_counts_at_the_lowest_price() -> None:
    offers = [Offer(core("only", 2.0), ((0, HOUR_MS, 2.0),))]
    found = least([Job("large", WORK, {0: 2.0 * HOUR_MS}, 0, HOUR_MS)], offers)
    assert found.late_runs == ("large",)
    assert found.total_usd == pytest.approx(4.0)


def test_without_capacity_it_is_never_more(monkeypatch) -> None:
    offers = [Offer(core("cheap", 1.0), ((0, HOUR_MS, 1.0),)), Offer(core("dear", 4.0), ((0, HOUR_MS, 4.0),))]
    jobs = [Job("run", WORK, {0: 1.5 * HOUR_MS, 1: 1.5 * HOUR_MS}, 0, HOUR_MS)]
    monkeypatch.setattr(hindsight, "_COLUMNS_MOST", 1)
    found = least(jobs, offers)
    assert not found.with_capacity
    assert found.total_usd == pytest.approx(1.5)


class Mesh:
    """Events at minutes from the start."""

    def __init__(self, flow: Workflow) -> None:
        self.state = MeshState()
        self.state.workflows["spec"] = flow
        self.flow = flow

    def tell(self, minute: float, event: Event) -> None:
        step(self.state, event, T0_MS + round(minute * MINUTE_MS))

    def run(self, minute: float, name: str) -> Run:
        at_ms = T0_MS + round(minute * MINUTE_MS)
        payload = ObjectAddress(json="{}")
        trigger = TriggerFacts("api-call", at_ms, "now")
        self.tell(minute, RunCreated(name, "t/flow", "spec", trigger, payload, at_ms + self.flow.sla_ms))
        return self.state.runs[name]

    def place(self, minute: float, run: Run, agent_id: str) -> AttemptKey:
        invocation = next(iter(run.invocations.values()))
        self.tell(minute, Placed((Placement(run.id, invocation.id, agent_id),)))
        key = AttemptKey(run.id, invocation.id, invocation.attempt)
        self.tell(minute, AttemptStarted(key, agent_id))
        return key

    def end(self, minute: float, key: AttemptKey, agent_id: str, took_minutes: float) -> None:
        usage = Usage(duration_ms=round(took_minutes * MINUTE_MS))
        self.tell(minute, AttemptSucceeded(key, agent_id, Outputs(inline=("{}",)), usage))


def test_a_run_bought_dear_though_the_own_core_was_to_be_free_in_time() -> None:
    """Both take half an hour and have one. The policy knew of no end and bought one of them for twice as long.

    With hindsight both fit into the hour of the own core at 0.60 dollars: 0.60. Paid were 0.30 for the first, and
    for the second 10 minutes of an agent that went away (0.40) and half an hour of another (1.20).
    """
    mesh = Mesh(Workflow("t/flow", HOUR_MS, (WORK,)))
    mesh.tell(0, AgentAttached(core("own", 0.60)))
    mesh.tell(0, AgentAttached(core("spot", 2.40, price_kind="spot")))
    mesh.tell(0, AgentAttached(core("cloud", 2.40, price_kind="on-demand")))
    one, two = mesh.run(0, "one"), mesh.run(0, "two")
    first = mesh.place(0, one, "own")
    mesh.place(0, two, "spot")
    mesh.tell(10, AgentLost("spot", "1", announced=True))
    again = mesh.place(10, two, "cloud")
    mesh.end(30, first, "own", 30)
    mesh.end(40, again, "cloud", 30)
    assert (one.cost_usd, two.cost_usd) == pytest.approx((0.30, 0.40 + 1.20))
    assert two.work["0|cpu"].total_ms == 30 * MINUTE_MS, "what was lost is not work that had to be done"
    question = look_back(mesh.state, [ended(mesh, one), ended(mesh, two)], T0_MS + 2 * HOUR_MS)
    found = question.answer()
    assert list(question.runs) == ["one", "two"]
    assert found.total_usd == pytest.approx(0.60)
    early = look_back(mesh.state, [ended(mesh, one), ended(mesh, two)], T0_MS + 40 * MINUTE_MS).answer()
    assert early.total_usd == pytest.approx(0.40 + 20 / 60 * 2.40), "after forty minutes no more is known than those"


def test_only_runs_of_a_time_that_is_remembered_are_looked_back_on() -> None:
    mesh = Mesh(Workflow("t/flow", HOUR_MS, (WORK,)))
    mesh.tell(0, AgentAttached(core("own", 0.60)))
    run = mesh.run(1, "one")
    key = mesh.place(1, run, "own")
    mesh.tell(2, AttemptReturned(key, "own", "drain"))
    assert not run.work
    mesh.end(12, mesh.place(2, run, "own"), "own", 10)
    now_ms = T0_MS + HOUR_MS
    known = ended(mesh, run)
    assert look_back(mesh.state, [known], now_ms).jobs
    assert not look_back(mesh.state, [dataclasses.replace(known, created_ms=T0_MS - 1)], now_ms).jobs
    mesh.tell(13, AgentChanged(core("own", 0.60, satellites=())))
    assert not look_back(mesh.state, [known], now_ms).jobs, "nobody is known any more who could have done it"


def ended(mesh: Mesh, run: Run) -> EndedRun:
    return EndedRun(run.id, mesh.flow, run.created_ms, run.deadline_ms, dict(run.work))
