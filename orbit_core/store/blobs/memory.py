"""Blobs in memory: the twin for tests and the simulator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from orbit_core.limits import BLOB_CHUNK_BYTES
from orbit_core.store.blobs.api import BlobInfo, BlobSource, BlobStore, Digest, check_name, chunks_of, missing


class MemoryBlobs(BlobStore):
    """`contents` is open to tests that damage or lose blobs."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        digest = Digest()
        parts: list[bytes] = []
        async for chunk in chunks_of(source):
            digest.update(chunk)
            parts.append(chunk)
        info = digest.info(expected_sha256)
        self.contents[info.sha256] = b"".join(parts)
        return info

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        data = self.contents.get(check_name(sha256))
        if data is None:
            raise missing(sha256)
        digest = Digest()
        for at in range(0, len(data), BLOB_CHUNK_BYTES):
            chunk = data[at : at + BLOB_CHUNK_BYTES]
            digest.update(chunk)
            yield chunk
        digest.info(sha256)

    async def stat(self, sha256: str) -> BlobInfo | None:
        data = self.contents.get(check_name(sha256))
        return None if data is None else BlobInfo(sha256, len(data))

    async def delete(self, sha256: str) -> bool:
        return self.contents.pop(check_name(sha256), None) is not None

    async def list(self) -> AsyncIterator[BlobInfo]:
        for sha256, data in sorted(self.contents.items()):
            yield BlobInfo(sha256, len(data))
