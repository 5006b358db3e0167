"""Blobs that lie elsewhere: kept here, and fetched when they are missing or damaged here, from the mesh's home for
blobs where it has one, and from other machines.

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
    BlobUnreachableError,
    check_name,
)

logger = logging.getLogger(__name__)

#: The chunks of a blob from the machine at an address. May raise any `OrbitError` or `OSError`.
Fetch: TypeAlias = Callable[[str, str], AsyncIterator[bytes]]
#: The addresses that may have a blob, best first.
Locate: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
#: Where the mesh keeps its blobs for good, if it has such a place and it can be used just now.
Home: TypeAlias = Callable[[], Awaitable[BlobStore | None]]


async def no_home() -> None:
    return None


class PeerBlobs(BlobStore):
    """`local`, with the rest of the mesh behind it. `put`, `stat`, `delete` and `list` are about this machine only."""

    def __init__(self, local: BlobStore, fetch: Fetch, locate: Locate, home: Home = no_home) -> None:
        self._local = local
        self._fetch = fetch
        self._locate = locate
        self._home = home
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
                return await self._local.stat(sha256) or await self._from_elsewhere(sha256)
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

    async def _from_elsewhere(self, sha256: str) -> BlobInfo:
        failures: list[str] = []
        kind: type[BlobError] = BlobMissingError
        async with aclosing(self._sources(sha256)) as sources:
            async for where, chunks in sources:
                try:
                    return await self._local.put(chunks, expected_sha256=sha256)
                except BlobDiskError:
                    raise
                except (OrbitError, OSError) as error:
                    logger.warning("blob %s could not be had from %s: %s", sha256, where, error)
                    failures.append(f"{where}: {error}")
                    kind = _worse(kind, error)
        if not failures:
            raise BlobMissingError(f"blob {sha256} is not here, and no other machine is known to have it")
        raise kind(f"blob {sha256} could not be had from any machine: {'; '.join(failures)}")

    async def _sources(self, sha256: str) -> AsyncGenerator[tuple[str, AsyncIterator[bytes]], None]:
        """Where the blob may be, best first; who comes later is looked for only when it is wanted."""
        home = await self._home()
        if home is not None:
            yield "the home of the mesh's blobs", home.open(sha256)
        for address in await self._locate(sha256):
            yield address, self._fetch(address, sha256)


def _worse(kind: type[BlobError], error: Exception) -> type[BlobError]:
    """What several failures are together: that a blob is missing is only said where all have said so."""
    if isinstance(error, BlobUnreachableError):
        return BlobUnreachableError
    return kind if kind is BlobUnreachableError or isinstance(error, BlobMissingError) else BlobError
