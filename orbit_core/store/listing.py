"""A key that stands in etcd as long as its process does: under a lease, written anew whenever that was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from orbit_core.errors import NotFoundError, StoreError
from orbit_core.limits import LEASE_TTL_S
from orbit_core.store.api import LeaseKeeper, Store

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_LOOK_EVERY_S = 5.0


class Listing:
    """Keeps one value under one key."""

    def __init__(self, store: Store, key: bytes, value: bytes = b"") -> None:
        self._store = store
        self._key = key
        self._value = value
        self._changed = asyncio.Event()
        #: Set once the value has stood there.
        self.stood = asyncio.Event()
        self._lease_id: int | None = None

    def say(self, value: bytes) -> None:
        """What is to stand there from now on."""
        self._value = value
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            keeper: LeaseKeeper | None = None
            try:
                lost = asyncio.Event()
                granted_at_s = self._store.monotonic_s()
                lease = await self._store.lease_grant(LEASE_TTL_S)
                keeper = self._store.keep_lease(lease, granted_at_s=granted_at_s, on_lost=lost.set)
                self._lease_id = lease.id
                while not lost.is_set():
                    self._changed.clear()
                    await self._store.put(self._key, self._value, lease=lease.id)
                    self.stood.set()
                    while not lost.is_set() and not self._changed.is_set() and await self._stands(lease.id):
                        await _first(lost, self._changed, limit_s=_LOOK_EVERY_S)
                log.warning("the lease under %s was lost; listing it again", self._key.decode())
            except (StoreError, NotFoundError) as error:  # NotFoundError: the lease ended before its first use
                log.warning("%s cannot be listed: %s", self._key.decode(), error)
                await asyncio.sleep(_RETRY_S)
            finally:
                if keeper is not None:
                    await keeper.close()

    async def _stands(self, lease_id: int) -> bool:
        """Whether the value stands under this lease.

        A write that was given up may land later, under a lease that nobody keeps any more, and go with it.
        """
        found = await self._store.get(self._key)
        return found is not None and found.lease == lease_id

    async def withdraw(self) -> None:
        """Ends the lease, so that nobody waits for a process that has said goodbye."""
        if self._lease_id is not None:
            with contextlib.suppress(StoreError, NotFoundError):  # it may have ended by itself
                await self._store.lease_revoke(self._lease_id)


async def _first(*events: asyncio.Event, limit_s: float) -> None:
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
