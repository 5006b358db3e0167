"""The journal's rule for writes without an answer, on a store that loses, delays and repeats them at will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from orbit_core.errors import FencedError, InternalError, OutcomeUnknownError, StoreError
from orbit_core.store import records
from orbit_core.store.api import Compare, Op, Put, TxnResult
from orbit_core.store.election import Candidate, Election, Leadership
from orbit_core.store.journal import JournalReader, JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.records import Batch

KEYS = Keys()


class QuickClock:
    """Sleeps end at once: nothing here depends on how long a pause is."""

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class UnreliableStore(MemoryStore):
    """Each journal transaction meets the next of `fates`: 'ok', 'lost', 'unanswered', 'late', 'down'."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: list[str] = []
        self.sent: list[tuple[bytes, bytes]] = []
        self._late: list[Callable] = []

    async def txn(
        self, *, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        async def carry_out() -> TxnResult:
            return await super(UnreliableStore, self).txn(compare=compare, success=success, failure=failure)

        puts = [op for op in success if isinstance(op, Put) and op.key.startswith(KEYS.journal(0)[:-20])]
        if not puts:
            return await carry_out()
        self.sent += [(put.key, put.value) for put in puts]
        fate = self.fates.pop(0) if self.fates else "ok"
        match fate:
            case "lost":
                raise OutcomeUnknownError
            case "unanswered":
                await carry_out()
                raise OutcomeUnknownError
            case "late":
                self._late.append(carry_out)
                raise OutcomeUnknownError
            case "down":
                raise StoreError
        result = await carry_out()
        for late in self._late:
            await late()
        self._late.clear()
        return result


@pytest.fixture
async def store() -> AsyncIterator[UnreliableStore]:
    store = UnreliableStore()
    yield store
    await store.close()


@pytest.fixture
async def leadership(store: UnreliableStore) -> AsyncIterator[Leadership]:
    election = Election(store, KEYS, Candidate("a", "host:1"), ttl_s=600)
    yield await election.campaign()
    await election.resign()


@pytest.fixture
async def writer(store: UnreliableStore, leadership: Leadership) -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(store, KEYS, leadership, next_seq=1, clock=QuickClock(), linger_s=0)
    yield writer
    await writer.close()


async def sent(store: UnreliableStore, count: int) -> None:
    """Let the writer run until it has sent that often."""
    while len(store.sent) < count:  # noqa: ASYNC110  (nothing here takes time: the loop is yielded to)
        await asyncio.sleep(0)


async def journal(store: UnreliableStore) -> list[tuple[bytes, ...]]:
    return [record.payloads async for record in JournalReader(store, KEYS).read(1)]


@pytest.mark.parametrize(
    "fates",
    [
        ["lost"],
        ["unanswered"],
        ["unanswered", "lost", "unanswered"],
        ["late"],
        ["late", "late", "lost"],
        ["down", "unanswered", "down"],
    ],
)
async def test_the_same_bytes_are_sent_until_the_answer_is_definite(
    store: UnreliableStore, writer: JournalWriter, fates: list[str]
) -> None:
    store.fates = list(fates)
    assert await writer.append([b"one"]) == 1
    assert len(store.sent) == len(fates) + 1
    assert len(set(store.sent)) == 1, "the same number and the same bytes each time"
    assert await writer.append([b"two"]) == 2
    assert await journal(store) == [(b"one",), (b"two",)]


async def test_absence_on_a_read_is_not_taken_for_an_answer(store: UnreliableStore, writer: JournalWriter) -> None:
    """What arrives while an outcome is open goes into the next record, never into the same number."""
    store.fates = ["late", "lost", "lost"]
    first = writer.submit([b"one"])
    await sent(store, 2)
    second = writer.submit([b"two"])
    assert (await first, await second) == (1, 2)
    assert await journal(store) == [(b"one",), (b"two",)]


async def test_a_lead_lost_while_the_outcome_is_open_ends_the_writer(
    store: UnreliableStore, writer: JournalWriter, leadership: Leadership
) -> None:
    store.fates = ["lost"] * 1_000
    pending = [writer.submit([b"one"]), writer.submit([b"two"])]
    await sent(store, 2)
    leadership.mark_lost()
    for one in pending:
        with pytest.raises(FencedError):
            await one
    with pytest.raises(FencedError):
        await writer.append([b"three"])


async def test_what_landed_before_the_lead_was_lost_is_acknowledged(
    store: UnreliableStore, writer: JournalWriter, leadership: Leadership
) -> None:
    """The record is durable, and the next leader has it: the answer is the truth."""
    store.fates = ["unanswered"]
    original = store.txn

    async def depose_after_the_first(**kwargs) -> TxnResult:
        try:
            return await original(**kwargs)
        finally:
            store.txn = original
            await store.delete(leadership.key)

    store.txn = depose_after_the_first
    assert await writer.append([b"one"]) == 1
    with pytest.raises(FencedError):
        await writer.append([b"two"])
    assert await journal(store) == [(b"one",)]


async def test_a_record_of_another_writer_under_the_same_epoch_is_a_bug(
    store: UnreliableStore, writer: JournalWriter, leadership: Leadership
) -> None:
    await store.put(KEYS.journal(1), records.encode(Batch(b"another batch id", leadership.epoch, (b"x",))))
    with pytest.raises(InternalError, match="two writers"):
        await writer.append([b"one"])
    assert leadership.lost.is_set(), "such a leader does not go on"


async def test_a_caller_that_gives_up_does_not_undo_its_append(store: UnreliableStore, writer: JournalWriter) -> None:
    store.fates = ["lost"] * 3
    giving_up = asyncio.ensure_future(writer.append([b"one"]))
    await sent(store, 1)
    giving_up.cancel()
    assert await writer.append([b"two"]) == 2
    assert await journal(store) == [(b"one",), (b"two",)]
