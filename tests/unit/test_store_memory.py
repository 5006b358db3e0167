"""What the twin has beyond the contract: time that the test holds, and a quota that is counted exactly."""

from __future__ import annotations

import asyncio
import heapq

import pytest

from orbit_core.errors import StoreFullError
from orbit_core.store.election import Candidate, Election
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore


class HeldClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now_ms(self) -> int:
        return int(self._now_s * 1_000)

    def monotonic_s(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        heapq.heappush(self._sleepers, (self._now_s + seconds, id(awake), awake))
        await awake.wait()

    async def advance(self, seconds: float) -> None:
        until_s = self._now_s + seconds
        while self._sleepers and self._sleepers[0][0] <= until_s:
            self._now_s, _, awake = heapq.heappop(self._sleepers)
            awake.set()
            await self.settle()
        self._now_s = until_s
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_leases_end_when_the_clock_says_so() -> None:
    clock = HeldClock()
    store = MemoryStore(clock)
    lease = await store.lease_grant(5)
    await store.put(b"a", b"", lease=lease.id)
    await clock.advance(4.9)
    assert await store.get(b"a") is not None
    assert await store.lease_keepalive(lease.id) == 5
    await clock.advance(4.9)
    assert await store.get(b"a") is not None
    await clock.advance(0.2)
    assert await store.get(b"a") is None
    await store.close()


async def test_an_expiry_wakes_a_watch_without_any_call() -> None:
    clock = HeldClock()
    store = MemoryStore(clock)
    lease = await store.lease_grant(5)
    revision = (await store.put(b"a", b"", lease=lease.id)).revision
    watch = store.watch(b"a", from_revision=revision + 1)
    waiting = asyncio.ensure_future(anext(watch))
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(1)
    assert (await waiting).events[0].kind == "delete"
    await watch.aclose()
    await store.close()


async def test_leadership_is_kept_and_handed_over_on_held_time() -> None:
    clock = HeldClock()
    store, keys = MemoryStore(clock), Keys()
    election = Election(store, keys, Candidate("a", "host:1"), ttl_s=5)
    leading = await election.campaign()
    await clock.advance(60)
    assert leading.held()
    await leading._keeper.close()
    await clock.advance(5)
    assert not leading.held()
    assert await store.get(keys.leader()) is None
    await election.resign()
    await store.close()


async def test_the_quota_counts_history_until_it_is_compacted() -> None:
    store = MemoryStore(quota_bytes=1_000)
    for _ in range(4):
        revision = (await store.put(b"a", bytes(100))).revision
    with pytest.raises(StoreFullError):
        await store.put(b"a", bytes(500))
    (alarm,) = await store.alarms()
    with pytest.raises(StoreFullError):
        await store.put(b"b", b"")
    await store.compact(revision)
    await store.delete(b"nothing")
    await store.disarm(alarm)
    await store.put(b"a", bytes(400))
    await store.delete(b"a")
    revision = (await store.put(b"c", b"")).revision
    await store.compact(revision)
    assert (await store.status()).db_size_bytes == 101
