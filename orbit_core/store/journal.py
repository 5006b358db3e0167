"""The journal: an append-only sequence of records, each a batch of payloads; written by the leader only.

The rules, which the laboratory holds it to:

1. One transaction is in flight. What arrives meanwhile, or within a few milliseconds, goes into the next record.
2. A record is written only while the election key still has this leader's epoch, and only where none is yet.
3. A write without an answer proves nothing. The same sequence number and bytes are sent again until the answer is
   definite: written now, written by the lost try (the batch id says so), or fenced.
4. A reader sees every sequence number from the one it asked for, or an error.

Payloads are opaque here. What they say, and when a reply may be given, is the coordinator's.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from orbit_core.clock import Clock, SystemClock
from orbit_core.errors import FencedError, InternalError, LimitError, OutcomeUnknownError, StoreError
from orbit_core.limits import JOURNAL_BATCH_MAX_BYTES, JOURNAL_BATCH_MAX_EVENTS
from orbit_core.plants import planted
from orbit_core.store import records
from orbit_core.store.api import CompactedError, Compare, Get, KeyValue, Put, Store
from orbit_core.store.backoff import backoff_s
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys
from orbit_core.store.records import Batch

logger = logging.getLogger(__name__)

LINGER_S = 0.002
_ENCODE_ON_LOOP_MAX_BYTES = 64 * 1024


class JournalGapError(StoreError):
    """A journal record that should be there is not."""

    code = "journal-gap"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the journal goes on with record {found} where {expected} should be",
            remedy="load the newest snapshot, and read on from there",
        )
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record as read. `revision` is the store's revision that wrote it."""

    seq: int
    epoch: int
    batch_id: bytes
    payloads: tuple[bytes, ...]
    revision: int


@dataclass(slots=True)
class _Pending:
    payloads: tuple[bytes, ...]
    size_bytes: int
    done: asyncio.Future[int]


