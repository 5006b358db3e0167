"""Inputs of a batch on their way into the mesh: kept twice before they are acknowledged, found wherever they lie."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from orbit_coordinator.copies import MeshBlobs, other_machines
from orbit_coordinator.services.blobs import CoordinatorBlobs
from orbit_core.client._routing import Patience, Router
from orbit_core.client._uploads import upload
from orbit_core.clock import SystemClock
from orbit_core.errors import BlobError, InvalidRequestError, NotLeaderError
from orbit_core.ids import content_hash
from orbit_core.pb.orbit.v1 import blobs_pb2_grpc
from orbit_core.rpc_errors import ErrorInterceptor
from orbit_core.store.api import Put
from orbit_core.store.blobs import LocalBlobs, read_blob
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.peers import Peers
from orbit_core.store.transport import SERVER_OPTIONS, BlobFetcher, BlobService

CONTENT = b"a page of requests\n" * 50_000
SHA256 = content_hash(CONTENT)


@asynccontextmanager
async def serving(service: BlobService) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=SERVER_OPTIONS)
    blobs_pb2_grpc.add_BlobServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class HastyClock(SystemClock):
    """Its seconds pass as soon as somebody waits for them."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def monotonic_s(self) -> float:
        return self.slept_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


class Coordinator:
    """Enough of one for its blobs. `leads`: whether it does."""

    def __init__(self, folder: Path, peers: Peers) -> None:
        self.local = LocalBlobs(folder)
        self.leads = True
        self.store, self.keys = MemoryStore(), Keys()
        blobs = MeshBlobs(
            self.local, fetch=peers.fetch, push=peers.push, held=peers.held, others=self._others, clock=HastyClock()
        )
        self.resources: Any = SimpleNamespace(local_blobs=self.local, blobs=blobs)

    async def _others(self) -> list[str]:
        return await other_machines(self.store, self.keys, "127.0.0.1:0")

    def leading(self) -> object:
        if not self.leads:
            raise NotLeaderError("this one does not")
        return self

    async def hear_of(self, agent_id: str, address: str) -> None:
        advertisement = json.dumps({"agent_id": agent_id, "address": address}).encode()
        await self.store.txn(compare=[], success=[Put(self.keys.agent(agent_id), advertisement)])


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    yield made
    await made.close()


@pytest.fixture
async def router() -> AsyncIterator[Any]:
    """Makes routers to one address that give up quickly."""
    made: list[Router] = []

    def make(*addresses: str) -> Router:
        made.append(Router(lambda: addresses, Patience(total_s=0.5, attempt_s=5, pause_min_s=0.05)))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def blobs_of(coordinator: Coordinator) -> CoordinatorBlobs:
    access: Any = coordinator
    return CoordinatorBlobs(access)


async def test_an_input_lies_on_an_agent_too_when_it_is_acknowledged(tmp_path: Path, peers: Peers, router: Any) -> None:
    coordinator, agent = Coordinator(tmp_path / "c", peers), LocalBlobs(tmp_path / "a")
    async with serving(blobs_of(coordinator)) as address, serving(BlobService(agent)) as agent_address:
        await coordinator.hear_of("gone", "127.0.0.1:1")
        await coordinator.hear_of("here", agent_address)
        await upload(router(address), CONTENT, SHA256, len(CONTENT))
    assert await read_blob(coordinator.local, SHA256) == CONTENT
    assert await read_blob(agent, SHA256) == CONTENT


async def test_a_file_is_uploaded_in_chunks_and_twice_is_as_good_as_once(
    tmp_path: Path, peers: Peers, router: Any
) -> None:
    coordinator = Coordinator(tmp_path / "c", peers)
    file = tmp_path / "manifest"
    file.write_bytes(CONTENT)
    async with serving(blobs_of(coordinator)) as address:
        for _ in range(2):
            await upload(router(address), file, SHA256, len(CONTENT))
    assert await read_blob(coordinator.local, SHA256) == CONTENT


async def test_an_input_that_no_agent_takes_is_not_acknowledged(tmp_path: Path, peers: Peers, router: Any) -> None:
    coordinator = Coordinator(tmp_path / "c", peers)
    await coordinator.hear_of("gone", "127.0.0.1:1")
    async with serving(blobs_of(coordinator)) as address:
        with pytest.raises(BlobError, match="second copy"):
            await upload(router(address), CONTENT, SHA256, len(CONTENT))


async def test_the_leader_is_found_and_nobody_else_keeps_inputs(tmp_path: Path, peers: Peers, router: Any) -> None:
    follower, leader = Coordinator(tmp_path / "f", peers), Coordinator(tmp_path / "l", peers)
    follower.leads = False
    async with (
        serving(blobs_of(follower)) as follower_address,
        serving(blobs_of(leader)) as leader_address,
        serving(BlobService(LocalBlobs(tmp_path / "a"))) as agent_address,
    ):
        await upload(router(follower_address, leader_address), CONTENT, SHA256, len(CONTENT))
        assert await read_blob(leader.local, SHA256) == CONTENT
        with pytest.raises(InvalidRequestError, match="does not lead"):
            await upload(router(agent_address), CONTENT, SHA256, len(CONTENT))


async def test_what_only_an_agent_holds_is_had_from_the_leader(tmp_path: Path, peers: Peers) -> None:
    coordinator, agent, asker = (
        Coordinator(tmp_path / "c", peers),
        LocalBlobs(tmp_path / "a"),
        LocalBlobs(tmp_path / "b"),
    )
    await agent.put(CONTENT)
    async with serving(blobs_of(coordinator)) as address, serving(BlobService(agent)) as agent_address:
        fetcher = BlobFetcher(asker, lambda: address, fetch=peers.fetch)
        with pytest.raises(BlobError, match="does not have"):
            await fetcher.ensure(SHA256, [])
        await coordinator.hear_of("here", agent_address)
        assert (await fetcher.ensure(SHA256, [])).size_bytes == len(CONTENT)
