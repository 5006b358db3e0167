"""What was accepted gets done, once, whatever dies: agents, coordinators at the worst line, etcd."""

from __future__ import annotations

import asyncio

import pytest

from orbit_core import failpoints
from tests.e2e.conftest import AGENTS

pytestmark = pytest.mark.e2e

COUNT = 12


def slow_webhooks(url: str) -> bytes:
    return f"""
version: 0.0.1b
cluster:
  identifier: test/work
  sla: 10m
  trigger: {{api-call: true}}
  retries: {{max-retries: 3, delay: 100ms}}
  satellites:
    - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: {COUNT}}}}}
    - {{uses: satellite/orbit/sleep, identifier: wait, config: {{seconds: 0.7}}}}
    - {{uses: satellite/exospherehost/call-webhook, identifier: call, config: {{url: "{url}", method: POST}},
        input: {{n: "${{{{ satellites.many.output.index }}}}"}}}}
""".encode()


async def follow(client, run):
    async for seen in client.watch(run.run_id):
        run = seen
    return run


async def check(client, run, webhook) -> None:
    """All of it, once: every object has one result, and the webhook saw one key for each invocation."""
    run = await asyncio.wait_for(follow(client, run), 90)
    assert (run.state, run.lineages_succeeded) == ("succeeded", COUNT)
    results = [result async for result in client.results(run.run_id)]
    assert len({result.invocation_id for result in results}) == len(results) == COUNT
    assert set(webhook.keys) == {result.invocation_id for result in results}


async def begun(client, run, step: int = 1) -> None:
    """Waits until some invocations of the step run."""
    async for seen in client.watch(run.run_id):
        if seen.steps[step].running:
            return


async def test_an_agent_is_killed_mid_run(start_mesh, connect, webhook):
    mesh = await start_mesh()
    client = connect(mesh)
    await client.submit(slow_webhooks(webhook.url))
    run = await client.trigger("test/work", {})
    await begun(client, run)
    await mesh.kill_agent(0)
    await check(client, run, webhook)
    assert (await client.run(run.run_id)).attempts_lost > 0


@pytest.mark.parametrize("failpoint", ["before-dispatch=8", "before-acknowledgement=8"])
async def test_the_coordinator_dies_at_the_worst_line(start_mesh, connect, webhook, failpoint, monkeypatch, eventually):
    monkeypatch.setenv(failpoints.VARIABLE, failpoint)
    mesh = await start_mesh()
    client = connect(mesh)
    await client.submit(slow_webhooks(webhook.url))
    run = await client.trigger("test/work", {})
    await eventually(lambda: not mesh.coordinators[0].running, what="the failpoint")
    del mesh.environment[failpoints.VARIABLE]
    await mesh.start_coordinator(0)
    await check(client, run, webhook)


async def test_a_second_coordinator_takes_over(start_mesh, connect, webhook):
    mesh = await start_mesh(coordinators=2)
    client = connect(mesh)
    await client.submit(slow_webhooks(webhook.url))
    run = await client.trigger("test/work", {})
    await begun(client, run)
    await mesh.kill_coordinator()
    await check(client, run, webhook)


async def test_etcd_restarts(start_mesh, connect, webhook):
    mesh = await start_mesh()
    client = connect(mesh)
    await client.submit(slow_webhooks(webhook.url))
    run = await client.trigger("test/work", {})
    await begun(client, run)
    await mesh.etcd.restart(kill=True)
    await check(client, run, webhook)


async def test_an_agent_that_is_told_to_stop_hands_its_work_over(start_mesh, connect, webhook):
    mesh = await start_mesh()
    client = connect(mesh)
    await client.submit(slow_webhooks(webhook.url))
    run = await client.trigger("test/work", {})
    await begun(client, run)
    await client.drain(AGENTS[0].id)
    await check(client, run, webhook)
    final = await client.run(run.run_id)
    assert not [agent for agent in await client.agents() if agent.agent_id == AGENTS[0].id and agent.running]
    assert final.lineages_failed == 0
