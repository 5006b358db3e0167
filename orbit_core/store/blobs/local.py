"""Blobs on a local disk: `<root>/ab/cd/<sha256>`, written aside, synced, then renamed into place.

A file under its name is whole: a crash leaves at most something under `incoming/`, which the next start clears.
All file work happens in threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from orbit_core.limits import BLOB_CHUNK_BYTES
from orbit_core.store.blobs.api import (
    BlobDamagedError,
    BlobDiskError,
    BlobInfo,
    BlobSource,
    BlobStore,
    Digest,
    check_name,
    chunks_of,
    missing,
)

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class LocalBlobs(BlobStore):
    """One process at a time owns `root`. Making it reads the folder once, for `used_bytes`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        self._accounts = threading.Lock()  # of files and `_used_bytes` together: they change in threads
        self._used_bytes = sum(path.stat().st_size for path in self._paths())

    @property
    def used_bytes(self) -> int:
        """What all blobs here have together."""
        return self._used_bytes

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        digest = Digest()
        descriptor, name = await self._on_disk(tempfile.mkstemp, None, None, self._incoming)
        aside, file = Path(name), os.fdopen(descriptor, "wb")
        try:
            async for chunk in chunks_of(source):
                digest.update(chunk)
                await self._on_disk(file.write, chunk)
            await self._on_disk(_sync, file)
            info = digest.info(expected_sha256)
            await self._on_disk(self._adopt, aside, info)
            return info
        finally:
            with suppress(OSError):  # a full disk refuses once more, and has been told about
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(aside.unlink, missing_ok=True)

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        path = self._path(sha256)
        digest = Digest()
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                while chunk := await asyncio.to_thread(file.read, BLOB_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk
            digest.info(sha256)
        except FileNotFoundError:
            raise missing(sha256) from None
        except OSError as error:
            raise BlobDiskError(f"blob {sha256} cannot be read from {path}: {error.strerror}") from error
        except BlobDamagedError:
            await self._give_up(sha256)
            raise

    async def path(self, sha256: str) -> Path:
        """The file of a blob, verified now. It is not to be written to, and lasts until the blob is deleted."""
        async for _ in self.open(sha256):
            pass
        return self._path(sha256)

    async def stat(self, sha256: str) -> BlobInfo | None:
        try:
            found = await asyncio.to_thread(self._path(sha256).stat)
        except FileNotFoundError:
            return None
        return BlobInfo(sha256, found.st_size)

    async def delete(self, sha256: str) -> bool:
        return await asyncio.to_thread(self._remove, self._path(sha256))

    async def list(self) -> AsyncIterator[BlobInfo]:
        for path in await asyncio.to_thread(self._paths):
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield BlobInfo(path.name, path.stat().st_size)

    async def _on_disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work on files, in a thread; the source's own errors are not this disk's, so only these are told as such."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except OSError as error:
            raise BlobDiskError(
                f"a blob cannot be stored under {self._root}: {error.strerror or error}",
                remedy="check the free space and the permissions of that disk",
            ) from error

    async def _give_up(self, sha256: str) -> None:
        """A damaged copy is worth nothing, and in the way of a good one."""
        logger.error("blob %s is damaged on disk and is deleted", sha256)
        await self.delete(sha256)

    def _path(self, sha256: str) -> Path:
        check_name(sha256)
        return self._root / sha256[:2] / sha256[2:4] / sha256

    def _paths(self) -> list[Path]:
        return sorted(self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"))

    def _adopt(self, aside: Path, info: BlobInfo) -> None:
        """Move a finished file into place, over whatever is there: that may be damaged, this one is not."""
        path = self._path(info.sha256)
        new_folder = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._accounts:
            replaced = path.stat().st_size if path.exists() else 0
            aside.replace(path)
            self._used_bytes += info.size_bytes - replaced
        for folder in (path.parent, path.parent.parent, self._root) if new_folder else (path.parent,):
            _sync_directory(folder)

    def _remove(self, path: Path) -> bool:
        with self._accounts:
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return False
            self._used_bytes -= size
            return True


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Make a rename durable: the directory's own entry is what a crash would lose."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
