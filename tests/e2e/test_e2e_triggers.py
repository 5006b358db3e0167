"""What starts runs from outside: webhooks at whichever coordinator, and uploads to a bucket."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging

import httpx
import pytest

from orbit_core.client import OrbitClient

moto_server = pytest.importorskip("moto.server", reason="the demo extra is not installed")

pytestmark = pytest.mark.e2e

HOOK = b"""
version: 0.0.1b
cluster:
  identifier: test/hook
  sla: 10m
  trigger: {webhook: {path: /reports/new, secret: SIGNED}}
  secrets: [{SIGNED: planted-signing-key}]
  satellites:
    - {uses: satellite/orbit/echo, identifier: say, input: {day: "${{ trigger.day }}"}}
"""


def inbox(endpoint: str) -> bytes:
    return f"""
version: 0.0.1b
cluster:
  identifier: test/inbox
  sla: 10m
  trigger:
    s3-upload:
      bucket: inbox
      endpoint-url: "{endpoint}"
      secrets: {{AWS_ACCESS_KEY: "${{{{ secrets.KEY }}}}", AWS_SECRET_KEY: "${{{{ secrets.SECRET }}}}"}}
  secrets: [{{KEY: any}}, {{SECRET: any}}]
  satellites:
    - {{uses: satellite/orbit/echo, identifier: say, input: {{what: "${{{{ trigger.uri }}}}"}}}}
""".encode()


async def test_webhooks_and_uploads_start_runs(start_mesh, connect, eventually):
    mesh = await start_mesh(coordinators=2, http_port=0)
    client = connect(mesh)
    await webhooks(mesh, client)
    await uploads(client, eventually)


async def webhooks(mesh, client):
    submission = await client.submit(HOOK)
    assert not submission.diagnostics, "somebody listens"
    urls = []
    for address in mesh.addresses:
        async with OrbitClient(address) as one:
            urls.append(f"http://{(await one.mesh()).http_address}/reports/new")
    body = json.dumps({"day": "monday"}).encode()
    signature = hmac.new(b"planted-signing-key", body, hashlib.sha256).hexdigest()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        assert (await http.post(urls[0], content=body)).status_code == 401
        forged = {"X-Orbit-Signature": f"sha256={'0' * 64}"}
        assert (await http.post(urls[1], content=body, headers=forged)).status_code == 401
        assert (await http.post(urls[0] + "/else", content=body)).status_code == 404
        signed = {"X-Orbit-Signature": f"sha256={signature}", "Idempotency-Key": "d1"}
        answers = [await http.post(url, content=body, headers=signed) for url in (*urls, urls[0])]
        assert [answer.status_code for answer in answers] == [202, 202, 202], "the leader's, and the other's"
        (run_id,) = {run_id for answer in answers for run_id in answer.json()["run-ids"]}
        async for run in client.watch(run_id):
            seen = run
        assert (seen.state, seen.trigger) == ("succeeded", "webhook")
        assert [result.value["day"] async for result in client.results(run_id)] == ["monday"]
        await client.disable("test/hook")
        again = {**signed, "Idempotency-Key": "d2"}
        assert (await http.post(urls[0], content=body, headers=again)).status_code == 409
        await client.enable("test/hook")
        await client.delete_secret("test/hook", "SIGNED")
        refused = await http.post(urls[0], content=body, headers=again)
        assert (refused.status_code, "SIGNED" in refused.text) == (401, False), "what is wrong inside is not told"
    assert len(await client.runs("test/hook")) == 1


async def uploads(client, eventually):
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    try:
        s3.create_bucket(Bucket="inbox")
        await client.submit(inbox(endpoint))
        s3.put_object(Bucket="inbox", Key="a.pdf", Body=b"1")
        (run,) = await eventually(lambda: client.runs("test/inbox"), seconds=60, what="the upload")
        async for seen in client.watch(run.run_id):
            run = seen
        assert (run.state, run.trigger) == ("succeeded", "s3-upload")
        assert [result.value["what"] async for result in client.results(run.run_id)] == ["s3://inbox/a.pdf"]
    finally:
        s3.close()
        moto.stop()
