"""The contract of watches and leases, for the twin and for a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from orbit_core.errors import InvalidRequestError, NotFoundError
from orbit_core.limits import ETCD_VALUE_MAX_BYTES
from orbit_core.store.api import CompactedError, Put, Store, WatchBatch
from orbit_core.store.keys import Keys

DEADLINE_S = 20


def key(keys: Keys, name: str) -> bytes:
    return f"{keys.prefix}/{name}".encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (time itself is waited for)
            await asyncio.sleep(0.05)


async def batches(store: Store, keys: Keys, from_revision: int, events: int) -> list[WatchBatch]:
    """Watch the whole key space until that many events have come."""
    seen: list[WatchBatch] = []
    span = keys.everything()
    async with (
        asyncio.timeout(DEADLINE_S),
        aclosing(store.watch(span.start, span.end, from_revision=from_revision)) as watch,
    ):
        async for batch in watch:
            seen.append(batch)
            if sum(len(one.events) for one in seen) >= events:
                break
    return seen


async def test_a_watch_shows_the_past_and_then_the_present_in_order(store: Store, keys: Keys) -> None:
    first = (await store.put(key(keys, "a"), b"1")).revision
    await store.put(key(keys, "b"), b"2")
    task = asyncio.create_task(batches(store, keys, first, 4))
    await store.put(key(keys, "a"), b"3")
    last = (await store.delete(key(keys, "b"))).revision
    seen = [event for batch in await task for event in batch.events]
    assert [(event.kind, event.kv.key, event.kv.value) for event in seen] == [
        ("put", key(keys, "a"), b"1"),
        ("put", key(keys, "b"), b"2"),
        ("put", key(keys, "a"), b"3"),
        ("delete", key(keys, "b"), b""),
    ]
    assert [event.kv.mod_revision for event in seen] == sorted(event.kv.mod_revision for event in seen)
    assert seen[-1].kv.mod_revision == last


async def test_a_watch_leaves_out_other_keys(store: Store, keys: Keys) -> None:
    start = (await store.put(key(keys, "a"), b"1")).revision
    await store.put(key(keys, "ab"), b"other")
    last = (await store.put(key(keys, "a"), b"2")).revision
    values: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(store.watch(key(keys, "a"), from_revision=start)) as watch:
        async for batch in watch:
            values += [event.kv.value for event in batch.events]
            if batch.revision == last:
                break
    assert values == [b"1", b"2"]


async def test_a_watch_may_start_in_the_future(store: Store, keys: Keys) -> None:
    now = (await store.put(key(keys, "a"), b"1")).revision
    watching = asyncio.create_task(batches(store, keys, now + 3, 2))
    for value in (b"2", b"3", b"4", b"5", b"6"):
        await store.put(key(keys, "a"), value)
    assert min(batch.revision for batch in await watching) >= now + 3


async def test_the_events_of_one_transaction_come_together(store: Store, keys: Keys) -> None:
    start = (await store.txn(success=[Put(key(keys, str(n)), b"") for n in range(50)])).revision
    (batch,) = await batches(store, keys, start, 50)
    assert batch.revision == start
    assert {event.kv.mod_revision for event in batch.events} == {start}


async def test_a_watch_takes_more_than_fits_into_a_message(store: Store, keys: Keys) -> None:
    start = (await store.put(key(keys, "first"), b"")).revision
    for number in range(20):
        await store.put(key(keys, f"k{number:02}"), bytes(ETCD_VALUE_MAX_BYTES))
    seen = [event for batch in await batches(store, keys, start, 21) for event in batch.events]
    assert [event.kv.key for event in seen[1:]] == [key(keys, f"k{number:02}") for number in range(20)]
    assert all(len(event.kv.value) == ETCD_VALUE_MAX_BYTES for event in seen[1:])
    await store.delete(keys.everything().start, keys.everything().end)


async def test_a_watch_from_before_a_compaction_says_so(store: Store, keys: Keys) -> None:
    old = (await store.put(key(keys, "a"), b"1")).revision
    await store.put(key(keys, "a"), b"2")
    new = (await store.put(key(keys, "a"), b"3")).revision
    await store.compact(new)
    with pytest.raises(CompactedError) as caught:
        await batches(store, keys, old, 1)
    assert caught.value.compact_revision == new
    (batch,) = await batches(store, keys, new, 1)
    assert batch.events[0].kv.value == b"3"


async def test_a_compaction_does_not_disturb_a_watch_that_has_kept_up(store: Store, keys: Keys) -> None:
    start = (await store.put(key(keys, "a"), b"1")).revision
    span = keys.everything()
    async with asyncio.timeout(DEADLINE_S), aclosing(store.watch(span.start, span.end, from_revision=start)) as watch:
        assert (await anext(watch)).events[0].kv.value == b"1"
        second = (await store.put(key(keys, "a"), b"2")).revision
        assert (await anext(watch)).events[0].kv.value == b"2"
        await store.compact(second)
        await store.put(key(keys, "a"), b"3")
        assert (await anext(watch)).events[0].kv.value == b"3"


async def test_a_watch_needs_a_place_to_start(store: Store, keys: Keys) -> None:
    with pytest.raises(InvalidRequestError):
        await anext(store.watch(key(keys, "a"), from_revision=0))


async def test_an_expired_lease_takes_its_keys_along(store: Store, keys: Keys) -> None:
    lease = await store.lease_grant(2)
    assert lease.ttl_s >= 2
    start = (await store.put(key(keys, "a"), b"held", lease=lease.id)).revision
    found = await store.get(key(keys, "a"))
    assert found is not None
    assert found.lease == lease.id
    seen = [event for batch in await batches(store, keys, start, 2) for event in batch.events]
    assert [event.kind for event in seen] == ["put", "delete"]
    assert await store.lease_keepalive(lease.id) == 0
    with pytest.raises(NotFoundError):
        await store.put(key(keys, "a"), b"", lease=lease.id)
    with pytest.raises(NotFoundError):
        await store.lease_revoke(lease.id)


async def test_revoking_a_lease_deletes_its_keys_only(store: Store, keys: Keys) -> None:
    lease = await store.lease_grant(60)
    await store.put(key(keys, "mine"), b"", lease=lease.id)
    await store.put(key(keys, "freed"), b"", lease=lease.id)
    await store.put(key(keys, "freed"), b"no longer under the lease")
    assert await store.lease_keepalive(lease.id) == lease.ttl_s
    await store.lease_revoke(lease.id)
    left = await store.get_prefix(keys.everything().start)
    assert [kv.key for kv in left.kvs] == [key(keys, "freed")]


async def test_a_kept_lease_lives_until_its_keeper_closes(store: Store, keys: Keys) -> None:
    granted_at_s = store.monotonic_s()
    lease = await store.lease_grant(2)
    lost: list[bool] = []
    keeper = store.keep_lease(lease, granted_at_s=granted_at_s, on_lost=lambda: lost.append(True))
    start = (await store.put(key(keys, "a"), b"", lease=lease.id)).revision
    first_deadline_s = granted_at_s + lease.ttl_s

    def kept_beyond_its_first_ttl() -> bool:
        return store.monotonic_s() > first_deadline_s and keeper.remaining_s() > 0

    await until(kept_beyond_its_first_ttl)
    assert await store.get(key(keys, "a")) is not None
    assert not lost
    await keeper.close()
    seen = [event.kind for batch in await batches(store, keys, start, 2) for event in batch.events]
    assert seen == ["put", "delete"]


async def test_a_keeper_says_when_its_lease_is_gone(store: Store) -> None:
    granted_at_s = store.monotonic_s()
    lease = await store.lease_grant(3)
    lost = asyncio.Event()
    keeper = store.keep_lease(lease, granted_at_s=granted_at_s, on_lost=lost.set)
    assert 0 < keeper.remaining_s() <= lease.ttl_s
    await store.lease_revoke(lease.id)
    async with asyncio.timeout(DEADLINE_S):
        await lost.wait()
    assert keeper.remaining_s() == 0
    await keeper.close()
