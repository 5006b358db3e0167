"""Sees to it that what ended runs left can still be read: their records, logs, results and inputs, as long as they are
kept.

They are many, and seldom asked for, so they are gone through slowly and where they lie: once for each term, and anew
when a machine is gone that may have held some of it.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from typing import Final

from orbit_coordinator.archive import Archive
from orbit_coordinator.copies import MeshBlobs
from orbit_coordinator.inputs import input_files
from orbit_coordinator.upkeep import blobs_of
from orbit_core.clock import Clock
from orbit_core.errors import BlobError, OrbitError
from orbit_core.store.codec import CorruptRecordError

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
#: Runs that one look goes through: some seven thousand an hour.
RUNS_AT_ONCE: Final = 20
_BLOBS_AT_ONCE: Final = 500


class Ended:
    """For one term."""

    def __init__(self, archive: Archive, blobs: MeshBlobs, clock: Clock) -> None:
        self._archive = archive
        self._blobs = blobs
        self._clock = clock
        #: Where second copies may lie, as far as this term has seen; None: nothing has been looked at.
        self._keepers: frozenset[str] | None = None
        self._waiting: deque[str] = deque()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Some runs further. StoreError where it is not known who is there, or which runs there are."""
        keepers = frozenset(await self._blobs.keepers())
        if self._keepers is None or self._keepers - keepers:
            await self._begin_round()
            self._keepers = keepers
        self._keepers |= keepers
        for _ in range(min(RUNS_AT_ONCE, len(self._waiting))):
            try:
                await self._look_at(self._waiting[0])
            except OrbitError:
                raise  # etcd or the home is away: this run is looked at again
            except Exception:  # one run that cannot be read is no reason to lead no longer
                log.exception("what %s left cannot be looked after", self._waiting[0])
            self._waiting.popleft()

    async def _begin_round(self) -> None:
        """From where the last one was, so that machines that come and go keep it from no run."""
        runs = deque(sorted(await self._archive.ids()))
        if self._waiting:
            runs.rotate(-bisect_left(runs, self._waiting[0]))
        self._waiting = runs

    async def _look_at(self, run_id: str) -> None:
        found = await self._archive.find(run_id)
        if found is None:
            return  # deleted meanwhile
        await self._put_right(run_id, [found.record_sha256, *filter(None, [found.logs_sha256])])
        try:
            run = await self._archive.run(run_id, remember=False)
            wanted = dict.fromkeys([*(sha256 for sha256, _ in blobs_of(run)), *await input_files(run, self._blobs)])
        except (BlobError, CorruptRecordError) as error:
            log.warning("what %s left cannot be looked after: %s", run_id, error)
            return
        await self._put_right(run_id, list(wanted))

    async def _put_right(self, run_id: str, hashes: list[str]) -> None:
        for start in range(0, len(hashes), _BLOBS_AT_ONCE):
            for sha256, holders in (await self._blobs.scarce(hashes[start : start + _BLOBS_AT_ONCE])).items():
                try:
                    await self._blobs.keep(sha256, holders)
                    await self._blobs.secure([sha256], holders, patience_s=0.0)
                except BlobError as error:
                    log.warning("blob %s of %s, which has ended, has less than two copies: %s", sha256, run_id, error)
