"""Cost lines: what runs cost and lost adds up by whatever they are summed up by; old summaries lose nothing."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToDict

from orbit_coordinator.archive import Archive
from orbit_coordinator.costs import Counted, Share, counted, lines, looked_back_on
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.pb.orbit.v1 import scheduling_pb2 as pb
from orbit_core.sched.hindsight import Job, Least
from orbit_core.sched.model import Usage
from orbit_core.sched.past_work import EndedRun
from orbit_core.sched.state import MeshState
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy
from orbit_core.store.api import Put
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore

STEPS = tuple(
    StepPlan(at, name, "main", f"satellite/t/{name}", (), RetryPolicy(), Need(1_000, 1), 1_000, 1_000)
    for at, name in enumerate(("read", "write"))
)
FLOW = Workflow("t/flow", 1_000, STEPS)


def run(name: str, *shares: tuple[str, float], ended: bool = True) -> Counted:
    known = EndedRun(name, FLOW, 0, 1_000, {}) if ended else None
    cost = sum(usd for _, usd in shares)
    return Counted(name, "t/flow", 0, cost, Usage(), tuple(Share(key, usd, Usage()) for key, usd in shares), known)


def test_by_satellite_each_line_lost_what_its_steps_did_and_by_run_what_the_run_did() -> None:
    jobs = [Job("one", STEPS[0], {0: 1.0}, 0, 1), Job("one", STEPS[1], {0: 1.0}, 0, 1)]
    least = Least((0.25, 0.50), (), with_capacity=True)
    by_step = [
        run("one", ("satellite/t/read", 1.0), ("satellite/t/write", 0.75)),
        run("two", ("satellite/t/read", 4.0)),
    ]
    found, total = lines(by_step, pb.COST_BY_SATELLITE, jobs, least)
    told = {line.key: (line.cost_usd, line.runs, line.runs_looked_back_on, line.lost_usd) for line in found}
    assert told == {"satellite/t/read": (5.0, 2, 1, 0.75), "satellite/t/write": (0.75, 1, 1, 0.25)}
    assert (total.cost_usd, total.runs_looked_back_on, total.least_usd, total.lost_usd) == (5.75, 1, 0.75, 1.0)
    found, total = lines([run("one", ("one", 1.75)), run("two", ("two", 4.0))], pb.COST_BY_RUN, jobs, least)
    assert [(line.key, line.least_usd, line.lost_usd) for line in found] == [("two", 0.0, 0.0), ("one", 0.75, 1.0)]
    assert total.lost_usd == 1.0


def test_runs_that_go_on_are_not_looked_back_on() -> None:
    assert [each.id for each in looked_back_on([run("one"), run("two", ended=False), run("also")])] == ["also", "one"]


async def test_a_summary_of_a_time_without_work_is_counted_and_not_looked_back_on() -> None:
    store, keys = MemoryStore(), Keys()
    view = runs_pb2.Run(run_id="run-old", cluster="t/flow", spec_hash="gone", created_ms=5, cost_usd=0.5)
    summary = {"format": 1, "run": MessageToDict(view, preserving_proto_field_name=True), "record": "", "logs": ""}
    await store.txn(compare=[], success=[Put(keys.archived("run-old"), json.dumps(summary).encode())])

    class Resources:
        archive = Archive(store, keys, None)  # type: ignore[arg-type]

    found = [each async for each in counted(MeshState(), Resources(), pb.COST_BY_RUN, 0)]  # type: ignore[arg-type]
    assert [(each.id, each.cost_usd, each.ended) for each in found] == [("run-old", pytest.approx(0.5), None)]
