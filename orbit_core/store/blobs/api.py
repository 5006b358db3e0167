"""The blob store protocol, its errors, and what every implementation shares: names, sources, verification."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from orbit_core.errors import BlobError, InvalidRequestError, LimitError
from orbit_core.limits import BLOB_CHUNK_BYTES, BLOB_MAX_BYTES, OBJECT_MAX_BYTES

_SHA256 = re.compile(r"[0-9a-f]{64}")

#: What can be put: the bytes, chunks of them as they come, or a file.
BlobSource: TypeAlias = bytes | AsyncIterable[bytes] | Path


class BlobMissingError(BlobError):
    """There is no such blob here."""

    code = "blob-missing"


class BlobDiskError(BlobError):
    """This machine's disk does not take or give a blob: no other copy helps, only room does."""

    code = "blob-disk"


class BlobUnreachableError(BlobError):
    """What keeps blobs does not answer, or refuses: that says nothing about whether a blob is there."""

    status = "UNAVAILABLE"
    code = "blob-unreachable"


class BlobDamagedError(BlobError):
    """A blob's bytes are not what its name says."""

    code = "blob-damaged"


@dataclass(frozen=True, slots=True)
class BlobInfo:
    sha256: str
    size_bytes: int


class BlobStore(Protocol):
    """Content-addressed objects of up to `BLOB_MAX_BYTES`. A name that is no SHA-256 is an `InvalidRequestError`."""

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        """Store, durably; putting what is there already changes nothing.

        Raises `BlobDamagedError` (and stores nothing) when the bytes are not the expected ones, `LimitError` when
        there are too many, `BlobError` when they cannot be stored.
        """
        ...

    def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        """The bytes in chunks. Raises `BlobMissingError`, or `BlobDamagedError` before it ends if they are wrong.

        Whoever acts on chunks before the end acts on unverified bytes.
        """
        ...

    async def stat(self, sha256: str) -> BlobInfo | None: ...

    async def delete(self, sha256: str) -> bool:
        """Whether it was there."""
        ...

    def list(self) -> AsyncIterator[BlobInfo]: ...


async def read_blob(store: BlobStore, sha256: str, *, max_bytes: int = OBJECT_MAX_BYTES) -> bytes:
    """A whole blob, verified. Raises `LimitError` for one over `max_bytes`."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(store.open(sha256)) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise LimitError(f"blob {sha256} has more than the {max_bytes} bytes that may be read at once")
            parts.append(chunk)
    return b"".join(parts)


def is_name(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def check_name(sha256: str) -> str:
    if not is_name(sha256):
        raise InvalidRequestError(
            f"{sha256[:80]!r} is not the name of a blob", remedy="use a SHA-256 in lower-case hex"
        )
    return sha256


def missing(sha256: str) -> BlobMissingError:
    return BlobMissingError(f"blob {sha256} is not here")


async def chunks_of(source: BlobSource) -> AsyncGenerator[bytes, None]:
    """Any source as chunks of bounded size (those of an asynchronous source as they come)."""
    if isinstance(source, bytes):
        for at in range(0, len(source), BLOB_CHUNK_BYTES):
            yield source[at : at + BLOB_CHUNK_BYTES]
    elif isinstance(source, Path):
        try:
            file = await asyncio.to_thread(source.open, "rb")
        except OSError as error:
            raise BlobError(f"{source} cannot be read: {error.strerror}") from error
        try:
            while chunk := await asyncio.to_thread(file.read, BLOB_CHUNK_BYTES):
                yield chunk
        finally:
            await asyncio.to_thread(file.close)
    else:
        async for chunk in source:
            yield chunk


class Digest:
    """Counts and hashes bytes as they pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def update(self, chunk: bytes) -> None:
        """Raises `LimitError` when there are more bytes than a blob may have."""
        self._size_bytes += len(chunk)
        if self._size_bytes > BLOB_MAX_BYTES:
            raise LimitError(f"a blob may have at most {BLOB_MAX_BYTES} bytes")
        self._hash.update(chunk)

    def info(self, expected_sha256: str | None = None) -> BlobInfo:
        """Raises `BlobDamagedError` when the bytes are not the expected ones."""
        found = self._hash.hexdigest()
        if expected_sha256 is not None and found != expected_sha256:
            raise BlobDamagedError(f"the bytes of blob {expected_sha256} have the hash {found}")
        return BlobInfo(found, self._size_bytes)
