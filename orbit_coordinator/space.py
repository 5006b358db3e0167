"""Keeps etcd from running full, and gets it going again when it has: refuses, holds, gives space back.

Looks at how much of etcd's quota is in use. At 60 % new runs are refused with a clear error; at 80 % only a little is
placed at a time, so that what was accepted ends, leaves etcd, and makes room. A full etcd takes deletions but no
writes: what a snapshot has replaced is deleted (fenced), history is compacted, the file defragmented, the alarm lifted.
It takes no new leader either, so where nobody leads, every candidate does that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from orbit_coordinator.leader import Leader
from orbit_core.clock import Clock
from orbit_core.errors import ConflictError, OrbitError, StoreFullError
from orbit_core.store.api import Compare, Delete, Store
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys
from orbit_core.store.snapshot import reclaim

log = logging.getLogger(__name__)

REFUSE_FROM_SHARE: Final = 0.6
HOLD_FROM_SHARE: Final = 0.8
#: A bound is left again only this far below it, so that it is not crossed to and fro.
_SLACK_SHARE: Final = 0.03
LOOK_EVERY_S: Final = 5.0


class Space:
    """Watches etcd's quota for one term."""

    def __init__(self, leader: Leader, store: Store, keys: Keys, leadership: Leadership, clock: Clock) -> None:
        self._leader = leader
        self._store = store
        self._keys = keys
        self._leadership = leadership
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled, or deposed (FencedError)."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Looks once, and does what is to be done. Raises what the store raises."""
        if any(alarm.kind == "nospace" for alarm in await self._store.alarms()):
            await give_back(self._store, self._keys, self._leadership.guard(), self._leadership.fenced)
        share = (await self._store.status()).used_share
        leader = self._leader
        if share >= REFUSE_FROM_SHARE:
            leader.refusal = StoreFullError(
                f"etcd is at {share:.0%} of its quota: what was accepted goes on, new runs are not taken",
                remedy="wait for runs to end, or give etcd a larger quota",
            )
        elif share < REFUSE_FROM_SHARE - _SLACK_SHARE:
            leader.refusal = None
        held = share >= HOLD_FROM_SHARE or (leader.held and share >= HOLD_FROM_SHARE - _SLACK_SHARE)
        if held != leader.held:
            log.warning("etcd is at %.0f%% of its quota: %s", share * 100, "work is held back" if held else "going on")
            leader.held = held


async def relieve_leaderless(store: Store, keys: Keys) -> None:
    """Gives space back if etcd is full and nobody leads. Raises what the store raises."""
    if any(alarm.kind == "nospace" for alarm in await store.alarms()) and await store.get(keys.leader()) is None:
        await give_back(store, keys, Compare.absent(keys.leader()), lambda: ConflictError("somebody leads by now"))


async def give_back(store: Store, keys: Keys, guard: Compare, refused: Callable[[], OrbitError]) -> None:
    """Delete, compact, defragment, disarm: all that the newest snapshot has replaced, while `guard` holds."""
    log.error("etcd is full and takes no writes: giving space back")
    manifests = keys.manifests()
    newest = await store.range(manifests.start, manifests.end, keys_only=True)
    until = keys.manifest_seq(newest.kvs[-1].key) + 1 if newest.kvs else 0
    result = await store.txn(compare=[guard], success=[Delete(keys.journal(0), keys.journal(until))])
    if not result.succeeded:
        raise refused()
    await reclaim(store, result.revision)
