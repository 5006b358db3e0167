"""Blobs between machines: the gRPC service that serves what is held here, and the fetcher that has them from others.

Bytes are verified by whoever stores them (`BlobStore.put` with the expected hash); nothing here trusts a peer. How
other machines are talked to is in `peers.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

import grpc

from orbit_core.clock import Clock, SystemClock
from orbit_core.errors import BlobError, InvalidRequestError
from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES
from orbit_core.pb.orbit.v1 import blobs_pb2, blobs_pb2_grpc, common_pb2
from orbit_core.store.blobs import BlobInfo, BlobStore, PeerBlobs
from orbit_core.store.blobs.api import check_name
from orbit_core.store.blobs.peer import Fetch, Home, no_home

#: How every gRPC server of Orbit is set up: pings that notice a half-dead connection, and a limit on messages.
SERVER_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
]
_HINTS_KEPT: Final = 10_000
_AGAIN_S: Final = 0.5

T = TypeVar("T")
Local = TypeVar("Local", bound=BlobStore)


class BlobService(blobs_pb2_grpc.BlobServiceServicer):
    """Serves one machine's blobs. `keep`: has a blob held elsewhere too; without it no such wish is granted."""

    def __init__(self, blobs: BlobStore, *, keep: Callable[[str], Awaitable[None]] | None = None) -> None:
        self._blobs = blobs
        self._keep_elsewhere = keep

    async def GetBlob(
        self, request: blobs_pb2.GetBlobRequest, context: Any
    ) -> AsyncIterator[blobs_pb2.GetBlobResponse]:
        check_name(request.sha256)
        if await self._blobs.stat(request.sha256) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"blob {request.sha256} is not here")
        async with aclosing(self._blobs.open(request.sha256)) as chunks:
            async for chunk in chunks:
                yield blobs_pb2.GetBlobResponse(chunk=chunk)

    async def PutBlob(
        self, request_iterator: AsyncIterator[blobs_pb2.PutBlobRequest], context: Any
    ) -> blobs_pb2.PutBlobResponse:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "blob":
            raise InvalidRequestError("a blob begins with its hash")
        if first.keep and self._keep_elsewhere is None:
            raise InvalidRequestError("this machine does not lead: it keeps no inputs", remedy="ask a coordinator")

        async def chunks() -> AsyncIterator[bytes]:
            async for request in requests:
                yield request.chunk

        info = await self._blobs.put(chunks(), expected_sha256=check_name(first.blob.sha256))
        if first.keep and self._keep_elsewhere is not None:
            await self._keep_elsewhere(info.sha256)
        return blobs_pb2.PutBlobResponse(blob=common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes))

    async def StatBlobs(self, request: blobs_pb2.StatBlobsRequest, context: Any) -> blobs_pb2.StatBlobsResponse:
        found = [await self._blobs.stat(check_name(sha256)) for sha256 in request.sha256]
        return blobs_pb2.StatBlobsResponse(
            blobs=[
                common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes) for info in found if info is not None
            ]
        )


async def patiently(attempt: Callable[[], Awaitable[T]], patience_s: float, clock: Clock | None = None) -> T:
    """What `attempt` gives; a BlobError is raised only when it comes again after `patience_s`."""
    clock = clock or SystemClock()
    deadline_s = clock.monotonic_s() + patience_s
    while True:
        try:
            return await attempt()
        except BlobError:
            if clock.monotonic_s() >= deadline_s:
                raise
        await clock.sleep(_AGAIN_S)


class BlobFetcher(Generic[Local]):
    """Has blobs here, from wherever they are: this machine, the mesh's home for blobs, the named holders, the leader.

    `patience_s`: how long a blob that cannot be had is asked for again, so that a change of leader is a pause.
    """

    def __init__(
        self,
        local: Local,
        leader: Callable[[], str | None],
        *,
        fetch: Fetch,
        patience_s: float = 0.0,
        home: Home = no_home,
        clock: Clock | None = None,
    ) -> None:
        self.local = local
        self._clock = clock or SystemClock()
        self._leader = leader
        self._patience_s = patience_s
        self._hints: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._peers = PeerBlobs(local, fetch, self._locate, home)

    async def ensure(self, sha256: str, holders: Sequence[str]) -> BlobInfo:
        """The blob is here when this returns. BlobError where nobody has it."""
        self._hints[sha256] = tuple(holders)
        if len(self._hints) > _HINTS_KEPT:
            self._hints.popitem(last=False)
        return await patiently(lambda: self._peers.ensure(sha256), self._patience_s, self._clock)

    async def _locate(self, sha256: str) -> Sequence[str]:
        leader = self._leader()
        return tuple(dict.fromkeys([*self._hints.get(sha256, ()), *([leader] if leader else [])]))
