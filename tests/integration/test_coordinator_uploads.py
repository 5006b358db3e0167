"""Uploads become runs: what counts, what does not, and that nothing does twice. S3 is moto's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from orbit_coordinator.specs import Spec
from orbit_coordinator.triggers import Starter
from orbit_coordinator.uploads import Uploads
from orbit_core.clock import SystemClock
from orbit_core.sched.events import RunCreated
from orbit_core.sched.state import ClusterEntry, ClusterVersion, MeshState
from orbit_core.spec.loader import load
from orbit_core.store.blobs.memory import MemoryBlobs

moto_server = pytest.importorskip("moto.server", reason="the demo extra is not installed")

FIRST_MS = 1_000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    import boto3

    client: Any = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    client.create_bucket(Bucket="inbox")
    yield client
    for entry in client.list_objects_v2(Bucket="inbox").get("Contents", ()):
        client.delete_object(Bucket="inbox", Key=entry["Key"])
    client.delete_bucket(Bucket="inbox")
    client.close()


class Mesh:
    """What the watch needs of a term: a leader, an archive, specs and secrets, each as small as can be."""

    def __init__(self, endpoint: str, *, allow_private: bool = True, more_triggers: str = "") -> None:
        text = f"""
version: 0.0.1b
cluster:
  identifier: a/inbox
  sla: 1h
  trigger:
    - s3-upload: {{bucket: inbox, prefix: in/, suffix: .pdf, endpoint-url: "{endpoint}",
        secrets: {{AWS_ACCESS_KEY: "${{{{ secrets.KEY }}}}", AWS_SECRET_KEY: "${{{{ secrets.SECRET }}}}"}}}}
{more_triggers}
  secrets: [KEY, SECRET]
  satellites:
    - {{uses: satellite/orbit/echo, identifier: only}}
"""
        loaded = load(text.encode())
        assert loaded.cluster is not None, loaded.diagnostics
        self.spec = Spec("hash", loaded.cluster, workflow=None)  # type: ignore[arg-type]
        self.entry = ClusterEntry("a/inbox", "hash", FIRST_MS)
        self.state = MeshState(clusters={"a/inbox": self.entry})
        self.started: list[RunCreated] = []
        self.archived: set[str] = set()
        self.uploads = self.watch(allow_private)

    def watch(self, allow_private: bool = True) -> Uploads:
        """As a new term makes it: it remembers nothing."""
        starter = Starter(self, self, MemoryBlobs())  # type: ignore[arg-type]
        return Uploads(starter, self, self, SystemClock(), allow_private_addresses=allow_private)  # type: ignore[arg-type]

    async def get(self, spec_hash: str) -> Spec:
        return self.spec

    async def of(self, cluster: Any, names: list[str]) -> dict[str, str]:
        return {name: "any" for name in names}

    def now_ms(self) -> int:
        return 5_000

    async def tell(self, event: RunCreated) -> None:
        self.started.append(event)
        self.archived.add(event.run_id)  # and it has ended already

    async def find(self, run_id: str) -> str | None:
        return run_id if run_id in self.archived else None

    async def ids(self) -> set[str]:
        return set(self.archived)

    @property
    def keys(self) -> list[str]:
        return [json.loads(event.payload.json or "{}")["key"] for event in self.started]


async def test_each_upload_is_one_run_whoever_leads(endpoint: str, s3: Any):
    mesh = Mesh(endpoint)
    await mesh.uploads.look()
    assert mesh.started == []
    for key in ("in/a.pdf", "in/notes.txt", "out/b.pdf"):
        s3.put_object(Bucket="inbox", Key=key, Body=b"1")
    await mesh.uploads.look()
    assert mesh.keys == ["in/a.pdf"]
    (event,) = mesh.started
    assert event.trigger.kind == "s3-upload" and event.deadline_ms == 5_000 + 3_600_000
    await mesh.uploads.look()
    await mesh.watch().look()
    assert mesh.keys == ["in/a.pdf"], "nothing twice, not even under the next leader"
    s3.put_object(Bucket="inbox", Key="in/a.pdf", Body=b"another content")
    s3.put_object(Bucket="inbox", Key="in/c.pdf", Body=b"1")
    await mesh.uploads.look()
    assert sorted(mesh.keys) == ["in/a.pdf", "in/a.pdf", "in/c.pdf"]


async def test_what_was_there_before_the_cluster_and_while_it_slept_does_not_count(endpoint: str, s3: Any):
    s3.put_object(Bucket="inbox", Key="in/old.pdf", Body=b"1")
    mesh = Mesh(endpoint)
    far_ms = 10**14
    mesh.entry.submitted_ms = far_ms
    await mesh.uploads.look()
    assert mesh.keys == []
    mesh.entry.earlier = [ClusterVersion("before", FIRST_MS)]
    mesh.entry.enabled = False
    await mesh.uploads.look()
    assert mesh.keys == []
    mesh.entry.enabled, mesh.entry.last_tick_ms = True, far_ms  # as enabling leaves it
    await mesh.uploads.look()
    assert mesh.keys == []
    mesh.entry.last_tick_ms = 0
    await mesh.uploads.look()
    assert mesh.keys == ["in/old.pdf"], "a new version does not hide what came since the first one"


async def test_a_bucket_that_cannot_be_read_is_said_once(endpoint: str, caplog: pytest.LogCaptureFixture):
    mesh = Mesh(endpoint)
    for _ in range(3):
        await mesh.uploads.look()
    told = [record.message for record in caplog.records if "a/inbox" in record.message]
    assert len(told) == 1 and "NoSuchBucket" in told[0]


async def test_private_endpoints_are_refused_unless_allowed(endpoint: str, s3: Any, caplog: pytest.LogCaptureFixture):
    s3.put_object(Bucket="inbox", Key="in/a.pdf", Body=b"1")
    mesh = Mesh(endpoint, allow_private=False)
    await mesh.uploads.look()
    assert mesh.keys == [] and "not an address of the public internet" in caplog.text
