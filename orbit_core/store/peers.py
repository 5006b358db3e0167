"""Other machines' blobs over gRPC: fetched, pushed, asked for, over one kept connection to each.

Whoever makes a `Peers` closes it. Bytes are verified by whoever stores them; what is fetched or pushed, and from or to
whom, is not decided here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc

from orbit_core.errors import BlobError
from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES
from orbit_core.pb.orbit.v1 import blobs_pb2, blobs_pb2_grpc, common_pb2
from orbit_core.store.blobs import BlobMissingError, BlobStore

CONNECT_S: Final = 5.0
TRANSFER_S: Final = 600.0
#: Request metadata: only what lies on the very machine that is asked. Coordinators ask one another so, not in circles.
HERE_ONLY: Final = ("orbit-blobs", "here")
#: Connections that are kept at most; those that nobody uses go first, the longest unused before others.
CHANNELS_MAX: Final = 256
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.enable_http_proxy", 0),
    # A kept connection to a machine that is gone, or cut off, has to be noticed, and one that is back used at once.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(slots=True)
class _Connection:
    channel: grpc.aio.Channel
    users: int = 0


class Peers:
    """The blob services of other machines, by their addresses."""

    def __init__(self) -> None:
        self._connections: OrderedDict[str, _Connection] = OrderedDict()

    async def close(self) -> None:
        """Ends every connection, and with it what is under way."""
        connections = list(self._connections.values())
        self._connections.clear()
        for each in connections:
            await each.channel.close()

    async def fetch(
        self, address: str, sha256: str, *, metadata: tuple[tuple[str, str], ...] = ()
    ) -> AsyncGenerator[bytes, None]:
        """The chunks of a blob from the machine at `address`. BlobError where it cannot be had there."""
        async with self._connected(address) as channel:
            stub = blobs_pb2_grpc.BlobServiceStub(channel)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await channel.channel_ready()
                request = blobs_pb2.GetBlobRequest(sha256=sha256)
                call = stub.GetBlob(request, timeout=TRANSFER_S, metadata=metadata)
                try:
                    async for response in call:
                        yield response.chunk
                finally:
                    call.cancel()  # where the reader has had enough; the connection stays
            except TimeoutError as error:
                raise BlobError(f"{address} does not answer") from error
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise BlobMissingError(f"{address} does not have blob {sha256}") from error
                raise BlobError(f"{address} does not give blob {sha256}: {error.details()}") from error

    async def fetch_from(self, address: str, sha256: str) -> AsyncIterator[bytes]:
        """As `fetch`, of what lies on that very machine."""
        async with aclosing(self.fetch(address, sha256, metadata=(HERE_ONLY,))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def held(self, address: str, hashes: Sequence[str]) -> set[str]:
        """Which of the blobs lie on the machine at `address`. BlobError where it does not answer."""
        async with self._connected(address) as channel:
            stub = blobs_pb2_grpc.BlobServiceStub(channel)
            try:
                found = await stub.StatBlobs(blobs_pb2.StatBlobsRequest(sha256=hashes), timeout=CONNECT_S)
            except grpc.aio.AioRpcError as error:
                raise BlobError(f"{address} does not say what it holds: {error.details()}") from error
        return {blob.sha256 for blob in found.blobs}

    async def push(self, address: str, local: BlobStore, blobs: Sequence[common_pb2.BlobRef]) -> None:
        """Has the machine at `address` hold the blobs too. BlobError where it does not take one."""
        there = await self.held(address, [blob.sha256 for blob in blobs])
        async with self._connected(address) as channel:
            stub = blobs_pb2_grpc.BlobServiceStub(channel)
            try:
                for blob in blobs:
                    if blob.sha256 not in there:
                        await _put(stub, local, blob)
            except grpc.aio.AioRpcError as error:
                raise BlobError(f"{address} does not take a copy of a blob: {error.details()}") from error

    @asynccontextmanager
    async def _connected(self, address: str) -> AsyncGenerator[grpc.aio.Channel, None]:
        connection = self._connections.get(address)
        if connection is None:
            connection = _Connection(grpc.aio.insecure_channel(address, options=_OPTIONS))
            self._connections[address] = connection
        connection.users += 1
        self._connections.move_to_end(address)
        try:
            yield connection.channel
        finally:
            connection.users -= 1
            await self._trim()

    async def _trim(self) -> None:
        unused = [address for address, each in self._connections.items() if not each.users]
        for address in unused[: max(0, len(self._connections) - CHANNELS_MAX)]:
            await self._connections.pop(address).channel.close()


async def _put(stub: blobs_pb2_grpc.BlobServiceAsyncStub, local: BlobStore, blob: common_pb2.BlobRef) -> None:
    """One upload. A blob that cannot be read here would reach the caller as its own cancellation: gRPC's way."""
    unreadable: list[BlobError] = []

    async def requests() -> AsyncIterator[blobs_pb2.PutBlobRequest]:
        yield blobs_pb2.PutBlobRequest(blob=blob)
        try:
            async with aclosing(local.open(blob.sha256)) as chunks:
                async for chunk in chunks:
                    yield blobs_pb2.PutBlobRequest(chunk=chunk)
        except BlobError as error:
            unreadable.append(error)
            raise

    try:
        await stub.PutBlob(requests(), timeout=TRANSFER_S)
    except asyncio.CancelledError:
        if unreadable:
            raise unreadable[0] from None
        raise
