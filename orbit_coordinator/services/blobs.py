"""BlobService as coordinators serve it: what lies on this machine, what agents hold, and inputs kept twice.

Agents know one address to ask for a file that no assignment names a holder of: the leader's. What a new leader was not
there for lies with agents, so it looks there too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from orbit_coordinator.services.access import Access
from orbit_core.pb.orbit.v1 import blobs_pb2
from orbit_core.store.blobs import BlobMissingError
from orbit_core.store.blobs.api import check_name
from orbit_core.store.peers import HERE_ONLY
from orbit_core.store.transport import BlobService


class CoordinatorBlobs(BlobService):
    """Blobs by way of a coordinator."""

    def __init__(self, access: Access) -> None:
        super().__init__(access.resources.local_blobs, keep=self._keep)
        self._access = access

    async def GetBlob(
        self, request: blobs_pb2.GetBlobRequest, context: Any
    ) -> AsyncIterator[blobs_pb2.GetBlobResponse]:
        if HERE_ONLY in context.invocation_metadata():
            async for response in super().GetBlob(request, context):
                yield response
            return
        try:
            async with aclosing(self._access.resources.blobs.open(check_name(request.sha256))) as chunks:
                async for chunk in chunks:
                    yield blobs_pb2.GetBlobResponse(chunk=chunk)
        except BlobMissingError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    async def _keep(self, sha256: str) -> None:
        """A second copy, where there is an agent to hold it. A follower's disk is none of the two."""
        self._access.leading()
        await self._access.resources.blobs.secure([sha256])
