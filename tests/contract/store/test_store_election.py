"""The contract of elections: one leader, a growing epoch, leadership that ends at once when the lease does."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from orbit_core.errors import FencedError
from orbit_core.store.api import Put, Store
from orbit_core.store.election import Candidate, Election, Leader, observe
from orbit_core.store.journal import JournalReader, JournalWriter
from orbit_core.store.keys import Keys

DEADLINE_S = 20
A = Candidate("a", "127.0.0.1:1001")
B = Candidate("b", "127.0.0.1:1002")


async def lease_of_leader(store: Store, keys: Keys) -> int:
    found = await store.get(keys.leader())
    assert found is not None
    return found.lease


async def test_one_leads_and_the_next_has_a_later_epoch(store: Store, keys: Keys) -> None:
    first, second = Election(store, keys, A), Election(store, keys, B)
    async with asyncio.timeout(DEADLINE_S):
        leading = await first.campaign()
        assert leading.held()
        waiting = asyncio.create_task(second.campaign())
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done, "two lead at once"
        await first.resign()
        assert leading.lost.is_set()
        next_leading = await waiting
    assert next_leading.epoch > leading.epoch
    assert next_leading.candidate == B
    await second.resign()
    assert await store.get(keys.leader()) is None


async def test_a_leader_that_dies_is_replaced_when_its_lease_ends(store: Store, keys: Keys) -> None:
    first, second = Election(store, keys, A, ttl_s=2), Election(store, keys, B, ttl_s=2)
    async with asyncio.timeout(DEADLINE_S):
        leading = await first.campaign()
        await leading._keeper.close()  # what a crash does to the renewals
        next_leading = await second.campaign()
    assert next_leading.epoch > leading.epoch
    assert not leading.held(), "the deposed one knows by its own clock"
    await second.resign()
    await first.resign()


async def test_a_campaign_outlives_the_loss_of_its_own_lease(store: Store, keys: Keys) -> None:
    first, second = Election(store, keys, A), Election(store, keys, B, ttl_s=2)
    revoked: list[int] = []
    grant = store.lease_grant

    async def grant_and_revoke_the_first(ttl_s: int):
        lease = await grant(ttl_s)
        if not revoked:
            revoked.append(lease.id)
            await store.lease_revoke(lease.id)
        return lease

    async with asyncio.timeout(DEADLINE_S):
        await first.campaign()
        store.lease_grant = grant_and_revoke_the_first
        waiting = asyncio.create_task(second.campaign())
        while not revoked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await first.resign()
        assert (await waiting).held()
    await second.resign()


async def test_observers_see_who_leads(store: Store, keys: Keys) -> None:
    first, second = Election(store, keys, A), Election(store, keys, B)
    async with asyncio.timeout(DEADLINE_S), aclosing(observe(store, keys)) as leaders:
        assert await anext(leaders) is None
        leading = await first.campaign()
        assert await anext(leaders) == Leader(A, leading.epoch)
        await first.resign()
        assert await anext(leaders) is None
        leading = await second.campaign()
        assert await anext(leaders) == Leader(B, leading.epoch)
        await second.resign()


async def test_leadership_ends_when_the_lease_is_revoked(store: Store, keys: Keys) -> None:
    election = Election(store, keys, A, ttl_s=3)
    async with asyncio.timeout(DEADLINE_S):
        leading = await election.campaign()
        await store.lease_revoke(await lease_of_leader(store, keys))
        await leading.lost.wait()
    assert not leading.held()
    await election.resign()


async def test_a_deposed_leader_cannot_append(store: Store, keys: Keys) -> None:
    """Takes the fence out of the journal's transaction, and this fails: nothing else refuses this write."""
    old, new = Election(store, keys, A, ttl_s=60), Election(store, keys, B, ttl_s=60)
    async with asyncio.timeout(DEADLINE_S):
        old_term = await old.campaign()
        old_writer = JournalWriter(store, keys, old_term, next_seq=1)
        assert await old_writer.append([b"before"]) == 1

        await store.lease_revoke(await lease_of_leader(store, keys))
        new_term = await new.campaign()
        assert old_term.held(), "the old leader still believes that it leads"
        with pytest.raises(FencedError):
            await old_writer.append([b"from the grave"])
        assert not old_term.held()
        with pytest.raises(FencedError):
            await old_writer.append([b"again"])

        new_writer = JournalWriter(store, keys, new_term, next_seq=2)
        assert await new_writer.append([b"after"]) == 2
        read = [record.payloads async for record in JournalReader(store, keys).read(1)]
        assert read == [(b"before",), (b"after",)]
        await old_writer.close()
        await new_writer.close()
        await old.resign()
        assert new_term.held(), "the deposed one's resigning does not touch the leader"
        await new.resign()


async def test_any_write_can_carry_the_guard(store: Store, keys: Keys) -> None:
    election = Election(store, keys, A)
    async with asyncio.timeout(DEADLINE_S):
        leading = await election.campaign()
        key = keys.archived("run-1")
        assert (await store.txn(compare=[leading.guard()], success=[Put(key, b"1")])).succeeded
        await election.resign()
        await election.campaign()
        assert not (await store.txn(compare=[leading.guard()], success=[Put(key, b"2")])).succeeded
        await election.resign()


async def test_the_lease_survives_a_loop_that_is_busy_for_longer_than_its_ttl(
    store: Store, keys: Keys, store_config: object
) -> None:
    if store_config is None:
        pytest.skip("the twin has no thread: its time is the test's")
    election = Election(store, keys, A, ttl_s=2)
    async with asyncio.timeout(DEADLINE_S):
        leading = await election.campaign()
        time.sleep(5)  # noqa: ASYNC251  (a blocked loop is what is tested)
        assert leading.held()
        found = await store.get(keys.leader())
        assert found is not None
        assert found.create_revision == leading.epoch
        await election.resign()
