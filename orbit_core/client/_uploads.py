"""Inputs brought to the mesh: blobs that outlive this call, held by two machines where there are two. One call here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from orbit_core.client._routing import Router
from orbit_core.pb.orbit.v1 import blobs_pb2, blobs_pb2_grpc, common_pb2
from orbit_core.store.blobs.api import chunks_of


async def upload(router: Router, source: bytes | Path, sha256: str, size_bytes: int) -> None:
    """Have the mesh keep a blob: from its bytes, or from a file that stays as it is until this returns."""
    blob = common_pb2.BlobRef(sha256=sha256, size_bytes=size_bytes)

    def put(channel: grpc.aio.Channel) -> Any:
        """Each attempt sends the blob anew: unlike a message, a stream of them cannot be sent twice."""

        def call(request: common_pb2.BlobRef, **options: Any) -> Any:
            return blobs_pb2_grpc.BlobServiceStub(channel).PutBlob(_requests(request, source), **options)

        return call

    await router.unary(put, blob)


async def _requests(blob: common_pb2.BlobRef, source: bytes | Path) -> AsyncIterator[blobs_pb2.PutBlobRequest]:
    yield blobs_pb2.PutBlobRequest(blob=blob, keep=True)
    async for chunk in chunks_of(source):
        yield blobs_pb2.PutBlobRequest(chunk=chunk)
