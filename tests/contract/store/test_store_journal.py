"""The contract of the journal: order, group commit, no gaps, and followers that keep up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from orbit_core.errors import FencedError, LimitError
from orbit_core.limits import ETCD_VALUE_MAX_BYTES, JOURNAL_BATCH_MAX_BYTES, JOURNAL_BATCH_MAX_EVENTS
from orbit_core.store import api
from orbit_core.store.api import Store
from orbit_core.store.election import Candidate, Election, Leadership
from orbit_core.store.journal import JournalGapError, JournalReader, JournalRecord, JournalWriter
from orbit_core.store.keys import Keys

DEADLINE_S = 30


@pytest.fixture
async def leadership(store: Store, keys: Keys) -> AsyncIterator[Leadership]:
    election = Election(store, keys, Candidate("a", "127.0.0.1:1"))
    async with asyncio.timeout(DEADLINE_S):
        yield await election.campaign()
    await election.resign()


@pytest.fixture
async def writer(store: Store, keys: Keys, leadership: Leadership) -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(store, keys, leadership, next_seq=1)
    yield writer
    await writer.close()


async def everything(store: Store, keys: Keys, from_seq: int = 1) -> list[JournalRecord]:
    return [record async for record in JournalReader(store, keys).read(from_seq)]


async def test_what_was_appended_is_read_back(
    store: Store, keys: Keys, writer: JournalWriter, leadership: Leadership
) -> None:
    assert await writer.append([b"one", b""]) == 1
    assert await writer.append([b"three" * 10_000]) == 2
    assert writer.next_seq == 3
    first, second = await everything(store, keys)
    assert (first.seq, first.payloads, first.epoch) == (1, (b"one", b""), leadership.epoch)
    assert (second.seq, second.payloads) == (2, (b"three" * 10_000,))
    assert first.batch_id != second.batch_id
    stored = await store.get(keys.journal(2))
    assert stored is not None
    assert len(stored.value) < 5_000, "what compresses well is compressed"


async def test_what_arrives_together_is_committed_together_and_in_order(
    store: Store, keys: Keys, writer: JournalWriter
) -> None:
    payloads = [str(number).encode() for number in range(500)]
    seqs = await asyncio.gather(*(writer.submit([payload]) for payload in payloads))
    found = await everything(store, keys)
    assert [payload for record in found for payload in record.payloads] == payloads
    assert list(seqs) == sorted(seqs)
    assert len(found) < 10


async def test_a_record_keeps_to_its_limits(store: Store, keys: Keys, writer: JournalWriter) -> None:
    half = bytes(JOURNAL_BATCH_MAX_BYTES // 2 - 100)
    await asyncio.gather(*(writer.submit([half]) for _ in range(4)))
    assert [len(record.payloads) for record in await everything(store, keys)] == [2, 2]
    await asyncio.gather(*(writer.submit([b"x"]) for _ in range(JOURNAL_BATCH_MAX_EVENTS + 1)))
    assert [len(record.payloads) for record in await everything(store, keys)][2:] == [JOURNAL_BATCH_MAX_EVENTS, 1]


async def test_what_fits_into_no_record_is_refused_at_once(store: Store, keys: Keys, writer: JournalWriter) -> None:
    with pytest.raises(LimitError, match="blob store"):
        writer.submit([bytes(ETCD_VALUE_MAX_BYTES)])
    with pytest.raises(LimitError):
        writer.submit([b""] * (JOURNAL_BATCH_MAX_EVENTS + 1))
    largest = bytes(ETCD_VALUE_MAX_BYTES - 100)
    assert await writer.append([largest]) == 1
    assert [record.payloads for record in await everything(store, keys)] == [(largest,)]


async def test_a_hole_is_an_error_and_never_skipped(
    store: Store, keys: Keys, writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PAGE_KEYS", 2)
    for number in range(6):
        await writer.append([bytes([number])])
    await store.delete(keys.journal(5))
    with pytest.raises(JournalGapError) as caught:
        await everything(store, keys)
    assert (caught.value.expected, caught.value.found) == (5, 6)
    await store.delete(keys.journal(1))
    with pytest.raises(JournalGapError):
        await everything(store, keys)
    with pytest.raises(JournalGapError):
        await anext(JournalReader(store, keys).tail(1))


async def test_a_follower_sees_the_past_and_what_is_written_meanwhile(
    store: Store, keys: Keys, writer: JournalWriter
) -> None:
    for number in range(3):
        await writer.append([bytes([number])])
    seen: list[tuple[int, tuple[bytes, ...]]] = []
    async with aclosing(JournalReader(store, keys).tail(2)) as tail:
        async for record in tail:
            seen.append((record.seq, record.payloads))
            if record.seq == 3:
                await writer.append([b"later"])
                await store.delete(keys.journal(1))  # the leader truncates: of no interest here
            if record.seq == 4:
                await writer.append([b"still later"])
            if record.seq == 5:
                break
    assert seen == [(2, (b"\x01",)), (3, (b"\x02",)), (4, (b"later",)), (5, (b"still later",))]


async def test_a_closed_writer_takes_no_more(writer: JournalWriter) -> None:
    await writer.append([b"1"])
    await writer.close()
    with pytest.raises(FencedError):
        await writer.append([b"2"])
