"""Who leads: one key under a lease. Its create-revision is the epoch, the fencing token of every write.

At most one epoch can be the create-revision of the key, so two leaders can never both pass the fence, whatever
their clocks and leases believe. The lease is only a hint: it decides when somebody else may try.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass

from orbit_core.errors import FencedError, NotFoundError, OutcomeUnknownError, StoreError
from orbit_core.limits import LEASE_TTL_S
from orbit_core.store.api import CompactedError, Compare, Delete, Get, KeyValue, Lease, LeaseKeeper, Put, Store
from orbit_core.store.backoff import backoff_s
from orbit_core.store.keys import Keys

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a leader tells about itself. `address`: where agents, clients and other coordinators reach it."""

    coordinator_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as read from the store."""

    candidate: Candidate
    epoch: int


class Leadership:
    """One term of leading. Ends when the lease is lost, the fence refuses a write, or by `resign`."""

    def __init__(self, candidate: Candidate, epoch: int, key: bytes, keeper: LeaseKeeper, lost: asyncio.Event) -> None:
        self.candidate = candidate
        self.epoch = epoch
        self.key = key
        self.lost = lost
        self._keeper = keeper

    def guard(self) -> Compare:
        """The condition that every write of this leader carries."""
        return Compare.created_at(self.key, self.epoch)

    def held(self) -> bool:
        """Whether leadership may still be believed in. Looks at the clock: after a long pause it is false at once."""
        return not self.lost.is_set() and self._keeper.remaining_s() > 0

    def mark_lost(self) -> None:
        self.lost.set()

    def fenced(self) -> FencedError:
        """End this term, and return the error that says so."""
        self.mark_lost()
        return FencedError(f"{self.candidate.coordinator_id} led as epoch {self.epoch} and has been deposed")


class Election:
    """The part of one candidate. One `campaign` at a time."""

    def __init__(self, store: Store, keys: Keys, candidate: Candidate, *, ttl_s: int = LEASE_TTL_S) -> None:
        self._store = store
        self._key = keys.leader()
        self._candidate = candidate
        self._ttl_s = ttl_s
        self._value = json.dumps(
            {"address": candidate.address, "coordinator_id": candidate.coordinator_id}, sort_keys=True
        ).encode()
        self._term: tuple[Leadership, Lease, LeaseKeeper] | None = None

    async def campaign(self) -> Leadership:
        """Wait to be elected, however long that takes and however often the store fails meanwhile."""
        if self._term is not None:
            await self.resign()
        attempt = 0
        while True:
            try:
                leadership = await self._campaign_under_one_lease()
            except StoreError as error:
                logger.warning("campaign of %s is held up: %s", self._candidate.coordinator_id, error)
                attempt += 1
                await asyncio.sleep(backoff_s(attempt))
                continue
            if leadership is not None:
                return leadership
            attempt = 0

    async def resign(self) -> None:
        """Give up the lead (if it is held) so that another can take it at once. Never raises a `StoreError`."""
        if self._term is None:
            return
        leadership, lease, keeper = self._term
        self._term = None
        leadership.mark_lost()
        await self._drop(lease, keeper, delete=leadership)

    async def _campaign_under_one_lease(self) -> Leadership | None:
        """Win with this lease, or return `None` when the lease is lost first."""
        granted_at_s = self._store.monotonic_s()
        lease = await self._store.lease_grant(self._ttl_s)
        lost = asyncio.Event()
        keeper = self._store.keep_lease(lease, granted_at_s=granted_at_s, on_lost=lost.set)
        won = False
        try:
            epoch = await _unless(lost, self._win(lease))
            if epoch is None or keeper.remaining_s() <= 0:
                return None
            won = True
        except NotFoundError:
            return None  # the lease ended before the keeper knew
        finally:
            if not won:
                await self._drop(lease, keeper, delete=None)
        leadership = Leadership(self._candidate, epoch, self._key, keeper, lost)
        self._term = (leadership, lease, keeper)
        return leadership

    async def _win(self, lease: Lease) -> int:
        """Take the key as soon as it is free; the epoch."""
        while True:
            try:
                result = await self._store.txn(
                    compare=[Compare.absent(self._key)],
                    success=[Put(self._key, self._value, lease.id)],
                    failure=[Get(self._key)],
                )
            except OutcomeUnknownError:
                continue  # the next round sees whether the key is ours: it is only ever taken while absent
            if result.succeeded:
                return result.revision
            holder = result.range(0).kvs[0]
            if holder.lease == lease.id:
                return holder.create_revision
            await self._until_changed(result.revision)

    async def _until_changed(self, revision: int) -> None:
        async with aclosing(self._store.watch(self._key, from_revision=revision + 1)) as watch:
            with contextlib.suppress(CompactedError):
                await anext(watch)

    async def _drop(self, lease: Lease, keeper: LeaseKeeper, *, delete: Leadership | None) -> None:
        await keeper.close()
        with contextlib.suppress(StoreError, NotFoundError, TimeoutError):
            # Not waited for longer than the lease would last by itself.
            async with asyncio.timeout(self._ttl_s):
                if delete is not None:
                    await self._store.txn(compare=[delete.guard()], success=[Delete(self._key)])
                await self._store.lease_revoke(lease.id)


async def observe(store: Store, keys: Keys) -> AsyncGenerator[Leader | None, None]:
    """The leader as of now, then every change; `None` while nobody leads. Raises what the store's reads raise."""
    key = keys.leader()
    while True:
        found = await store.range(key)
        yield _leader(found.kvs[0]) if found.kvs else None
        try:
            async with aclosing(store.watch(key, from_revision=found.revision + 1)) as watch:
                async for batch in watch:
                    last = batch.events[-1]
                    yield _leader(last.kv) if last.kind == "put" else None
        except CompactedError:
            continue  # what was missed does not matter: only who leads now does


def _leader(kv: KeyValue) -> Leader:
    told = json.loads(kv.value)
    return Leader(Candidate(told["coordinator_id"], told["address"]), kv.create_revision)


async def _unless(lost: asyncio.Event, work: Coroutine[None, None, int]) -> int | None:
    """The result of `work`, or `None` (and `work` is cancelled) when `lost` is set first."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(lost.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, waiter):
            one.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)
