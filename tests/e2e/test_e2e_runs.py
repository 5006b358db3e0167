"""What a run comes to: fan-out, retries, failure steps, gathers, conditions, time-outs, cancel, secrets."""

from __future__ import annotations

import pytest

from orbit_core.errors import InvalidSpecError, NotFoundError, PreconditionError
from orbit_core.store.etcd import EtcdConfig, EtcdStore

pytestmark = pytest.mark.e2e

HEAD = """
version: 0.0.1b
cluster:
  identifier: test/{name}
  sla: 10m
  trigger: {{api-call: true}}
  retries: {{max-retries: 2, delay: 100ms, jitter: none}}
"""


def cluster(name: str, body: str) -> bytes:
    indented = "\n".join("  " + line for line in body.strip("\n").splitlines())
    return (HEAD.format(name=name) + indented + "\n").encode()


async def finish(client, name, payload=None):
    """Triggers a run and waits for its end."""
    run = await client.trigger(f"test/{name}", payload or {})
    async for seen in client.watch(run.run_id):
        run = seen
    return run


async def test_what_runs_come_to(start_mesh, connect, webhook):
    """One mesh, many clusters: each story is checked on its own below."""
    mesh = await start_mesh()
    client = connect(mesh)
    await fan_out_in_order(client)
    await retries_then_success(client)
    await failure_steps_run_for_each_failed_lineage(client)
    await gathers_and_conditions(client)
    await a_hanging_attempt_times_out(client)
    await cancel_stops_what_runs(client)
    await secrets_stay_secret(mesh, client, webhook)
    await a_failing_webhook_sees_one_key(client, webhook)
    await wrong_requests_say_what_is_wrong(client)


async def fan_out_in_order(client):
    await client.submit(
        cluster(
            "fan",
            """
satellites:
  - {uses: satellite/orbit/echo, identifier: many, config: {objects: [{a: 1}], copies: 40}}
  - uses: satellite/orbit/echo
    identifier: each
    input: {n: "${{ satellites.many.output.index }}", day: "${{ trigger.day }}"}
""",
        )
    )
    run = await finish(client, "fan", {"day": "monday"})
    assert (run.state, run.sla, run.lineages_succeeded) == ("succeeded", "met", 40)
    values = [result.value async for result in client.results(run.run_id)]
    assert sorted(value["n"] for value in values) == list(range(40))
    assert {value["day"] for value in values} == {"monday"}
    assert run.cost_usd > 0


async def retries_then_success(client):
    await client.submit(
        cluster(
            "retry",
            """
satellites:
  - {uses: satellite/orbit/fail, identifier: flaky, config: {attempts: 2}}
""",
        )
    )
    run = await finish(client, "retry", {"x": 1})
    assert (run.state, run.attempts) == ("succeeded", 3)


async def failure_steps_run_for_each_failed_lineage(client):
    await client.submit(
        cluster(
            "failing",
            """
satellites:
  - {uses: satellite/orbit/echo, identifier: many, config: {objects: [{a: 1}], copies: 4}}
  - {uses: satellite/orbit/fail, identifier: broken, config: {message: "no way", permanent: true}}
failure:
  from: broken
  satellites:
    - uses: satellite/orbit/echo
      identifier: note
      input: {why: "${{ failure.error }} at ${{ failure.satellite }}", n: "${{ satellites.many.output.index }}"}
""",
        )
    )
    run = await finish(client, "failing")
    assert (run.state, run.lineages_failed) == ("failed", 4)
    broken = [each async for each in client.invocations(run.run_id, step="broken")]
    assert [each.retries for each in broken] == [1, 1, 1, 1], "a permanent error is not tried again"
    notes = [result.value async for result in client.results(run.run_id, steps=["note"])]
    assert sorted(note["n"] for note in notes) == [0, 1, 2, 3]
    assert {note["why"] for note in notes} == {"no way at broken"}
    failures = [result.failure async for result in client.results(run.run_id)]
    assert [failure.code for failure in failures] == ["on-purpose"] * 4


