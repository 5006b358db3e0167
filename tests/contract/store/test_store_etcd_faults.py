"""What only a real etcd can show: broken connections, restarts, lost answers, a full database, a lost member."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import pytest

from orbit_core.errors import FencedError, OutcomeUnknownError, StoreError, StoreFullError
from orbit_core.limits import MIB
from orbit_core.store.api import CompactedError, Compare, Put, Store
from orbit_core.store.election import Candidate, Election
from orbit_core.store.embedded import EmbeddedEtcd, EtcdBinary
from orbit_core.store.etcd import EtcdConfig, EtcdStore
from orbit_core.store.journal import JournalReader, JournalWriter
from orbit_core.store.keys import Keys

DEADLINE_S = 40


class ProxyLike(Protocol):
    """The proxy of the fixtures, as the tests see it."""

    swallow_answers: bool
    bytes_swallowed: int

    async def cut(self) -> None: ...

    def mend(self) -> None: ...


def key(keys: Keys, name: str) -> bytes:
    return f"{keys.prefix}/{name}".encode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110  (the condition lies in another process)
            await asyncio.sleep(0.02)


async def watch_values(store: Store, keys: Keys, from_revision: int, seen: list[bytes]) -> None:
    span = keys.everything()
    async with aclosing(store.watch(span.start, span.end, from_revision=from_revision)) as watch:
        async for batch in watch:
            seen += [event.kv.value for event in batch.events]


@pytest.mark.parametrize("kill", [False, True])
async def test_a_watch_resumes_across_an_etcd_restart(own_etcd: EmbeddedEtcd, keys: Keys, kill: bool) -> None:
    store = EtcdStore(own_etcd.config)
    seen: list[bytes] = []
    start = (await store.put(key(keys, "a"), b"0")).revision
    watching = asyncio.create_task(watch_values(store, keys, start, seen))
    for number in range(1, 4):
        await store.put(key(keys, "a"), str(number).encode())

    async def caught_up() -> bool:
        return len(seen) >= 4

    await until(caught_up)
    await own_etcd.restart(kill=kill)
    for number in range(4, 7):
        await store.put(key(keys, "a"), str(number).encode())

    async def caught_up_again() -> bool:
        return len(seen) >= 7

    await until(caught_up_again)
    assert seen == [str(number).encode() for number in range(7)], "each exactly once, and in order"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await store.close()


async def test_a_watch_that_was_cut_off_sees_what_happened_meanwhile(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    seen: list[bytes] = []
    start = (await direct.put(key(keys, "a"), b"1")).revision
    watching = asyncio.create_task(watch_values(proxied, keys, start, seen))

    async def saw_one() -> bool:
        return seen == [b"1"]

    await until(saw_one)
    await proxy.cut()
    await direct.put(key(keys, "a"), b"2")
    await direct.delete(key(keys, "a"))
    proxy.mend()

    async def saw_all() -> bool:
        return len(seen) == 3

    await until(saw_all)
    assert seen == [b"1", b"2", b""]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_watch_that_was_cut_off_during_a_compaction_says_so(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    seen: list[bytes] = []
    start = (await direct.put(key(keys, "a"), b"1")).revision
    watching = asyncio.create_task(watch_values(proxied, keys, start, seen))

    async def saw_one() -> bool:
        return seen == [b"1"]

    await until(saw_one)
    await proxy.cut()
    for value in (b"2", b"3", b"4"):
        last = (await direct.put(key(keys, "a"), value)).revision
    await direct.compact(last)
    proxy.mend()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(CompactedError) as caught:
            await watching
    assert caught.value.compact_revision == last
    assert seen == [b"1"]


async def test_a_follower_reads_on_after_a_compaction_that_it_missed(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    election = Election(direct, keys, Candidate("a", "127.0.0.1:1"))
    writer = JournalWriter(direct, keys, await election.campaign(), next_seq=1)
    await writer.append([b"1"])
    seen: list[bytes] = []

    async def follow() -> None:
        async for record in JournalReader(proxied, keys).tail(1):
            seen.extend(record.payloads)

    following = asyncio.create_task(follow())

    async def saw_one() -> bool:
        return seen == [b"1"]

    await until(saw_one)
    await proxy.cut()
    await writer.append([b"2"])
    await writer.append([b"3"])
    await direct.compact((await direct.put(key(keys, "other"), b"")).revision)
    proxy.mend()

    async def saw_three() -> bool:
        return len(seen) == 3

    await until(saw_three)
    assert seen == [b"1", b"2", b"3"]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await writer.close()
    await election.resign()


async def test_a_write_whose_answer_is_lost_is_of_unknown_outcome(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    await proxied.put(key(keys, "a"), b"1")
    proxy.swallow_answers = True
    with pytest.raises(OutcomeUnknownError):
        await proxied.put(key(keys, "a"), b"2")
    found = await direct.get(key(keys, "a"))
    assert found is not None
    assert found.value == b"2", "here it did land"


async def test_a_write_that_was_never_sent_is_a_plain_failure(proxy: ProxyLike, proxied: EtcdStore, keys: Keys) -> None:
    await proxied.put(key(keys, "a"), b"1")
    await proxy.cut()
    await asyncio.sleep(0)  # let the connection notice
    with pytest.raises(StoreError) as caught:
        for _ in range(2):  # the first may have been on its way when the connection broke
            try:
                await proxied.put(key(keys, "a"), b"2")
            except OutcomeUnknownError:
                continue
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert "check that etcd runs" in str(caught.value)


async def test_the_journal_resends_until_the_answer_is_definite(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    election = Election(direct, keys, Candidate("a", "127.0.0.1:1"), ttl_s=60)
    term = await election.campaign()
    writer = JournalWriter(proxied, keys, term, next_seq=1)
    await writer.append([b"1"])
    proxy.swallow_answers = True
    appending = asyncio.create_task(writer.append([b"2"]))

    async def landed() -> bool:
        return await direct.get(keys.journal(2)) is not None

    await until(landed)

    async def stalled() -> bool:
        return isinstance(writer.stalled, OutcomeUnknownError)

    await until(stalled)
    assert not appending.done(), "no answer, no acknowledgement"
    await proxy.cut()
    proxy.mend()
    async with asyncio.timeout(DEADLINE_S):
        assert await appending == 2
        assert await writer.append([b"3"]) == 3
    assert writer.stalled is None
    read = [record.payloads async for record in JournalReader(direct, keys).read(1)]
    assert read == [(b"1",), (b"2",), (b"3",)], "what landed unseen is there once"
    await writer.close()
    await election.resign()


async def test_an_append_of_unknown_outcome_ends_with_the_term(
    proxy: ProxyLike, proxied: EtcdStore, direct: EtcdStore, keys: Keys
) -> None:
    election = Election(proxied, keys, Candidate("a", "127.0.0.1:1"), ttl_s=2)
    async with asyncio.timeout(DEADLINE_S):
        term = await election.campaign()
        writer = JournalWriter(proxied, keys, term, next_seq=1)
        await writer.append([b"1"])
        await proxy.cut()
        with pytest.raises(FencedError):
            await writer.append([b"2"])
        assert term.lost.is_set(), "a lease that cannot be renewed within its TTL counts as lost"
        await writer.close()
        await election.resign()


async def test_the_journal_goes_on_after_an_etcd_restart(own_etcd: EmbeddedEtcd, keys: Keys) -> None:
    store = EtcdStore(own_etcd.config)
    election = Election(store, keys, Candidate("a", "127.0.0.1:1"), ttl_s=60)
    writer = JournalWriter(store, keys, await election.campaign(), next_seq=1)
    expected = [str(number).encode() for number in range(60)]

    async def append_all() -> None:
        for payload in expected:
            await writer.append([payload])

    async with asyncio.timeout(DEADLINE_S):
        appending = asyncio.create_task(append_all())
        while writer.next_seq < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await own_etcd.restart(kill=True)
        await appending
    records = [record async for record in JournalReader(store, keys).read(1)]
    assert [payload for record in records for payload in record.payloads] == expected
    await writer.close()
    await election.resign()
    await store.close()


async def test_a_lost_member_of_three_is_not_noticed(etcd_binary: EtcdBinary, tmp_path: Path, keys: Keys) -> None:
    async with asyncio.timeout(2 * DEADLINE_S):
        cluster = EmbeddedEtcd(tmp_path / "etcd", binary=etcd_binary, member_count=3)
        await cluster.start()
        store = EtcdStore(cluster.config)
        try:
            election = Election(store, keys, Candidate("a", "127.0.0.1:1"))
            term = await election.campaign()
            writer = JournalWriter(store, keys, term, next_seq=1)
            seen: list[bytes] = []
            watching = asyncio.create_task(watch_values(store, keys, 1, seen))
            for index in range(3):
                await cluster.stop_member(index, kill=True)
                await writer.append([b"without " + str(index).encode()])
                await cluster.start_member(index)
            assert term.held()
            assert len([record async for record in JournalReader(store, keys).read(1)]) == 3

            async def saw_all() -> bool:
                return len(seen) == 4  # the election and three records

            await until(saw_all)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await writer.close()
            await election.resign()
        finally:
            await store.close()
            await cluster.stop(kill=True)


@pytest.fixture
async def small_etcd(etcd_binary: EtcdBinary, tmp_path: Path) -> AsyncIterator[EmbeddedEtcd]:
    etcd = EmbeddedEtcd(tmp_path / "small", binary=etcd_binary, quota_bytes=8 * MIB)
    await etcd.start()
    yield etcd
    await etcd.stop(kill=True)


async def test_a_full_store_refuses_and_goes_on_when_there_is_room(small_etcd: EmbeddedEtcd, keys: Keys) -> None:
    store = EtcdStore(small_etcd.config)
    election = Election(store, keys, Candidate("a", "127.0.0.1:1"), ttl_s=60)
    term = await election.campaign()
    writer = JournalWriter(store, keys, term, next_seq=1)
    with pytest.raises(StoreFullError, match="quota"):
        for number in range(20):
            await store.put(key(keys, f"ballast/{number}"), os.urandom(MIB))
    (alarm,) = await store.alarms()
    assert alarm.kind == "nospace"
    assert (await store.status()).used_share > 0.8
    with pytest.raises(StoreFullError):
        await store.lease_grant(5)  # so nobody can be elected either

    appending = asyncio.create_task(writer.append([b"accepted before"]))

    async def stalled() -> bool:
        return isinstance(writer.stalled, StoreFullError)

    await until(stalled)
    ballast = keys.prefix.encode() + b"/ballast/"
    deleted = await store.delete(ballast, ballast + b"\xff")
    await store.compact(deleted.revision)
    await store.defragment()
    await store.disarm(alarm)
    async with asyncio.timeout(DEADLINE_S):
        assert await appending == 1
    assert await store.alarms() == ()
    assert (await store.status()).used_share < 0.2
    await writer.close()
    await election.resign()
    await store.close()


async def test_a_dead_endpoint_beside_a_live_one_is_passed_over(shared_etcd: EmbeddedEtcd, keys: Keys) -> None:
    for endpoints in (("127.0.0.1:1", *shared_etcd.endpoints), (*shared_etcd.endpoints, "http://127.0.0.1:1/")):
        store = EtcdStore(EtcdConfig(endpoints))
        async with asyncio.timeout(DEADLINE_S):
            await store.txn(compare=[Compare.absent(key(keys, "b"))], success=[Put(key(keys, "a"), b"1")])
            assert await store.get(key(keys, "a")) is not None
        await store.close()


async def test_no_etcd_at_all_is_a_clear_error(keys: Keys) -> None:
    store = EtcdStore(EtcdConfig(("127.0.0.1:1",), request_timeout_s=0.5))
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        await store.get(key(keys, "a"))
    with pytest.raises(StoreError):
        await store.status()
    await store.close()
