"""etcd as it is over a bad network: the in-memory twin behind requests that are late, lost, or answered to nobody.

`Etcd` is the one true store, and tells the judge of every change as it lands. `Client` is one process' view of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from orbit_core.clock import Clock
from orbit_core.errors import OrbitError, OutcomeUnknownError, StoreError
from orbit_core.store.api import (
    Alarm,
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
    WatchEvent,
)
from orbit_core.store.memory import MemoryStore, _LeaseTask
from tests.simulation.virtual import Process, VirtualLoop

T = TypeVar("T")

REQUEST_TIMEOUT_S = 2.0


class Etcd(MemoryStore):
    """`landed` hears of every transaction, in order. `down`: requests are refused."""

    def __init__(self, clock: Clock, landed: Callable[[Sequence[WatchEvent]], None], *, quota_bytes: int) -> None:
        super().__init__(clock, quota_bytes=quota_bytes)
        self._landed = landed
        self.process = Process("etcd")
        self.down = False
        #: Every request takes the same time, for stories.
        self.steady = False
        #: Chances, while a fault is on: that a request takes seconds, that a write lands long after it was given up and
        #: others were made, that an answer is lost.
        self.slow = 0.0
        self.late = 0.0
        self.mute = 0.0

    def _commit(self, revision: int, events: list[WatchEvent]) -> None:
        super()._commit(revision, events)
        if events:
            self._landed(events)


class Client(Store):
    """What one process asks of etcd. `reaches(to_etcd)`: whether its packets get through in that direction."""

    def __init__(
        self,
        loop: VirtualLoop,
        etcd: Etcd,
        clock: Clock,
        rng: random.Random,
        reaches: Callable[[bool], bool],
    ) -> None:
        self._loop = loop
        self._etcd = etcd
        self._clock = clock
        self._rng = rng
        self._reaches = reaches

    async def _ask(self, request: Callable[[Store], Awaitable[T]], *, writes: bool) -> T:
        rng, etcd = self._rng, self._etcd
        slow = rng.random() < etcd.slow
        there_s = rng.uniform(0.5, 4.0) if slow else 0.001 if etcd.steady else rng.uniform(0.0005, 0.004)
        back_s = 0.001 if etcd.steady else rng.uniform(0.0005, 0.004)
        muted = rng.random() < etcd.mute
        if writes and etcd.late and rng.random() < etcd.late:
            there_s = rng.uniform(3.0, 20.0)
        answer: asyncio.Future[T] = self._loop.create_future()

        async def serve() -> None:
            await asyncio.sleep(there_s)
            if not self._reaches(True):
                return
            outcome: Any = None
            try:
                if etcd.down:
                    raise StoreError("etcd refuses the connection")
                outcome = await request(etcd)
            except OrbitError as error:
                outcome = error
            await asyncio.sleep(back_s)
            if muted or not self._reaches(False) or answer.done():
                return
            if isinstance(outcome, OrbitError):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        self._loop.spawn(etcd.process, serve())
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await answer
        except TimeoutError:
            if writes:
                raise OutcomeUnknownError from None
            raise StoreError("etcd does not answer") from None

    async def range(self, key: bytes, end: bytes = b"", **options: Any) -> RangeResult:
        return await self._ask(lambda store: store.range(key, end, **options), writes=False)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> PutResult:
        return await self._ask(lambda store: store.put(key, value, lease=lease), writes=True)

    async def delete(self, key: bytes, end: bytes = b"") -> DeleteResult:
        return await self._ask(lambda store: store.delete(key, end), writes=True)

    async def txn(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        return await self._ask(
            lambda store: store.txn(compare=compare, success=success, failure=failure), writes=bool(success or failure)
        )

    async def watch(self, key: bytes, end: bytes = b"", *, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        async with aclosing(self._etcd.watch(key, end, from_revision=from_revision)) as batches:
            async for batch in batches:
                await asyncio.sleep(self._rng.uniform(0.0005, 0.004))
                while self._etcd.down or not self._reaches(False) or not self._reaches(True):  # noqa: ASYNC110
                    await asyncio.sleep(0.25)  # the client resumes where it was, once it reaches a member again
                yield batch

    async def lease_grant(self, ttl_s: int) -> Lease:
        return await self._ask(lambda store: store.lease_grant(ttl_s), writes=True)

    async def lease_revoke(self, lease_id: int) -> None:
        await self._ask(lambda store: store.lease_revoke(lease_id), writes=True)

    async def lease_keepalive(self, lease_id: int) -> int:
        return await self._ask(lambda store: store.lease_keepalive(lease_id), writes=False)

    def keep_lease(self, lease: Lease, *, granted_at_s: float, on_lost: Callable[[], None]) -> LeaseKeeper:
        return _LeaseTask(self, self._clock, lease, granted_at_s=granted_at_s, on_lost=on_lost)  # type: ignore[arg-type]

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def compact(self, revision: int) -> None:
        await self._ask(lambda store: store.compact(revision), writes=True)

    async def defragment(self) -> None:
        await self._ask(lambda store: store.defragment(), writes=True)

    async def alarms(self) -> tuple[Alarm, ...]:
        return await self._ask(lambda store: store.alarms(), writes=False)

    async def disarm(self, alarm: Alarm) -> None:
        await self._ask(lambda store: store.disarm(alarm), writes=True)

    async def status(self) -> StoreStatus:
        return await self._ask(lambda store: store.status(), writes=False)

    async def close(self) -> None: ...