async def gathers_and_conditions(client):
    await client.submit(
        cluster(
            "gather",
            """
satellites:
  - {uses: satellite/orbit/echo, identifier: many, config: {objects: [{a: 1}], copies: 5}}
  - {uses: satellite/orbit/fail, identifier: odd, if: "satellites.many.output.index > 3", config: {permanent: true}}
  - {uses: satellite/orbit/echo, identifier: all, gather: {over: run, when: all-ended}}
""",
        )
    )
    run = await finish(client, "gather")
    assert run.state == "partially-succeeded"
    [gathered] = [result.value async for result in client.results(run.run_id, steps=["all"])]
    assert [each["index"] for each in gathered["odd"]] == [0, 1, 2, 3]


async def a_hanging_attempt_times_out(client):
    await client.submit(
        cluster(
            "hang",
            """
satellites:
  - {uses: satellite/orbit/sleep, identifier: hang, timeout: 1s, retries: 1, config: {seconds: 600}}
""",
        )
    )
    run = await finish(client, "hang")
    assert (run.state, run.attempts) == ("failed", 2)
    [failed] = [result async for result in client.results(run.run_id)]
    assert failed.failure.code == "timeout"


async def cancel_stops_what_runs(client):
    await client.submit(
        cluster(
            "long",
            """
satellites:
  - {uses: satellite/orbit/sleep, identifier: long, config: {seconds: 600}}
""",
        )
    )
    run = await client.trigger("test/long", {})
    async for seen in client.watch(run.run_id):
        if seen.steps[0].running:
            await client.cancel(run.run_id, reason="changed my mind")
        run = seen
    assert (run.state, run.reason) == ("cancelled", "changed my mind")
    assert all(not agent.running for agent in await client.agents())


async def secrets_stay_secret(mesh, client, webhook):
    text = cluster(
        "secret",
        f"""
secrets:
  - TOKEN: planted-secret-1234567
satellites:
  - uses: satellite/exospherehost/call-webhook
    identifier: call
    config:
      url: {webhook.url}
      method: POST
      headers:
        - Authorization: Bearer ${{{{ secrets.TOKEN }}}}
      body:
        - echoed: ${{{{ secrets.TOKEN }}}}
""",
    )
    await client.submit(text)
    run = await finish(client, "secret")
    assert run.state == "succeeded"
    assert b"planted-secret-1234567" in webhook.requests[-1][1], "the step that names it gets it"
    store = EtcdStore(EtcdConfig(mesh.etcd_endpoints))
    try:
        everything = await store.get_prefix(b"/")
    finally:
        await store.close()
    assert everything.kvs
    assert not [kv.key for kv in everything.kvs if b"planted-secret" in kv.value]
    assert not [path for path in mesh.log_dir.rglob("*") if b"planted-secret" in path.read_bytes()]
    shown = await client.cluster("test/secret")
    assert "planted-secret" not in shown.document
    assert [secret.name for secret in await client.secrets("test/secret")] == ["TOKEN"]


async def a_failing_webhook_sees_one_key(client, webhook):
    webhook.requests.clear()
    webhook.answer = lambda number: 503 if number < 3 else 200
    await client.submit(
        cluster(
            "hook",
            f"""
satellites:
  - {{uses: satellite/exospherehost/call-webhook, identifier: call, config: {{url: "{webhook.url}", method: POST}}}}
""",
        )
    )
    run = await finish(client, "hook")
    assert (run.state, run.attempts) == ("succeeded", 3)
    assert len(webhook.keys) == 3 and len(set(webhook.keys)) == 1 and webhook.keys[0].startswith("inv-")


async def wrong_requests_say_what_is_wrong(client):
    with pytest.raises(InvalidSpecError) as refused:
        await client.submit(cluster("typo", "satellites:\n  - {uses: satellite/orbit/ecco, identifier: a}"))
    assert "satellite/orbit/echo" in "\n".join(each.description for each in refused.value.violations)
    with pytest.raises(NotFoundError):
        await client.run("run-that-never-was")
    with pytest.raises(NotFoundError):
        await client.trigger("test/unknown", {})
    cron = cluster("nightly", "satellites:\n  - {uses: satellite/orbit/echo, identifier: a}")
    await client.submit(cron.replace(b"{api-call: true}", b'{cron: "0 0 * * *"}'))
    with pytest.raises(PreconditionError, match="api-call"):
        await client.trigger("test/nightly", {})
