"""What people do to runs and clusters once there are some: retry, resume, delete, roll back, disable, download."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from orbit_core import failpoints
from orbit_core.client import OrbitClient, Run
from orbit_core.errors import InvalidRequestError, NotFoundError, PreconditionError
from orbit_core.ids import content_hash
from orbit_core.pb.orbit.v1 import runs_pb2, runs_pb2_grpc
from tests.e2e.conftest import Webhook
from tui.mesh import LocalMesh

pytestmark = pytest.mark.e2e

COUNT = 6
BAD = {1, 4}


def cluster(name: str, satellites: str, **keys: Any) -> bytes:
    head = {"identifier": f"test/{name}", "sla": "10m", "trigger": {"api-call": True}, **keys}
    lines = [f"  {key}: {json.dumps(value)}" for key, value in head.items()]
    steps = [f"    - {step}" for step in satellites.strip().splitlines()]
    return "\n".join(["version: 0.0.1b", "cluster:", *lines, "  satellites:", *steps, ""]).encode()


def calls(name: str, webhook: Webhook) -> bytes:
    """Fans out, waits a little, and posts each number."""
    number = "${{ satellites.many.output.index }}"
    return cluster(
        name,
        f"""
{{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: {COUNT}}}}}
{{uses: satellite/orbit/sleep, identifier: wait, config: {{seconds: 0.1}}}}
{{uses: satellite/orbit/call-webhook, identifier: call, config: {{url: "{webhook.url}"}}, input: {{n: "{number}"}}}}
""",
        retries=0,
    )


def posted(webhook: Webhook) -> list[int]:
    return sorted(json.loads(body)["n"] for _, body in webhook.requests)


def refuse(webhook: Webhook, numbers: set[int]) -> None:
    """The receiver refuses these for good."""
    webhook.judge = lambda body: 400 if json.loads(body).get("n") in numbers else 0


async def end_of(client: OrbitClient, run: Run) -> Run:
    async for seen in client.watch(run.run_id):
        run = seen
    return run


async def failed_in_part(client: OrbitClient, webhook: Webhook, name: str) -> Run:
    await client.submit(calls(name, webhook))
    refuse(webhook, BAD)
    run = await end_of(client, await client.trigger(f"test/{name}"))
    assert (run.state, run.lineages_succeeded, run.lineages_failed) == ("partially-succeeded", 4, 2)
    refuse(webhook, set())
    webhook.requests.clear()
    return run


async def test_what_people_do_to_runs_and_clusters(start_mesh, connect, webhook, tmp_path, eventually):
    """One mesh, each story checked on its own below."""
    mesh = await start_mesh()
    client = connect(mesh)
    await a_retry_runs_what_failed_and_nothing_else(client, webhook)
    await a_budget_pauses_and_a_larger_one_lets_it_go_on(mesh, client)
    await files_of_results_are_downloaded(client, tmp_path)
    await runs_are_found_page_by_page(client)
    await versions_are_kept_and_rolled_back(client)
    await a_disabled_cluster_starts_nothing(client)
    await what_is_deleted_is_gone(mesh, client)
    await a_cluster_follows_another(client, eventually)
    await keys_rotate_under_running_clusters(client, webhook)


async def a_retry_runs_what_failed_and_nothing_else(client, webhook):
    old = await failed_in_part(client, webhook, "again")
    run = await client.retry(old.run_id, request_id="first")
    assert run.retry_of == old.run_id
    assert (await client.retry(old.run_id, request_id="first")).run_id == run.run_id
    run = await end_of(client, run)
    assert (run.state, run.lineages_succeeded, run.lineages_failed) == ("succeeded", COUNT, 0)
    assert run.attempts == len(BAD), "only what failed"
    assert run.reused == 1 + COUNT + (COUNT - len(BAD)), "the fan-out, all that waited, and the calls that went well"
    assert posted(webhook) == sorted(BAD)
    results = [result async for result in client.results(run.run_id)]
    assert len(results) == COUNT, "what was taken over is a result of the new run too"
    assert run.cost_usd < old.cost_usd
    with pytest.raises(PreconditionError, match="nothing to retry"):
        await client.retry(run.run_id)
    assert (await client.retry(old.run_id, request_id="first")).run_id == run.run_id, "once it has ended, too"
    with pytest.raises(NotFoundError):
        await client.retry("run-that-never-was")


async def a_budget_pauses_and_a_larger_one_lets_it_go_on(mesh, client):
    await client.submit(
        cluster(
            "dear",
            """
{uses: satellite/orbit/echo, identifier: many, config: {objects: [{a: 1}], copies: 6}}
{uses: satellite/orbit/sleep, identifier: wait, config: {seconds: 0.5}, resources: {cpu: 1}}
""",
            budget=0.00002,
        )
    )
    run = await client.trigger("test/dear")
    async for seen in client.watch(run.run_id):
        run = seen
        if run.state == "paused" and not any(step.running for step in run.steps):
            break
    assert run.state == "paused"
    assert "budget" in run.reason
    assert 0 < run.cost_usd <= 0.00002 == run.budget_usd
    with pytest.raises(InvalidRequestError, match="lets nothing go on"):
        await client.resume(run.run_id, budget_usd=run.cost_usd / 2)
    async with next_picture(mesh, run.run_id) as pictured:
        resumed = await client.resume(run.run_id, budget_usd=1.0)
        assert (await pictured).state == runs_pb2.RUN_STATE_RUNNING, "and not the pause again, which was seen before"
    assert (resumed.state, resumed.budget_usd) == ("running", 1.0)
    assert (await client.resume(run.run_id, budget_usd=1.0)).run_id == run.run_id, "a call that is made twice"
    run = await end_of(client, resumed)
    assert (run.state, run.lineages_succeeded) == ("succeeded", 6)
    with pytest.raises(PreconditionError, match="ended"):
        await client.resume(run.run_id, budget_usd=2.0)


@contextlib.asynccontextmanager
async def next_picture(mesh: LocalMesh, run_id: str) -> AsyncIterator[asyncio.Task[runs_pb2.Run]]:
    """What a watch that goes on after the present picture of a run says first; it listens when the block begins."""
    async with grpc.aio.insecure_channel(mesh.addresses[0]) as channel:
        stub = runs_pb2_grpc.RunServiceStub(channel)
        seen = await anext(aiter(stub.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id))))
        stream = stub.WatchRun(runs_pb2.WatchRunRequest(run_id=run_id, resume_token=seen.resume_token))
        await stub.GetRun(runs_pb2.GetRunRequest(run_id=run_id))  # by the same way: the stream is there by now

        async def first() -> runs_pb2.Run:
            return (await anext(aiter(stream))).run

        task = asyncio.create_task(first())
        yield task
        task.cancel()


async def files_of_results_are_downloaded(client, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("first")
    (source / "deep" / "a.txt").write_text("another of that name")
    (source / "b.txt").write_bytes(b"large" * 200_000)
    step = f"{{uses: satellite/orbit/get-files, identifier: files, config: {{path: {source}, recursive: true}}}}"
    await client.submit(cluster("files", step))
    run = await end_of(client, await client.trigger("test/files"))
    assert run.state == "succeeded"
    written = await client.download(run.run_id, tmp_path / "kept")
    assert (written.objects_count, written.failures, len(written.files)) == (3, None, 3)
    contents = sorted(path.read_bytes() for path in written.files)
    assert contents == [b"another of that name", b"first", b"large" * 200_000]
    assert {path.name.split(".")[0] for path in written.files} == {"a", "b"}

    file = content_hash(b"first")
    assert b"".join([chunk async for chunk in client.file(run.run_id, file)]) == b"first"
    await client.submit(cluster("nothing", "{uses: satellite/orbit/echo, identifier: one}"))
    other = await end_of(client, await client.trigger("test/nothing"))
    with pytest.raises(NotFoundError, match="has no file"):
        await anext(client.file(other.run_id, file))
    given = {"deep": {"$file": {"sha256": file, "size": 5, "name": "a.txt", "media-type": "text/plain"}}}
    named = await end_of(client, await client.trigger("test/nothing", given))
    assert b"".join([chunk async for chunk in client.file(named.run_id, file)]) == b"first", "it was given that"


async def runs_are_found_page_by_page(client):
    everything = await client.runs()
    first = await client.runs_page(page_size=2)
    second = await client.runs_page(page_size=2, page_token=first.next_page_token)
    assert (*first.runs, *second.runs) == everything[:4]
    assert [run.cluster for run in await client.runs("test/dear")] == ["test/dear"]
    assert await client.runs(project="other") == ()
    assert {run.state for run in await client.runs(states=["partially-succeeded"])} == {"partially-succeeded"}
    assert await client.runs(slas=["missed"]) == ()
    middle = everything[1].created_ms
    assert await client.runs(created_from_ms=middle) == everything[:2]
    assert await client.runs(created_before_ms=middle) == everything[2:]


async def versions_are_kept_and_rolled_back(client):
    for message in ("one", "two", "three"):
        step = f"{{uses: satellite/orbit/echo, identifier: say, config: {{objects: [{{said: {message}}}]}}}}"
        await client.submit(cluster("versioned", step))

    async def says() -> Any:
        run = await end_of(client, await client.trigger("test/versioned"))
        return [result.value["said"] async for result in client.results(run.run_id)]

    current, second, first = await client.versions("test/versioned")
    assert (current.current, second.current, first.current) == (True, False, False)
    assert await says() == ["three"]
    assert (await client.roll_back("test/versioned")).spec_hash == second.spec_hash
    assert await says() == ["two"]
    assert (await client.roll_back("test/versioned", first.spec_hash[:10])).spec_hash == first.spec_hash
    assert await says() == ["one"]
    assert (await client.roll_back("test/versioned", first.spec_hash)).spec_hash == first.spec_hash
    assert len(await client.versions("test/versioned")) == 3
    with pytest.raises(NotFoundError, match="orbit versions"):
        await client.roll_back("test/versioned", "0123456789abcdef")


async def a_disabled_cluster_starts_nothing(client):
    step = "{uses: satellite/orbit/echo, identifier: say}"
    await client.submit(cluster("quiet", step, trigger=[{"cron": "0 0 * * *"}, {"api-call": True}]))
    unheard = cluster("unheard", step, trigger={"webhook": {"path": "/hook"}})
    for found in (await client.validate(unheard), await client.submit(unheard)):
        assert [each.code for each in found.diagnostics] == ["open-webhook", "nobody-listens"]
    assert (await client.cluster("test/quiet")).next_run_ms
    disabled = await client.disable("test/quiet")
    assert (disabled.enabled, disabled.next_run_ms) == (False, None)
    with pytest.raises(PreconditionError, match="orbit enable"):
        await client.trigger("test/quiet")
    enabled = await client.enable("test/quiet")
    assert enabled.enabled and enabled.next_run_ms
    assert (await end_of(client, await client.trigger("test/quiet"))).state == "succeeded"


async def what_is_deleted_is_gone(mesh, client):
    steps = """
{uses: satellite/orbit/fail, identifier: fail, config: {attempts: 1}, retries: {max-retries: 1, delay: 10ms}}
{uses: satellite/orbit/sleep, identifier: long, config: {seconds: 600}}
"""
    await client.submit(cluster("gone", steps))
    run = await client.trigger("test/gone")
    async for seen in client.watch(run.run_id):
        if seen.steps[1].running:
            break
    with pytest.raises(PreconditionError, match="orbit cancel"):
        await client.delete_run(run.run_id)
    with pytest.raises(PreconditionError, match="orbit disable"):
        await client.delete_cluster("test/gone")
    await client.cancel(run.run_id)
    await end_of(client, run)
    assert await client.delete_cluster("test/gone")
    assert not await client.delete_cluster("test/gone")
    with pytest.raises(NotFoundError):
        await client.trigger("test/gone")
    assert (await client.run(run.run_id)).state == "cancelled", "its runs stay readable"
    coordinator = mesh.data / mesh.coordinators[0].name

    def mentions() -> list[Path]:
        return [each for each in coordinator.rglob("*") if each.is_file() and run.run_id.encode() in each.read_bytes()]

    assert mentions()
    assert await delete_once_archived(client, run)
    assert not mentions(), "its record and its logs are gone from this machine"
    assert not await client.delete_run(run.run_id)
    with pytest.raises(NotFoundError):
        await client.run(run.run_id)
    assert run.run_id not in {each.run_id for each in await client.runs()}


async def delete_once_archived(client: OrbitClient, run: Run) -> bool:
    while True:
        try:
            return await client.delete_run(run.run_id)
        except PreconditionError as error:
            assert "archived" in error.message


async def keys_rotate_under_running_clusters(client, webhook):
    webhook.requests.clear()
    step = (
        f'{{uses: satellite/orbit/call-webhook, identifier: call, config: {{url: "{webhook.url}", '
        'body: {token: "${{ secrets.TOKEN }}"}}}'
    )
    await client.submit(cluster("sealed", step, secrets=[{"TOKEN": "planted-before-rotation"}]))
    first, second = await client.rotate_key("test"), await client.rotate_key("test")
    assert first != second
    assert (await end_of(client, await client.trigger("test/sealed"))).state == "succeeded"
    assert json.loads(webhook.requests[-1][1]) == {"token": "planted-before-rotation"}
    with pytest.raises(InvalidRequestError):
        await client.rotate_key("not a project")
    await client.set_secret("early/bird", "FIRST", "before there is such a cluster")
    assert await client.delete_cluster("test/sealed")
    assert [(each.cluster, each.name) for each in await client.secrets()] == [
        ("early/bird", "FIRST"),
        ("test/sealed", "TOKEN"),
    ], "nothing in the vault is hidden, whatever there was or will be"


async def a_cluster_follows_another(client, eventually):
    follow = (
        "{uses: satellite/orbit/echo, identifier: note, "
        'input: {said: "${{ trigger.cluster }} ${{ trigger.state }} ${{ trigger.lineages-failed }}"}}'
    )
    await client.submit(cluster("after", follow, trigger={"cluster-finished": "test/before"}))
    fails = "{uses: satellite/orbit/fail, identifier: fail, config: {permanent: true}}"
    await client.submit(cluster("before", fails))
    first = await end_of(client, await client.trigger("test/before"))
    (run,) = await eventually(lambda: client.runs("test/after"))
    assert (run.trigger, (await end_of(client, run)).state) == ("cluster-finished", "succeeded")
    assert [r.value["said"] async for r in client.results(run.run_id)] == ["test/before failed 1"]
    await client.disable("test/after")
    second = await end_of(client, await client.trigger("test/before"))
    assert await delete_once_archived(client, second), "it has been archived, and with that all it starts was started"
    assert await client.runs("test/after") == await client.runs("test/after", created_before_ms=second.created_ms)
    with pytest.raises(PreconditionError, match="test/before ← test/after ← test/before"):
        await client.submit(cluster("before", fails, trigger={"cluster-finished": "test/after"}))
    assert first.state == "failed"


async def test_the_leader_dies_in_the_middle_of_a_retry(start_mesh, connect, webhook, monkeypatch, eventually):
    """After the new run is durable, and before any of the results that it takes over is."""
    monkeypatch.setenv(failpoints.VARIABLE, "retry-before-results")
    mesh = await start_mesh(coordinators=2)
    client = connect(mesh)
    old = await failed_in_part(client, webhook, "again")
    run = await client.retry(old.run_id)
    assert sum(child.running for child in mesh.coordinators) == 1, "the failpoint"
    run = await end_of(client, run)
    assert (run.state, run.retry_of, run.attempts) == ("succeeded", old.run_id, len(BAD))
    assert posted(webhook) == sorted(BAD)
    assert len([each for each in await client.runs() if each.retry_of == old.run_id]) == 1
