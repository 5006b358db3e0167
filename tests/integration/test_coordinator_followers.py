"""Two coordinators on loopback: the one that does not lead answers reads, says so, and is passed over if need be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from orbit_coordinator.config import parse
from orbit_coordinator.server import Server
from orbit_core.client import OrbitClient, Patience
from orbit_core.errors import MeshUnreachableError
from orbit_core.pb.orbit.v1 import runs_pb2, runs_pb2_grpc
from orbit_core.read_metadata import AS_OF_KEY
from orbit_core.store.memory import MemoryStore

FILE = b"""
version: 0.0.1b
cluster:
  identifier: lab/waits
  sla: 1h
  trigger: {api-call: true}
  satellites: [{uses: satellite/orbit/echo, identifier: one}]
"""


@pytest.fixture
async def coordinators(tmp_path: Path) -> AsyncIterator[list[str]]:
    """Addresses, the leader's first."""
    store = MemoryStore()
    servers: list[tuple[Server, asyncio.Task[None]]] = []
    addresses: list[str] = []
    for name in ("c1", "c2"):
        config = parse(["--data", str(tmp_path / name), "--id", name, "--master-key-file", str(tmp_path / "key")])
        config.data.mkdir()
        server = Server(config, store)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        servers.append((server, asyncio.create_task(server.run(ready.set_result))))
        addresses.append(await ready)
        if name == "c1":
            async with OrbitClient(addresses) as client:
                await client.agents()  # until it leads
    yield addresses
    for server, task in servers:
        server.stop()
        await task
    await store.close()


@pytest.fixture
async def open_client() -> AsyncIterator[Callable[..., OrbitClient]]:
    opened: list[OrbitClient] = []

    def opens(addresses: list[str], **options: object) -> OrbitClient:
        opened.append(OrbitClient(addresses, patience=Patience(total_s=20), **options))  # type: ignore[arg-type]
        return opened[-1]

    yield opens
    for client in opened:
        await client.close()


async def test_a_follower_tells_what_is_durable_and_as_of_when(
    coordinators: list[str], open_client: Callable[..., OrbitClient]
) -> None:
    leader, follower = coordinators
    writes = open_client([leader])
    await writes.submit(FILE)
    run = await writes.trigger("lab/waits", {})
    assert writes.as_of_ms is None
    reads = open_client([follower], ask_followers=True)
    assert (await reads.run(run.run_id)).state == "running"
    assert reads.as_of_ms is not None and reads.as_of_ms > run.created_ms - 60_000
    assert [each.run_id for each in await reads.runs()] == [run.run_id]
    assert await reads.agents() == ()
    await writes.cancel(run.run_id)
    assert (await reads.run(run.run_id)).state == "cancelled", "a later look sees what was durable before it"


async def test_a_client_is_answered_by_the_leader_unless_it_asks_otherwise(
    coordinators: list[str], open_client: Callable[..., OrbitClient]
) -> None:
    _, follower = coordinators
    reads = open_client([follower])
    await reads.agents()
    assert reads.as_of_ms is None, "the follower named the leader, and the leader answered"


async def test_what_needs_the_leader_finds_it_though_a_follower_answered_last(
    coordinators: list[str], open_client: Callable[..., OrbitClient]
) -> None:
    leader, follower = coordinators
    client = open_client([follower, leader], ask_followers=True)
    await client.agents()
    assert client.as_of_ms is not None
    assert (await client.submit(FILE)).diagnostics == ()
    assert client.as_of_ms is None


async def test_callers_without_our_client_may_read_from_anyone(coordinators: list[str]) -> None:
    async with grpc.aio.insecure_channel(coordinators[1]) as channel:
        call = runs_pb2_grpc.RunServiceStub(channel).ListRuns(runs_pb2.ListRunsRequest())
        assert list((await call).runs) == []
        assert AS_OF_KEY in dict(await call.trailing_metadata() or ())


async def test_a_mesh_without_anyone_to_answer_is_unreachable(tmp_path: Path) -> None:
    async with OrbitClient(
        ["127.0.0.1:1"], patience=Patience(total_s=0.2, attempt_s=0.2), ask_followers=True
    ) as client:
        with pytest.raises(MeshUnreachableError):
            await client.agents()
