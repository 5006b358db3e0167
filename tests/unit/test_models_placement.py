"""Models in placement and at submission: what fetching costs, who is barred, what is unknown, what cannot be held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_coordinator.services.scheduling import _install
from orbit_coordinator.streams import facts_of
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.sched.estimate import Estimates
from orbit_core.sched.events import AgentAttached, RunCreated, TimePassed
from orbit_core.sched.explain import explain
from orbit_core.sched.model import AgentFacts, ObjectAddress, TriggerFacts
from orbit_core.sched.place import Placer
from orbit_core.sched.plan import Planner
from orbit_core.sched.price import COLD_MODEL_MS, FETCHED_MODEL_MS, expected_cost_usd
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.loader import LoadResult, load
from orbit_core.spec.models import RetryPolicy
from satellites.catalog import InstalledCatalog
from satellites.contract import JsonObject, Requirement, Satellite, SatelliteConfig, SatelliteInput
from satellites.registry import Registry, missing

NOW_MS = 1_000_000
ASK = StepPlan(0, "ask", "main", "satellite/t/ask", (), RetryPolicy(), Need(1000, 1 << 20), 600_000, 10_000, model="m")


def agent(name: str, price: float, **more: object) -> AgentFacts:
    facts = AgentFacts(name, "1", f"{name}:1", 1000, 8 << 30, (), price, satellites=("satellite/t/ask",))
    return replace(facts, **more)  # type: ignore[arg-type]


def mesh(*agents: AgentFacts) -> MeshState:
    """A mesh with one run of one step that asks the model."""
    state = MeshState()
    for each in agents:
        step(state, AgentAttached(each), NOW_MS)
    flow = Workflow("test/flow", 20_000, (ASK,))
    state.workflows[flow.identifier] = flow
    trigger = TriggerFacts("api-call", NOW_MS, "now")
    created = RunCreated("run", flow.identifier, flow.identifier, trigger, ObjectAddress(json="{}"), NOW_MS + 20_000)
    step(state, created, NOW_MS)
    step(state, TimePassed(), NOW_MS)
    return state


def placed(state: MeshState) -> list[str]:
    return [each.agent_id for each in Placer().place(state, None, Planner().plan(state, NOW_MS)).placements]


def test_a_fetch_and_a_load_are_part_of_the_price() -> None:
    cold, cached, warm = (
        expected_cost_usd(Estimates(), replace(agent("a", 3.6), **more), ASK)  # type: ignore[arg-type]
        for more in ({}, {"cached_models": ("m",)}, {"cached_models": ("m",), "warm_models": ("m",)})
    )
    assert cached - warm == pytest.approx(COLD_MODEL_MS / 1e6), "at 3.6 dollars an hour, a dollar is 1000 seconds"
    assert cold - cached == pytest.approx(FETCHED_MODEL_MS / 1e6)
    assert expected_cost_usd(Estimates(), agent("a", 3.6), replace(ASK, model=None)) == warm


def test_work_goes_where_its_model_is_unless_that_is_dearer() -> None:
    holder = {"cached_models": ("m",)}
    assert placed(mesh(agent("cheap", 1.0), agent("holds", 1.5, **holder))) == ["holds"]
    assert placed(mesh(agent("cheap", 1.0), agent("holds", 9.0, **holder))) == ["cheap"]


def test_a_barred_agent_is_never_chosen_and_explain_says_why() -> None:
    barred = agent("barred", 0.1, barred_models=("m",), warm_models=("m",))
    assert placed(mesh(barred, agent("dear", 9.0))) == ["dear"]
    state = mesh(barred)
    assert placed(state) == []
    (why,) = explain(state, state.runs["run"], None, NOW_MS)
    assert why.reason == "no agent has the labels that the model m is kept to"
    assert why.elsewhere[0].reason == "the model m is kept to agents with other labels"


def test_facts_come_from_what_the_agent_advertises() -> None:
    said = agents_pb2.Advertisement(
        agent_id="a",
        cached_models=["m", "n"],
        warm_models=["n"],
        models=[agents_pb2.AgentModel(name="k", barred=True), agents_pb2.AgentModel(name="m")],
    )
    facts = facts_of(said)
    assert (facts.cached_models, facts.warm_models, facts.barred_models) == (("m", "n"), ("n",), ("k",))


FILE = """
version: 0.0.1b
cluster:
  identifier: test/models
  sla: 1h
  trigger: {{api-call: true}}
  satellites:
    - uses: satellite/orbit/{uses}
      identifier: ask
      config: {config}
      input: {{prompt: hi, text: hi}}
"""


def checked(config: str, *, uses: str = "generate", models: list[str] | None) -> LoadResult:
    return load(FILE.format(uses=uses, config=config), catalog=InstalledCatalog(), models=models)


def unknown(result: LoadResult) -> list[str]:
    assert result.cluster is not None, result.errors
    return [each.path for each in result.warnings if each.code == "unknown-model"]


def test_a_model_that_nobody_registered_is_a_warning() -> None:
    there = ["cluster.satellites[0].config.model"]
    assert unknown(checked("{model: tiny}", models=["other"])) == there
    assert unknown(checked("{model: tiny}", uses="embed", models=[])) == there
    assert unknown(checked("{}", uses="llama-3.1-8b-instruct", models=[])) == ["cluster.satellites[0].uses"]
    [warning] = [each for each in checked("{model: tiny}", models=[]).warnings if each.code == "unknown-model"]
    assert "`orbit models add tiny SOURCE`" in warning.message


def test_known_models_and_those_that_are_not_known_yet_are_no_warning() -> None:
    assert unknown(checked("{model: tiny}", models=["tiny"])) == []
    assert unknown(checked("{model: tiny}", models=None)) == []
    assert unknown(checked('{model: "${{ trigger.model }}"}', models=[])) == []
    assert unknown(checked("{objects: [{a: 1}]}", uses="echo", models=[])) == []


@pytest.mark.parametrize(
    "schema",
    [
        "{type: array, items: {type: string}, uniqueItems: true}",
        "{type: object, properties: {a: {not: {type: string}}}}",
        "{type: string, pattern: '(?=a)b'}",
    ],
)
def test_a_schema_that_no_answer_can_be_held_to_is_an_error(schema: str) -> None:
    pytest.importorskip("llguidance")
    result = checked(f"{{model: m, output-schema: {schema}}}", models=["m"])
    assert [each.path for each in result.errors] == ["cluster.satellites[0].config.output-schema"]
    assert "cannot be held to this schema" in result.errors[0].message


def test_a_schema_that_can_be_held_is_none() -> None:
    assert checked('{model: m, output-schema: "{a: string, b: [number]}"}', models=["m"]).errors == ()


class Plain(Satellite[SatelliteConfig, SatelliteInput]):
    name = "satellite/acme/plain"
    Config = SatelliteConfig
    Input = SatelliteInput

    async def run(self, config: SatelliteConfig, input: SatelliteInput, context: object) -> list[JsonObject]:
        return []


class Demanding(Plain):
    name = "satellite/acme/demanding"
    requires = (Requirement("json", "nothing"), Requirement("no_such_module", "acme[all]"))


def test_what_cannot_run_here_is_not_offered_and_says_what_it_lacks() -> None:
    known = Registry([Plain, Demanding])
    assert known.runnable() == ("satellite/acme/plain",)
    assert missing(Demanding) == (Requirement("no_such_module", "acme[all]"),)
    catalog = InstalledCatalog(known)
    assert _install("satellite/acme/demanding", catalog) == "; install nothing, acme[all] on one"
    assert _install("satellite/acme/plain", catalog) == ""
