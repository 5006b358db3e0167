"""A mesh that keeps its blobs in S3: all of them are there before a result is, and every machine may lose its disk.

S3 is moto's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from orbit_core.errors import PreconditionError
from orbit_core.store.blobs import BlobInfo
from orbit_core.store.blobs.home import BlobHome, open_home
from orbit_core.store.embedded import EmbeddedEtcd
from tests.e2e.conftest import AGENTS

pytestmark = pytest.mark.e2e
moto_server = pytest.importorskip("moto.server", reason="the demo extra is not installed")

LARGE = "x" * 6_000
CLUSTER = b"""
version: 0.0.1b
cluster:
  identifier: test/large
  sla: 10m
  trigger: {api-call: true}
  satellites:
    - {uses: satellite/orbit/echo, identifier: many, config: {copies: 30}}
    - {uses: satellite/orbit/echo, identifier: each}
"""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 with a bucket `orbit-blobs`, and its endpoint as `meta.endpoint_url`."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="orbit-blobs")
    yield client
    client.close()
    moto.stop()


def home_in(bucket: Any, name: str = "orbit-blobs") -> BlobHome:
    return BlobHome(f"s3://{name}/a/mesh", bucket.meta.endpoint_url, "us-east-1")


async def kept(home: BlobHome) -> list[BlobInfo]:
    return [info async for info in (await open_home(home)).list()]


async def test_every_blob_is_in_s3_before_it_counts_and_disks_may_be_lost(start_mesh, connect, bucket):
    home = home_in(bucket)
    mesh = await start_mesh(blobs=home)
    client = connect(mesh)
    await client.submit(CLUSTER)
    run = await client.trigger("test/large", {"text": LARGE})
    assert await kept(home), "the payload, before the call is answered"
    async for seen in client.watch(run.run_id):
        run = seen
    assert run.state == "succeeded"
    assert (await client.mesh()).blob_home == home.uri

    await mesh.kill_coordinator()
    for agent in AGENTS:
        shutil.rmtree(mesh.data / agent.id / "blobs")
    shutil.rmtree(mesh.data / "coordinator-0" / "blobs")
    await mesh.start_coordinator(0)
    results = [result.value async for result in client.results(run.run_id)]
    assert [result["text"] for result in results] == [LARGE] * 30
    listed = bucket.list_objects_v2(Bucket="orbit-blobs")["Contents"]
    assert len(listed) == len(await kept(home)), "nothing but blobs lies there"


async def test_a_mesh_has_one_home_and_says_so_at_start(tmp_path, bucket):
    bucket.create_bucket(Bucket="other-bucket")
    home = home_in(bucket)
    async with EmbeddedEtcd(tmp_path / "etcd") as etcd:
        first = coordinator(tmp_path / "1", etcd.endpoints, home)
        line = await asyncio.to_thread(first.stdout.readline)
        assert b"ready" in line
        second = coordinator(tmp_path / "2", etcd.endpoints, home_in(bucket, "other-bucket"))
        _, said = await asyncio.to_thread(second.communicate)
        assert second.returncode == 1 and b"s3://orbit-blobs/a/mesh" in said and b"Traceback" not in said
        third = coordinator(tmp_path / "3", etcd.endpoints, None)
        line = await asyncio.to_thread(third.stdout.readline)
        assert b"ready" in line, "one that is not told learns it from etcd"
        for process in (first, third):
            process.terminate()
            await asyncio.to_thread(process.communicate)


def coordinator(data, endpoints, home: BlobHome | None) -> Any:
    told = ["--blobs", home.uri, "--blobs-endpoint", home.endpoint_url] if home else []
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "orbit_coordinator", "--data", str(data), "--id", data.name, *told),
            *("--etcd", ",".join(f"http://{each}" for each in endpoints)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ},
    )


async def test_a_bucket_that_is_not_there_is_said_before_anything_starts(bucket):
    with pytest.raises(PreconditionError, match=r"absent-bucket.*NoSuchBucket"):
        await open_home(home_in(bucket, "absent-bucket"))
    with pytest.raises(PreconditionError, match="AWS_ACCESS_KEY_ID"):
        await open_home(BlobHome("s3://orbit-blobs", "http://127.0.0.1:1"))
