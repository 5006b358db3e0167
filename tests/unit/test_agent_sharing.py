"""Where the blobs of results go: into the mesh's home for blobs where this machine can use it, else to the leader."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orbit_agent.sharing import HOME_AGAIN_S, Home, Sharer
from orbit_core.errors import BlobError, PreconditionError
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.store.blobs import BlobInfo, BlobStore, BlobUnreachableError, MemoryBlobs
from orbit_core.store.blobs.home import BlobHome
from tests.unit.blob_machines import Clock


class Bucket(MemoryBlobs):
    down = False

    async def stat(self, sha256: str) -> BlobInfo | None:
        if self.down:
            raise BlobUnreachableError("S3 does not answer")
        return await super().stat(sha256)


class World:
    """An agent's disk, a leader, and a bucket that this machine may or may not use."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.local, self.leader, self.bucket = MemoryBlobs(), MemoryBlobs(), Bucket()
        self.allowed = True
        self.opened: list[BlobHome] = []
        self.home = Home(self.clock, self.open_it)
        self.sharer = Sharer(
            self.local, self.home, leader=self.address, push=self.push, patience_s=5.0, clock=self.clock
        )

    async def open_it(self, home: BlobHome) -> BlobStore:
        self.opened.append(home)
        if not self.allowed:
            raise PreconditionError("no credentials")
        return self.bucket

    async def address(self) -> str:
        return "leader:1"

    async def push(self, address: str, local: BlobStore, blobs: Sequence[common_pb2.BlobRef]) -> None:
        assert address == "leader:1"
        for blob in blobs:
            await self.leader.put(local.open(blob.sha256))

    async def share(self, content: bytes) -> None:
        info = await self.local.put(content)
        await self.sharer.share([common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes)])

    def hears_of(self, uri: str) -> None:
        self.home.follow(agents_pb2.Welcome(blob_home=agents_pb2.BlobHome(uri=uri, region="eu-west-1")))


@pytest.fixture
def world() -> World:
    return World()


async def test_without_a_home_the_leader_gets_them(world: World) -> None:
    world.home.follow(agents_pb2.Welcome(epoch=1))
    await world.share(b"page")
    assert list(world.leader.contents.values()) == [b"page"] and not world.opened


async def test_with_a_home_they_go_there_and_not_to_the_leader(world: World) -> None:
    world.hears_of("s3://bucket/orbit")
    await world.share(b"page")
    await world.share(b"another")
    assert sorted(world.bucket.contents.values()) == [b"another", b"page"] and not world.leader.contents
    assert world.opened == [BlobHome("s3://bucket/orbit", region="eu-west-1")], "it is opened once"


async def test_a_machine_that_may_not_use_the_home_goes_by_the_leader_and_tries_again_later(world: World) -> None:
    world.allowed = False
    world.hears_of("s3://bucket")
    await world.share(b"page")
    await world.share(b"another")
    assert sorted(world.leader.contents.values()) == [b"another", b"page"]
    assert len(world.opened) == 1, "not tried anew for every result"
    world.allowed = True
    world.clock.now_s += HOME_AGAIN_S
    await world.share(b"third")
    assert list(world.bucket.contents.values()) == [b"third"]


async def test_a_home_that_is_down_is_the_leaders_worry(world: World) -> None:
    world.hears_of("s3://bucket")
    await world.share(b"page")
    world.bucket.down = True
    await world.share(b"another")
    assert list(world.leader.contents.values()) == [b"another"]


async def test_another_leader_may_name_another_home(world: World) -> None:
    world.hears_of("s3://bucket")
    await world.home.blobs()
    world.hears_of("s3://bucket")
    await world.home.blobs()
    world.home.follow(agents_pb2.Welcome())
    assert await world.home.blobs() is None
    assert len(world.opened) == 1


async def test_a_home_of_a_kind_that_is_not_known_here_is_the_leaders_to_use(world: World) -> None:
    world.hears_of("gs://bucket")
    await world.share(b"page")
    assert list(world.leader.contents.values()) == [b"page"] and not world.opened


async def test_what_never_lay_here_is_left_to_the_leader(world: World) -> None:
    world.hears_of("s3://bucket")
    await world.sharer.share([common_pb2.BlobRef(sha256="0" * 64, size_bytes=1)])
    assert not world.bucket.contents and not world.leader.contents


async def test_nobody_takes_them(world: World) -> None:
    async def refuse(address: str, local: BlobStore, blobs: Sequence[common_pb2.BlobRef]) -> None:
        raise BlobError("no room")

    sharer = Sharer(world.local, world.home, leader=world.address, push=refuse, patience_s=5.0, clock=world.clock)
    with pytest.raises(BlobError, match="no room"):
        await sharer.share([common_pb2.BlobRef(sha256="0" * 64, size_bytes=1)])
    assert world.clock.now_s >= 5