class JournalReader:
    """Reads records in order and without a gap, for a new leader (`read`) and for followers (`tail`)."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def read(self, from_seq: int) -> AsyncIterator[JournalRecord]:
        """All records from `from_seq` on, as of one linearizable read. Raises `JournalGapError`.

        Complete only for a leader, after it has won: no older epoch can write any more.
        """
        async for _, page in self._pages(from_seq):
            for record in page:
                yield record

    async def tail(self, from_seq: int) -> AsyncIterator[JournalRecord]:
        """All records from `from_seq` on, and every later one as it is written; never ends by itself.

        Raises `JournalGapError` when records were deleted before they were read: load a snapshot, and tail anew.
        """
        span = self._keys.journal_from(0)
        while True:
            revision = 0
            async for revision, page in self._pages(from_seq):  # noqa: B007  (the last one is used below)
                for record in page:
                    yield record
                    from_seq = record.seq + 1
            watch = self._store.watch(span.start, span.end, from_revision=revision + 1)
            try:
                async with aclosing(watch):
                    async for batch in watch:
                        for event in batch.events:
                            # A try of a write that was durable long ago may land after its record was truncated.
                            if event.kind == "put" and self._keys.journal_seq(event.kv.key) >= from_seq:
                                yield self._record(event.kv, from_seq)
                                from_seq += 1
            except CompactedError:
                continue

    async def _pages(self, from_seq: int) -> AsyncIterator[tuple[int, list[JournalRecord]]]:
        """Records from `from_seq` on in pages, each with the revision as of which all of them are read."""
        span = self._keys.journal_from(from_seq)
        async for page in self._store.scan(span.start, span.end):
            yield page.revision, [self._record(kv, from_seq + index) for index, kv in enumerate(page.kvs)]
            from_seq += len(page.kvs)

    def _record(self, kv: KeyValue, expected: int) -> JournalRecord:
        seq = self._keys.journal_seq(kv.key)
        if seq != expected:
            raise JournalGapError(expected, seq)
        batch = records.decode(kv.value)
        return JournalRecord(seq, batch.epoch, batch.batch_id, batch.payloads, kv.mod_revision)


class JournalWriter:
    """Appends for one term of leading. `next_seq` follows the last record that a read after winning gave."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        leadership: Leadership,
        *,
        next_seq: int,
        clock: Clock | None = None,
        new_batch_id: Callable[[], bytes] = lambda: os.urandom(records.BATCH_ID_BYTES),
        linger_s: float = LINGER_S,
    ) -> None:
        self._store = store
        self._keys = keys
        self._leadership = leadership
        self._next_seq = next_seq
        self._clock = clock or SystemClock()
        self._new_batch_id = new_batch_id
        self._linger_s = linger_s
        self._queue: deque[_Pending] = deque()
        self._arrived = asyncio.Event()
        self._ended: FencedError | InternalError | None = None
        #: Why nothing is being written just now (the store is full, or does not answer), while it is tried again.
        self.stalled: StoreError | None = None
        self._task = asyncio.create_task(self._run(), name="journal-writer")

    @property
    def next_seq(self) -> int:
        """The number that the next record will have."""
        return self._next_seq

    @property
    def backlog(self) -> int:
        """Appends that are not durable yet."""
        return len(self._queue)

    def submit(self, payloads: Sequence[bytes]) -> asyncio.Future[int]:
        """Queue `payloads`, whole and in the order of the calls; the future gives their record's number once durable.

        Raises `LimitError` for more than a record holds. The future raises `FencedError` once the lead is lost:
        what was in flight then may be in the journal or not, and the next leader knows.
        """
        size = records.body_bytes(payloads)
        if size > records.BODY_MAX_BYTES or len(payloads) > JOURNAL_BATCH_MAX_EVENTS:
            raise LimitError(
                f"{len(payloads)} events with {size} bytes do not fit into one journal record (at most"
                f" {JOURNAL_BATCH_MAX_EVENTS} events and {records.BODY_MAX_BYTES} bytes)",
                remedy="put large objects into the blob store and keep references",
            )
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._ended is not None:
            done.set_exception(self._ended)
            return done
        self._queue.append(_Pending(tuple(payloads), size, done))
        self._arrived.set()
        return done

    async def append(self, payloads: Sequence[bytes]) -> int:
        """Make `payloads` durable; the number of the record that holds them. See `submit`."""
        return await self.submit(payloads)

    async def close(self) -> None:
        """Stop. What is not durable yet ends as `FencedError`; its outcome is for the next leader to read."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end(FencedError("this journal writer has been closed"))

    async def _run(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                if self._linger_s and not self._is_full():
                    await self._clock.sleep(self._linger_s)
                # Whatever arrives while a record is in flight goes into the next one, without lingering again.
                while self._queue:
                    await self._write_one()
                self._arrived.clear()
        except (FencedError, InternalError) as error:
            self._end(error)
        except Exception as error:
            # A leader that cannot write must not go on leading: another may be luckier, and reads what is there.
            self._leadership.mark_lost()
            self._end(InternalError(f"the journal writer failed: {error!r}"))
            raise

    async def _write_one(self) -> None:
        taken = self._take()
        payloads = tuple(payload for pending in taken for payload in pending.payloads)
        batch = Batch(self._new_batch_id(), self._leadership.epoch, payloads)
        if sum(pending.size_bytes for pending in taken) > _ENCODE_ON_LOOP_MAX_BYTES:
            record = await asyncio.to_thread(records.encode, batch)
        else:
            record = records.encode(batch)
        seq = self._next_seq
        await self._make_durable(seq, batch.batch_id, record)
        self._next_seq += 1
        for pending in taken:
            self._queue.popleft()
            if not pending.done.done():
                pending.done.set_result(seq)

    def _take(self) -> list[_Pending]:
        """What fits into one record, from the front of the queue (where it stays until it is durable)."""
        taken: list[_Pending] = []
        size = events = 0
        for pending in self._queue:
            size += pending.size_bytes
            events += len(pending.payloads)
            if taken and (size > JOURNAL_BATCH_MAX_BYTES or events > JOURNAL_BATCH_MAX_EVENTS):
                break
            taken.append(pending)
        return taken

    def _is_full(self) -> bool:
        return sum(pending.size_bytes for pending in self._queue) >= JOURNAL_BATCH_MAX_BYTES

    async def _make_durable(self, seq: int, batch_id: bytes, record: bytes) -> None:
        """Rule 3: the same bytes under the same number, until there is a definite answer."""
        key = self._keys.journal(seq)
        attempt = 0
        while True:
            if not self._leadership.held():
                raise self._leadership.fenced()
            try:
                result = await self._store.txn(
                    compare=self._conditions(key),
                    success=[Put(key, record)],
                    failure=[Get(key), Get(self._leadership.key)],
                )
            except StoreError as error:
                if planted("unknown-taken-for-written") and isinstance(error, OutcomeUnknownError):
                    return
                if planted("unknown-taken-for-lost") and isinstance(error, OutcomeUnknownError):
                    seq, key = seq + 1, self._keys.journal(seq + 1)
                    self._next_seq = seq
                attempt += 1
                self.stalled = error
                logger.warning("journal record %d is tried again (%d): %s", seq, attempt, error)
                await self._pause(attempt)
                continue
            self.stalled = None
            if not result.succeeded:
                self._read_refusal(seq, batch_id, result.range(0).kvs, result.range(1).kvs)
            return

    def _conditions(self, key: bytes) -> list[Compare]:
        """Rule 2."""
        conditions = [self._leadership.guard(), Compare.absent(key)]
        if planted("journal-no-fence"):
            del conditions[0]
        if planted("journal-sequence-unchecked"):
            del conditions[-1]
        return conditions

    def _read_refusal(self, seq: int, batch_id: bytes, there: Sequence[KeyValue], election: Sequence[KeyValue]) -> None:
        """Return if the record is there after all and ours; otherwise raise what the refusal means."""
        if there and records.batch_id_of(there[0].value) == batch_id:
            return  # an earlier try landed and its answer was lost
        if not election or election[0].create_revision != self._leadership.epoch:
            raise self._leadership.fenced()
        self._leadership.mark_lost()
        raise InternalError(
            f"journal record {seq} is there already, under the epoch {self._leadership.epoch} that writes it now:"
            " two writers, or a read that missed it"
        )

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try; not beyond the end of the term."""
        sleep = asyncio.ensure_future(self._clock.sleep(backoff_s(attempt)))
        lost = asyncio.ensure_future(self._leadership.lost.wait())
        await asyncio.wait({sleep, lost}, return_when=asyncio.FIRST_COMPLETED)
        sleep.cancel()
        lost.cancel()
        await asyncio.gather(sleep, lost, return_exceptions=True)

    def _end(self, error: FencedError | InternalError) -> None:
        if self._ended is None:
            self._ended = error
        while self._queue:
            pending = self._queue.popleft()
            if not pending.done.done():
                pending.done.set_exception(self._ended)
