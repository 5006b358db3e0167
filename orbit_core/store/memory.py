"""The in-memory twin of etcd: the `Store` protocol with revisions, leases, watches and compaction, and no I/O.

For tests and the simulator. It passes the contract tests that a real etcd passes; a behaviour of etcd that Orbit
leans on belongs into those tests first, then here. Time comes from the clock that is handed in.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from orbit_core.clock import Clock, SystemClock
from orbit_core.errors import InvalidRequestError, NotFoundError, StoreError, StoreFullError
from orbit_core.limits import GIB
from orbit_core.store.api import (
    Alarm,
    CompactedError,
    Compare,
    Delete,
    DeleteResult,
    Get,
    KeyValue,
    Lease,
    LeaseKeeper,
    Op,
    OpResult,
    Put,
    PutResult,
    RangeResult,
    Store,
    StoreStatus,
    TxnResult,
    WatchBatch,
    WatchEvent,
    check_txn,
    check_value,
)

_MEMBER_ID = 1
_KEY_OVERHEAD_BYTES = 100  # what a key costs beside its own bytes: about what etcd's page layout adds


@dataclass(slots=True)
class _HeldLease:
    ttl_s: int
    expires_at_s: float
    keys: set[bytes] = field(default_factory=set)


class MemoryStore(Store):
    """One member, always its own leader. `quota_bytes` counts keys and values of all kept revisions."""

    def __init__(self, clock: Clock | None = None, *, quota_bytes: int = 2 * GIB) -> None:
        self._clock = clock or SystemClock()
        self._quota_bytes = quota_bytes
        self._revision = 1
        self._compacted = 0
        #: Every kept version of a key, oldest first; `None` is a delete. Live keys end with a version.
        self._versions: dict[bytes, list[tuple[int, KeyValue | None]]] = {}
        self._keys: list[bytes] = []  # the keys of `_versions`, sorted
        self._log: list[tuple[int, tuple[WatchEvent, ...]]] = []
        self._leases: dict[int, _HeldLease] = {}
        self._next_lease = 1
        self._bytes = 0  # of all kept versions
        self._nospace = False
        self._changed = asyncio.Event()
        self._reaper: asyncio.Task[None] | None = None

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
        self._expire()
        if revision > self._revision:
            raise InvalidRequestError(f"revision {revision} is in the future")
        if 0 < revision < self._compacted:
            raise CompactedError(None)
        return self._range(Get(key, end, limit, keys_only), revision or self._revision)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> PutResult:
        check_value(key, value)
        result = self._apply((Put(key, value, lease),))[0]
        assert isinstance(result, PutResult)
        return result

    async def delete(self, key: bytes, end: bytes = b"") -> DeleteResult:
        result = self._apply((Delete(key, end),))[0]
        assert isinstance(result, DeleteResult)
        return result

    async def txn(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        check_txn(success, failure)
        _refuse_double_writes(success)
        _refuse_double_writes(failure)
        self._expire()
        succeeded = all(self._holds(one) for one in compare)
        results = self._apply(success if succeeded else failure)
        return TxnResult(succeeded, self._revision, tuple(results))

    async def watch(self, key: bytes, end: bytes = b"", *, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        if from_revision < 1:
            raise InvalidRequestError("a watch needs the revision to start from", remedy="read first")
        while True:
            self._expire()
            if from_revision < self._compacted:
                raise CompactedError(self._compacted)
            start = bisect.bisect_left(self._log, from_revision, key=lambda entry: entry[0])
            from_revision = max(from_revision, self._revision + 1)
            changed = self._changed
            for revision, events in self._log[start:]:
                wanted = tuple(event for event in events if _within(event.kv.key, key, end))
                if wanted:
                    yield WatchBatch(revision, wanted)
            await changed.wait()

    async def lease_grant(self, ttl_s: int) -> Lease:
        self._expire()
        if self._nospace:
            raise StoreFullError("the store is at its space quota and grants no leases")
        lease_id = self._next_lease
        self._next_lease += 1
        self._leases[lease_id] = _HeldLease(ttl_s, self._clock.monotonic_s() + ttl_s)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap(), name="memory-store-leases")
        return Lease(lease_id, ttl_s)

    async def lease_revoke(self, lease_id: int) -> None:
        self._expire()
        if lease_id not in self._leases:
            raise NotFoundError(f"lease {lease_id} has ended")
        self._end_lease(lease_id)

    async def lease_keepalive(self, lease_id: int) -> int:
        self._expire()
        lease = self._leases.get(lease_id)
        if lease is None:
            return 0
        lease.expires_at_s = self._clock.monotonic_s() + lease.ttl_s
        return lease.ttl_s

    def keep_lease(self, lease: Lease, *, granted_at_s: float, on_lost: Callable[[], None]) -> LeaseKeeper:
        return _LeaseTask(self, self._clock, lease, granted_at_s=granted_at_s, on_lost=on_lost)

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise InvalidRequestError(f"revision {revision} is in the future")
        if revision <= self._compacted:
            return
        self._compacted = revision
        self._log = [entry for entry in self._log if entry[0] >= revision]
        for key, versions in list(self._versions.items()):
            newest = bisect.bisect_right(versions, revision, key=lambda version: version[0]) - 1
            first = newest + 1 if newest >= 0 and versions[newest][1] is None else max(newest, 0)
            self._bytes -= sum(_cost_bytes(key, kv) for _, kv in versions[:first])
            del versions[:first]
            if not versions:
                del self._versions[key]
                del self._keys[bisect.bisect_left(self._keys, key)]

    async def defragment(self) -> None:
        """Nothing to do: memory has no pages to give back."""

    async def alarms(self) -> tuple[Alarm, ...]:
        return (Alarm(_MEMBER_ID, "nospace"),) if self._nospace else ()

    async def disarm(self, alarm: Alarm) -> None:
        if alarm.kind == "nospace":
            self._nospace = False

    async def status(self) -> StoreStatus:
        return StoreStatus("memory", self._bytes, self._bytes, self._quota_bytes, 1)

    async def close(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)

    # Reading.

    def _range(self, get: Get, revision: int) -> RangeResult:
        found = [
            version for key in self._keys_within(get.key, get.end) if (version := self._at(key, revision)) is not None
        ]
        kvs = found[: get.limit] if get.limit else found
        if get.keys_only:
            kvs = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs]
        return RangeResult(tuple(kvs), self._revision, more=len(kvs) < len(found), count=len(found))

    def _keys_within(self, key: bytes, end: bytes) -> list[bytes]:
        if not end:
            return [key] if key in self._versions else []
        first = bisect.bisect_left(self._keys, key)
        last = len(self._keys) if end == b"\x00" else bisect.bisect_left(self._keys, end)
        return self._keys[first:last]

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        versions = self._versions.get(key, [])
        index = bisect.bisect_right(versions, revision, key=lambda version: version[0]) - 1
        return versions[index][1] if index >= 0 else None

    def _holds(self, compare: Compare) -> bool:
        kv = self._at(compare.key, self._revision)
        if compare.target == "value":
            if kv is None:
                return False
            return _signed(kv.value, compare.sign, compare.operand)
        actual = 0
        if kv is not None:
            actual = {
                "version": kv.version,
                "create": kv.create_revision,
                "mod": kv.mod_revision,
                "lease": kv.lease,
            }[compare.target]
        return _signed(actual, compare.sign, compare.operand)

    # Writing. All of one transaction has one revision, and is one entry of the log.

    def _apply(self, ops: Sequence[Op]) -> list[OpResult]:
        self._expire()
        self._check_room(ops)
        for op in ops:
            if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                raise NotFoundError(f"lease {op.lease} has ended")
        revision = self._revision + 1
        events: list[WatchEvent] = []
        results: list[OpResult] = []
        for op in ops:
            match op:
                case Put():
                    events.append(self._put(op, revision))
                    results.append(PutResult(revision))
                case Delete():
                    deleted = self._delete(op, revision)
                    events.extend(deleted)
                    results.append(DeleteResult(revision, len(deleted)))
                case Get():
                    results.append(self._range(op, revision))
        self._commit(revision, events)
        return [_stamped(result, self._revision) for result in results]

    def _put(self, op: Put, revision: int) -> WatchEvent:
        before = self._at(op.key, revision)
        if before is not None and before.lease in self._leases:
            self._leases[before.lease].keys.discard(op.key)
        if op.lease:
            self._leases[op.lease].keys.add(op.key)
        created = before.create_revision if before else revision
        version = before.version + 1 if before else 1
        kv = KeyValue(op.key, op.value, created, revision, version, op.lease)
        if op.key not in self._versions:
            bisect.insort(self._keys, op.key)
        self._versions.setdefault(op.key, []).append((revision, kv))
        self._bytes += _cost_bytes(op.key, kv)
        return WatchEvent("put", kv)

    def _delete(self, op: Delete, revision: int) -> list[WatchEvent]:
        events: list[WatchEvent] = []
        for key in self._keys_within(op.key, op.end):
            before = self._at(key, revision)
            if before is None:
                continue
            if before.lease in self._leases:
                self._leases[before.lease].keys.discard(key)
            self._versions[key].append((revision, None))
            self._bytes += _cost_bytes(key, None)
            events.append(WatchEvent("delete", KeyValue(key, b"", 0, revision, 0)))
        return events

    def _commit(self, revision: int, events: list[WatchEvent]) -> None:
        if not events:
            return
        self._revision = revision
        self._log.append((revision, tuple(events)))
        self._changed.set()
        self._changed = asyncio.Event()

    def _check_room(self, ops: Sequence[Op]) -> None:
        cost = sum(len(op.key) + len(op.value) + _KEY_OVERHEAD_BYTES for op in ops if isinstance(op, Put))
        if cost == 0:
            return
        if self._nospace or self._bytes + cost > self._quota_bytes:
            self._nospace = True
            raise StoreFullError("the store is at its space quota and takes no writes")

    # Leases end by themselves when time moves on; every call looks first.

    def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        for lease_id in [one for one, lease in self._leases.items() if lease.expires_at_s <= now_s]:
            self._end_lease(lease_id)

    def _end_lease(self, lease_id: int) -> None:
        keys = self._leases.pop(lease_id).keys
        revision = self._revision + 1
        self._commit(revision, [event for key in sorted(keys) for event in self._delete(Delete(key), revision)])

    async def _reap(self) -> None:
        while self._leases:
            next_s = min(lease.expires_at_s for lease in self._leases.values())
            await self._clock.sleep(max(0.0, next_s - self._clock.monotonic_s()))
            self._expire()


class _LeaseTask:
    """`LeaseKeeper` for the twin: a task on the loop, since a clock that tests hold knows no threads."""

    def __init__(
        self,
        store: MemoryStore,
        clock: Clock,
        lease: Lease,
        *,
        granted_at_s: float,
        on_lost: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._expires_at_s = granted_at_s + lease.ttl_s
        self._on_lost = on_lost
        self._task = asyncio.create_task(self._run(), name=f"lease-{lease.id}")

    def remaining_s(self) -> float:
        return max(0.0, self._expires_at_s - self._clock.monotonic_s())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(min(self._lease.ttl_s / 3, self.remaining_s()))
            sent_at_s = self._clock.monotonic_s()
            with contextlib.suppress(StoreError):  # asked again until the TTL is over
                self._expires_at_s = sent_at_s + await self._store.lease_keepalive(self._lease.id)
            if self.remaining_s() <= 0:
                self._on_lost()
                return


def _within(key: bytes, first: bytes, end: bytes) -> bool:
    if not end:
        return key == first
    return key >= first and (end == b"\x00" or key < end)


def _signed(actual: int | bytes, sign: str, operand: int | bytes) -> bool:
    if isinstance(actual, bytes):
        assert isinstance(operand, bytes)
        order = (actual > operand) - (actual < operand)
    else:
        assert isinstance(operand, int)
        order = (actual > operand) - (actual < operand)
    return {"==": order == 0, "!=": order != 0, "<": order < 0, ">": order > 0}[sign]


def _cost_bytes(key: bytes, kv: KeyValue | None) -> int:
    return len(key) + (len(kv.value) if kv else 0) + _KEY_OVERHEAD_BYTES


def _stamped(result: OpResult, revision: int) -> OpResult:
    match result:
        case RangeResult(kvs, _, more, count):
            return RangeResult(kvs, revision, more, count)
        case DeleteResult(_, deleted):
            return DeleteResult(revision, deleted)
        case PutResult():
            return PutResult(revision)


def _refuse_double_writes(ops: Sequence[Op]) -> None:
    """As etcd: a transaction may put a key once, and may not also delete it."""
    put: set[bytes] = set()
    for op in ops:
        if isinstance(op, Put):
            if op.key in put:
                raise InvalidRequestError(f"a transaction puts {op.key!r} twice")
            put.add(op.key)
    for op in ops:
        if isinstance(op, Delete) and any(_within(key, op.key, op.end) for key in put):
            raise InvalidRequestError(f"a transaction both puts and deletes a key under {op.key!r}")
