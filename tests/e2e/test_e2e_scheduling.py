"""What an SLA is worth: the same work, once in a hurry and once not, on agents of different price."""

from __future__ import annotations

import pytest

from tui.mesh.local import AgentPlan

pytestmark = pytest.mark.e2e

CLUSTER = """
version: 0.0.1b
cluster:
  identifier: test/{name}
  sla: {sla}
  trigger: {{api-call: true}}
  satellites:
    - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: 8}}}}
    - uses: satellite/orbit/sleep
      identifier: work
      config: {{seconds: 2}}
      resources: {{cpu: 1}}
"""


async def finish(client, name: str, sla: str):
    await client.submit(CLUSTER.format(name=name, sla=sla).encode())
    run = await client.trigger(f"test/{name}")
    async for seen in client.watch(run.run_id):
        run = seen
    agents = [result.agent_id async for result in client.results(run.run_id)]
    return run, agents


async def test_more_time_costs_less(start_mesh, connect):
    cheap = AgentPlan(id="cheap", price_usd_per_hour=0.05, cpus=1, memory="2GiB")
    dear = AgentPlan(id="dear", price_usd_per_hour=2.0, cpus=4, memory="4GiB")
    client = connect(await start_mesh((cheap, dear)))
    hurried, hurried_agents = await finish(client, "hurried", "14s")
    patient, patient_agents = await finish(client, "patient", "10m")
    assert (hurried.sla, patient.sla) == ("met", "met")
    assert "dear" in hurried_agents, "sixteen seconds of work on one core do not fit into fourteen"
    assert patient_agents == ["cheap"] * 8
    assert patient.cost_usd < hurried.cost_usd / 2
    assert patient.expected_late is False
    await quotes_and_costs_agree(client)


async def quotes_and_costs_agree(client):
    found = await client.quote(cluster="test/patient")
    assert found.quote.feasible
    assert not found.problems
    costs = [each.cost_usd for each in found.others]
    assert costs == sorted(costs, reverse=True), "a longer SLA is never dearer"
    *lines, total = await client.cost("satellite")
    assert {line.key for line in lines} == {"satellite/orbit/echo", "satellite/orbit/sleep"}
    assert total.runs == 2
    assert abs(sum(line.cost_usd for line in lines) - total.cost_usd) < 1e-9
    assert total.runs_looked_back_on == 2
    assert 0 < total.least_usd < total.cost_usd, "the hurried run bought more than who knows everything would have"
    assert abs(total.least_usd + total.lost_usd - total.cost_usd) < 1e-9
    assert abs(sum(line.lost_usd for line in lines) - total.lost_usd) < 1e-9
