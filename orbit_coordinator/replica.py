"""A follower's copy of the state, from which it answers reads: brought up to date when somebody asks, not before.

Each look reads the journal on from where the last one ended, linearizably, so what it gives is as of that look. Where
etcd cannot be asked, the last look's picture is given, and with it when that was. Nothing here is ever written.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from orbit_coordinator.recovery import catch_up, recover
from orbit_coordinator.specs import SpecStore
from orbit_core.clock import Clock
from orbit_core.errors import StoreError
from orbit_core.plants import planted
from orbit_core.sched.state import MeshState
from orbit_core.store.api import Store
from orbit_core.store.journal import JournalGapError
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Copy:
    """The state after record `sequence`, as it was at `as_of_ms` by this machine's clock."""

    state: MeshState
    sequence: int
    as_of_ms: int


class Replica:
    """One coordinator's copy, while it does not lead. A look goes on where the last one ended."""

    def __init__(self, store: Store, keys: Keys, specs: SpecStore, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._specs = specs
        self._clock = clock
        self._copy: Copy | None = None
        self._looking = asyncio.Lock()

    async def look(self) -> Copy:
        """The state as it is now, or was when etcd could last be read. StoreError where it never could."""
        async with self._looking:
            began_ms = self._clock.now_ms()
            try:
                self._copy = await self._renewed(self._copy)
            except StoreError as error:
                if self._copy is None:
                    raise
                log.warning("etcd cannot be read, and a reader gets what was known before: %s", error)
            else:
                self._copy.as_of_ms = began_ms
            return self._copy

    def forget(self) -> None:
        """Gives the memory back: this coordinator leads now."""
        self._copy = None

    async def _renewed(self, copy: Copy | None) -> Copy:
        if copy is not None:
            try:
                replaying = catch_up(copy.state, self._store, self._keys, self._specs, copy.sequence)
                async for copy.sequence, _ in replaying:
                    pass
            except JournalGapError:
                copy = None
            else:
                copy = await self._unless_overtaken(copy)
        while copy is None:
            try:
                found = await recover(self._store, self._keys, self._specs)
            except JournalGapError:
                continue  # a snapshot was taken between the two reads: the next one begins with it
            copy = await self._unless_overtaken(Copy(found.state, found.sequence, 0))
        return copy

    async def _unless_overtaken(self, copy: Copy) -> Copy | None:
        """The copy, unless a snapshot has replaced records behind it: an emptied journal has no gap to be seen."""
        overtaken = not planted("follower-misses-truncation") and await self._newest_snapshot() > copy.sequence
        return None if overtaken else copy

    async def _newest_snapshot(self) -> int:
        """The record that the newest snapshot follows."""
        span = self._keys.manifests()
        manifests = await self._store.range(span.start, span.end, keys_only=True)
        return self._keys.manifest_seq(manifests.kvs[-1].key) if manifests.kvs else 0
