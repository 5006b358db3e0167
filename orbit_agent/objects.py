"""The objects of an attempt: fetched before it, gathered into outputs after it, with the files inside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orbit_core.errors import BlobError
from orbit_core.limits import MIB, OBJECT_INLINE_MAX_BYTES, RESULT_INLINE_MAX_BYTES, RESULT_PAGE_MAX_OBJECTS
from orbit_core.pb.orbit.v1 import common_pb2
from orbit_core.store.blobs import BlobStore, LocalBlobs, read_blob
from orbit_core.store.transport import BlobFetcher
from satellites.contract import FileRef

_PAGE_BYTES = 1 * MIB


class ObjectFetcher:
    """Reads objects by reference, from this machine or from whoever holds their page."""

    def __init__(self, fetcher: BlobFetcher[Any]) -> None:
        self._fetcher = fetcher

    async def read(self, reference: common_pb2.ObjectRef) -> Any:
        """The object's value. BlobError where its page cannot be had anywhere."""
        if reference.WhichOneof("kind") == "json":
            return json.loads(reference.json)
        page = reference.item.page
        await self._fetcher.ensure(page.sha256, page.holders)
        lines = (await read_blob(self._fetcher.local, page.sha256)).splitlines()
        if reference.item.index >= len(lines):
            raise BlobError(f"page {page.sha256} has no object {reference.item.index}")
        return json.loads(lines[reference.item.index])


class OutputCollector:
    """Takes an attempt's objects one by one: inline while they are small and few, in pages otherwise."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lines: list[bytes] = []
        self._size = 0
        self._pages: list[common_pb2.OutputPage] = []
        self._inline = True
        self._files: dict[str, common_pb2.BlobRef] = {}

    async def add(self, value: dict[str, Any]) -> None:
        """One more object."""
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        for ref in files_in(value):
            self._files[ref.sha256] = common_pb2.BlobRef(sha256=ref.sha256, size_bytes=ref.size)
        self._lines.append(line)
        self._size += len(line)
        if len(line) > OBJECT_INLINE_MAX_BYTES or self._size > RESULT_INLINE_MAX_BYTES:
            self._inline = False
        if not self._inline and (self._size >= _PAGE_BYTES or len(self._lines) >= RESULT_PAGE_MAX_OBJECTS):
            await self._write_page()

    async def finish(self) -> tuple[common_pb2.Outputs, list[common_pb2.BlobRef]]:
        """The outputs, and every blob that they need."""
        if self._inline:
            return common_pb2.Outputs(inline_json=self._lines), list(self._files.values())
        if self._lines:
            await self._write_page()
        blobs = [page.blob for page in self._pages] + list(self._files.values())
        return common_pb2.Outputs(pages=self._pages), blobs

    async def _write_page(self) -> None:
        info = await self._blobs.put(b"".join(line + b"\n" for line in self._lines))
        blob = common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes)
        self._pages.append(common_pb2.OutputPage(blob=blob, count=len(self._lines)))
        self._lines, self._size = [], 0


def files_in(value: object) -> Iterator[FileRef]:
    """Every file reference inside an object."""
    ref = FileRef.from_json(value)
    if ref is not None:
        yield ref
    elif isinstance(value, dict):
        for item in value.values():
            yield from files_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from files_in(item)


class BlobFiles:
    """The workers' `Files`: files come from and go to the agent's blob store."""

    def __init__(self, fetcher: BlobFetcher[LocalBlobs], holders: Sequence[str] = ()) -> None:
        self._fetcher = fetcher
        self._holders = holders

    async def put(self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream") -> FileRef:
        info = await self._fetcher.local.put(source)
        return FileRef(info.sha256, info.size_bytes, name, media_type)

    async def path(self, ref: FileRef) -> Path:
        await self._fetcher.ensure(ref.sha256, self._holders)
        return await self._fetcher.local.path(ref.sha256)
