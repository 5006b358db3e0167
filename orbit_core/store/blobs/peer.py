"""Blobs that other machines hold: kept here, and fetched from there when they are missing or damaged here.

How a blob travels, and who has it, is handed in; every byte that comes is verified before anybody sees it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from orbit_core.errors import BlobError, OrbitError
from orbit_core.store.blobs.api import (
    BlobDamagedError,
    BlobDiskError,
    BlobInfo,
    BlobMissingError,
    BlobSource,
    BlobStore,
    check_name,
)

logger = logging.getLogger(__name__)

#: The chunks of a blob from the machine at an address. May raise any `OrbitError` or `OSError`.
Fetch: TypeAlias = Callable[[str, str], AsyncIterator[bytes]]
#: The addresses that may have a blob, best first.
Locate: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


class PeerBlobs(BlobStore):
    """`local`, with the rest of the mesh behind it. `put`, `stat`, `delete` and `list` are about this machine only."""

    def __init__(self, local: BlobStore, fetch: Fetch, locate: Locate) -> None:
        self._local = local
        self._fetch = fetch
        self._locate = locate
        self._fetching: dict[str, asyncio.Lock] = {}

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        return await self._local.put(source, expected_sha256=expected_sha256)

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        await self.ensure(sha256)
        try:
            async with aclosing(self._local.open(sha256)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except BlobDamagedError:
            # What was handed out cannot be taken back, but the next who asks fetches a good copy.
            await self._local.delete(sha256)
            raise

    async def ensure(self, sha256: str) -> BlobInfo:
        """Have the blob here: fetch it unless it is. Raises `BlobError` when nobody has it whole."""
        check_name(sha256)
        lock = self._fetching.setdefault(sha256, asyncio.Lock())
        try:
            async with lock:  # many ask for the same blob at once; it travels once
                return await self._local.stat(sha256) or await self._from_peers(sha256)
        finally:
            if not lock.locked():
                self._fetching.pop(sha256, None)

    async def stat(self, sha256: str) -> BlobInfo | None:
        return await self._local.stat(sha256)

    async def delete(self, sha256: str) -> bool:
        return await self._local.delete(sha256)

    async def list(self) -> AsyncIterator[BlobInfo]:
        async for info in self._local.list():
            yield info

    async def _from_peers(self, sha256: str) -> BlobInfo:
        failures: list[str] = []
        answered = True
        for address in await self._locate(sha256):
            try:
                return await self._local.put(self._fetch(address, sha256), expected_sha256=sha256)
            except BlobDiskError:
                raise
            except (OrbitError, OSError) as error:
                logger.warning("blob %s could not be had from %s: %s", sha256, address, error)
                failures.append(f"{address}: {error}")
                answered = answered and isinstance(error, BlobMissingError)
        if not failures:
            raise BlobMissingError(f"blob {sha256} is not here, and no other machine is known to have it")
        kind = BlobMissingError if answered else BlobError
        raise kind(f"blob {sha256} could not be had from any machine: {'; '.join(failures)}")
