"""`EtcdStore`: the `Store` protocol spoken to a real etcd. One method for each call; the rest is in its siblings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import grpc.aio

from orbit_core.errors import InvalidRequestError, StoreError
from orbit_core.pb.etcd import rpc_pb2
from orbit_core.store.api import (
    Alarm,
    CompactedError,
    Compare,
    DeleteResult,
    Lease,
    LeaseKeeper,
    Op,
    PutResult,
    RangeResult,
    Store,
    StoreStatus,
    TxnResult,
    WatchBatch,
    check_txn,
    check_value,
)
from orbit_core.store.etcd import wire
from orbit_core.store.etcd.config import EtcdConfig
from orbit_core.store.etcd.failures import error_of, is_too_large_to_receive
from orbit_core.store.etcd.lease import LeaseThread
from orbit_core.store.etcd.members import Member, Members, Metadata, Reply
from orbit_core.store.etcd.watch import Watch


class EtcdStore(Store):
    """A client of one etcd cluster. Make it on the loop that uses it; `close()` it there."""

    def __init__(self, config: EtcdConfig) -> None:
        self._config = config
        self._members = Members(config)

    async def range(
        self,
        key: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
    ) -> RangeResult:
        request = rpc_pb2.RangeRequest(
            key=key,
            range_end=end,
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            serializable=serializable,
        )

        async def call(member: Member, timeout_s: float, metadata: Metadata) -> rpc_pb2.RangeResponse:
            while True:
                try:
                    return await member.kv.Range(request, timeout=timeout_s, metadata=metadata)
                except grpc.aio.AioRpcError as failure:
                    if not is_too_large_to_receive(failure):
                        raise
                    if request.limit < 2:
                        raise StoreError(
                            f"{key!r} to {end!r} does not fit into one message", remedy="read it in pages (scan)"
                        ) from failure
                    request.limit //= 4

        message = await self._members.read("range", call, self._config.request_timeout_s)
        return wire.range_result(message, message.header.revision)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> PutResult:
        check_value(key, value)
        request = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
        message = await self._members.write(
            "put",
            lambda member, timeout_s, metadata: member.kv.Put(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )
        return PutResult(message.header.revision)

    async def delete(self, key: bytes, end: bytes = b"") -> DeleteResult:
        request = rpc_pb2.DeleteRangeRequest(key=key, range_end=end)
        message = await self._members.write(
            "delete",
            lambda member, timeout_s, metadata: member.kv.DeleteRange(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )
        return DeleteResult(message.header.revision, message.deleted)

    async def txn(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        check_txn(success, failure)
        request = wire.txn_request(compare, success, failure)
        message = await self._members.write(
            "txn",
            lambda member, timeout_s, metadata: member.kv.Txn(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )
        return wire.txn_result(message)

    def watch(self, key: bytes, end: bytes = b"", *, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        if from_revision < 1:
            raise InvalidRequestError("a watch needs the revision to start from", remedy="read first")
        return Watch(self._members, key, end, from_revision, self._config.request_timeout_s).batches()

    async def lease_grant(self, ttl_s: int) -> Lease:
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s)
        message = await self._members.write(
            "lease grant",
            lambda member, timeout_s, metadata: member.lease.LeaseGrant(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )
        return Lease(message.ID, message.TTL)

    async def lease_revoke(self, lease_id: int) -> None:
        request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
        await self._members.write(
            "lease revoke",
            lambda member, timeout_s, metadata: member.lease.LeaseRevoke(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )

    async def lease_keepalive(self, lease_id: int) -> int:
        async def call(member: Member, timeout_s: float, metadata: Metadata) -> int:
            stream = member.lease.LeaseKeepAlive(timeout=timeout_s, metadata=metadata)
            try:
                await stream.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease_id))
                async for response in stream:
                    return response.TTL
                raise StoreError("etcd closed the stream of lease renewals without an answer")
            except asyncio.InvalidStateError:
                raise StoreError("etcd closed the stream of lease renewals before it was asked") from None
            finally:
                stream.cancel()

        # Renewing twice does no harm, so this may be asked again like a read.
        return await self._members.read("lease keepalive", call, self._config.request_timeout_s)

    def keep_lease(self, lease: Lease, *, granted_at_s: float, on_lost: Callable[[], None]) -> LeaseKeeper:
        return LeaseThread(self._config, lease, granted_at_s=granted_at_s, on_lost=on_lost)

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def compact(self, revision: int) -> None:
        request = rpc_pb2.CompactionRequest(revision=revision)
        try:
            # Compacting twice does no harm, so this may be asked again like a read.
            await self._members.read(
                "compact",
                lambda member, timeout_s, metadata: member.kv.Compact(request, timeout=timeout_s, metadata=metadata),
                self._config.request_timeout_s,
            )
        except CompactedError:
            return

    async def defragment(self) -> None:
        for member in self._members.all:
            await self._of_member(member, "defragment", self._defragment)

    async def alarms(self) -> tuple[Alarm, ...]:
        request = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.GET)
        message = await self._members.read(
            "alarms",
            lambda member, timeout_s, metadata: member.maintenance.Alarm(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )
        return tuple(wire.alarm(one) for one in message.alarms)

    async def disarm(self, alarm: Alarm) -> None:
        request = rpc_pb2.AlarmRequest(
            action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=alarm.member_id, alarm=wire.alarm_kind(alarm)
        )
        await self._members.write(
            "disarm",
            lambda member, timeout_s, metadata: member.maintenance.Alarm(request, timeout=timeout_s, metadata=metadata),
            self._config.request_timeout_s,
        )

    async def status(self) -> StoreStatus:
        outcomes = await asyncio.gather(
            *(self._of_member(member, "status", self._status) for member in self._members.all),
            return_exceptions=True,
        )
        answers = [one for one in outcomes if isinstance(one, rpc_pb2.StatusResponse)]
        if not answers:
            raise next(one for one in outcomes if isinstance(one, BaseException))
        return StoreStatus(
            version=min(answer.version for answer in answers),
            db_size_bytes=max(answer.dbSize for answer in answers),
            db_in_use_bytes=max(answer.dbSizeInUse for answer in answers),
            quota_bytes=self._config.quota_bytes,
            member_count=len(answers),
        )

    async def close(self) -> None:
        await self._members.close()

    async def _status(self, member: Member, metadata: Metadata) -> rpc_pb2.StatusResponse:
        timeout_s = self._config.request_timeout_s
        return await member.maintenance.Status(rpc_pb2.StatusRequest(), timeout=timeout_s, metadata=metadata)

    async def _defragment(self, member: Member, metadata: Metadata) -> rpc_pb2.DefragmentResponse:
        timeout_s = self._config.maintenance_timeout_s
        return await member.maintenance.Defragment(rpc_pb2.DefragmentRequest(), timeout=timeout_s, metadata=metadata)

    async def _of_member(
        self, member: Member, name: str, call: Callable[[Member, Metadata], Awaitable[Reply]]
    ) -> Reply:
        """A call to this very member, whichever is preferred."""
        timeout_s = self._config.request_timeout_s
        if not await member.connected(timeout_s, patient=len(self._members.all) == 1):
            raise StoreError(f"the etcd member at {member.target} cannot be reached for {name}")
        try:
            return await call(member, await self._members.metadata(member, timeout_s))
        except grpc.aio.AioRpcError as failure:
            raise error_of(name, failure) from failure
