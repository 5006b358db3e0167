"""Blobs between machines: fetched from whoever has them, copied to the leader, waited for while it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from orbit_core.errors import BlobError
from orbit_core.ids import content_hash
from orbit_core.pb.orbit.v1 import blobs_pb2_grpc, common_pb2
from orbit_core.rpc_errors import ErrorInterceptor
from orbit_core.store.blobs import LocalBlobs, read_blob
from orbit_core.store.peers import Peers
from orbit_core.store.transport import SERVER_OPTIONS, BlobFetcher, BlobService

CONTENT = b"a page\n" * 100_000


@asynccontextmanager
async def serving(blobs: LocalBlobs, port: int = 0) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=SERVER_OPTIONS)
    blobs_pb2_grpc.add_BlobServiceServicer_to_server(BlobService(blobs), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    yield made
    await made.close()


async def test_a_blob_comes_from_the_first_holder_that_has_it(tmp_path: Path, peers: Peers):
    here, empty, full = (LocalBlobs(tmp_path / name) for name in ("here", "empty", "full"))
    info = await full.put(CONTENT)
    async with serving(empty) as nobody, serving(full) as somebody:
        fetcher = BlobFetcher(here, lambda: None, fetch=peers.fetch)
        assert await fetcher.ensure(info.sha256, [nobody, somebody]) == info
    assert await read_blob(here, info.sha256) == CONTENT


async def test_the_leader_is_asked_when_no_holder_is_named(tmp_path: Path, peers: Peers):
    here, leader = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "leader")
    info = await leader.put(CONTENT)
    async with serving(leader) as address:
        await BlobFetcher(here, lambda: address, fetch=peers.fetch).ensure(info.sha256, [])
    assert await here.stat(info.sha256) == info


async def test_a_blob_that_nobody_has_is_an_error_that_says_who_was_asked(tmp_path: Path, peers: Peers):
    async with serving(LocalBlobs(tmp_path / "empty")) as address:
        fetcher = BlobFetcher(LocalBlobs(tmp_path / "here"), lambda: None, fetch=peers.fetch)
        with pytest.raises(BlobError, match=address):
            await fetcher.ensure(content_hash(b"lost"), [address])


async def test_a_change_of_leader_is_waited_for(tmp_path: Path, peers: Peers):
    here, leader = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "leader")
    info = await leader.put(CONTENT)
    elected: list[str] = []
    fetcher = BlobFetcher(here, lambda: elected[0] if elected else None, fetch=peers.fetch, patience_s=30)
    waiting = asyncio.create_task(fetcher.ensure(info.sha256, []))
    async with serving(leader) as address:
        await asyncio.sleep(0)
        assert not waiting.done()
        elected.append(address)
        assert await waiting == info


async def test_a_copy_is_pushed_once_and_verified(tmp_path: Path, peers: Peers):
    here, leader = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "leader")
    info = await here.put(CONTENT)
    blob = common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes)
    async with serving(leader) as address:
        await peers.push(address, here, [blob])
        await peers.push(address, here, [blob])
        assert await read_blob(leader, info.sha256) == CONTENT
        (here_path := await here.path(info.sha256)).write_bytes(b"damaged")
        await leader.delete(info.sha256)
        with pytest.raises(BlobError):
            await peers.push(address, here, [blob])
    assert await leader.stat(info.sha256) is None and not here_path.exists()


async def test_no_one_listens(tmp_path: Path, peers: Peers):
    here = LocalBlobs(tmp_path)
    info = await here.put(b"x")
    with pytest.raises(BlobError):
        await peers.push("127.0.0.1:1", here, [common_pb2.BlobRef(sha256=info.sha256, size_bytes=1)])


async def test_one_connection_serves_every_call_to_a_machine(tmp_path: Path, peers: Peers, monkeypatch):
    opened: list[str] = []
    insecure = grpc.aio.insecure_channel
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda to, **how: opened.append(to) or insecure(to, **how))
    here, there = LocalBlobs(tmp_path / "here"), LocalBlobs(tmp_path / "there")
    infos = [await here.put(bytes([n])) for n in range(3)]
    async with serving(there) as address:
        for info in infos:
            await peers.push(address, here, [common_pb2.BlobRef(sha256=info.sha256, size_bytes=1)])
            await here.delete(info.sha256)
            assert [chunk async for chunk in peers.fetch(address, info.sha256)]
        assert await peers.held(address, [infos[0].sha256, content_hash(b"nobody")]) == {infos[0].sha256}
        assert opened == [address]


async def test_a_machine_that_comes_back_is_reached_over_the_connection_that_is_kept(tmp_path: Path, peers: Peers):
    there = LocalBlobs(tmp_path)
    info = await there.put(CONTENT)
    async with serving(there) as address:
        assert await peers.held(address, [info.sha256])
    with pytest.raises(BlobError):
        await peers.held(address, [info.sha256])
    async with serving(there, int(address.rpartition(":")[2])):
        assert b"".join([chunk async for chunk in peers.fetch(address, info.sha256)]) == CONTENT


async def test_connections_that_nobody_uses_are_closed_when_there_are_too_many(
    tmp_path: Path, peers: Peers, monkeypatch
):
    monkeypatch.setattr("orbit_core.store.peers.CHANNELS_MAX", 1)
    there = LocalBlobs(tmp_path)
    info = await there.put(CONTENT)
    async with serving(there) as one, serving(there) as other:
        slow = peers.fetch(one, info.sha256)
        first = await anext(slow)
        assert await peers.held(other, [info.sha256]), "beyond the limit, while the first is in use"
        assert first + b"".join([chunk async for chunk in slow]) == CONTENT, "what is in use is not cut off"
        assert await peers.held(one, [info.sha256]) and await peers.held(other, [info.sha256])
