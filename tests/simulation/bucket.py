"""The home of the simulated mesh's blobs, in the seeds that have one: a bucket that is late, and away at times."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from orbit_core.errors import PreconditionError
from orbit_core.store.blobs import BlobInfo, BlobSource, BlobStore, BlobUnreachableError, MemoryBlobs
from orbit_core.store.blobs.home import BlobHome

if TYPE_CHECKING:
    from tests.simulation.nodes import Node

HOME = BlobHome("s3://laboratory/blobs")


class Bucket(MemoryBlobs):
    """What lies in it. `away`: nobody reaches it, and what was on its way may have landed."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False


class SeenFrom(BlobStore):
    """The bucket as one machine reaches it."""

    def __init__(self, bucket: Bucket, node: Node) -> None:
        self._bucket = bucket
        self._node = node

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        await self._travel()
        info = await self._bucket.put(source, expected_sha256=expected_sha256)
        await self._travel()
        return info

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        await self._travel()
        async for chunk in self._bucket.open(sha256):
            yield chunk

    async def stat(self, sha256: str) -> BlobInfo | None:
        await self._travel()
        return await self._bucket.stat(sha256)

    async def delete(self, sha256: str) -> bool:
        await self._travel()
        return await self._bucket.delete(sha256)

    async def list(self) -> AsyncIterator[BlobInfo]:
        await self._travel()
        async for info in self._bucket.list():
            yield info

    async def _travel(self) -> None:
        await self._node.clock.sleep(self._node.world.network.latency_s())
        if self._bucket.away:
            await self._node.clock.sleep(1.0)
            raise BlobUnreachableError("the bucket does not answer")


async def open_seen_from(home: BlobHome, node: Node, *, allowed: bool) -> BlobStore:
    """As `open_home`. PreconditionError where the bucket is away, or this machine has no right to it."""
    bucket = node.world.bucket
    if home != HOME or bucket is None or bucket.away or not allowed:
        raise PreconditionError("blobs cannot be kept there")
    return SeenFrom(bucket, node)
