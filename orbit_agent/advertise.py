"""What the agent says of itself in etcd, under a lease that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from google.protobuf.json_format import MessageToJson

from orbit_core.errors import NotFoundError, StoreError
from orbit_core.limits import LEASE_TTL_S
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.store.api import LeaseKeeper, Store
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_LOOK_EVERY_S = 5.0


class Advertiser:
    """Keeps the advertisement in etcd; writes it anew under a new lease whenever the last one was lost."""

    def __init__(self, store: Store, keys: Keys, agent_id: str) -> None:
        self._store = store
        self._key = keys.agent(agent_id)
        self._changed = asyncio.Event()
        self._value = b""
        self._lease_id: int | None = None

    def say(self, advertisement: agents_pb2.Advertisement) -> None:
        """What is to stand in etcd from now on."""
        text = MessageToJson(advertisement, preserving_proto_field_name=True, indent=None)
        self._value = text.encode()
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
                    while not lost.is_set() and not self._changed.is_set() and await self._stands(lease.id):
                        await _first(lost, self._changed, limit_s=_LOOK_EVERY_S)
                log.warning("this agent's lease was lost; advertising again")
            except (StoreError, NotFoundError) as error:  # NotFoundError: the lease ended before its first use
                log.warning("cannot advertise: %s", error)
                await asyncio.sleep(_RETRY_S)
            finally:
                if keeper is not None:
                    await keeper.close()

    async def _stands(self, lease_id: int) -> bool:
        """Whether the advertisement stands under this lease.

        A write that was given up may land later, under a lease that nobody keeps any more, and go with it.
        """
        found = await self._store.get(self._key)
        return found is not None and found.lease == lease_id

    async def withdraw(self) -> None:
        """Ends the lease, so that nobody waits for an agent that has said goodbye."""
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
